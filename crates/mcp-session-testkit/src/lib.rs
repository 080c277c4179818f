//! Test kit for mcp-session: run a scenario in virtual time, and check that a runtime keeps its laws.
//!
//! | you want to | take |
//! |---|---|
//! | test a session without waiting and without races | [`SimRuntime`], in virtual time, replayable from a seed |
//! | write a scenario once and run it on every runtime | [`TestBed`] |
//! | know whether a test only passes where the machine is fast | [`Contended`], around any bed |
//! | have a test fail that would hang | [`Watchdog`], around any bed |
//! | show that sessions behave on your runtime | [`behaviour_suite!`], or the scenarios in [`behaviour`] |
//! | show that an adapter does on sockets what it should | `wire_suite!`, or the scenarios in `wire`: behind the feature `wire`, which brings tokio and hyper for the clients |
//! | show that your [`Runtime`](mcp_session_core::Runtime) is one | [`runtime_contract!`], or the laws in [`contract`] |
//! | show that a store of sessions is one | [`store_contract!`](macro@store_contract), or the laws in [`store_contract`](mod@store_contract) |
//! | put core on a runtime of your own, step by step | the chapter [`bring_your_own_runtime`] |
//!
//! Waiting in a test is for a state, never for a duration. Here thirty minutes pass in no time, and the test
//! would fail with `deadlock: ...` rather than hang if the task were lost:
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

mod bed;
pub mod behaviour;
pub mod bring_your_own_runtime;
mod contended;
pub mod contract;
mod rng;
mod sim;
pub mod store_contract;
mod watchdog;
#[cfg(feature = "wire")]
pub mod wire;

pub use bed::TestBed;
pub use contended::Contended;
pub use sim::SimRuntime;
pub use watchdog::Watchdog;
