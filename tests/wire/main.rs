//! Every runtime over real loopback sockets, in real time. A test waits for a state, never for a duration.

mod process;

use std::process::ExitCode;

use mcp_session_testkit::{
    suite::{self, Needs},
    wire,
};
use mcp_session_tests::{PoolBed, SmolBed, TlsBed, TokioBed, UnixBed};

const NO_ADDRESS: &str = "the client of a Unix socket has no address";

fn main() -> ExitCode {
    let adapters = [
        wire::suite("tokio", TokioBed::threads),
        wire::suite("smol", SmolBed::new),
        wire::suite("custom", PoolBed::new),
        wire::suite("tls", TlsBed::threads),
        wire::suite("unix", UnixBed::<TokioBed>::new).without(Needs::PeerAddr, NO_ADDRESS),
        wire::suite("smol_unix", UnixBed::<SmolBed>::new).without(Needs::PeerAddr, NO_ADDRESS),
    ];
    suite::run(adapters.into_iter().chain(process::suites()))
}
