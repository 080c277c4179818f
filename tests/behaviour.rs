//! The laws of a runtime and the behaviour suite, on every runtime that has an adapter, and on one that has none.
//!
//! Each suite is named after its runtime, and its laws `<name>_laws`: `cargo xtask test-all` counts them by these names.

use std::process::ExitCode;

use mcp_session_testkit::{behaviour, contract, suite};
use mcp_session_tests::{PoolBed, SmolBed, TokioBed};

fn main() -> ExitCode {
    suite::run([
        contract::suite("tokio_paused_laws", TokioBed::paused),
        contract::suite("tokio_threads_laws", TokioBed::threads),
        contract::suite("smol_laws", SmolBed::new),
        contract::suite("custom_laws", PoolBed::new),
        behaviour::suite("tokio_paused", TokioBed::paused),
        behaviour::suite("tokio_threads", TokioBed::threads),
        behaviour::suite("smol", SmolBed::new),
        behaviour::suite("custom", PoolBed::new),
    ])
}
