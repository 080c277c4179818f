//! Single adapters over real loopback sockets, beyond the wire suite. A test waits for a state, never for a duration.

mod closing;
mod handshake;
mod services;
mod systemd;
