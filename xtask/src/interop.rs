//! `cargo xtask interop`: the real Python and TypeScript clients against our examples.

mod python;
mod table;
mod typescript;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use self::table::{Meeting, Table};
use crate::runtimes::{self, EVERYTHING};
use crate::server::Server;
use crate::test_all::Outcome;
use crate::unavailable::Unavailable;
use crate::workspace::{Profile, Workspace};
use crate::{examples, parallel, process};

/// The second example that is driven: a mounted service. Like `everything`, it has the tools `echo` and `slow`.
const MOUNTED: &str = "axum_router";

/// A client ends by itself after 60 s; this limit is for one that hangs.
const CLIENT_LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The runtime to serve on, as `everything --help` lists them, or `all`
    #[arg(long, default_value = runtimes::ALL)]
    runtime: String,
    /// Build and drive the examples in release mode
    #[arg(long)]
    release: bool,
}

/// A release of an SDK, and the command that drives a server with it.
#[derive(Debug)]
struct Client {
    package: &'static str,
    version: String,
    /// The command without the URL.
    words: Vec<OsString>,
    /// The working directory, if it matters.
    directory: Option<PathBuf>,
}

/// A server to drive: an example with flags.
#[derive(Debug)]
struct Target {
    name: String,
    executable: PathBuf,
    flags: Vec<String>,
}

/// Runs the task on its own; returns `true` if every step of every client succeeded.
///
/// Missing clients are an error here, while `test-all` skips the step.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    let mut clients = python::clients(workspace)??;
    clients.extend(typescript::clients(workspace)??);
    drive(workspace, profile, &args.runtime, &clients)
}

/// Runs the task as a step of `test-all`, on the executables built by its `examples` step, with the clients that this
/// machine can run.
pub(crate) fn as_step(workspace: &Workspace) -> Result<Outcome> {
    let (mut clients, mut missing) = (Vec::new(), Vec::new());
    let languages =
        [("Python", python::clients(workspace)?), ("TypeScript", typescript::clients(workspace)?)];
    for (language, prepared) in languages {
        match prepared {
            Ok(found) => clients.extend(found),
            Err(Unavailable(why)) => missing.push(format!("no {language} clients: {why}")),
        }
    }
    let missing = missing.join("; ");
    if clients.is_empty() {
        return Ok(Outcome::skipped(missing));
    }
    let success = drive(workspace, Profile::Release, runtimes::ALL, &clients)?;
    Ok(Outcome::from_success(success).with_note(missing))
}

fn drive(workspace: &Workspace, profile: Profile, runtime: &str, clients: &[Client]) -> Result<bool> {
    examples::build(workspace, profile)?;
    let targets = targets(workspace, profile, runtime)?;
    let pairs: Vec<(&Target, &Client)> =
        targets.iter().flat_map(|target| clients.iter().map(move |client| (target, client))).collect();
    let mut table = Table::default();
    let meetings = parallel::map(&pairs, |(target, client)| {
        let mut meeting = Meeting::default();
        if let Err(error) = meet(target, client, &mut meeting) {
            meeting.add("run", Err(format!("{error:#}")));
        }
        println!("{} <- {} {}\n{meeting}", target.name, client.package, client.version);
        meeting
    });
    for ((target, client), meeting) in pairs.iter().zip(meetings) {
        table.add(&target.name, &client.label(), meeting);
    }
    println!("{table}");
    Ok(table.is_ok())
}

/// `everything` on each of the runtimes, and the other example once.
fn targets(workspace: &Workspace, profile: Profile, runtime: &str) -> Result<Vec<Target>> {
    let known = workspace.examples()?;
    ensure!(known.iter().any(|target| target.name == MOUNTED), "there is no example {MOUNTED}");
    let mut targets = Vec::new();
    for runtime in runtimes::select(workspace, profile, runtime)? {
        targets.push(Target {
            executable: workspace.example_executable(EVERYTHING, profile),
            flags: runtimes::flags(&runtime).map(str::to_owned).to_vec(),
            name: runtime,
        });
    }
    let executable = workspace.example_executable(MOUNTED, profile);
    targets.push(Target { name: MOUNTED.to_owned(), executable, flags: Vec::new() });
    Ok(targets)
}

impl Client {
    /// The column heading: the package's name without its npm scope, and the version.
    fn label(&self) -> String {
        let name = self.package.strip_prefix("@modelcontextprotocol/").unwrap_or(self.package);
        format!("{name} {}", self.version)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// Runs one client against one fresh server, which must exit cleanly on SIGTERM afterwards.
fn meet(target: &Target, client: &Client, meeting: &mut Meeting) -> Result<()> {
    let flags: Vec<&str> = target.flags.iter().map(String::as_str).collect();
    let server = Server::start(&target.executable, &flags)?;
    let output = process::capture(client.command().arg(server.url()), CLIENT_LIMIT)?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let report = stdout.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report =
        report.with_context(|| format!("the client printed no report ({}):\n{stderr}", output.status))?;
    meeting.add_report(&report)?;
    if !meeting.is_ok() {
        meeting.log =
            format!("the client's stderr:\n{stderr}\nthe server's output:{}\n", server.last_words());
    }
    if output.status.success() != meeting.is_ok() {
        bail!("the client's report contradicts its {}", output.status);
    }
    let stopped = server.stop().map(|()| "exit code 0".to_owned());
    meeting.add("SIGTERM", stopped.map_err(|error| format!("{error:#}")));
    Ok(())
}
