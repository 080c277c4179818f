//! Open streams: GET streams of sessions, or streams of calls.

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};

use super::{
    Target,
    connection::{Connection, Framing},
    fleet::{Go, Share, drive},
    message::{Call, get, open_session},
};

/// How many clients of a thread connect at the same time: below the backlog of any listener.
const AT_ONCE: usize = 64;

/// Opens sessions with a GET stream each, and runs `act` while all are open.
pub(crate) fn with_streams<M>(target: &Target, streams: usize, act: impl FnOnce() -> Result<M>) -> Result<M> {
    let prepare = async |share: Share| open_streams(target, share, streams).await;
    let conduct = |go: Go<()>| {
        let result = act();
        go.say(());
        result
    };
    let run = async |streams, ()| {
        drop(streams);
        Ok(())
    };
    drive(target, prepare, conduct, run).map(|(_, result)| result)
}

/// Opens sessions with a GET stream each, and waits for the first byte of each stream.
pub(super) async fn open_streams(target: &Target, share: Share, streams: usize) -> Result<Vec<Connection>> {
    let opening = stream::iter(share.of(streams)).map(async |_| -> Result<_> {
        let mut connection = Connection::open(target.address).await?;
        let session = open_session(target, &mut connection).await?;
        open_stream(&mut connection, &get(target, &session)).await?;
        Ok(connection)
    });
    opening.buffer_unordered(AT_ONCE).try_collect().await
}

/// Calls `slow` with this many steps, each in its own session; returns once each call has reported progress.
pub(super) async fn open_calls(
    target: &Target,
    share: Share,
    calls: usize,
    (steps, interval_ms): (u32, u64),
) -> Result<Vec<(Call, Connection)>> {
    let opening = stream::iter(share.of(calls)).map(async |_| -> Result<_> {
        let mut connection = Connection::open(target.address).await?;
        let session = open_session(target, &mut connection).await?;
        Ok((Call::slow(target, &session, steps, interval_ms), connection))
    });
    let ready: Vec<_> = opening.buffer_unordered(AT_ONCE).try_collect().await?;
    // All at once: the first call must still be running when the last one starts.
    let calling = ready.into_iter().map(async |(mut call, mut connection)| -> Result<_> {
        open_stream(&mut connection, call.next()).await?;
        Ok((call, connection))
    });
    try_join_all(calling).await
}

/// Sends a request that is answered with a stream, and waits for its first event.
async fn open_stream(connection: &mut Connection, request: &[u8]) -> Result<()> {
    connection.send(request).await?;
    let head = connection.head().await?;
    ensure!(head.status == 200, "status {} instead of a stream", head.status);
    // Without chunks, a stream that ends looks the same as one that is cut.
    ensure!(head.framing == Framing::Chunked, "a stream that is not chunked");
    ensure!(connection.chunk().await?.is_some(), "a stream that ends before its first event");
    Ok(())
}
