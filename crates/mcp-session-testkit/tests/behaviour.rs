//! The behaviour suite in virtual time, with several seeds, and on a slow machine.

use std::process::ExitCode;

use mcp_session_testkit::{Contended, SimRuntime, behaviour, suite};

fn main() -> ExitCode {
    suite::run([
        behaviour::suite("sim_fifo", || SimRuntime::new(0)),
        behaviour::suite("sim_seed_1", || SimRuntime::new(1)),
        behaviour::suite("sim_seed_2", || SimRuntime::new(2)),
        behaviour::suite("contended_seed_1", || Contended::new(SimRuntime::new(1), 1)),
        behaviour::suite("contended_seed_2", || Contended::new(SimRuntime::new(2), 2)),
        behaviour::suite("contended_seed_3", || Contended::new(SimRuntime::new(3), 3)),
    ])
}
