//! The laws of a runtime and the behaviour suite, on every runtime that has an adapter, and on one that has none.
//!
//! Each suite is a module named after its runtime, and its laws are the module `<name>_laws`: `cargo xtask test-all`
//! counts them by these names.

use mcp_session_testkit::{behaviour_suite, runtime_contract};
use mcp_session_tests::{PoolBed, SmolBed, TokioBed};

runtime_contract!(tokio_paused_laws, TokioBed::paused());
runtime_contract!(tokio_threads_laws, TokioBed::threads());
runtime_contract!(smol_laws, SmolBed::new());
runtime_contract!(custom_laws, PoolBed::new());

behaviour_suite!(tokio_paused, TokioBed::paused());
behaviour_suite!(tokio_threads, TokioBed::threads());
behaviour_suite!(smol, SmolBed::new());
behaviour_suite!(custom, PoolBed::new());
