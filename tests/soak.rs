//! Two nodes with a common store, and many clients of every kind, round robin without affinity, in real time: `cargo
//! xtask soak`.
//!
//! Takes the number of seconds and of sessions. Prints what has happened, and exits with 1 after a violation.

use std::{process::ExitCode, time::Duration};

use mcp_session_testkit::behaviour::soak::{Plan, soak};
use mcp_session_tests::TokioBed;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).map_while(|arg| arg.parse::<u32>().ok());
    let (seconds, sessions) = (args.next().unwrap_or(120), args.next().unwrap_or(200));
    let plan = Plan {
        sessions: sessions as usize,
        time: Duration::from_secs(seconds.into()),
        pace: Duration::from_millis(200),
        idle: Duration::from_secs(5),
    };
    let tally = soak(&TokioBed::threads(), plan);
    println!("{seconds} s, {sessions} sessions at a time:\n{tally}");
    ExitCode::from(u8::from(!tally.violations.is_empty()))
}
