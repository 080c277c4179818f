//! The fuzz targets: each a function of any bytes, which panics if a promise is broken.
//!
//! `cargo xtask fuzz` searches for such bytes, `tests/corpus.rs` replays those that were worth keeping. What a target calls
//! its input is in the docs of its function.

pub mod endpoint;
pub mod event_id;
pub mod headers;
pub mod hosts;
#[cfg(feature = "async-std")]
pub mod http1;
mod json;
pub mod json_rpc;
mod script;
mod server;
pub mod sse;
mod table;
#[cfg(test)]
mod tests;
mod whatwg;
pub mod wire_form;

/// A target, with the name of its file and its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("endpoint", endpoint::run),
    ("event_id", event_id::run),
    ("headers", headers::run),
    ("hosts", hosts::run),
    #[cfg(feature = "async-std")]
    ("http1", http1::run),
    ("json_rpc", json_rpc::run),
    ("sse", sse::run),
    ("wire_form", wire_form::run),
];
