//! `cargo xtask interop`: the real Python and TypeScript clients against our examples.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::process::{self, Keep, Unavailable};
use crate::server::Server;
use crate::workspace::{Target, Workspace};
use crate::{cargo_tasks, installed, table};

/// The second example that is driven: a mounted service. Like `everything`, it has the tools `echo` and `slow`.
const MOUNTED: &str = "axum_router";

/// A client ends by itself after 60 s; this limit is for one that hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// The releases of the Python package `mcp`: the newest 2.x, which prefers revision 2026-07-28, and the newest 1.x, which
/// supports only sessions. Pinned, so that a failure is our own fault.
const PYTHON: [&str; 2] = ["2.3.0", "1.30.0"];

/// The npm packages, pinned in `xtask/node/package.json`, each with the module that drives it: the release lines after and
/// before the SDK's client got its own package, and a client that accepts an event only if it has `event: message`.
const NPM: [(&str, &str); 3] = [
    ("@modelcontextprotocol/client", "client.mjs"),
    ("@modelcontextprotocol/sdk", "client.mjs"),
    ("@ai-sdk/mcp", "ai-sdk.mjs"),
];

/// The drivers, and what one of them imports.
const FOLDER: &str = "xtask/src/interop";
const PROXY: &str = "proxy.mjs";

/// A release of an SDK: the heading of its column, and the command that drives a server, without the URL.
type Client = (String, Vec<PathBuf>);

