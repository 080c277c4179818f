//! A gateway: any MCP server that speaks stdio, behind Streamable HTTP that stops without losing an answer.
//!
//! | part | what it is |
//! |---|---|
//! | [`child`] | the process of one stdio server: its lines, its stderr, and the ladder by which it ends |
//! | [`server`] | one named server: core's [`Handler`](mcp_session_core::Handler) on top of its children |
//! | [`supervisor`] | the parent of the gateway, so that no process is left, whatever dies first |
//! | [`limits`] | what one server may use |
//! | [`args`], [`config`] | the command line, and what it and a file say is to be done |
//! | [`front`] | the HTTP side: where it listens, who may call, probes and metrics |
//! | [`drain`], [`report`] | how it stops, and what it says about that |
//! | [`run`] | all of it together, with the [`view`] at a terminal and the [`log`] |

pub mod args;
pub mod child;
pub mod config;
pub mod drain;
pub mod front;
pub mod limits;
pub mod log;
mod metrics;
pub mod report;
pub mod run;
pub mod server;
pub mod supervisor;
pub mod view;
