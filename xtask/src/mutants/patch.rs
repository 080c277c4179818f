//! [`Mutant`]: a patch with its header.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::killer::Killer;

/// Where the patches are.
pub(super) const DIRECTORY: &str = "tests/mutants";

/// A planted bug.
#[derive(Debug)]
pub(super) struct Mutant {
    /// The name of the file, without `.patch`.
    pub(super) name: String,
    /// What the patched tree does wrong, in one sentence.
    pub(super) what: String,
    /// What has to find it.
    pub(super) killer: Killer,
    /// The invariant that it breaks, or the scenario that it fails.
    pub(super) invariant: String,
    pub(super) path: PathBuf,
}

/// All mutants, by name.
pub(super) fn all(root: &Path) -> Result<Vec<Mutant>> {
    let entries = fs::read_dir(root.join(DIRECTORY)).context(DIRECTORY)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    paths.iter().map(|path| Mutant::read(path).with_context(|| path.display().to_string())).collect()
}

impl Mutant {
    fn read(path: &Path) -> Result<Mutant> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Mutant::parse(name, &fs::read_to_string(path)?, path)
    }

    fn parse(name: String, text: &str, path: &Path) -> Result<Mutant> {
        let (header, _) =
            text.split_once("\n\ndiff --git ").context("no empty line and no diff after the header")?;
        let mut lines = header.lines();
        let mut next = |key: &str| {
            let line = lines.next().unwrap_or_default();
            let value = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")).map(str::trim);
            let value = value.filter(|value| !value.is_empty());
            value.map(str::to_owned).with_context(|| format!("`{key}: …` is missing, in this order"))
        };
        let (what, _cause, killer, invariant) =
            (next("what")?, next("cause")?, next("killer")?, next("invariant")?);
        ensure!(lines.next().is_none(), "the header has four lines: what, cause, killer, invariant");
        ensure!(what.ends_with('.'), "`what` is a sentence");
        let killer = Killer::parse(&killer, &invariant)?;
        Ok(Mutant { name, what, killer, invariant, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str =
        "what: It is wrong.\ncause: none\nkiller: sim\ninvariant: answers\n\ndiff --git a/x b/x\n";

    fn parse(text: &str) -> Result<Mutant> {
        Mutant::parse("name".to_owned(), text, Path::new("name.patch"))
    }

    #[test]
    fn a_header_has_four_lines_and_a_known_killer() {
        let mutant = parse(GOOD).unwrap();
        assert_eq!((mutant.what.as_str(), mutant.invariant.as_str()), ("It is wrong.", "answers"));
        for (old, new) in [
            ("what: It is wrong.", "what: "),
            ("wrong.", "wrong"),
            ("cause: none\n", ""),
            ("killer: sim", "killer: luck"),
            ("killer: sim", "killer: wire windows"),
            ("answers\n", "answers\nmore: 1\n"),
            ("\n\ndiff", "\ndiff"),
        ] {
            assert!(parse(&GOOD.replace(old, new)).is_err(), "{old} -> {new}");
        }
    }
}
