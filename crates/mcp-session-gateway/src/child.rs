//! The process of one stdio server. It knows no HTTP and no session.

pub mod command;
pub mod ladder;
