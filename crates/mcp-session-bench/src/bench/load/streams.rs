//! Open streams: GET streams of sessions, listeners, or streams of calls.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use memchr::memmem;

use super::{
    Target,
    connection::{Connection, Framing},
    era::{Caller, Era},
    fleet::{Go, Share, drive},
    message::{Call, get, open_session},
    stamps::{Event, Stamps},
};

/// How many clients of a thread connect at the same time: below the backlog of any listener.
pub(super) const AT_ONCE: usize = 64;

/// How long calls go on that are only to be there: longer than the limit of a load.
const HOLD_MS: u64 = 90_000;

/// Opens sessions with a GET stream each, and runs `act` while all are open.
pub(crate) fn with_streams<M>(target: &Target, streams: usize, act: impl FnOnce() -> Result<M>) -> Result<M> {
    while_open(target, async |share| open_streams(target, share, streams).await, act)
}

/// Opens `subscriptions/listen` streams, and runs `act` while all are open.
pub(crate) fn with_listeners<M>(
    target: &Target,
    listeners: usize,
    act: impl FnOnce() -> Result<M>,
) -> Result<M> {
    while_open(target, async |share| open_listeners(target, share, listeners).await, act)
}

/// Runs a call in each of these sessions, and runs `act` once each client has read this many events. The calls go on
/// meanwhile.
pub(crate) fn with_calls<M>(
    target: &Target,
    sessions: &[String],
    events: u32,
    act: impl FnOnce() -> Result<M>,
) -> Result<M> {
    let open = async |share: Share| {
        let opening = stream::iter(share.of(sessions.len())).map(async |index| -> Result<_> {
            let mut connection = Connection::open(target.address).await?;
            let session = Caller::Session(sessions[index].clone());
            let mut call = Call::stamped(target, &session, events, 1_000, HOLD_MS);
            open_head(&mut connection, call.next()).await?;
            let (mut stamps, mut last) = (Stamps::default(), 0);
            while last < u64::from(events) {
                let event = stamps.next(&mut connection).await?.context("a call that ends at once")?;
                if let Event::Step { step, .. } = event {
                    last = step;
                }
            }
            Ok(connection)
        });
        opening.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await
    };
    while_open(target, open, act)
}

fn while_open<S, M>(
    target: &Target,
    open: impl AsyncFn(Share) -> Result<S> + Sync,
    act: impl FnOnce() -> Result<M>,
) -> Result<M> {
    let conduct = |go: Go<()>| {
        let result = act();
        go.say(());
        result
    };
    let run = async |streams, ()| {
        drop(streams);
        Ok(())
    };
    drive(target, open, conduct, run).map(|(_, result)| result)
}

/// Opens sessions with a GET stream each, and waits for the first byte of each stream.
pub(super) async fn open_streams(target: &Target, share: Share, streams: usize) -> Result<Vec<Connection>> {
    let opening = stream::iter(share.of(streams)).map(async |_| -> Result<_> {
        let mut connection = Connection::open(target.address).await?;
        let session = open_session(target, &mut connection).await?;
        let request = get(target, &session);
        if target.silent_streams {
            open_head(&mut connection, &request).await?;
        } else {
            open_stream(&mut connection, &request).await?;
        }
        Ok(connection)
    });
    opening.buffer_unordered(AT_ONCE).try_collect().await
}

/// Opens `subscriptions/listen` streams, and waits until each is acknowledged, which is its first message.
pub(super) async fn open_listeners(
    target: &Target,
    share: Share,
    listeners: usize,
) -> Result<Vec<(Call, Connection)>> {
    let opening = stream::iter(share.of(listeners)).map(async |index| -> Result<_> {
        let mut connection = Connection::open(target.address).await?;
        let mut call = Call::listen(target);
        call.begin_at(1_000_000 + index as u64);
        let first = open_stream(&mut connection, call.next()).await?;
        let acknowledged = memmem::find(&first, b"notifications/subscriptions/acknowledged").is_some();
        ensure!(acknowledged, "not an acknowledgement: {}", String::from_utf8_lossy(&first));
        Ok((call, connection))
    });
    opening.buffer_unordered(AT_ONCE).try_collect().await
}

/// A running call, and the era of its client.
pub(super) type Running = (Era, Call, Connection);

/// Calls `slow` with this many steps, each call in its own session if its era has them; returns once each call has reported
/// progress.
pub(super) async fn open_calls(
    target: &Target,
    share: Share,
    calls: &[(Era, usize)],
    (steps, interval_ms): (u32, u64),
) -> Result<Vec<Running>> {
    let eras = calls.iter().flat_map(|(era, count)| share.of(*count).map(|_| *era));
    let opening = stream::iter(eras).map(async |era| -> Result<_> {
        let mut connection = Connection::open(target.address).await?;
        let caller = era.caller(target, &mut connection).await?;
        Ok((era, Call::slow(target, &caller, steps, interval_ms), connection))
    });
    let ready: Vec<_> = opening.buffer_unordered(AT_ONCE).try_collect().await?;
    // All at once: the first call must still be running when the last one starts.
    let calling = ready.into_iter().map(async |(era, mut call, mut connection)| -> Result<_> {
        open_stream(&mut connection, call.next()).await?;
        Ok((era, call, connection))
    });
    try_join_all(calling).await
}

/// Sends a request that is answered with a stream, and returns its first event.
async fn open_stream(connection: &mut Connection, request: &[u8]) -> Result<Vec<u8>> {
    open_head(connection, request).await?;
    let first = connection.chunk().await?.map(<[u8]>::to_vec);
    first.context("a stream that ends before its first event")
}

/// Sends a request that is answered with a stream.
pub(super) async fn open_head(connection: &mut Connection, request: &[u8]) -> Result<()> {
    connection.send(request).await?;
    let head = connection.head().await?;
    ensure!(head.status == 200, "status {} instead of a stream", head.status);
    // Without chunks, a stream that ends looks the same as one that is cut.
    ensure!(head.framing == Framing::Chunked, "a stream that is not chunked");
    Ok(())
}
