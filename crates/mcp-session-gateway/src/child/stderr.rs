//! What a child says on stderr, line by line.

use std::borrow::Cow;

use super::{lines::Line, spawn::Output};

/// Reads until the end, and calls `each` with every line as text: at most 8 KiB of it, and without what no terminal should
/// get.
pub async fn read(mut errors: Output, each: impl Fn(&str)) {
    while let Some(line) = errors.next_line().await {
        let text = match &line {
            Line::Whole(text) => String::from_utf8_lossy(text),
            Line::TooLong(long) => {
                Cow::Owned(format!("{}… ({} bytes)", String::from_utf8_lossy(&long.head), long.length))
            }
        };
        each(&printable(&text));
        tokio::task::consume_budget().await;
    }
}

/// Without control characters: what escapes them would change the terminal of whoever reads the log.
fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        let escaped = text.chars().flat_map(|c| {
            let control = c.is_control() && c != '\t';
            let (escaped, plain) = match control {
                true => (Some(c.escape_default()), None),
                false => (None, Some(c)),
            };
            escaped.into_iter().flatten().chain(plain)
        });
        return Cow::Owned(escaped.collect());
    }
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_terminal_is_escaped() {
        assert_eq!(printable("a\tb é"), "a\tb é");
        assert_eq!(printable("\x1b[2J"), "\\u{1b}[2J");
    }
}
