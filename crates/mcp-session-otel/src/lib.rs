#![doc = include_str!("../README.md")]

mod handler;
mod names;
mod observer;
mod operation;
mod outcome;
mod parent;
mod sessions;
mod stats;
mod telemetry;

pub use handler::Observed;
pub use telemetry::Telemetry;
