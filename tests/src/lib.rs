//! The suites on every runtime, and tests of a single stack or program.
#![allow(clippy::missing_panics_doc, reason = "a helper that panics fails its test")]

mod beds;
pub mod fuzz;
mod process;

pub use beds::{PoolBed, SmolBed, TokioBed};
pub use process::{Process, executable};
