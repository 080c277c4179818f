//! Small checks of files: core's clippy.toml, the first line of each example, the example in the README.

use std::fs;

use anyhow::Result;

use super::Violation;
use crate::source::Source;
use crate::workspace::{self, CORE, EXAMPLES, Workspace};

/// Functions that core must not call: its `Runtime` provides the clock and the tasks.
const DISALLOWED: [&str; 4] =
    ["std::time::Instant::now", "std::time::SystemTime::now", "std::thread::sleep", "std::thread::spawn"];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let mut violations = clippy_toml(workspace)?;
    violations.extend(examples(workspace)?);
    violations.extend(readme(workspace)?);
    Ok(violations)
}

/// The README contains the smallest example verbatim, so that the copied text compiles.
fn readme(workspace: &Workspace) -> Result<Option<Violation>> {
    const SHOWN: &str = "tokio_hyper";
    let Some(target) = workspace.examples()?.into_iter().find(|target| target.name == SHOWN) else {
        return Ok(None);
    };
    let example = fs::read_to_string(&target.src_path)?;
    let readme = fs::read_to_string(workspace.root().join("README.md"))?;
    let advice = "copy the example into the README's Rust block";
    Ok((!readme.contains(&example))
        .then(|| Violation::new("README.md", format!("does not contain {SHOWN} verbatim"), advice)))
}

fn clippy_toml(workspace: &Workspace) -> Result<Vec<Violation>> {
    let path = workspace::directory(workspace.package(CORE)?).join("clippy.toml");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let listed: String = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let place = workspace.relative(&path).display();
    let missing = DISALLOWED.iter().filter(|method| !listed.contains(&format!("\"{method}\"")));
    let advice = "list it under disallowed-methods, with its reason";
    Ok(missing
        .map(|method| Violation::new(place.to_string(), format!("does not forbid {method}"), advice))
        .collect())
}

fn examples(workspace: &Workspace) -> Result<Vec<Violation>> {
    let targets = workspace.examples()?;
    let mut violations = Vec::new();
    for target in &targets {
        let path = target.src_path.as_std_path();
        if !fs::read_to_string(path)?.starts_with("//! Run with") {
            let advice = "start it with the line `//! Run with` and the command";
            let place = workspace.relative(path).display().to_string();
            violations.push(Violation::new(place, "does not say how to run it", advice));
        }
    }
    // The package has `autoexamples = false`: an unregistered file would never be built.
    for entry in fs::read_dir(workspace::directory(workspace.package(EXAMPLES)?))? {
        let path = entry?.path();
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if is_rust
            && !targets.iter().any(|target| target.src_path.as_std_path() == path)
            && Source::parse(&fs::read_to_string(&path)?).bare.contains("fn main(")
        {
            let advice = "add an [[example]] with this path to the package's Cargo.toml";
            let place = workspace.relative(&path).display().to_string();
            violations.push(Violation::new(place, "is an example without an [[example]] entry", advice));
        }
    }
    Ok(violations)
}
