//! [`run`]: one trial.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time,
};

use crate::{
    clients::Clients,
    control::Control,
    draw::{Draw, Moment, Stop},
    judge::{self, Facts},
    seen::{Seen, now},
    server::Server,
};

/// How long anything may take that must happen, beside the times of the trial itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// What a trial has shown.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) draw: Arc<Draw>,
    /// What was wrong: the kind, which a table counts, and the details.
    pub(crate) failures: Vec<(judge::Failure, String)>,
    pub(crate) counts: judge::Counts,
    /// The exit code; `None` for a signal.
    pub(crate) code: Option<i32>,
    /// How far the exit was beyond the ceiling, or beyond the end of a stop that lasted longer.
    pub(crate) beyond: Duration,
    /// How late the control was at that instant.
    pub(crate) control: Duration,
    report: Value,
    log: String,
}

/// Runs a trial. An error of the trial itself is a failure too.
pub(crate) async fn run(draw: Arc<Draw>, directory: PathBuf) -> Verdict {
    match held(&draw, &directory).await {
        Ok(verdict) => verdict,
        Err(error) => Verdict {
            draw,
            failures: vec![(judge::Failure::Trial, format!("{error:#}"))],
            counts: judge::Counts::default(),
            code: None,
            beyond: Duration::ZERO,
            control: Duration::ZERO,
            report: Value::Null,
            log: String::new(),
        },
    }
}

async fn held(draw: &Arc<Draw>, directory: &Path) -> Result<Verdict> {
    let mut server = Server::start(draw, directory)?;
    let mut facts = Facts::default();
    let mut clients = None;
    let mut apart = None;
    let listened = if let Moment::Start(after) = draw.moment {
        time::sleep(after).await;
        None
    } else {
        let address = server.address().await?.context("it ended before it listened")?;
        let idle = server.descriptors()?;
        clients = Some(Clients::start(draw, address));
        apart = match &draw.apart {
            Some((_, stop)) => Some((Apart::start(draw, address)?, *stop)),
            None => None,
        };
        Some(idle)
    };
    match draw.moment {
        Moment::Start(_) => {}
        Moment::Load(load) => time::sleep(load).await,
        Moment::Quiet(load) => {
            time::sleep(load).await;
            if let (Some(clients), Some(idle)) = (&mut clients, listened) {
                if let Err(why) = clients.rest(PATIENCE).await {
                    facts.fail(judge::Failure::Trial, why);
                }
                if let Err(why) = nothing_left(&server, idle).await {
                    facts.fail(judge::Failure::Left, why);
                }
            }
        }
    }

    // Stops that begin before SIGTERM may still last then.
    let early = draw.stop.filter(|stop| stop.at_ms < 0);
    if let Some(stop) = early {
        server.signal(Signal::STOP)?;
        time::sleep(Duration::from_millis(stop.at_ms.unsigned_abs()).min(stop.time)).await;
    }
    facts.term = now();
    let term = Instant::now();
    server.signal(Signal::TERM)?;
    let due = term + draw.due(draw.stop.map_or(Duration::ZERO, Stop::end));
    let control = Control::start(due);
    let continued = OnceLock::new();
    let pid = server.pid();
    let during = async {
        let again = async {
            if let Some(after) = draw.again {
                time::sleep(after).await;
                let _ = kill_process(pid, Signal::TERM); // it may have exited
            }
            std::future::pending::<()>().await;
        };
        let stopped = async {
            match draw.stop {
                Some(stop) if stop.at_ms < 0 => {
                    time::sleep(stop.end()).await;
                    let _ = kill_process(pid, Signal::CONT);
                }
                Some(stop) => stop_for(pid, stop).await,
                None => {}
            }
            let _ = continued.set(Instant::now()); // once
            std::future::pending::<()>().await;
        };
        let apart = async {
            if let Some((apart, stop)) = &apart {
                stop_for(apart.pid, *stop).await;
            }
            std::future::pending::<()>().await;
        };
        futures::join!(again, stopped, apart);
    };
    let limit = draw.ceiling() + PATIENCE;
    let (status, exit) = tokio::select! {
        exit = server.exited(limit) => exit?,
        () = during => unreachable!("it waits forever"),
    };
    facts.exited = now();
    facts.took = exit.saturating_duration_since(term);
    // If it was continued later than planned, it cannot have exited earlier.
    let continued = continued.get().map_or(Duration::ZERO, |at| at.saturating_duration_since(term));
    let due = due.max(term + draw.due(continued));
    facts.beyond = exit.saturating_duration_since(due);
    if facts.beyond > judge::SLACK {
        facts.control = control.late().await;
    }
    facts.status = Some(status);
    let last = server.last_line().await?;
    facts.listened = listened.is_some() || last.starts_with("http");
    facts.report = serde_json::from_str(&last).unwrap_or(Value::Null);
    if let Some(clients) = &mut clients {
        if let Err(why) = clients.server_has_exited(PATIENCE).await {
            facts.fail(judge::Failure::Violation, why);
        }
        facts.seen = clients.seen();
    }
    if let Some((apart, _)) = apart {
        facts.seen.extend(apart.seen().await?);
    }
    let log = match &server.log {
        Some(path) => {
            let log = std::fs::read_to_string(path)?;
            facts.read_log(&log);
            log
        }
        None => String::new(),
    };
    let judged = judge::judge(draw, facts);
    if let (true, Some(path)) = (judged.failures.is_empty(), &server.log) {
        std::fs::remove_file(path)?;
    }
    Ok(Verdict {
        draw: Arc::clone(draw),
        failures: judged.failures,
        counts: judged.counts,
        code: status.code(),
        beyond: judged.beyond,
        control: judged.control,
        report: judged.report,
        log,
    })
}

