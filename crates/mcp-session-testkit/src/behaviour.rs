//! The behaviour suite: tests an endpoint on any runtime.
//!
//! A scenario takes a [`TestBed`] and is named after the requirement or promise it tests. [`suite`] makes a test of each
//! scenario (see [`suite::run`](crate::suite::run)); [`scenarios`] has them one by one:
//!
//! ```
//! use mcp_session_testkit::{SimRuntime, behaviour};
//!
//! for scenario in behaviour::scenarios() {
//! # if scenario.name.starts_with("s_1") {
//!     scenario.run(&SimRuntime::new(1));
//! # }
//! }
//! ```
//!
//! The scenarios pass on a virtual clock and on a real one. Times that must elapse are short ([`fixture::SOON`]), times
//! that must not elapse are long ([`fixture::NEVER`]), and everything else waits for a state. One that never ends panics
//! after two minutes (see [`Watchdog`](crate::Watchdog)).

#![allow(clippy::missing_panics_doc)] // a scenario panics if the endpoint does not behave as described

mod asking;
mod batches;
mod cluster;
mod cluster_ends;
mod cluster_heals;
mod cluster_moving;
mod cluster_replies;
mod cluster_subscriptions;
pub mod fixture;
mod foreign;
mod framing;
mod hooks;
mod http;
mod intercepted;
mod lifecycle;
mod limits;
mod messages;
mod modern;
mod replay;
mod security;
mod serve;
mod sessions;
mod shutdown;
pub mod soak;
mod stateless;
mod stateless_calls;
mod stateless_drain;
mod stateless_ids;
mod stateless_outcomes;
mod statuses;
mod stopped;
mod stores;
mod streams;
mod suspended;
mod typed;

use crate::{
    TestBed,
    suite::{Scenario, Suite},
};

/// Every scenario, as tests `name::scenario`. `bed` makes a new bed for each.
pub fn suite<B: TestBed + 'static>(
    name: impl Into<String>,
    bed: impl Fn() -> B + Clone + Send + 'static,
) -> Suite {
    Suite::new(name, scenarios(), bed)
}

/// Every scenario.
pub fn scenarios<B: TestBed>() -> Vec<Scenario<B>> {
    [
        asking::scenarios(),
        batches::scenarios(),
        cluster::scenarios(),
        cluster_ends::scenarios(),
        cluster_heals::scenarios(),
        cluster_moving::scenarios(),
        cluster_replies::scenarios(),
        cluster_subscriptions::scenarios(),
        foreign::scenarios(),
        framing::scenarios(),
        hooks::scenarios(),
        http::scenarios(),
        lifecycle::scenarios(),
        limits::scenarios(),
        messages::scenarios(),
        modern::scenarios(),
        replay::scenarios(),
        security::scenarios(),
        serve::scenarios(),
        sessions::scenarios(),
        shutdown::scenarios(),
        soak::scenarios(),
        stateless::scenarios(),
        stateless_calls::scenarios(),
        stateless_drain::scenarios(),
        stateless_ids::scenarios(),
        stateless_outcomes::scenarios(),
        statuses::scenarios(),
        stopped::scenarios(),
        suspended::scenarios(),
        stores::scenarios(),
        streams::scenarios(),
        typed::scenarios(),
    ]
    .concat()
}
