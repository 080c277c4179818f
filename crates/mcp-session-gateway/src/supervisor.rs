//! The parent of the gateway: it outlives it, and ends whatever is left.
//!
//! A gateway that is killed cannot end its children, and a process that has left its group and its session cannot be found
//! by either. So the program starts itself once more: the first process is the supervisor, which does nothing but wait; the
//! second is the gateway. The supervisor is the *subreaper* (`PR_SET_CHILD_SUBREAPER`): the kernel gives it every process
//! below it whose parent has died, wherever it has moved. So nothing gets lost, no list of process ids is kept, and no id can
//! be one that was used again.
//!
//! | what happens | what is done |
//! |---|---|
//! | a signal to the supervisor (TERM, INT, HUP, QUIT, USR1, USR2) | the gateway gets it |
//! | a process below it dies without a parent | it is reaped: the supervisor is also a correct PID 1 |
//! | a child of the gateway has ended and left processes behind, in a session of their own | they get SIGTERM, then SIGKILL ([`orphans`]) |
//! | the gateway ends | what is left gets SIGTERM soon after, then SIGKILL |
//! | the gateway is killed | its children read the end of their stdin, then the same |
//! | the supervisor is killed | the gateway gets SIGTERM, by [`follow`] |
//!
//! **On macOS** and wherever else there is no subreaper, processes that stay in their child's group end with it, by the ladder
//! of the gateway. If the gateway is killed, children end if they obey the end of their stdin, as the specification wants them
//! to. What has left its group, and a child that ignores the end of its stdin, stay.

pub(crate) mod orphans;
mod sweep;

use std::{
    io,
    os::unix::process::CommandExt,
    process::Command,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, wait},
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::Signals,
};

use self::orphans::Orphans;
use crate::child::ladder::LadderBudgets;

/// The variable that tells a gateway which process is its supervisor.
const SUPERVISOR: &str = "MCP_SESSION_GATEWAY_SUPERVISOR";

/// The signals that are passed on.
const PASSED_ON: [i32; 6] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// How long what is left has after SIGTERM, if the gateway has ended by itself. 150 ms: it has had the ladder of its child, and
/// the gateway's own deadline has come.
const LEFT: Duration = Duration::from_millis(150);

/// Whether this process was started by [`supervise`].
pub fn is_supervised() -> bool {
    let supervisor = std::env::var(SUPERVISOR).ok().and_then(|pid| pid.parse().ok());
    supervisor.is_some() && supervisor == getppid().map(Pid::as_raw_pid)
}

/// In the gateway: from now on SIGTERM comes if the supervisor dies. Call it from the main thread, early.
///
/// # Errors
///
/// If the supervisor has died already, or the operating system refuses. On macOS it does nothing.
pub fn follow() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        if !is_supervised() {
            return Err(io::Error::other("the supervisor has gone"));
        }
    }
    Ok(())
}

/// Starts the gateway, waits for its end, ends what is left, and returns the exit code: that of the gateway, or 128 and the
/// number of the signal that has ended it. `budgets` are those of the children, for a gateway that was killed.
///
/// Call it from the main thread, before any other is started: it blocks, and takes all signals.
///
/// # Errors
///
/// If the gateway does not start.
pub fn supervise(mut gateway: Command, budgets: LadderBudgets) -> io::Result<u8> {
    let own = getpid();
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(own))?;
    let events = listen()?;
    // A group of its own: what is typed at the terminal reaches it once, from here.
    gateway.env(SUPERVISOR, own.as_raw_pid().to_string()).process_group(0);
    let gateway = gateway.spawn()?.id();
    let gateway = Pid::from_raw(gateway.cast_signed()).ok_or_else(|| io::Error::other("no process id"))?;
    let status = wait_for(gateway, own, &events);
    let (code, budgets) = match status.and_then(WaitStatus::exit_status) {
        Some(code) => (code, LadderBudgets::new(Duration::ZERO, LEFT.min(budgets.terminate))),
        None => (128 + status.and_then(WaitStatus::terminating_signal).unwrap_or_default(), budgets),
    };
    let left = sweep::sweep(own, budgets);
    if left > 0 {
        eprintln!("mcp-session-gateway: {left} processes do not end");
    }
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The signals, as they come.
fn listen() -> io::Result<mpsc::Receiver<i32>> {
    let mut signals = Signals::new(PASSED_ON.iter().chain(&[SIGCHLD]))?;
    let (sender, events) = mpsc::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(events)
}

/// Passes signals on and reaps, until the gateway has ended. `None` if it cannot be said how.
fn wait_for(gateway: Pid, own: Pid, events: &mpsc::Receiver<i32>) -> Option<WaitStatus> {
    let mut orphans = Orphans::new(Instant::now());
    loop {
        let event = events.recv_timeout(orphans.next_look().saturating_duration_since(Instant::now()));
        match event {
            Ok(signal) if signal != SIGCHLD => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    let _ = kill_process(gateway, signal);
                }
                continue;
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == gateway => return Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return None, // no child at all
            }
        }
        orphans.look(Instant::now(), own, gateway);
    }
}
