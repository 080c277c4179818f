//! [`Server`]: a peer as a child process that does not outlive its handle.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{load::Target, machine::Cores, process};

/// How long a server may take to print its URL: it takes milliseconds.
const START: Duration = Duration::from_secs(10);

/// The polling interval of waits: short compared with the measured time until a process ends.
const POLL: Duration = Duration::from_millis(1);

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    target: Target,
}

impl Server {
    /// Starts a server on a free port of the loopback interface, on the server's cores.
    ///
    /// A server that ends with its parent ends with the thread that called this function.
    pub(crate) fn start(mut command: Command, version: &str, cores: &Cores) -> Result<Self> {
        command.args(["--bind", "127.0.0.1:0"]);
        let name = command.get_program().display().to_string();
        // Tells runtimes that ignore the cores of the process how many there are.
        let threads = cores.server.len().max(1).to_string();
        command.env("SMOL_THREADS", &threads).env("ASYNC_STD_THREAD_COUNT", &threads);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            cores.as_server(|| command.spawn()).with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line); // the receiver may be gone; the pipe must not fill up
            }
        });
        let pid = child.id();
        let target = receiver
            .recv_timeout(START)
            .with_context(|| format!("{name} did not print its URL"))
            .and_then(|url| Target::new(url.trim(), version, cores.client_threads()));
        match target {
            Ok(target) => Ok(Self { child, target: Target { pid: Some(pid), ..target } }),
            Err(error) => {
                let _ = child.kill(); // fails only if it has ended
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// What its GET streams send before their first event.
    pub(crate) fn expect_silent_streams(&mut self, silent: bool) {
        self.target.silent_streams = silent;
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Bytes of memory that it uses. Waits until two readings in a row agree to a percent, so that everything just closed
    /// is freed.
    pub(crate) fn resident_bytes(&self) -> Result<f64> {
        let mut last = process::resident_bytes(self.child.id())? as f64;
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(50));
            let now = process::resident_bytes(self.child.id())? as f64;
            if (now - last).abs() <= last / 100.0 {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a process has a number")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Waits until the process has ended after SIGTERM.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("the server had not ended after {limit:?}");
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
