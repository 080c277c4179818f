//! [`Redis`]: a `redis-server` of our own, and what it counts.

use std::{
    collections::HashMap,
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use redis::Connection;

use crate::machine::Cores;

/// How long one may take to start, on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A `redis-server` without persistence on a free port, in the directory for temporary files; killed when dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    port: u16,
    child: Child,
}

/// What a Redis has counted since it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    /// Seconds of processor time.
    pub(crate) cpu: f64,
    /// Calls of scripts, and the seconds that they took, without reading requests and writing replies.
    pub(crate) scripts: f64,
    pub(crate) script_seconds: f64,
    /// Blocking reads.
    pub(crate) reads: f64,
    /// Times that a socket was read and written.
    pub(crate) socket_reads: f64,
    pub(crate) socket_writes: f64,
    /// Bytes in use.
    pub(crate) memory: f64,
    /// Connections, without that which asks.
    pub(crate) clients: f64,
}

/// Whether there is a `redis-server`.
pub(crate) fn is_installed() -> bool {
    let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet(Command::new("redis-server").arg("--version")).is_ok_and(|status| status.success())
}

impl Redis {
    /// Starts one with these options, on the cores of the server.
    pub(crate) fn start(options: &[&str], cores: &Cores) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // Ends with this process, as the servers do.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server", "--port", &port.to_string()]);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--dir").arg(std::env::temp_dir()).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = cores.as_server(|| command.spawn()).context("cannot start redis-server with setpriv")?;
        let this = Self { port, child };
        let (begun, ours) = (Instant::now(), format!("process_id:{}\r\n", this.child.id()));
        // Another server on this port would spoil the figures.
        while !this.info().is_ok_and(|info| info.contains(&ours)) {
            ensure!(begun.elapsed() < START, "no redis-server at port {port} after {START:?}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(this)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn counters(&self) -> Result<Counters> {
        Counters::parse(&self.info()?)
    }

    fn info(&self) -> Result<String> {
        Ok(redis::cmd("INFO").arg("everything").query(&mut self.connection()?)?)
    }

    fn connection(&self) -> Result<Connection> {
        Ok(redis::Client::open(self.url())?.get_connection()?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Counters {
    fn parse(info: &str) -> Result<Self> {
        let fields: HashMap<&str, &str> =
            info.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let field = |name: &str| {
            let value = fields.get(name).and_then(|value| value.parse::<f64>().ok());
            value.with_context(|| format!("INFO without {name}"))
        };
        // `calls=3,usec=12,..`; absent before the first call.
        let command = |name: &str, key: &str| {
            let parts = fields.get(&*format!("cmdstat_{name}")).copied().unwrap_or_default().split(',');
            let mut parts = parts.filter_map(|part| part.split_once('='));
            parts.find(|(name, _)| *name == key).and_then(|(_, value)| value.parse().ok()).unwrap_or(0.0)
        };
        Ok(Self {
            cpu: field("used_cpu_user")? + field("used_cpu_sys")?,
            scripts: command("evalsha", "calls"),
            script_seconds: command("evalsha", "usec") / 1e6,
            reads: command("xread", "calls"),
            socket_reads: field("total_reads_processed")?,
            socket_writes: field("total_writes_processed")?,
            memory: field("used_memory")?,
            clients: field("connected_clients")? - 1.0,
        })
    }
}

/// The difference of two moments for each of some events, in microseconds or as a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PerEvent {
    pub(crate) cpu: f64,
    pub(crate) script_time: f64,
    pub(crate) scripts: f64,
    pub(crate) reads: f64,
    pub(crate) socket_reads: f64,
    pub(crate) socket_writes: f64,
}

impl PerEvent {
    pub(crate) fn of([before, after]: [Counters; 2], events: f64) -> Self {
        let each = |field: fn(&Counters) -> f64| (field(&after) - field(&before)) / events.max(1.0);
        Self {
            cpu: each(|it| it.cpu) * 1e6,
            script_time: each(|it| it.script_seconds) * 1e6,
            scripts: each(|it| it.scripts),
            reads: each(|it| it.reads),
            socket_reads: each(|it| it.socket_reads),
            socket_writes: each(|it| it.socket_writes),
        }
    }
}
