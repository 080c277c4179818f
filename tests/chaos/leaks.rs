//! `cargo xtask leaks`: the memory of a server after some sessions, exchanges and listeners, and after ten times as many.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use mcp_session_testkit::wire::{Connection, End};
use mcp_session_tests::Caller;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinSet, time};

use crate::{draw::Adapter, server::Server};

/// The number of clients at a time.
const CLIENTS: u64 = 16;

/// The number of open listeners at a time.
const LISTENERS: u64 = 100;

/// Growth up to this is none.
const ALLOWED: f64 = 0.05;

/// How long an unused session lives here, and how long one may take until its first use.
const IDLE: Duration = Duration::from_secs(1);

/// The limit of anything that must happen.
const LIMIT: Duration = Duration::from_secs(60);

/// What is done many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// Sessions that are opened, used and ended: deleted, expired, expired without a first use, deleted during a call, left
    /// by a client that cuts its GET stream and its call.
    Sessions,
    /// Exchanges of a legacy revision without a session, and every tenth is cut.
    Stateless,
    /// The same of 2026-07-28.
    Modern,
    /// `subscriptions/listen`.
    Listeners,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Stateless => "stateless exchanges",
            Self::Modern => "modern exchanges",
            Self::Listeners => "listeners",
        }
    }
}

/// Measures, and prints a line for each load and adapter. Returns `true` if nothing has grown.
pub(crate) async fn run(adapters: &[Adapter], loads: &[Load], count: u64) -> Result<bool> {
    let mut flat = true;
    println!(
        "{:<11}{:<21}{:>10}{:>13}{:>13}{:>9}",
        "adapter", "load", "count", "after 1/10", "after all", ""
    );
    for &adapter in adapters {
        for &load in loads {
            let begun = Instant::now();
            let (few, all) = measure(adapter, load, count)
                .await
                .with_context(|| format!("{} of {}", load.name(), adapter.name()))?;
            let growth = all as f64 / few as f64 - 1.0;
            flat &= growth <= ALLOWED;
            let megabytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
            println!(
                "{:<11}{:<21}{count:>10}{:>13}{:>13}{:>8.1} %  {:.0} s{}",
                adapter.name(),
                load.name(),
                megabytes(few),
                megabytes(all),
                growth * 100.0,
                begun.elapsed().as_secs_f64(),
                if growth <= ALLOWED { "" } else { "  GROWS" },
            );
        }
    }
    Ok(flat)
}

/// The memory after a tenth, and after all.
async fn measure(adapter: Adapter, load: Load, count: u64) -> Result<(u64, u64)> {
    let ms = format!("{}ms", IDLE.as_millis());
    let (mut server, address) = Server::quiet(adapter, &["--idle", &ms, "--first-use", &ms]).await?;
    let idle = server.descriptors()?;
    perform(address, load, 0..count / 10).await?;
    let few = settled(&server, idle).await?;
    perform(address, load, count / 10..count).await?;
    let all = settled(&server, idle).await?;
    server.signal(rustix::process::Signal::TERM)?;
    let (status, _) = server.exited(LIMIT).await?;
    let report: serde_json::Value = serde_json::from_str(&server.last_line().await?)?;
    ensure!(status.success(), "{status}, {report}");
    // All have ended, so the shutdown finds none.
    let left = (&report["sessions"], &report["exchanges"]["total"], &report["streams"]["total"]);
    ensure!(left == (&json!(0), &json!(0), &json!(0)), "left behind: {report}");
    Ok((few, all))
}

/// The memory once all connections are closed and all sessions have expired, and two readings in a row agree.
async fn settled(server: &Server, idle: usize) -> Result<u64> {
    let begun = Instant::now();
    while server.descriptors()? > idle {
        ensure!(
            begun.elapsed() < LIMIT,
            "{} descriptors are open, and {idle} at first",
            server.descriptors()?
        );
        time::sleep(Duration::from_millis(10)).await;
    }
    // The sessions expire by the clock alone: nothing that could be waited for says so.
    time::sleep(4 * IDLE).await;
    let mut last = server.resident()?;
    while begun.elapsed() < LIMIT {
        time::sleep(Duration::from_millis(500)).await;
        let now = server.resident()?;
        if now.abs_diff(last) <= last / 500 {
            return Ok(now);
        }
        last = now;
    }
    bail!("the memory does not settle")
}

