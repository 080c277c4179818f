//! Every runtime over real loopback sockets, in real time. A test waits for a state, never for a duration.

mod process;

use std::process::ExitCode;

use mcp_session_testkit::{suite, wire};
use mcp_session_tests::{PoolBed, SmolBed, TokioBed};

fn main() -> ExitCode {
    let adapters = [
        wire::suite("tokio", TokioBed::threads),
        wire::suite("smol", SmolBed::new),
        wire::suite("custom", PoolBed::new),
    ];
    suite::run(adapters.into_iter().chain(process::suites()))
}
