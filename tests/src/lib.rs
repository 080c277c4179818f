//! The suites on every runtime, and what is tested of one stack or one program only.
#![allow(clippy::missing_panics_doc, reason = "a helper that panics fails its test")]

mod process;

pub use process::Process;
