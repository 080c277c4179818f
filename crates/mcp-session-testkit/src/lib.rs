//! Test kit for mcp-session: runs scenarios in virtual time, and checks runtimes, stores and adapters.
//!
//! | to | use |
//! |---|---|
//! | test your own handler, step by step | the chapter [`testing_your_server`] |
//! | test a server in five lines | [`TestClient`] |
//! | test a session without waiting and without races | [`SimRuntime`], in virtual time, replayable from a seed |
//! | write a scenario once and run it on every runtime | [`TestBed`] |
//! | search for what no test imagines | [`simulation`]: random schedules against invariants |
//! | find tests that pass only on a fast machine | [`Contended`], around any bed |
//! | make a test that would hang fail | [`Watchdog`], around any bed |
//! | test the behaviour of sessions on your runtime | [`behaviour::suite`] |
//! | test an adapter over sockets | `wire::suite` (feature `wire`, which adds tokio and hyper) |
//! | test your [`Runtime`](mcp_session_core::Runtime) | [`contract::suite`], or the laws in [`contract`] |
//! | test a store | [`store_contract::suite`], or the laws in [`store_contract`] |
//! | make an executable of such tests, or of your own | [`suite::run`] |
//! | run core on your own runtime, step by step | the chapter [`bring_your_own_runtime`] |
//!
//! A test waits for a state, never for a duration. Here thirty minutes pass at once, and if the task were lost,
//! the test would fail with `deadlock: ...` instead of hanging:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use futures::channel::oneshot;
//! use mcp_session_core::Runtime;
//! use mcp_session_testkit::{SimRuntime, TestBed};
//!
//! const IDLE: Duration = Duration::from_secs(30 * 60);
//!
//! /// Written once, for every runtime.
//! fn a_task_outlives_the_idle_time(bed: &impl TestBed) {
//!     let runtime = bed.runtime();
//!     let start = runtime.now();
//!     let (expired, state) = oneshot::channel();
//!     let task = runtime.sleep_until(start + IDLE);
//!     runtime.spawn(Box::pin(async move {
//!         task.await;
//!         expired.send(()).expect("the test waits");
//!     }));
//!     bed.block_on(state).expect("the task ends");
//!     assert!(runtime.now() >= start + IDLE);
//! }
//!
//! for seed in 0..100 {
//!     let sim = SimRuntime::new(seed);
//!     a_task_outlives_the_idle_time(&sim);
//!     sim.run_until_stalled();
//!     assert_eq!((sim.tasks(), sim.timers(), sim.panics().len()), (0, 0, 0));
//! }
//! ```

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "tests match what they get without a wildcard"
)]

mod bed;
pub mod behaviour;
pub mod bring_your_own_runtime;
mod contended;
pub mod contract;
mod sim;
pub mod simulation;
pub mod store_contract;
pub mod suite;
mod test_client;
pub mod testing_your_server;
mod watchdog;
#[cfg(feature = "wire")]
pub mod wire;

pub use bed::TestBed;
pub use contended::Contended;
pub use sim::SimRuntime;
pub use test_client::{TestClient, TestClientBuilder, ToolAnswer};
pub use watchdog::Watchdog;
