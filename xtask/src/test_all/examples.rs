//! Builds every example for release and runs it once, as a reader would.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::report::Outcome;
use crate::server::Server;
use crate::workspace::{Profile, Workspace};
use crate::{examples, process};

/// The only example that is not a server: it starts one, stops it and ends by itself.
const ENDS_BY_ITSELF: &str = "graceful_shutdown";
const ENDS_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn run(workspace: &Workspace) -> Result<Outcome> {
    examples::build(workspace, Profile::Release)?;
    let mut broken = Vec::new();
    for example in workspace.examples()? {
        match run_one(workspace, &example.name) {
            Ok(how) => println!("{}: {how}", example.name),
            Err(error) => {
                println!("{}: FAILED: {error:#}", example.name);
                broken.push(example.name.clone());
            }
        }
    }
    Ok(if broken.is_empty() { Outcome::ok() } else { Outcome::failed(broken.join(", ")) })
}

/// Runs an example and returns a description of the result.
fn run_one(workspace: &Workspace, name: &str) -> Result<&'static str> {
    let executable = workspace.example_executable(name, Profile::Release);
    if name == ENDS_BY_ITSELF {
        let status = process::stream(&mut Command::new(&executable), ENDS_WITHIN, |_| {})?;
        ensure!(status.success(), "it must end with exit code 0, not with {status}");
        return Ok("ok, ended by itself");
    }
    let server = Server::start(&executable, &[])?;
    server.initialize()?;
    server.stop().context("after initialize")?;
    Ok("ok, opened a session and ended on SIGTERM")
}
