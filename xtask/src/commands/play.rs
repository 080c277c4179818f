//! Runs the blocks of a page that are marked, as a reader would: one after the other in one bash, against `everything`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::blocks::Page;
use crate::process::{self, Keep};
use crate::server::Server;
use crate::workspace::Workspace;

/// The address in the pages.
const ADDRESS: &str = "http://127.0.0.1:8000/mcp";

/// A block takes ten seconds at most.
const LIMIT: Duration = Duration::from_secs(120);

/// Before the blocks: curl shows no progress, and never hangs.
const BEFORE: &str = "set -euo pipefail\ncurl() { command curl --no-progress-meter --max-time 60 \"$@\"; }\n";

/// Returns how many blocks were run. 0 without bash or curl.
pub(super) fn play(workspace: &Workspace, page: &Page) -> Result<usize> {
    let marked: Vec<_> =
        page.blocks.iter().filter_map(|block| Some((block, block.prints.as_ref()?))).collect();
    let has_curl = process::version(&mut Command::new("curl")).is_ok();
    if marked.is_empty() || !has_curl || !super::has_bash() {
        return Ok(0);
    }
    let server = Server::start(&workspace.example_executable("everything", false), &[])?;
    let mut script = BEFORE.to_owned();
    let end = |number: usize| format!("end of block {number}");
    for (number, (block, _)) in marked.iter().enumerate() {
        script += &format!("{}\necho; echo '{}'\n", block.text.replace(ADDRESS, &server.url), end(number));
    }
    let (status, output) = process::keep(Command::new("bash").args(["-c", &script]), Keep::All, LIMIT)?;
    ensure!(status.success(), "the blocks that are marked end with {status}:\n{output}");
    let mut rest = &output[..];
    for (number, (block, prints)) in marked.iter().enumerate() {
        let Some((printed, after)) = rest.split_once(&end(number)) else {
            anyhow::bail!("block {} was not run:\n{output}", block.line)
        };
        ensure!(
            printed.contains(&**prints),
            "line {}: it does not print {prints}, but:\n{printed}",
            block.line
        );
        rest = after;
    }
    server.stop()?;
    Ok(marked.len())
}