async fn stop_for(pid: Pid, stop: Stop) {
    time::sleep(Duration::from_millis(stop.at_ms.max(0).unsigned_abs())).await;
    let _ = kill_process(pid, Signal::STOP); // it may have exited
    time::sleep(stop.time).await;
    let _ = kill_process(pid, Signal::CONT);
}

/// Waits until the server has no descriptors more than an idle one.
async fn nothing_left(server: &Server, idle: usize) -> Result<(), String> {
    let mut open = 0;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        open = server.descriptors().map_err(|error| error.to_string())?;
        if open <= idle {
            return Ok(());
        }
        time::sleep(Duration::from_millis(5)).await;
    }
    Err(format!("{open} descriptors are open, and {idle} when it was idle"))
}

/// Clients in a process of their own.
struct Apart {
    child: Child,
    pid: Pid,
}

impl Apart {
    fn start(draw: &Draw, address: std::net::SocketAddr) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(["clients", "--seed", &draw.seed.to_string(), "--address", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .context("a process id")?;
        Ok(Self { child, pid })
    }

    /// Continues it, and waits for what its clients have seen.
    async fn seen(self) -> Result<Vec<Seen>> {
        let _ = kill_process(self.pid, Signal::CONT);
        let output =
            time::timeout(PATIENCE, self.child.wait_with_output()).await.context("clients apart")??;
        serde_json::from_slice(&output.stdout).context("what clients apart have seen")
    }
}

/// The trial, what was wrong, and how to repeat it.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { draw, failures, counts, code, beyond, control, report, log } = self;
        let (adapter, seed) = (draw.adapter.name(), draw.seed);
        writeln!(f, "trial {adapter} {seed}: {draw}")?;
        writeln!(f, "  exit {code:?}, {beyond:?} beyond the ceiling, control {control:?}; {counts:?}")?;
        writeln!(f, "  report {report}")?;
        for (kind, why) in failures {
            writeln!(f, "  FAILED {}: {why}", kind.name())?;
        }
        if !failures.is_empty() {
            let lines: Vec<&str> = log.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(12)) {
                writeln!(f, "  log: {line}")?;
            }
            write!(f, "  again: cargo xtask chaos --adapter {adapter} --seed {seed} --trials 1")?;
        }
        Ok(())
    }
}
