//! `cargo xtask arrows`: checks which crate may depend on which. A violation is reported with advice.

mod adapters;
mod dependencies;
mod imports;
mod layout;
mod owners;
mod proto;
mod trees;

use std::fmt;

use anyhow::Result;

use crate::workspace::Workspace;

/// One violation.
#[derive(Debug)]
struct Violation {
    /// The place: a crate, or a file and line.
    place: String,
    /// The problem.
    what: String,
    /// The advice.
    advice: String,
}

impl Violation {
    fn new(place: impl Into<String>, what: impl Into<String>, advice: impl Into<String>) -> Violation {
        Violation { place: place.into(), what: what.into(), advice: advice.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    what to do: {}", self.place, self.what, self.advice)
    }
}

/// Checks every arrow; returns `true` if all hold.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let mut violations = Vec::new();
    violations.extend(dependencies::check(workspace)?);
    violations.extend(trees::check(workspace)?);
    violations.extend(proto::check(workspace)?);
    violations.extend(owners::check(workspace)?);
    violations.extend(adapters::check(workspace)?);
    violations.extend(layout::check(workspace)?);
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => println!("every arrow holds"),
        1 => println!("1 broken arrow"),
        n => println!("{n} broken arrows"),
    }
    Ok(violations.is_empty())
}