async fn perform(address: SocketAddr, load: Load, numbers: std::ops::Range<u64>) -> Result<()> {
    let mut tasks = JoinSet::new();
    let clients = if load == Load::Listeners { LISTENERS } else { CLIENTS };
    for client in 0..clients {
        let numbers = numbers.clone().skip(client as usize).step_by(clients as usize);
        tasks.spawn(async move {
            let mut line = None;
            for number in numbers {
                one(address, load, number, &mut line).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn one(address: SocketAddr, load: Load, number: u64, line: &mut Option<Connection>) -> Result<()> {
    let message = json!({ "message": "x" });
    let steps = json!({ "steps": 100, "interval_ms": 20 });
    let caller = match load {
        Load::Sessions => return session(address, number, line).await,
        Load::Stateless => Caller::Stateless,
        Load::Modern => Caller::Modern,
        Load::Listeners => {
            let params = json!({ "notifications": { "toolsListChanged": true } });
            let request = Caller::Modern.request(address, number, "subscriptions/listen", params);
            let mut connection = open(address).await?;
            connection.write(request).await?;
            ensure!(connection.head().await.map_err(ended)?.status == 200, "a listener was refused");
            connection.message().await.map_err(ended)?;
            return Ok(()); // it is cut
        }
    };
    if number % 10 == 0 {
        return cut(address, &caller.tool(address, number, "slow", &steps, true)).await;
    }
    expect(address, line, &caller.tool(address, number, "echo", &message, false), 200).await.map(drop)
}

/// A session, and one of the ways in which it ends.
async fn session(address: SocketAddr, number: u64, line: &mut Option<Connection>) -> Result<()> {
    let nobody = Caller::Session(String::new());
    let session = expect(address, line, &nobody.initialize(address, 0, &json!({})), 200).await?;
    let caller = Caller::Session(session.context("a session id")?);
    if number % 5 == 0 {
        return Ok(()); // never used
    }
    expect(address, line, &caller.initialized(address), 202).await?;
    let echo = caller.tool(address, 1, "echo", &json!({ "message": "x" }), false);
    expect(address, line, &echo, 200).await?;
    let slow = caller.tool(address, 2, "slow", &json!({ "steps": 3, "interval_ms": 1 }), true);
    match number % 5 {
        1 => Ok(()), // expires
        2 => {
            // Its client is gone, in the middle of a call and of its GET stream.
            cut(address, &caller.bare(address, "GET")).await?;
            cut(address, &slow).await
        }
        3 => {
            let hang = caller.tool(address, 3, "hang", &json!({}), true);
            let mut call = open(address).await?;
            call.write(hang).await?;
            expect(address, line, &caller.bare(address, "DELETE"), 204).await?;
            // Deleted before or during the call.
            let head = call.head().await.map_err(ended)?;
            ensure!(matches!(head.status, 200 | 404), "status {}", head.status);
            Ok(())
        }
        _ => {
            expect(address, line, &slow, 200).await?;
            expect(address, line, &caller.bare(address, "DELETE"), 204).await.map(drop)
        }
    }
}

/// Sends a request, waits for the beginning of its response, and cuts the connection.
async fn cut(address: SocketAddr, request: &str) -> Result<()> {
    let mut connection = open(address).await?;
    connection.write(request).await?;
    ensure!(connection.head().await.map_err(ended)?.status == 200, "it was refused");
    Ok(())
}

/// Sends a request on the kept connection, and requires this status. Returns the session id, if there is one.
async fn expect(
    address: SocketAddr,
    line: &mut Option<Connection>,
    request: &str,
    status: u16,
) -> Result<Option<String>> {
    let mut connection = match line.take() {
        Some(connection) => connection,
        None => open(address).await?,
    };
    connection.write(request).await?;
    let head = connection.head().await.map_err(ended)?;
    let (body, end) = connection.rest().await;
    let well = head.status == status && matches!(end, End::Complete | End::LastChunk);
    ensure!(well, "status {} and not {status}, {end:?}: {}", head.status, String::from_utf8_lossy(&body));
    *line = Some(connection);
    Ok(head.get("mcp-session-id").map(str::to_owned))
}

async fn open(address: SocketAddr) -> Result<Connection> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(Connection::over(socket))
}

fn ended(end: End) -> anyhow::Error {
    anyhow::anyhow!("the connection ended: {end:?}")
}
