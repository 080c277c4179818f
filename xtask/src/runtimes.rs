//! The list of runtimes, taken from the help of the example `everything`; each adapter must be in it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process;
use crate::workspace::{Profile, Workspace};

/// The example that runs on every runtime.
pub(crate) const EVERYTHING: &str = "everything";

/// The selection of all runtimes.
pub(crate) const ALL: &str = "all";

/// Printing a help text takes milliseconds.
const HELP_LIMIT: Duration = Duration::from_secs(20);

/// The flags that make `everything` run on a runtime.
pub(crate) fn flags(runtime: &str) -> [&str; 2] {
    ["--runtime", runtime]
}

/// The runtimes selected by `wanted`: one, or all. The examples must already be built.
pub(crate) fn select(workspace: &Workspace, profile: Profile, wanted: &str) -> Result<Vec<String>> {
    let known = offered_by(&workspace.example_executable(EVERYTHING, profile))?;
    for adapter in workspace.runtimes() {
        ensure!(known.iter().any(|name| name == adapter), "{EVERYTHING} has no --runtime {adapter}");
    }
    if wanted == ALL {
        return Ok(known);
    }
    ensure!(known.iter().any(|name| name == wanted), "no runtime {wanted}; there are {}", known.join(", "));
    Ok(vec![wanted.to_owned()])
}

fn offered_by(everything: &Path) -> Result<Vec<String>> {
    let help = process::capture(Command::new(everything).arg("-h"), HELP_LIMIT)?;
    let help = String::from_utf8_lossy(&help.stdout);
    let names =
        possible_values(&help, "--runtime").context("its -h does not list the values of --runtime")?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// The possible values of a flag in clap's short help; long lines may be wrapped.
fn possible_values<'a>(help: &'a str, flag: &str) -> Option<Vec<&'a str>> {
    let (_, rest) = help.split_once(&format!("{flag} <"))?;
    let (before, rest) = rest.split_once("[possible values: ")?;
    let (values, _) = rest.split_once(']')?;
    // If another flag is in between, the list is that flag's.
    (!before.contains(" --")).then(|| values.split(',').map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::possible_values;

    #[test]
    fn the_values_are_those_of_the_flag() {
        let help = "Options:\n      --bind <BIND>        Address [default: 127.0.0.1:8000]\n      \
            --runtime <RUNTIME>  What to run on [default: tokio] [possible values: tokio, smol,\n  async-std]\n      \
            --report <REPORT>    How [default: table] [possible values: table, json]\n";
        assert_eq!(possible_values(help, "--runtime"), Some(vec!["tokio", "smol", "async-std"]));
        assert_eq!(possible_values(help, "--report"), Some(vec!["table", "json"]));
        assert_eq!(possible_values(help, "--bind"), None);
        assert_eq!(possible_values(help, "--grace"), None);
    }
}
