//! Child processes: live output, time limits, and SIGTERM.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The polling interval of waiting loops: short compared with the limits here, long compared with the cost of a poll.
const POLL: Duration = Duration::from_millis(20);

/// A command for the cargo that runs this task, with colours on a terminal.
pub(crate) fn cargo<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command.args(args);
    command
}

/// The command line as typed in a shell.
pub(crate) fn display(command: &Command) -> String {
    let name = std::path::Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(name).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs a command, prints its output as it arrives and passes each line of its stdout to `on_line`.
///
/// Fails if the command cannot be started or has not ended within `limit`; then it is killed.
pub(crate) fn stream(
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<ExitStatus> {
    stream_quietly(command, limit, |line| {
        println!("{line}");
        on_line(line);
    })
}

/// Like [`stream`], but does not print stdout, which is not meant for people; stderr is still printed.
pub(crate) fn stream_quietly(
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<ExitStatus> {
    let what = display(command);
    println!("$ {what}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Reaped(child.with_context(|| format!("cannot start {what}"))?);
    let deadline = Instant::now() + limit;
    let lines = lines_of(child.0.stdout.take().context("stdout is piped")?);
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Timeout) => bail!("{what} had not ended after {limit:?} and was killed"),
            Err(RecvTimeoutError::Disconnected) => return child.wait_until(deadline, &what),
        }
    }
}

/// Runs a command silently and returns its output; killed after `limit`.
pub(crate) fn capture(command: &mut Command, limit: Duration) -> Result<Output> {
    let what = display(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Reaped(command.spawn().with_context(|| format!("cannot start {what}"))?);
    let stdout = lines_of(child.0.stdout.take().context("stdout is piped")?);
    let stderr = lines_of(child.0.stderr.take().context("stderr is piped")?);
    let status = child.wait_until(Instant::now() + limit, &what)?;
    let joined = |lines: mpsc::Receiver<String>| lines.iter().collect::<Vec<_>>().join("\n").into_bytes();
    Ok(Output { status, stdout: joined(stdout), stderr: joined(stderr) })
}

/// The lines of a pipe, read by a thread so that waiting for a line can have a limit.
pub(crate) fn lines_of(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        // Bytes, not `lines()`: output that is not UTF-8 must not stop the reader, or the child would block.
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    lines
}

/// A child that does not outlive its handle.
#[derive(Debug)]
pub(crate) struct Reaped(pub(crate) Child);

impl Reaped {
    /// Waits until the child ends. If it has not ended by `deadline`, kills it and returns an error.
    pub(crate) fn wait_until(&mut self, deadline: Instant, what: &str) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{what} had not ended in time and was killed");
            }
            thread::sleep(POLL);
        }
    }

    /// Sends SIGTERM. Through the shell, whose built-in `kill` exists where no `kill` program does.
    pub(crate) fn terminate(&self) -> Result<()> {
        let pid = self.0.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -s TERM \"$1\"", "sh", &pid]).status()?;
        anyhow::ensure!(status.success(), "kill -s TERM {pid} failed");
        Ok(())
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only if the child has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::{capture, stream};

    /// Far more than the commands here need and far less than the sleeps in them.
    const LIMIT: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_and_status_are_passed_on() {
        let mut lines = Vec::new();
        let status =
            stream(&mut sh("echo a; printf 'b\\377'; exit 3"), LIMIT, |line| lines.push(line.to_owned()));
        assert_eq!(status.unwrap().code(), Some(3));
        assert_eq!(lines, ["a", "b\u{fffd}"]);
        let output = capture(&mut sh("echo out; echo err >&2"), LIMIT).unwrap();
        assert_eq!((output.stdout, output.stderr), (b"out".to_vec(), b"err".to_vec()));
    }

    #[test]
    fn a_hung_command_is_killed() {
        let start = Instant::now();
        let error = stream(&mut sh("exec sleep 60"), Duration::ZERO, |_| {}).unwrap_err();
        assert!(error.to_string().contains("was killed"), "{error}");
        assert!(capture(&mut sh("exec sleep 60"), Duration::ZERO).is_err());
        assert!(start.elapsed() < LIMIT);
    }
}
