//! The tokio adapter over real loopback sockets, in real time: a test waits for a state, never for a duration.

mod batches;
mod bounds;
mod drain;
mod ends;
mod process;
mod security;
mod services;
mod signal;
mod stall;
