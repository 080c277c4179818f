//! `cargo xtask interop`: real clients against our examples, those of all eras at the same time on one server.

pub(crate) mod clients;
mod judge;
mod oauth;
mod traffic;
mod wire;

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use self::clients::{Client, Offer, Way};
use self::judge::{Meeting, Step, judge};
use self::wire::Wire;
use crate::cargo_tasks;
use crate::process::{self, Keep};
use crate::server::Server;
use crate::workspace::{Target, Workspace};

/// What is driven.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Drive three nodes on one Redis instead, each of which is replaced in turn. A client that neither tries again nor comes
    /// back may fail
    #[arg(long)]
    several_nodes: bool,
}

impl Args {
    /// For `test-all`.
    pub(crate) fn all() -> Args {
        Args { target: Target::all(), several_nodes: false }
    }
}

/// The other examples that are driven: a mounted service, which has the tools `echo` and `slow` of `everything`, and typed
/// tools, resources and prompts.
const OTHERS: [(&str, Offer); 2] = [("axum_router", Offer::Two), ("notes", Offer::Notes)];

/// What starts several nodes.
const CLUSTER: &str = "cluster_plays";

/// A client ends by itself after 60 s; this limit is for one that hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// What a server with default settings serves, all of it at the same time.
const DEFAULT: &[Way] = &[Way::Sessions, Way::Modern, Way::WithoutId];

/// The other modes of `everything`: its flags, whether it gives session ids, and what it serves then.
const MODES: [(&[&str], bool, &[Way]); 3] = [
    (&["--sessions", "stateless"], false, &[Way::Modern, Way::WithoutId]),
    (&["--sessions", "stateful"], true, &[Way::Refused]),
    (&["--eras", "legacy"], true, &[Way::Fallback]),
];

/// A server, and the ways that clients go with it.
struct Scene {
    name: String,
    executable: PathBuf,
    flags: Vec<String>,
    offer: Offer,
    gives_ids: bool,
    ways: &'static [Way],
}

#[derive(Debug, Deserialize)]
struct Report {
    steps: Vec<Step>,
}

/// Runs the task; returns `true` if every step of every client succeeded, and a note about clients that this machine cannot
/// run. Fails as [`process::Unavailable`] without any, or if `all` are wanted.
pub(crate) fn run(workspace: &Workspace, args: &Args, all: bool) -> Result<(bool, String)> {
    let target = &args.target;
    let (clients, missing) = clients::find(workspace, all)?;
    cargo_tasks::build_examples(workspace, target.release)?;
    let scenes = if args.several_nodes {
        cargo_tasks::build_cluster(workspace, target.release)?;
        vec![several_nodes(workspace, target)?]
    } else {
        scenes(workspace, target)?
    };
    let (mut meetings, mut all_stopped) = (Vec::new(), true);
    for scene in &scenes {
        let stopped = perform(scene, &clients, &mut meetings);
        if let Err(error) = &stopped {
            println!("{}: FAILED: {error:#}\n", scene.name);
        }
        all_stopped &= stopped.is_ok();
    }
    let (tables, all_ok) = judge(&meetings);
    println!("servers: {}\n\n{tables}", scenes.iter().map(|it| &*it.name).collect::<Vec<_>>().join("; "));
    let has_tokens = args.several_nodes || tokens(workspace, target.release)?;
    Ok((all_ok && all_stopped && has_tokens, missing))
}

/// The clients that begin without a token; `true` without Python, which is in the note about clients already.
fn tokens(workspace: &Workspace, release: bool) -> Result<bool> {
    match oauth::run(workspace, release) {
        Err(error) if error.is::<process::Unavailable>() => Ok(true),
        ended => ended,
    }
}

/// `everything` on each of the runtimes and in each mode, and the other examples once.
fn scenes(workspace: &Workspace, target: &Target) -> Result<Vec<Scene>> {
    let executable = |name| workspace.example_executable(name, target.release);
    let everything = |runtime: &str, (flags, gives_ids, ways): (&[&str], _, _)| {
        let name = [&[runtime], flags].concat().join(" ");
        let flags = ["--runtime", runtime].iter().chain(flags).map(|&word| word.to_owned()).collect();
        Scene { name, executable: executable("everything"), flags, offer: Offer::All, gives_ids, ways }
    };
    let mut scenes = Vec::new();
    for runtime in workspace.select_runtimes(target)? {
        scenes.push(everything(runtime, (&[], true, DEFAULT)));
        scenes.extend(MODES.map(|mode| everything(runtime, mode)));
    }
    scenes.extend(OTHERS.map(|(name, offer)| Scene {
        name: name.to_owned(),
        executable: executable(name),
        flags: Vec::new(),
        offer,
        gives_ids: true,
        ways: DEFAULT,
    }));
    Ok(scenes)
}

