//! The tokio adapter over real loopback sockets, in real time: a test waits for a state, never for a duration.

mod bounds;
mod drain;
mod ends;
mod process;
mod resume;
mod services;
mod signal;
mod stall;
