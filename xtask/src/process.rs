//! Child processes with time limits.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use duct::unix::HandleExt as _;
use tempfile::NamedTempFile;

use crate::workspace::Workspace;

const SIGTERM: i32 = 15;

/// A cold build on two cores takes minutes; this limit only ends a cargo that hangs.
pub(crate) const BUILD: Duration = Duration::from_secs(40 * 60);

/// Why a task cannot run on this machine, through no fault of the project: `test-all` skips the step.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unavailable(pub(crate) String);

/// A command for the cargo that runs this task, in the root of the workspace.
pub(crate) fn cargo<I: AsRef<OsStr>>(workspace: &Workspace, args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(workspace.root());
    command
}

/// Returns what `program --version` prints; fails as [`Unavailable`] without the program.
pub(crate) fn version(command: &mut Command) -> Result<String> {
    let missing = Unavailable(format!("no {}", display(command)));
    let output = command.arg("--version").output().ok().filter(|output| output.status.success());
    Ok(String::from_utf8_lossy(&output.context(missing)?.stdout).trim().to_owned())
}

/// The command line as typed in a shell.
pub(crate) fn display(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(name).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs a command with its output visible; killed after `limit`.
pub(crate) fn run(command: &Command, limit: Duration) -> Result<ExitStatus> {
    Ok(keep(command, Keep::Nothing, limit)?.0)
}

/// Like [`run`], but fails if the command does.
pub(crate) fn succeed(command: &Command, limit: Duration) -> Result<()> {
    let status = run(command, limit)?;
    ensure!(status.success(), "{} ended with {status}", display(command));
    Ok(())
}

/// Runs a command and returns the output that is kept; killed after `limit`.
pub(crate) fn keep(command: &Command, keep: Keep, limit: Duration) -> Result<(ExitStatus, String)> {
    if keep != Keep::All {
        println!("$ {}", display(command));
    }
    let running = Running::start(command, keep)?;
    Ok((running.wait(limit)?, running.output()))
}

/// What is kept of a command's output instead of being shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keep {
    Nothing,
    Stdout,
    /// Also stderr.
    All,
}

/// A running command; killed when dropped.
///
/// Its output goes to a file: a pipe would fill up, and could outlive the command in the hands of its children.
#[derive(Debug)]
pub(crate) struct Running {
    what: String,
    handle: duct::Handle,
    output: NamedTempFile,
}

impl Running {
    pub(crate) fn start(command: &Command, keep: Keep) -> Result<Running> {
        let (what, output) = (display(command), NamedTempFile::new()?);
        let mut expression = duct::cmd(command.get_program(), command.get_args()).unchecked().stdin_null();
        if let Some(directory) = command.get_current_dir() {
            expression = expression.dir(directory);
        }
        for (name, value) in command.get_envs() {
            expression = expression.env(name, value.unwrap_or_default());
        }
        if keep == Keep::All {
            expression = expression.stderr_to_stdout();
        }
        if keep != Keep::Nothing {
            expression = expression.stdout_path(output.path());
        }
        let handle = expression.start().with_context(|| format!("cannot start {what}"))?;
        Ok(Running { what, handle, output })
    }

    /// Waits for its end. Fails, and kills it, after `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended_within(limit)? {
            return Ok(status);
        }
        self.handle.kill()?;
        bail!("{} had not ended after {limit:?} and was killed\n{}", self.what, self.output())
    }

    pub(crate) fn ended_within(&self, limit: Duration) -> Result<Option<ExitStatus>> {
        Ok(self.handle.wait_timeout(limit)?.map(|output| output.status))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.handle.pids()[0]
    }

    pub(crate) fn terminate(&self) -> Result<()> {
        Ok(self.handle.send_signal(SIGTERM)?)
    }

    /// What was kept so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.output.path()).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.handle.kill(); // fails only if it has already ended
        let _ = self.handle.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::{Keep, keep};

    /// Far more than the commands here need and far less than the sleeps in them.
    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn output_and_status_are_passed_on_and_a_hung_command_is_killed() {
        let sh = |script, limit| keep(Command::new("sh").args(["-c", script]), Keep::All, limit);
        let (status, output) = sh("printf 'b\\377'; echo err >&2; exit 3", LIMIT).unwrap();
        assert_eq!((status.code(), output.as_str()), (Some(3), "b\u{fffd}err\n"));
        let start = Instant::now();
        // Its child keeps running and has its output.
        assert!(sh("sleep 60", Duration::ZERO).unwrap_err().to_string().contains("was killed"));
        assert!(start.elapsed() < LIMIT);
    }
}
