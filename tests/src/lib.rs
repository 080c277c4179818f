//! The suites on every runtime, and tests of a single stack or program.
#![allow(clippy::missing_panics_doc, reason = "a helper that panics fails its test")]

mod beds;
mod caller;
pub mod fuzz;
mod link;
mod process;
mod redis_server;

pub use beds::{PoolBed, SmolBed, TokioBed};
pub use caller::Caller;
pub use link::Link;
pub use process::{Process, choose_executable, executable};
pub use redis_server::{RedisServer, end_redis_servers, free_port, has_redis_server};
