//! [`Finding`]: an input that breaks a promise, as libFuzzer reports it.

use std::fs;

/// What libFuzzer prints before the path of an input that it keeps.
const WRITTEN: &str = "Test unit written to ";

/// How much of an input is shown, in bytes.
const SHOWN: usize = 1000;

/// How many lines of a failed assertion are shown.
const LINES: usize = 12;

/// An input that breaks a promise.
#[derive(Debug)]
pub(super) struct Finding {
    /// The file with the input; `None` if the target ended for another reason.
    path: Option<String>,
    /// What the target said, or the end of its output.
    reason: String,
}

impl Finding {
    /// Reads the output of a target that has failed.
    pub(super) fn of(output: &str) -> Finding {
        let path =
            output.lines().find_map(|line| line.split_once(WRITTEN)).map(|(_, path)| path.trim().to_owned());
        let lines: Vec<_> = output.lines().collect();
        let begin = lines.iter().rposition(|line| line.contains("panicked at"));
        let begin = begin.unwrap_or(lines.len().saturating_sub(LINES));
        let reason =
            lines[begin..].iter().take_while(|line| !line.starts_with("==") && !line.starts_with("note: "));
        Finding { path, reason: reason.take(LINES).copied().collect::<Vec<_>>().join("\n") }
    }

    /// The finding, its input, and how to replay it.
    pub(super) fn shown(&self, target: &str) -> String {
        let Some(path) = &self.path else { return format!("{target}: {}\n", self.reason) };
        let input = fs::read(path).unwrap_or_default();
        let begin = input[..input.len().min(SHOWN)].escape_ascii();
        format!(
            "{target}: {}\ninput, {} bytes: {begin}\nreplay: cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none \
             {target} {path}\nto keep it, also without cargo-fuzz: cp {path} tests/fuzz/corpus/{target}/ with a name of what \
             it shows; then cargo test -p mcp-session-tests --all-features --test corpus {target}\n",
            self.reason,
            input.len()
        )
    }
}

/// The word after the last such label.
pub(super) fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().rposition(|word| *word == label.trim())?;
    words.get(at + 1).copied()
}

#[cfg(test)]
mod tests {
    use super::{Finding, after};

    #[test]
    fn a_finding_has_its_reason_and_its_input() {
        let output = "#2\tINITED cov: 9 ft: 10 corp: 1/1b\nthread '<unnamed>' panicked at a.rs:1:2:\nleft: 1\n\
            note: run with\n==7== ERROR: libFuzzer: deadly signal\nartifact_prefix='x/'; Test unit written to x/crash-1\n";
        let finding = Finding::of(output);
        assert_eq!(finding.path.as_deref(), Some("x/crash-1"));
        assert_eq!(finding.reason, "thread '<unnamed>' panicked at a.rs:1:2:\nleft: 1");
        assert!(Finding::of("killed").path.is_none());
        assert_eq!((after(output, "ft: "), after(output, "corp: ")), (Some("10"), Some("1/1b")));
    }
}
