//! [`spawn`] starts a child; [`Process`] is what can be waited for and ended; [`Output`] what it says.

use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    pin::pin,
    process::ExitStatus,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{net::unix::pipe, time::Instant};

use super::{
    command::CommandLine,
    input::Input,
    ladder::{Alive, Ladder, LadderBudgets, Outcome, Step},
    lines::{Line, LineSplitter},
    processes::group_runs,
};
use crate::supervisor::orphans::MARK;

/// The number of children that this process has started.
static SPAWNED: AtomicU64 = AtomicU64::new(0);

/// How much is read at once, at least, in bytes. Most messages are shorter, and a busy child has several in it.
const CHUNK: usize = 8 * 1024;

/// The pauses between looks at the group of a child that has ended: nothing tells when its last process ends. 5 ms, then
/// longer, because a look reads all of `/proc`.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// A child that was started.
#[derive(Debug)]
#[non_exhaustive]
pub struct Spawned {
    /// The process and its group.
    pub process: Process,
    /// Its stdin.
    pub input: Input,
    /// Its stdout.
    pub output: Output,
    /// Its stderr.
    pub errors: Output,
}

/// Starts a child with three pipes, in a process group of its own. `extra` are further variables, `longest_line` is the
/// limit of [`Spawned::output`] in bytes. [`Spawned::errors`] has lines of at most 8 KiB. The variable
/// `MCP_SESSION_GATEWAY_CHILD` marks the child and whatever it starts, for the [`supervisor`](crate::supervisor).
///
/// # Errors
///
/// If there is no such program, or no process or descriptor left.
///
/// # Panics
///
/// Outside of a tokio runtime with IO.
pub fn spawn<'a>(
    command: &CommandLine,
    extra: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    longest_line: usize,
) -> io::Result<Spawned> {
    let (stdin, input) = io::pipe()?;
    let (output, stdout) = io::pipe()?;
    let (errors, stderr) = io::pipe()?;
    let input = Input::new(input.into())?;
    let output = Output::new(output.into(), longest_line)?;
    let errors = Output::new(errors.into(), CHUNK)?;
    let mut command = command.to_command(extra);
    let number = SPAWNED.fetch_add(1, Relaxed);
    command.env(MARK, format!("{}.{number}", std::process::id()));
    command.stdin(stdin).stdout(stdout).stderr(stderr).process_group(0);
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let group = id.ok_or_else(|| io::Error::other("the child has no process id"))?;
    let process = Process { child, group, exited: None };
    Ok(Spawned { process, input, output, errors })
}

/// A child and its group. Dropped before it has ended, it is killed.
#[derive(Debug)]
pub struct Process {
    child: tokio::process::Child,
    /// The group, and also the child's own id.
    group: Pid,
    exited: Option<ExitStatus>,
}

impl Process {
    /// The id of the process, which is also that of its group.
    pub fn id(&self) -> u32 {
        self.group.as_raw_pid().unsigned_abs()
    }

    /// Waits until the child itself has ended.
    ///
    /// # Errors
    ///
    /// If the operating system refuses to say.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(exited) = self.exited {
            return Ok(exited);
        }
        let exited = self.child.wait().await?;
        self.exited = Some(exited);
        Ok(exited)
    }

    /// How the child has ended, if [`wait`](Self::wait) has said so.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.exited
    }

    fn alive(&self) -> Alive {
        match self.exited {
            None => Alive::Leader,
            Some(_) if group_runs(self.group) => Alive::Group,
            Some(_) => Alive::Nobody,
        }
    }

    /// Ends the child and its group by the [`Ladder`]. When `hurry` is ready, no rung takes any time.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: start it again, or drop the process, which kills it.
    pub async fn end(
        &mut self,
        input: &Input,
        budgets: LadderBudgets,
        hurry: impl Future<Output = ()>,
    ) -> Outcome {
        let mut ladder = Ladder::new(budgets);
        let mut hurry = pin!(hurry);
        let (mut hurried, mut look) = (false, LOOKS.0);
        loop {
            let alive = self.alive();
            match ladder.next(Instant::now().into_std(), alive) {
                Step::CloseInput => input.close(),
                Step::Terminate => _ = kill_process_group(self.group, Signal::TERM),
                Step::Kill => _ = kill_process_group(self.group, Signal::KILL),
                Step::Done(outcome) => {
                    input.close();
                    return outcome;
                }
                Step::Wait(until) => {
                    let until = Instant::from_std(until);
                    let until = match alive {
                        Alive::Group => until.min(Instant::now() + look),
                        Alive::Leader | Alive::Nobody => until,
                    };
                    look = (look * 2).min(LOOKS.1);
                    tokio::select! {
                        _ = self.wait(), if alive == Alive::Leader => {}
                        () = tokio::time::sleep_until(until) => {}
                        () = &mut hurry, if !hurried => {
                            hurried = true;
                            ladder.hurry(Instant::now().into_std());
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.alive() != Alive::Nobody {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

/// What a child says, in lines.
#[derive(Debug)]
pub struct Output {
    pipe: pipe::Receiver,
    lines: LineSplitter,
    ended: bool,
}

impl Output {
    fn new(pipe: OwnedFd, longest_line: usize) -> io::Result<Self> {
        let pipe = pipe::Receiver::from_owned_fd(pipe)?;
        Ok(Self { pipe, lines: LineSplitter::new(longest_line), ended: false })
    }

    /// The next line. `None` at the end: nobody has the other end of the pipe any more. An error of the pipe is its end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next_line(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.lines.next_line() {
                return Some(line);
            }
            if self.ended {
                return self.lines.rest();
            }
            // While it waits, an idle child has no buffer.
            if self.pipe.readable().await.is_err() {
                self.ended = true;
                continue;
            }
            let space = self.lines.space();
            space.reserve(CHUNK);
            match self.pipe.try_read_buf(space) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => self.ended = true,
            }
        }
    }
}
