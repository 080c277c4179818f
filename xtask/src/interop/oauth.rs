//! Clients without a token: they must find the issuer by what the server says, and get one.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::{LIMIT, Report, clients};
use crate::cargo_tasks;
use crate::process::{self, Keep, Running};
use crate::server::Server;
use crate::workspace::Workspace;

/// How long the issuer may take to print its URL, on a loaded machine.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// Runs each Python client against `everything` behind an issuer that allows everything; returns `true` if each was served.
/// Fails as [`process::Unavailable`] without Python.
pub(super) fn run(workspace: &Workspace, release: bool) -> Result<bool> {
    let pythons = clients::pythons(workspace)?;
    cargo_tasks::build_issuer(workspace, release)?;
    let command = Command::new(workspace.example_executable("issuer", release));
    let issuer = Running::start(&command, Keep::All)?;
    let url = printed(&issuer)?;
    let everything = workspace.example_executable("everything", release);
    let server = Server::start(&everything, &["--oauth-issuer", &url, "--oauth-scope", "mcp"])?;
    let script = workspace.root().join(clients::FOLDER).join("oauth.py");
    let mut all_ok = true;
    for (version, python) in pythons {
        let mut command = Command::new(python);
        let (_, output) = process::keep(command.arg("-B").arg(&script).arg(&server.url), Keep::All, LIMIT)?;
        let report = output.lines().rev().find_map(|line| serde_json::from_str::<Report>(line).ok());
        let ok =
            report.as_ref().is_some_and(|it| !it.steps.is_empty() && it.steps.iter().all(|step| step.ok));
        println!(
            "everything --oauth-issuer <- mcp {version}, without a token: {}",
            if ok { "ok" } else { "FAILED" }
        );
        if !ok {
            println!("{output}\n{}", server.output());
        }
        all_ok &= ok;
    }
    server.stop()?;
    Ok(all_ok)
}

/// The first line of the issuer.
fn printed(issuer: &Running) -> Result<String> {
    let begun = Instant::now();
    loop {
        let ended = issuer.ended_within(Duration::from_millis(20))?;
        if let Some((url, _)) = issuer.output().split_once('\n') {
            return Ok(url.to_owned());
        }
        ensure!(ended.is_none(), "the issuer has ended: {}", issuer.output());
        if begun.elapsed() > STARTS_WITHIN {
            bail!("the issuer printed no URL within {STARTS_WITHIN:?}");
        }
    }
}
