//! The laws of a runtime and the behaviour suite, on async-std.

mod bed;

use std::process::ExitCode;

use bed::AsyncStdBed;
use mcp_session_testkit::{behaviour, contract, suite};

fn main() -> ExitCode {
    suite::run([
        contract::suite("async_std_laws", || AsyncStdBed),
        behaviour::suite("async_std", || AsyncStdBed),
    ])
}
