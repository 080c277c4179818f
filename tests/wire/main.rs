//! Every runtime over real loopback sockets, in real time. A test waits for a state, never for a duration.

mod closing;
mod process;
mod services;

use mcp_session_testkit::wire_suite;
use mcp_session_tests::{PoolBed, SmolBed, TokioBed};

wire_suite!(tokio, TokioBed::threads());
wire_suite!(smol, SmolBed::new());
wire_suite!(custom, PoolBed::new());