/// `everything` as three nodes on one Redis behind a balancer, each of which is replaced in turn.
fn several_nodes(workspace: &Workspace, target: &Target) -> Result<Scene> {
    process::version(&mut Command::new("redis-server"))?;
    let executable = |name| workspace.example_executable(name, target.release);
    let everything = executable("everything").to_str().context("a path in UTF-8")?.to_owned();
    Ok(Scene {
        name: "three nodes on Redis".to_owned(),
        executable: executable(CLUSTER),
        flags: vec!["--serve".to_owned(), "--server".to_owned(), everything],
        offer: Offer::All,
        gives_ids: true,
        ways: DEFAULT,
    })
}

/// Runs all clients of a scene at once against one fresh server, which must exit cleanly on SIGTERM afterwards.
fn perform<'a>(scene: &'a Scene, clients: &'a [Client], meetings: &mut Vec<Meeting<'a>>) -> Result<()> {
    let flags: Vec<&str> = scene.flags.iter().map(String::as_str).collect();
    let server = Server::start(&scene.executable, &flags)?;
    let at = &server;
    let pairs = scene.ways.iter().flat_map(|way| {
        clients.iter().filter(|client| client.does(*way, scene.offer)).map(|client| (*way, client))
    });
    let before = meetings.len();
    meetings.extend(thread::scope(|scope| {
        let start = |(way, client)| (way, client, scope.spawn(move || meet(at, scene, client, way)));
        let running: Vec<_> = pairs.map(start).collect();
        let ended = running.into_iter().map(|(way, client, thread)| {
            let steps = thread.join().expect("the thread of a meeting does not panic");
            Meeting { server: &scene.name, client: &client.name, way, steps }
        });
        ended.collect::<Vec<_>>()
    }));
    let output = server.output();
    let stopped = server.stop();
    if meetings[before..].iter().any(|it| it.steps.iter().any(|step| !step.ok)) {
        println!("{}: the server's output:\n{output}\n", scene.name);
    }
    stopped
}

/// Runs one client; returns its steps, and one for its requests as the server saw them.
fn meet(server: &Server, scene: &Scene, client: &Client, way: Way) -> Vec<Step> {
    let (mut steps, mut output) = (Vec::new(), String::new());
    if let Err(error) = drive(server, scene, client, way, &mut steps, &mut output) {
        steps.push(Step { name: "run".to_owned(), ok: false, detail: format!("{error:#}") });
    }
    let mut log = format!("{} <- {}, {}\n", scene.name, client.name, way.word());
    for Step { name, ok, detail } in &steps {
        log += &format!("    {:6} {name}: {detail}\n", if *ok { "ok" } else { "FAILED" });
    }
    if steps.iter().any(|step| !step.ok) {
        log += &format!("the client's output:\n{output}\n");
    }
    println!("{log}");
    steps
}

fn drive(
    server: &Server,
    scene: &Scene,
    client: &Client,
    way: Way,
    steps: &mut Vec<Step>,
    output: &mut String,
) -> Result<()> {
    let wire = Wire::before(&server.url, way.loses_id())?;
    let command = client.command(way, scene.offer, &wire.url);
    let (status, printed) = process::keep(&command, Keep::All, LIMIT)?;
    output.push_str(&printed);
    let report = printed.lines().rev().find_map(|line| serde_json::from_str::<Report>(line).ok());
    let report = report.with_context(|| format!("the client printed no report ({status})"))?;
    let ok = !report.steps.is_empty() && report.steps.iter().all(|step| step.ok);
    steps.extend(report.steps);
    ensure!(status.success() == ok, "the client's report contradicts its {status}");
    let checked = wire.seen().and_then(|seen| traffic::check(way, scene.gives_ids, &seen));
    let (ok, detail) = checked.map_or_else(|error| (false, format!("{error:#}")), |detail| (true, detail));
    steps.push(Step { name: "wire".to_owned(), ok, detail });
    Ok(())
}
