//! Sessions that nobody ends: whether their processes, descriptors and memory come back.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::client::Client;
use super::programs::Programs;
use super::tree;
use crate::table;

#[derive(Debug, clap::Args)]
pub(crate) struct Amount {
    /// How many sessions are abandoned
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// How many children may run at once
    #[arg(long, default_value_t = 400)]
    children: usize,
}

/// The idle timeout of the gateway.
const IDLE: Duration = Duration::from_secs(2);

/// Within that much after the idle timeout all children have to be gone.
const SLACK: Duration = Duration::from_secs(30);

/// Clients that open sessions at the same time.
const CLIENTS: usize = 8;

/// How long a client without a place waits.
const AGAIN: Duration = Duration::from_millis(50);

/// How much more memory than after the first tenth of the sessions is memory that comes back: an allocator keeps some.
const KEPT: f64 = 1.5;

pub(super) fn run(programs: &Programs, args: &Amount) -> Result<bool> {
    let children = args.children.to_string();
    let idle = format!("{}s", IDLE.as_secs());
    let gateway = programs.ours("session", &["--idle", &idle, "--max-children", &children]);
    let started = gateway.start(&[programs.child.display().to_string()])?;
    let root = started.process.pid();
    let running = || tree::below(root).into_iter().filter(|&pid| tree::is(pid, &programs.child)).count();
    let head = ["when", "children", "descriptors", "MB resident"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut look = |when: &str| {
        let own = tree::own(root, &programs.child);
        let (descriptors, resident) = (tree::descriptors(&own), tree::memory(&own).resident as f64 / 1e6);
        let cells = [running().to_string(), descriptors.to_string(), format!("{resident:.1}")];
        rows.push([when.to_owned()].into_iter().chain(cells).collect());
        (descriptors, resident)
    };
    // Opens sessions, and forgets them.
    let open = |count: usize| -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = || -> std::io::Result<()> {
            while next.fetch_add(1, Ordering::Relaxed) < count {
                loop {
                    match Client::open(started.address, started.path) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN),
                        opened => break opened.map(drop)?,
                    }
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|it| it.join().expect("it does not panic"))
        })
        .context("a session")
    };
    // All children gone: how long that took.
    let gone = || {
        let begun = Instant::now();
        while running() > 0 && begun.elapsed() < IDLE + SLACK {
            thread::sleep(Duration::from_millis(100));
        }
        (running() == 0).then(|| begun.elapsed())
    };
    look("at start");
    let part = args.sessions / 10;
    open(part)?;
    let first = gone();
    let before = look(&format!("after {part} sessions"));
    let begun = Instant::now();
    open(args.sessions - part)?;
    let took = begun.elapsed();
    look("after the last session");
    let last = gone();
    let after = look(&format!("{} sessions, all idle", args.sessions));
    println!("\n{}", table::render(&rows));
    let seconds = |time: Option<Duration>| {
        time.map_or_else(|| "not".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
    };
    println!(
        "{} sessions in {:.0} s, at most {} at once; all children gone {} after the last (idle timeout {idle})",
        args.sessions - part,
        took.as_secs_f64(),
        args.children,
        seconds(last)
    );
    started.process.terminate()?;
    let status = started.process.wait(Duration::from_secs(20))?;
    let back = after.0 <= before.0 && after.1 <= KEPT * before.1;
    Ok(first.is_some() && last.is_some() && back && status.success())
}
