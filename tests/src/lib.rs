//! The suites on every runtime, and tests of a single stack or program.
#![allow(clippy::missing_panics_doc, reason = "a helper that panics fails its test")]

mod beds;
mod caller;
pub mod fuzz;
mod issuer;
mod link;
mod process;
mod redis_server;

use std::process::ExitCode;

pub use beds::{PoolBed, SmolBed, TlsBed, TokioBed, UnixBed};
pub use caller::Caller;
pub use issuer::TestIssuer;
pub use link::Link;
pub use process::{Process, choose_executable, example, executable};
pub use redis_server::{RedisServer, end_redis_servers, free_port, has_redis_server};

/// How a search ends: with success if all was well. An error is printed.
pub fn exit_code(ended: anyhow::Result<bool>) -> ExitCode {
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
