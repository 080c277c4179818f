//! Real servers behind the gateway, driven by the real Python and TypeScript clients, of both eras where a client has them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::programs::Programs;
use crate::interop::clients;
use crate::process::{self, Keep};
use crate::workspace::Workspace;
use crate::{installed, table};

/// The drivers.
const FOLDER: &str = "xtask/src/gateway";

/// A client gives up after 60 s; this limit is for one that hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// A server: its command, a tool with its arguments, and a part of the result.
struct Server {
    name: &'static str,
    command: Vec<String>,
    options: Vec<String>,
    tool: &'static str,
    arguments: Value,
    wanted: &'static str,
}

/// A client in one era, and the words that start it.
struct Client {
    name: String,
    words: Vec<String>,
}

pub(super) fn run(workspace: &Workspace, programs: &Programs) -> Result<bool> {
    let clients = clients(workspace)?;
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("there-it-is.txt"), "hello")?;
    repository(directory.path())?;
    let servers = servers(programs, directory.path());
    let columns: Vec<_> = servers.par_iter().map(|server| drive(programs, server, &clients)).collect();
    let (mut cells, mut all_ok) = (Vec::new(), true);
    for (server, seen) in servers.iter().zip(columns) {
        for (client, seen) in clients.iter().zip(seen) {
            let cell = seen.unwrap_or_else(|error| {
                println!("{}, {}: {error:#}\n", server.name, client.name);
                all_ok = false;
                "FAILED".to_owned()
            });
            cells.push((client.name.clone(), server.name.to_owned(), cell));
        }
    }
    println!("\n{}", table::grid("client", &cells));
    Ok(all_ok)
}

/// What each client sees of a server.
fn drive(programs: &Programs, server: &Server, clients: &[Client]) -> Vec<Result<String>> {
    let options: Vec<&str> = server.options.iter().map(String::as_str).collect();
    let started = match programs.ours("session", &options).start(&server.command) {
        Ok(started) => started,
        Err(error) => return vec![Err(error)],
    };
    let one = |client: &Client| {
        let mut command = Command::new(&client.words[0]);
        command.args(&client.words[1..]).args([&started.url(), server.tool, &server.arguments.to_string()]);
        let (status, output) = process::keep(command.arg(server.wanted), Keep::All, LIMIT)?;
        anyhow::ensure!(status.success(), "{status}\n{output}\nthe gateway: {}", started.process.output());
        Ok(output.lines().next_back().unwrap_or_default().to_owned())
    };
    let mut seen: Vec<Result<String>> = clients.iter().map(one).collect();
    let stop = || -> Result<()> {
        started.process.terminate()?;
        let status = started.process.wait(Duration::from_secs(20))?;
        anyhow::ensure!(status.success(), "the stop: {status}\n{}", started.process.output());
        Ok(())
    };
    if let (Err(error), Some(last)) = (stop(), seen.last_mut()) {
        *last = Err(error);
    }
    seen
}

/// The servers, two of which work on a directory.
fn servers(programs: &Programs, directory: &Path) -> [Server; 5] {
    let words = |words: &[&dyn std::fmt::Display]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let npm = |name: &str| {
        programs.node.join("node_modules/@modelcontextprotocol").join(name).join("dist/index.js")
    };
    let at = directory.display();
    let python = |name: &str| programs.servers.join(name);
    [
        Server {
            name: "server-everything",
            command: words(&[&"node", &npm("server-everything").display()]),
            options: Vec::new(),
            tool: "echo",
            arguments: json!({ "message": "hello" }),
            wanted: "hello",
        },
        Server {
            name: "server-filesystem",
            command: words(&[&"node", &npm("server-filesystem").display(), &at]),
            options: Vec::new(),
            tool: "list_directory",
            arguments: json!({ "path": directory }),
            wanted: "there-it-is.txt",
        },
        Server {
            name: "server-memory",
            command: words(&[&"node", &npm("server-memory").display()]),
            options: words(&[&"--env", &format!("MEMORY_FILE_PATH={at}/memory.json")]),
            tool: "read_graph",
            arguments: json!({}),
            wanted: "entities",
        },
        Server {
            name: "mcp-server-time",
            command: words(&[&python("mcp-server-time").display()]),
            options: Vec::new(),
            tool: "convert_time",
            arguments: json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo" }),
            wanted: "21:00",
        },
        Server {
            name: "mcp-server-git",
            command: words(&[&python("mcp-server-git").display(), &"--repository", &at]),
            options: Vec::new(),
            tool: "git_status",
            arguments: json!({ "repo_path": directory }),
            wanted: "there-it-is.txt",
        },
    ]
}

/// Makes the directory a repository.
fn repository(directory: &Path) -> Result<()> {
    process::version(&mut Command::new("git"))?;
    process::succeed(Command::new("git").args(["init", "--quiet"]).current_dir(directory), LIMIT)
}

/// The clients of interop, each in each era that it has.
fn clients(workspace: &Workspace) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    let script = workspace.root().join(FOLDER).join("real.py");
    for (version, python) in clients::pythons(workspace)? {
        for era in eras(!version.starts_with("1.")) {
            let words = [&python.display().to_string(), "-B", &script.display().to_string(), era];
            clients.push(Client {
                name: format!("mcp {version}, {era}"),
                words: words.map(str::to_owned).to_vec(),
            });
        }
    }
    let node = installed::node(workspace)?;
    let script = installed::copy(workspace, FOLDER, "real.mjs", &node)?;
    for (package, version, has_both) in clients::packages(&node)? {
        for era in eras(has_both) {
            let words = ["node", &script.display().to_string(), package, era].map(str::to_owned).to_vec();
            let name = package.trim_start_matches("@modelcontextprotocol/");
            clients.push(Client { name: format!("{name} {version}, {era}"), words });
        }
    }
    Ok(clients)
}

fn eras(has_both: bool) -> &'static [&'static str] {
    if has_both { &["legacy", "modern"] } else { &["legacy"] }
}
