//! The shared code of the benchmark's servers: their command line, the tools, and the canned answers of those without a
//! session layer.

#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "tests match what they get without a wildcard"
)]

mod args;
mod canned;
mod clock;
pub mod contention;
mod parsing;
mod runtime;
pub mod shared;
mod tools;
pub mod work;

pub use args::{ServerArgs, raise_open_files};
pub use canned::{Asked, Canned, CannedBody, Reply, Sleep};
pub use clock::{monotonic_nanos, thread_cpu};
pub use tools::{endpoint, endpoint_with};