/// A step of a client with a server, as in the client's report.
#[derive(Debug, Deserialize)]
struct Step {
    name: String,
    ok: bool,
    #[serde(default)]
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Report {
    steps: Vec<Step>,
}

/// Runs the task; returns `true` if every step of every client succeeded, and a note about clients that this machine cannot
/// run. Fails as [`Unavailable`] without any, or if `all` are wanted.
pub(crate) fn run(workspace: &Workspace, target: &Target, all: bool) -> Result<(bool, String)> {
    let (mut clients, mut missing) = (Vec::new(), Vec::new());
    for (language, found) in [("Python", python(workspace)), ("TypeScript", typescript(workspace))] {
        match found {
            Ok(found) => clients.extend(found),
            Err(error) if error.is::<Unavailable>() => {
                missing.push(format!("no {language} clients: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    let missing = missing.join("; ");
    ensure!(!clients.is_empty() && (missing.is_empty() || !all), Unavailable(missing));
    Ok((drive(workspace, target, &clients)?, missing))
}

fn python(workspace: &Workspace) -> Result<Vec<Client>> {
    let script = workspace.root().join(FOLDER).join("client.py");
    let client = |version| {
        let python = installed::python(workspace, version)?;
        Ok((format!("mcp {version}"), vec![python, "-u".into(), script.clone()]))
    };
    PYTHON.into_iter().map(client).collect()
}

fn typescript(workspace: &Workspace) -> Result<Vec<Client>> {
    let node = installed::node(workspace)?;
    installed::copy(workspace, FOLDER, PROXY, &node)?;
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(node.join("package.json"))?)?;
    let client = |(package, module): (&str, &str)| {
        let version = manifest["dependencies"][package].as_str().context("the manifest pins it")?;
        let module = installed::copy(workspace, FOLDER, module, &node)?;
        let name = package.trim_start_matches("@modelcontextprotocol/");
        Ok((format!("{name} {version}"), vec!["node".into(), module, package.into()]))
    };
    NPM.into_iter().map(client).collect()
}

fn drive(workspace: &Workspace, target: &Target, clients: &[Client]) -> Result<bool> {
    cargo_tasks::build_examples(workspace, target.release)?;
    // `everything` on each of the runtimes, and the other example once.
    let executable = |name| workspace.example_executable(name, target.release);
    let runtimes = workspace.select_runtimes(target)?.into_iter();
    let mut servers: Vec<_> =
        runtimes.map(|it| (it, executable("everything"), vec!["--runtime", it])).collect();
    servers.push((MOUNTED, executable(MOUNTED), Vec::new()));
    let pairs: Vec<_> =
        servers.iter().flat_map(|it| clients.iter().map(move |client| (it, client))).collect();
    let meetings: Vec<Vec<Step>> = pairs
        .par_iter()
        .map(|((name, executable, flags), client)| {
            let (mut steps, mut log) = (Vec::new(), String::new());
            let met = Server::start(executable, flags).and_then(|it| meet(it, client, &mut steps, &mut log));
            if let Err(error) = met {
                steps.push(Step { name: "run".to_owned(), ok: false, detail: format!("{error:#}") });
            }
            for Step { name, ok, detail } in steps.iter().rev() {
                log.insert_str(0, &format!("    {:6} {name}: {detail}\n", if *ok { "ok" } else { "FAILED" }));
            }
            println!("{name} <- {}\n{log}", client.0);
            steps
        })
        .collect();
    let results =
        pairs.iter().zip(&meetings).map(|((server, client), steps)| (server.0, &*client.0, &**steps));
    let (table, all_ok) = judge(&results.collect::<Vec<_>>());
    println!("servers: {}\n{table}", servers.iter().map(|it| it.0).collect::<Vec<_>>().join(", "));
    Ok(all_ok)
}

/// Runs one client against one fresh server, which must exit cleanly on SIGTERM afterwards.
fn meet(server: Server, (_, words): &Client, steps: &mut Vec<Step>, log: &mut String) -> Result<()> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(&server.url);
    let (status, output) = process::keep(&command, Keep::All, LIMIT)?;
    let report = output.lines().rev().find_map(|line| serde_json::from_str::<Report>(line).ok());
    let report = report.with_context(|| format!("the client printed no report ({status}):\n{output}"))?;
    let ok = !report.steps.is_empty() && report.steps.iter().all(|step| step.ok);
    steps.extend(report.steps);
    if !ok {
        *log = format!("the client's output:\n{output}\nthe server's output:\n{}\n", server.output());
    }
    ensure!(status.success() == ok, "the client's report contradicts its {status}");
    let stopped = server.stop();
    let detail = stopped.as_ref().map_or_else(|error| format!("{error:#}"), |()| "exit code 0".to_owned());
    steps.push(Step { name: "SIGTERM".to_owned(), ok: stopped.is_ok(), detail });
    Ok(())
}

/// A table with a row per step, a column per client, and in each cell the number of servers on which the step succeeded; and
/// whether all did.
fn judge(meetings: &[(&str, &str, &[Step])]) -> (String, bool) {
    let (mut cells, mut seen) = (Vec::new(), BTreeSet::new());
    // A client without a step has shown nothing.
    let mut all_ok = !meetings.is_empty() && meetings.iter().all(|(.., steps)| !steps.is_empty());
    for (_, client, steps) in meetings {
        for step in steps.iter().filter(|step| seen.insert((*client, &step.name))) {
            let of_client = meetings.iter().filter(|(_, it, _)| it == client);
            let same = of_client.flat_map(|(server, _, steps)| steps.iter().map(move |step| (*server, step)));
            let (well, badly): (Vec<_>, Vec<_>) =
                same.filter(|it| it.1.name == step.name).partition(|it| it.1.ok);
            let badly: Vec<&str> = badly.into_iter().map(|(server, _)| server).collect();
            all_ok &= badly.is_empty();
            let good = format!("{} ok", well.len());
            let text = if badly.is_empty() { good } else { format!("FAILED on {}", badly.join(", ")) };
            cells.push((step.name.clone(), client.to_string(), text));
        }
    }
    (table::grid("", &cells), all_ok)
}

#[cfg(test)]
mod tests {
    use super::{Report, judge};

    #[test]
    fn a_failed_step_fails_the_table() {
        let steps = |text: &str| serde_json::from_str::<Report>(text).unwrap().steps;
        let well = &*steps(r#"{ "steps": [{ "name": "echo", "ok": true, "detail": "hello" }] }"#);
        let badly =
            &*steps(r#"{ "steps": [{ "name": "echo", "ok": true }, { "name": "SIGTERM", "ok": false }] }"#);
        assert!(judge(&[("tokio", "mcp 2", well)]).1);
        assert!(!judge(&[]).1, "nobody has met");
        assert!(!judge(&[("tokio", "mcp 2", well), ("smol", "mcp 2", &[])]).1);
        let (table, ok) =
            judge(&[("tokio", "mcp 2", well), ("smol", "mcp 2", badly), ("smol", "sdk 1", well)]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(!ok);
        assert_eq!(
            lines[1..],
            [&["echo", "2", "ok", "1", "ok"][..], &["SIGTERM", "FAILED", "on", "smol", "-"]]
        );
    }
}
