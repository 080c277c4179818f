//! The wire suite, on async-std.

mod bed;

use std::process::ExitCode;

use bed::AsyncStdBed;
use mcp_session_testkit::{
    suite::{self, Needs},
    wire,
};

fn main() -> ExitCode {
    suite::run([wire::suite("async_std", || AsyncStdBed).without(Needs::Http2, "it speaks HTTP/1 only")])
}
