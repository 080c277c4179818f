//! `cargo xtask commands`: the shell commands in README, guides and docs. Each is checked against the program that it names; the blocks
//! that are marked are run.

mod blocks;
mod check;
mod play;

use std::fs;

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use self::blocks::Page;
use self::check::Checker;
use crate::workspace::Workspace;
use crate::{cargo_tasks, process, table};

/// Where pages are. The coverage is generated, and has no commands.
const PLACES: [&str; 6] = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "crates", "examples"];

/// Runs the task; returns `true` if every command means something, and what was run did what the page says.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    cargo_tasks::build_examples(workspace, false)?;
    cargo_tasks::build_gateway(workspace)?;
    let pages = pages(workspace)?;
    let mut checker = Checker::new(workspace);
    let (mut rows, mut problems) =
        (vec![["page", "commands", "run"].map(str::to_owned).to_vec()], Vec::new());
    for page in &pages {
        let mut commands = 0;
        for (line, text) in page.blocks.iter().map(|block| (block.line, &block.text)) {
            let found = checker.block(text);
            commands += found.commands;
            problems.extend(found.problems.into_iter().map(|why| format!("{}:{line}: {why}", page.name)));
        }
        for (line, text) in &page.inline {
            commands += 1;
            problems
                .extend(checker.line(text).err().map(|why| format!("{}:{line}: `{text}`: {why}", page.name)));
        }
        let played = play::play(workspace, page).unwrap_or_else(|error| {
            problems.push(format!("{}: {error:#}", page.name));
            0
        });
        if commands > 0 {
            rows.push(vec![page.name.clone(), commands.to_string(), played.to_string()]);
        }
    }
    println!("\n{}", table::render(&rows));
    problems.iter().for_each(|problem| println!("{problem}"));
    Ok(problems.is_empty())
}

/// The pages with the name that they have in the repository.
fn pages(workspace: &Workspace) -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    for place in PLACES {
        for entry in WalkDir::new(workspace.root().join(place)).sort_by_file_name() {
            let path = entry?.into_path();
            let name = workspace.relative(&path).display().to_string();
            // An example says in its first lines how to run it.
            let is_example = place == "examples" && name.ends_with(".rs");
            if name.ends_with(".md") || is_example {
                let text = fs::read_to_string(&path).with_context(|| name.clone())?;
                let text = if is_example { blocks::doc_comment(&text) } else { text };
                pages.push(Page::parse(name, &text));
            }
        }
    }
    Ok(pages)
}

/// Whether bash is there: it reads blocks, and runs them.
fn has_bash() -> bool {
    process::version(&mut std::process::Command::new("bash")).is_ok()
}
