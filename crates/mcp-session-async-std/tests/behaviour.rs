//! The laws of a runtime and the behaviour suite, on async-std.

mod bed;

use bed::AsyncStdBed;
use mcp_session_testkit::{behaviour_suite, runtime_contract};

runtime_contract!(async_std_laws, AsyncStdBed);
behaviour_suite!(async_std, AsyncStdBed);
