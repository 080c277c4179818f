//! `cargo xtask arrows`: checks the rules in `xtask/arrows.toml`. What breaks one is printed with advice.

mod adapters;
mod core;
mod crates;
mod layout;
mod proto;

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::Result;
use serde::Deserialize;

use crate::workspace::Workspace;

/// `arrows.toml`; its comments explain the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    crates: BTreeMap<String, crates::Rule>,
    core: core::Rule,
    proto: proto::Rule,
    adapters: adapters::Rule,
    layout: layout::Rule,
}

impl Rules {
    fn load() -> Result<Rules> {
        Ok(toml::from_str(include_str!("../arrows.toml"))?)
    }
}

/// Describes a problem: the place (a crate, or a file and line), what is wrong there, and what to do.
fn problem(place: impl Display, what: impl Display, advice: impl Display) -> String {
    format!("{place}: {what}\n    what to do: {advice}")
}

/// Checks every arrow; returns `true` if all hold.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let rules = Rules::load()?;
    let mut problems = crates::check(workspace, &rules.crates)?;
    problems.extend(core::check(workspace, &rules.core)?);
    problems.extend(proto::check(workspace, &rules.proto)?);
    problems.extend(adapters::check(workspace, &rules.adapters)?);
    problems.extend(layout::check(workspace, &rules.layout)?);
    problems.iter().for_each(|problem| println!("{problem}"));
    match problems.len() {
        0 => println!("every arrow holds"),
        1 => println!("1 broken arrow"),
        n => println!("{n} broken arrows"),
    }
    Ok(problems.is_empty())
}
