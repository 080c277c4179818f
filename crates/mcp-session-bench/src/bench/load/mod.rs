//! The load generator: HTTP/1.1 by hand over kept connections, on a few threads, against any server by its URL.
//!
//! Nothing here is without an end: each load has a count or a time, and a limit beside it.

mod churn;
mod connection;
mod echo;
mod events;
mod fleet;
mod message;
mod sessions;
mod shutdown;
mod streams;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};

pub(crate) use self::{
    churn::{Churn, churn},
    echo::{Echo, EchoReport, echo, echo_times},
    events::{Events, events},
    sessions::open_sessions,
    shutdown::{Shutdown, ShutdownReport, shutdown},
    streams::with_streams,
};

/// Whom to load, and from where.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// What goes into the request line.
    pub(crate) path: String,
    /// The revision that `initialize` asks for.
    pub(crate) version: String,
    /// Of the server, where it is known: its processor time is read, and signals go there.
    pub(crate) pid: Option<u32>,
    /// One thread for each entry, on that core if there is a number.
    pub(crate) threads: Vec<Option<usize>>,
    /// When a load is given up: far more than any takes, so that it ends only what hangs.
    pub(crate) limit: Duration,
}

impl Target {
    /// The server at `http://ADDRESS/PATH`.
    pub(crate) fn new(url: &str, version: &str, threads: Vec<Option<usize>>) -> Result<Self> {
        let rest = url.strip_prefix("http://").context("a URL begins with http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = authority.parse().context("a URL names an IP address and a port")?;
        let path = format!("/{path}");
        let limit = Duration::from_secs(60);
        Ok(Self { address, path, version: version.to_owned(), pid: None, threads, limit })
    }
}
