//! Memory at the start and of idle sessions, and calls a second on 16 connections, of each gateway and of the bare pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::client::{Client, Outcome, call};
use super::programs::{Gateway, Programs};
use super::tree::{self, Memory};
use crate::table;

/// Idle sessions whose memory is measured.
const IDLE: u32 = 400;

/// Connections that call one after the other, and for how long.
const CONNECTIONS: usize = 16;
const CALLING: Duration = Duration::from_secs(4);

/// For memory to come to rest.
const REST: Duration = Duration::from_millis(500);

/// What was seen of one gateway.
#[derive(Debug)]
struct Seen {
    base: Memory,
    session: f64,
    rate: f64,
    /// The middle of a call's time, on 16 connections and on one, and what one in a hundred exceeds.
    middle: Duration,
    late: Duration,
    alone: Duration,
}

pub(super) fn run(programs: &Programs) -> Result<bool> {
    let head = [
        "gateway",
        "RSS at start",
        "PSS",
        "KB a session",
        "echo/s",
        "p50 of 16",
        "p99",
        "p50 alone",
        "our echo/s are",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let (pipes, alone) = (pipe(programs, CONNECTIONS)?, pipe(programs, 1)?);
    let ms = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
    rows.push(
        ["bare pipes", "-", "-", "-", &format!("{:.0}", pipes.0), &ms(pipes.1), "-", &ms(alone.1), "-"]
            .map(str::to_owned)
            .to_vec(),
    );
    let ours = ["session", "shared", "request"].map(|mode| programs.ours(mode, &[]));
    let mut first = None;
    let mut all_ok = true;
    for (is_ours, gateway) in
        ours.iter().map(|it| (true, it)).chain(programs.others().iter().map(|it| (false, it)))
    {
        let mut row = vec![gateway.name.clone()];
        match measure(programs, gateway) {
            Ok(seen) => {
                let first = *first.get_or_insert(seen.rate);
                row.extend([
                    format!("{:.1} MB", seen.base.resident as f64 / 1e6),
                    format!("{:.1} MB", seen.base.proportional as f64 / 1e6),
                    format!("{:.1}", seen.session / 1e3),
                    format!("{:.0}", seen.rate),
                    ms(seen.middle),
                    ms(seen.late),
                    ms(seen.alone),
                    format!("{:.1} times", first / seen.rate),
                ]);
            }
            Err(error) => {
                all_ok &= !is_ours;
                row.push(format!("{error:#}").replace('\n', " "));
            }
        }
        println!("{}", row.join("  "));
        rows.push(row);
    }
    println!("\n{}", table::render(&rows));
    Ok(all_ok)
}

fn measure(programs: &Programs, gateway: &Gateway) -> Result<Seen> {
    let server = [programs.child.display().to_string()];
    let started = gateway.start(&server)?;
    thread::sleep(REST);
    let own = || tree::own(started.process.pid(), &programs.child);
    let base = tree::memory(&own());
    let idle = |count| (0..count).try_for_each(|_| started.client().map(drop));
    // The first ones also pay for what all share.
    idle(IDLE / 4)?;
    thread::sleep(REST);
    let before = tree::memory(&own()).resident as f64;
    // Their connections are closed, as those of clients that wait for their users are after a while.
    idle(IDLE)?;
    thread::sleep(REST);
    let session = (tree::memory(&own()).resident as f64 - before) / f64::from(IDLE);
    // Started again: the children of the idle sessions end after a minute.
    drop(started);
    let started = gateway.start(&server)?;
    let open = |count| (0..count).map(|_| started.client()).collect::<Result<Vec<_>>>();
    let (mut one, clients) = (open(1)?, open(CONNECTIONS)?);
    let mut alone = echo(&mut one[0], CALLING / 4)?;
    let begun = Instant::now();
    let threads: Vec<_> =
        clients.into_iter().map(|mut client| thread::spawn(move || echo(&mut client, CALLING))).collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().expect("it does not panic")?);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    started.process.terminate()?;
    let _ = started.process.ended_within(Duration::from_secs(5))?;
    Ok(Seen {
        base,
        session,
        rate,
        middle: at(50, &mut times),
        late: at(99, &mut times),
        alone: at(50, &mut alone),
    })
}

/// Calls `echo` for a while; the time of each call.
fn echo(client: &mut Client, during: Duration) -> Result<Vec<Duration>> {
    let message = call(1, "echo", &json!({ "text": "hello" }));
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < during {
        let start = Instant::now();
        let reply = client.request(&message)?;
        times.push(start.elapsed());
        // The first and every hundredth is read, so that reading is not what is measured.
        let is_answer = times.len() % 100 != 1 || reply.outcome(1) == Outcome::Result;
        ensure!(
            reply.status == 200 && is_answer,
            "{} {:?}",
            reply.status,
            String::from_utf8_lossy(&reply.body)
        );
    }
    Ok(times)
}

/// What that many percent of the times do not exceed.
fn at(percent: usize, times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

/// The same through the pipes of `count` children, without a gateway: calls a second, and the middle of a call's time.
fn pipe(programs: &Programs, count: usize) -> Result<(f64, Duration)> {
    let mut children = Vec::new();
    let mut threads = Vec::new();
    let begun = Instant::now();
    for _ in 0..count {
        let mut child = Command::new(&programs.child).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take().context("piped")?, child.stdout.take().context("piped")?);
        threads.push(thread::spawn(move || ask(stdin, BufReader::new(stdout))));
        children.push(child);
    }
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().expect("it does not panic")?);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    for mut child in children {
        child.wait()?; // its stdin is closed
    }
    Ok((rate, at(50, &mut times)))
}

fn ask(mut stdin: ChildStdin, mut stdout: BufReader<ChildStdout>) -> Result<Vec<Duration>> {
    let message = call(1, "echo", &json!({ "text": "hello" })) + "\n";
    let (begun, mut times, mut line) = (Instant::now(), Vec::new(), String::new());
    while begun.elapsed() < CALLING / 2 {
        let start = Instant::now();
        stdin.write_all(message.as_bytes())?;
        line.clear();
        stdout.read_line(&mut line)?;
        times.push(start.elapsed());
        ensure!(line.contains("result"), "{line:?}");
    }
    Ok(times)
}
