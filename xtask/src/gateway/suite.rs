//! The official conformance suite against a server's own Streamable HTTP, and through the gateway against its stdio: the
//! same checks have to succeed. More may: the gateway answers by HTTP itself.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::programs::Programs;
use crate::conformance::{self, Findings};
use crate::process::{Keep, Running};
use crate::workspace::Workspace;
use crate::{installed, table};

/// How long the server may take to start.
const START: Duration = Duration::from_secs(20);

pub(super) fn run(workspace: &Workspace, programs: &Programs) -> Result<bool> {
    let node = installed::node(workspace)?;
    let server = programs.node.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let server = server.display().to_string();
    let (direct, url) = serve(programs, &server)?;
    let gateway = programs.ours("session", &[]).start(&["node".to_owned(), server])?;
    let head = ["suite, revision", "scenarios", "checks that succeed: directly", "through the gateway"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let (mut differences, mut is_worse) = (Vec::new(), false);
    for run in conformance::legacy() {
        let suite = |name: &str, url: &str| conformance::suite(url, &format!("gateway-{name}"), run, &node);
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| suite("direct", &url));
            let other = suite("through", &gateway.url());
            (one.join().expect("it does not panic"), other)
        });
        let (one, other) = (one?.0, other?.0);
        let name = format!("{} {}", run.0, run.2);
        let success = |findings: &Findings| findings.counts.1.to_string();
        rows.push(vec![name.clone(), one.counts.0.to_string(), success(&one), success(&other)]);
        let (one, other): (BTreeSet<_>, BTreeSet<_>) =
            (one.checks.iter().collect(), other.checks.iter().collect());
        // As many checks, and what succeeds without the gateway does with it.
        is_worse |= one.len() != other.len();
        is_worse |= one.difference(&other).any(|check| check.contains(": SUCCESS "));
        differences.extend(one.difference(&other).map(|check| format!("{name}, only directly: {check}")));
        differences
            .extend(other.difference(&one).map(|check| format!("{name}, only through the gateway: {check}")));
    }
    println!("\n{}", table::render(&rows));
    differences.iter().for_each(|line| println!("{line}"));
    gateway.process.terminate()?;
    ensure!(gateway.process.wait(START)?.success(), "the stop: {}", gateway.process.output());
    drop(direct);
    Ok(!is_worse)
}

/// The server with its own Streamable HTTP.
fn serve(programs: &Programs, server: &str) -> Result<(Running, String)> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut command = Command::new("node");
    command.arg("--import").arg(&programs.loopback).args([server, "streamableHttp"]);
    let process = Running::start(command.env("PORT", address.port().to_string()), Keep::All)?;
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        let ended = process.ended_within(Duration::from_millis(20))?;
        ensure!(ended.is_none() && begun.elapsed() < START, "it does not start\n{}", process.output());
    }
    Ok((process, format!("http://{address}/mcp")))
}
