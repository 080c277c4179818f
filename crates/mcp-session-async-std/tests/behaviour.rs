//! The laws of a runtime and the behaviour suite, on async-std.

#[expect(clippy::mod_module_files, reason = "cargo would take `tests/bed.rs` for a test")]
mod bed;

use bed::AsyncStdBed;
use mcp_session_testkit::{behaviour_suite, runtime_contract};

runtime_contract!(async_std_laws, AsyncStdBed);
behaviour_suite!(async_std, AsyncStdBed);
