//! Every adapter over real loopback sockets, in real time: a test waits for a state, never for a duration.

mod adapters;
mod process;
mod services;
