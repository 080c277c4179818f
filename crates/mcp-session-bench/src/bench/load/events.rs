//! Many streams of one session with events.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use memchr::memmem;

use super::{
    Target,
    connection::Connection,
    era::Caller,
    fleet::{Go, Share, Window, drive, rate},
    message::{Call, open_session},
};

/// The parameters of the load.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    /// Number of streams in the session, each of a running call on its own connection.
    pub(crate) streams: usize,
    /// Number of progress events per call, without a pause between them.
    pub(crate) steps: u32,
    pub(crate) time: Duration,
}

/// The results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventsReport {
    pub(crate) per_second: f64,
    /// Microseconds of processor time per event.
    pub(crate) server_cpu: f64,
}

/// Calls `slow` without a pause on many connections of one session, and counts the events.
pub(crate) fn events(target: &Target, load: &Events) -> Result<EventsReport> {
    let session = {
        let open = async |share: Share| match share.of(1).next() {
            Some(_) => {
                let mut connection = Connection::open(target.address).await?;
                open_session(target, &mut connection).await.map(Some)
            }
            None => Ok(None),
        };
        let conduct = |go: Go<()>| {
            go.say(());
            Ok(())
        };
        let (ids, ()) = drive(target, open, conduct, async |id, ()| Ok(id))?;
        Caller::Session(ids.into_iter().flatten().next().context("a session was opened")?)
    };
    let prepare = async |share: Share| {
        let connections = share.of(load.streams).map(async |index| -> Result<_> {
            // In one session, the ids of running requests must differ: each connection has its own range.
            let mut call = Call::slow(target, &session, load.steps, 0);
            call.begin_at(1_000_000 + (8_000_000 / load.streams * index) as u64);
            Ok((call, Connection::open(target.address).await?))
        });
        try_join_all(connections).await
    };
    let steps = load.steps as usize;
    let count = |(call, connection), window| call_on(call, connection, steps, window);
    let (per_second, server_cpu) = rate(target, load.time, prepare, count)?;
    Ok(EventsReport { per_second, server_cpu })
}

async fn call_on(mut call: Call, mut connection: Connection, steps: usize, window: Window) -> Result<u64> {
    let mut total = 0;
    loop {
        let begin = Instant::now();
        if begin >= window.end {
            return Ok(total);
        }
        let (_, body) = connection.exchange(call.next()).await?;
        ensure!(call.is_answered_by(body), "no answer: {}", String::from_utf8_lossy(body));
        let progress = memmem::find_iter(body, b"notifications/progress").count();
        ensure!(progress == steps, "{progress} events of {steps}");
        if begin >= window.begin && Instant::now() <= window.end {
            total += steps as u64 + 1;
        }
    }
}
