//! Sessions that are opened and deleted.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;

use super::{
    Target,
    connection::Connection,
    fleet::{Share, Window, rate},
    message::{delete, initialize},
};

/// The parameters of the load.
#[derive(Debug, Clone)]
pub(crate) struct Churn {
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

/// Opens and deletes sessions for a while; returns the sessions per second, and the server's microseconds per session.
pub(crate) fn churn(target: &Target, load: &Churn) -> Result<(f64, f64)> {
    let prepare = async |share: Share| {
        Ok(try_join_all(share.of(load.connections).map(|_| Connection::open(target.address))).await?)
    };
    rate(target, load.time, prepare, |connection, window| come_and_go(target.clone(), connection, window))
}

async fn come_and_go(target: Target, mut connection: Connection, window: Window) -> Result<u64> {
    let mut count = 0;
    loop {
        let begin = Instant::now();
        if begin >= window.end {
            return Ok(count);
        }
        let session = initialize(&target, &mut connection).await?;
        connection.exchange(&delete(&target, &session)).await?;
        count += u64::from(begin >= window.begin && Instant::now() <= window.end);
    }
}
