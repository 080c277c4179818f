//! The suite on every runtime, and wire tests over loopback sockets.

pub mod wire;
