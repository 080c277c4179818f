//! Guides: a chapter for each task. Each stands on its own, has an example that compiles, and names the traps.
//!
//! | chapter | at its end you have |
//! |---|---|
//! | [A server from nothing] | a program with one tool, which stops without losing an answer |
//! | [Behind axum] | MCP as one route of an application that has others, probes included |
//! | [Authentication](authentication) | a server that knows its callers, and sessions that belong to them |
//! | [Shutting down on Kubernetes](kubernetes) | budgets that add up, and a manifest that agrees with them |
//! | [Moving from sessions to 2026-07-28](without_sessions) | one handler for clients with sessions, without, and of 2026-07-28 |
//! | [Several nodes](several_nodes) | sessions that any node serves and that outlive the one that opened them |
//! | [Testing your server with the testkit] | tests of your handler in virtual time, shutdown included |
//! | [A handler of your own framework](your_own_framework) | a [`Handler`](crate::Handler) under the API of your framework |
//! | [Bring your own runtime] | a server on a runtime that has no adapter |
//!
//! The chapters that need a runtime are in the docs of the crate that has one.
//!
//! [A server from nothing]: https://docs.rs/mcp-session-tokio/latest/mcp_session_tokio/guide/a_server_from_nothing
//! [Behind axum]: https://docs.rs/mcp-session-tokio/latest/mcp_session_tokio/guide/behind_axum
//! [Testing your server with the testkit]: https://docs.rs/mcp-session-testkit/latest/mcp_session_testkit/testing_your_server
//! [Bring your own runtime]: https://docs.rs/mcp-session-testkit/latest/mcp_session_testkit/bring_your_own_runtime

#[doc = include_str!("guide/authentication.md")]
pub mod authentication {}

#[doc = include_str!("guide/kubernetes.md")]
pub mod kubernetes {}

#[doc = include_str!("guide/several_nodes.md")]
pub mod several_nodes {}

#[doc = include_str!("guide/without_sessions.md")]
pub mod without_sessions {}

#[doc = include_str!("guide/your_own_framework.md")]
pub mod your_own_framework {}
