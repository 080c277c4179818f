//! `cargo xtask interop`: the real Python clients against our examples.

mod environment;
mod table;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use self::environment::Environment;
use self::table::{Column, Table};
use crate::process;
use crate::server::Server;
use crate::test_all::Outcome;
use crate::workspace::{EXAMPLES, Profile, Workspace};

/// The examples that are driven. Both promise the tools `echo` and `slow`.
const SERVERS: [&str; 2] = ["everything", "axum_router"];

/// The client ends by itself after 60 s; this is for one that cannot.
const CLIENT_LIMIT: Duration = Duration::from_secs(90);

const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build and drive the examples in release mode
    #[arg(long)]
    release: bool,
}

/// Runs the task on its own; `true` when every step of every client was well.
///
/// What is a skipped step in `test-all` is an error here: who asks for interop must hear that there is none.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    match environment::prepare(workspace)? {
        Ok(environments) => drive(workspace, profile, &environments),
        Err(unavailable) => anyhow::bail!("{unavailable}"),
    }
}

/// Runs the task as a step of `test-all`, on the executables that its `examples` step has built.
pub(crate) fn as_step(workspace: &Workspace) -> Result<Outcome> {
    match environment::prepare(workspace)? {
        Ok(environments) => Ok(Outcome::from_success(drive(workspace, Profile::Release, &environments)?)),
        Err(unavailable) => Ok(Outcome::skipped(unavailable.to_string())),
    }
}

fn drive(workspace: &Workspace, profile: Profile, environments: &[Environment]) -> Result<bool> {
    let known = workspace.examples()?;
    for name in SERVERS {
        ensure!(known.iter().any(|target| target.name == name), "{EXAMPLES} has no example {name}");
    }
    // All examples, as in the step `examples`: another selection could mean other features.
    let mut build = process::cargo(["build", "--package", EXAMPLES, "--examples", "--all-features"]);
    build.args(profile.flags()).current_dir(workspace.root());
    ensure!(process::stream(&mut build, BUILD_LIMIT, |_| {})?.success(), "the examples do not build");

    let script = workspace.root().join("xtask/src/interop/client.py");
    let mut table = Table::default();
    for name in SERVERS {
        for environment in environments {
            println!("{name} <- mcp {}", environment.version);
            let executable = workspace.example_executable(name, profile);
            let mut column = Column::default();
            if let Err(error) = meet(&executable, environment, &script, &mut column) {
                column.add("run", Err(&format!("{error:#}")));
            }
            table.add(name, environment.version, column);
        }
    }
    println!("\n{table}");
    Ok(table.is_ok())
}

/// One client meets one server, which is fresh and has to end well on SIGTERM afterwards.
fn meet(executable: &Path, environment: &Environment, script: &Path, column: &mut Column) -> Result<()> {
    let server = Server::start(executable)?;
    let mut command = Command::new(environment.python());
    let output = process::capture(command.arg("-u").arg(script).arg(server.url()), CLIENT_LIMIT)?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let report = stdout.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report =
        report.with_context(|| format!("the client gave no report ({}):\n{stderr}", output.status))?;
    column.add_report(&report)?;
    if !column.is_ok() {
        println!("the client's stderr:\n{stderr}\nthe server's output:{}", server.last_words());
    }
    ensure!(
        output.status.success() == column.is_ok(),
        "the client's report is contradicted by {}",
        output.status
    );
    match server.stop() {
        Ok(()) => column.add("SIGTERM", Ok("exit code 0")),
        Err(error) => column.add("SIGTERM", Err(&format!("{error:#}"))),
    }
    Ok(())
}
