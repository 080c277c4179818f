//! The limit of open files: most systems default to 1,024, too few for both ends of 1,500 connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::Args;

/// Open files other than connections: the listener, those of the runtime, standard streams.
const SPARE: u64 = 64;

/// Raises the soft limit as far as the load needs it.
pub(crate) fn raise(args: &Args) -> Result<(), String> {
    // One connection per session for its GET stream, and one per call; both ends are in this process.
    let needed = 2 * (args.sessions + args.calls) + SPARE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    if let Some(hard) = limit.maximum.filter(|hard| *hard < needed) {
        let fit = hard.saturating_sub(SPARE) / 2 / 3; // two sessions for each call
        return Err(format!(
            "{needed} open files are needed and the hard limit (ulimit -Hn) is {hard}: \
             raise it, or write --sessions {} --calls {}",
            (2 * fit).max(2),
            fit.max(1),
        ));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit })
        .map_err(|error| format!("cannot raise the limit of open files to {needed}: {error}"))
}
