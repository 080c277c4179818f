//! The process of one stdio server. It knows no HTTP and no session.
//!
//! [`spawn`] starts it in a group of its own, with three pipes; [`lines`] cuts what it says into lines, [`input`] writes to
//! it, [`stderr`] reads the rest, and [`ladder`] ends it.

pub mod command;
pub mod input;
pub mod ladder;
pub mod lines;
pub(crate) mod processes;
pub mod spawn;
pub mod stderr;
