//! [`Server`]: `everything` as a process, with the stderr and the limits of a trial.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use mcp_session_tests::executable;
use rustix::{
    pipe::{self, fcntl_setpipe_size},
    process::{Pid, Signal, kill_process},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::ChildStdout,
    sync::oneshot,
    time,
};

use crate::draw::{Adapter, Draw, Stderr};

/// The smallest size of a pipe: a page.
const PIPE: usize = 4_096;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pid: Pid,
    /// The end of the process, and when it was.
    exit: oneshot::Receiver<(io::Result<ExitStatus>, Instant)>,
    has_exited: bool,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where its log is, if it is readable.
    pub(crate) log: Option<PathBuf>,
    /// The reading end of a full pipe.
    _unread: Option<OwnedFd>,
}

impl Server {
    /// Starts it without a log, and waits until it listens.
    pub(crate) async fn quiet(adapter: Adapter, args: &[&str]) -> Result<(Self, SocketAddr)> {
        let mut command = Command::new(executable());
        command.args(["--runtime", adapter.name(), "--bind", "127.0.0.1:0", "--report", "json"]).args(args);
        // One heap, so that the memory does not depend on which thread has freed what.
        command.env("MALLOC_ARENA_MAX", "1");
        command.env("RUST_LOG", "off").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Self::of(command.spawn().context("the server")?)?;
        let address = server.address().await?.context("it ended before it listened")?;
        Ok((server, address))
    }

    fn of(mut child: Child) -> Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        let stdout = ChildStdout::from_std(child.stdout.take().context("stdout is piped")?)?;
        let (ended, exit) = oneshot::channel();
        // A thread of its own: the tasks of clients must not delay the time of the exit.
        thread::spawn(move || {
            let status = child.wait();
            let _ = ended.send((status, Instant::now())); // the trial may have failed
        });
        let lines = BufReader::new(stdout).lines();
        Ok(Self { pid, exit, has_exited: false, lines, log: None, _unread: None })
    }

    /// Starts the server of a trial. It does not listen yet.
    pub(crate) fn start(draw: &Draw, directory: &Path) -> Result<Self> {
        let mut command = command(draw);
        let (mut log, mut unread) = (None, None);
        command.stderr(match draw.stderr {
            Stderr::File => {
                let path = directory.join(format!("{}-{}.log", draw.adapter.name(), draw.seed));
                let file = File::create(&path)?;
                log = Some(path);
                Stdio::from(file)
            }
            Stderr::Gone => Stdio::from(pipe::pipe()?.1),
            Stderr::Full => {
                let (read, write) = pipe::pipe()?;
                fcntl_setpipe_size(&write, PIPE)?;
                ensure!(rustix::io::write(&write, &[b'x'; PIPE])? == PIPE, "the pipe was not empty");
                unread = Some(read);
                Stdio::from(write)
            }
            Stderr::Closed => Stdio::null(), // closed by the shell
        });
        let mut server = Self::of(command.spawn().context("the server")?)?;
        (server.log, server._unread) = (log, unread);
        Ok(server)
    }

    /// Waits until it listens. Returns `None` if it ended before.
    pub(crate) async fn address(&mut self) -> Result<Option<SocketAddr>> {
        let line = time::timeout(Duration::from_secs(30), self.lines.next_line()).await??;
        let Some(url) = line else { return Ok(None) };
        let address = url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let address = address.with_context(|| format!("the first line is no URL: {url}"))?;
        Ok(Some(address.parse()?))
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    /// The number of open descriptors.
    pub(crate) fn descriptors(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.pid.as_raw_nonzero()))?.count())
    }

    /// Bytes of memory that it uses.
    pub(crate) fn resident(&self) -> Result<u64> {
        // The rollup is exact, while `status` lags by some pages per thread.
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid.as_raw_nonzero()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).context("a line Rss")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Waits for its end. Also returns when that was. Fails after `limit`.
    pub(crate) async fn exited(&mut self, limit: Duration) -> Result<(ExitStatus, Instant)> {
        let exit = time::timeout(limit, &mut self.exit).await;
        let (status, at) = exit.with_context(|| format!("it had not exited after {limit:?}"))??;
        self.has_exited = true;
        Ok((status?, at))
    }

    /// The rest of its output, once it has ended.
    pub(crate) async fn last_line(&mut self) -> Result<String> {
        let mut last = String::new();
        while let Some(line) = self.lines.next_line().await? {
            last = line;
        }
        Ok(last)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.has_exited {
            let _ = kill_process(self.pid, Signal::KILL); // fails only if it has just ended
        }
    }
}

fn command(draw: &Draw) -> Command {
    let ms = |time: Duration| format!("{}ms", time.as_millis());
    let mut shell = String::new();
    if let Some(descriptors) = draw.descriptors {
        shell = format!("ulimit -n {descriptors}; ");
    }
    if draw.stderr == Stderr::Closed {
        shell += "exec 2>&-; ";
    }
    let mut command = if shell.is_empty() {
        Command::new(executable())
    } else {
        let mut command = Command::new("sh");
        command.arg("-c").arg(shell + "exec \"$0\" \"$@\"").arg(executable());
        command
    };
    command.args(["--runtime", draw.adapter.name(), "--bind", "127.0.0.1:0", "--report", "json"]);
    command.args(["--lame-duck", &ms(draw.lame_duck), "--grace", &ms(draw.grace)]);
    command.args(["--cancel", &ms(draw.cancel), "--finish", &ms(draw.finish)]);
    command.env("RUST_LOG", "mcp_session_core=debug,error");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}
