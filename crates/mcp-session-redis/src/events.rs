//! [`EventStore`]: the logs. Each change is one script, which compares before it appends.

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{Either, select},
};
use mcp_session_core::proto::RequestId;
use mcp_session_core::{
    BoxFuture, SessionId,
    proto::Position,
    store::{
        Append, AppendError, EventStore, LogId, NodeId, Page, PublishError, ReadError, Unavailable, Wakeup,
    },
};

use crate::{
    config::millis, core::Core, error::Trouble, link::Ready, published::Publication, reply::Reply, script,
    store::RedisStore,
};

/// Positions beyond are no integers in a script.
const LAST: u64 = 1 << 53;

/// The most events of a page. More than any log keeps.
const PAGE: usize = 1_000_000;

/// What a script of a log says.
enum Said {
    Done(Reply),
    Gone,
    Unknown,
    Sealed,
    Behind(u64),
}

fn said(reply: Reply) -> Result<Said, Trouble> {
    match reply.what() {
        b"done" => Ok(Said::Done(reply)),
        b"gone" | b"absent" => Ok(Said::Gone),
        b"unknown" => Ok(Said::Unknown),
        b"sealed" => Ok(Said::Sealed),
        b"behind" => Ok(Said::Behind(reply.number(1)?)),
        _ => Err(Trouble::Unreadable),
    }
}

impl EventStore for RedisStore {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), AppendError>> {
        async move {
            let core = self.core();
            core.join(append.owner).await.map_err(|_| Unavailable)?;
            if append.at == 0 || append.at > LAST {
                return Err(AppendError::Unavailable); // no position
            }
            let mut request = Vec::new();
            append.request.write_json(&mut request);
            let size = append.events.iter().map(Bytes::len).sum::<usize>();
            let config = core.config();
            let reply = core.call_log(&script::APPEND, append.log, size, |call| {
                call.arg(append.log.stream).arg(append.owner.to_string()).arg(&request[..]).arg(append.at);
                call.arg(u8::from(append.ends)).arg(millis(config.keep())).arg(millis(config.retain));
                call.arg(config.events).arg(config.bytes);
                for event in &append.events {
                    call.arg(&event[..]);
                }
            });
            match reply.await.and_then(said).map_err(|_| Unavailable)? {
                Said::Done(reply) => {
                    core.grown(append.log, reply.text(2));
                    Ok(())
                }
                Said::Gone => {
                    core.known.forget(append.log.session);
                    Err(AppendError::Gone)
                }
                Said::Sealed => Err(AppendError::Sealed),
                Said::Unknown => Err(AppendError::Unavailable),
                Said::Behind(next) => Err(AppendError::Behind { next }),
            }
        }
        .boxed()
    }

    fn publish(
        &self,
        session: SessionId,
        node: NodeId,
        token: u64,
        event: Bytes,
    ) -> BoxFuture<'_, Result<Position, PublishError>> {
        async move {
            let core = self.core(); // which is not joined for the source: that may be no node
            let (log, config) = (LogId::shared(session), core.config());
            // A position is given once, so nothing is published before nodes have said how far they know a log to have come.
            let reply = core.call_log_when(Ready::Settled, &script::PUBLISH, log, event.len(), |call| {
                call.arg(log.stream).arg(node.to_string()).arg(token).arg(&event[..]);
                call.arg(millis(config.keep())).arg(config.events).arg(config.bytes);
            });
            match reply.await.and_then(said).map_err(|_| Unavailable)? {
                Said::Done(reply) => {
                    let position = reply.number(1).map_err(|_| Unavailable)?;
                    if reply.number(3) == Ok(0) {
                        let publication = Publication { position, source: node, token, event };
                        core.known.published(core.now(), session, publication);
                    }
                    core.grown(log, reply.text(2));
                    Ok(position.into())
                }
                Said::Gone => {
                    core.known.forget(session);
                    Err(PublishError::Gone)
                }
                Said::Unknown | Said::Sealed | Said::Behind(_) => Err(PublishError::Unavailable),
            }
        }
        .boxed()
    }

    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move {
            if after.epoch != 0 || after.seq >= LAST {
                return Err(ReadError::Unknown); // no owner gives such a position
            }
            let reply = self.core().call_log(&script::READ, log, 0, |call| {
                call.arg(log.stream).arg(after.seq).arg(limit.min(PAGE)).arg(is_standalone(log));
            });
            match reply.await.and_then(said).map_err(|_| Unavailable)? {
                // Its owner may be about to write again what Redis has lost.
                Said::Unknown if self.core().link.is_healing() => Err(ReadError::Unavailable),
                Said::Done(mut reply) => {
                    let ended = reply.number(1).map_err(|_| Unavailable)? == 1;
                    let request =
                        reply.bytes(3).and_then(|text| RequestId::from_json(std::str::from_utf8(text).ok()?));
                    let positions = (after.seq + 1..).map(Position::from);
                    let events: Vec<_> = positions.zip(reply.list(4)).collect();
                    if let Some((last, _)) = events.last().filter(|_| log.stream == LogId::STANDALONE) {
                        self.core().known.reached(log.session, last.seq);
                    }
                    Ok(Page::new(events, ended, request))
                }
                Said::Behind(_) => Err(ReadError::Behind),
                Said::Gone | Said::Unknown | Said::Sealed => Err(ReadError::Unknown),
            }
        }
        .boxed()
    }

    fn oldest(&self, log: LogId) -> BoxFuture<'_, Result<Position, ReadError>> {
        async move {
            let reply = self.core().call_log(&script::OLDEST, log, 0, |call| {
                call.arg(log.stream).arg(is_standalone(log));
            });
            position(reply.await)
        }
        .boxed()
    }

    fn attach(&self, log: LogId, _node: NodeId) -> BoxFuture<'_, Result<u64, ReadError>> {
        async move {
            let core = self.core();
            let reply =
                core.call_log(&script::ATTACH, log, 0, |call| _ = call.arg(millis(core.config().keep())));
            match reply.await.and_then(said).map_err(|_| Unavailable)? {
                Said::Done(reply) => Ok(reply.number(1).map_err(|_| Unavailable)?),
                Said::Gone | Said::Unknown | Said::Sealed | Said::Behind(_) => Err(ReadError::Unknown),
            }
        }
        .boxed()
    }

    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>> {
        async move {
            let (core, size) = (self.core(), last.as_ref().map_or(0, Bytes::len));
            let reply = core.call_log(&script::SEAL, log, size, |call| {
                call.arg(log.stream).arg(millis(core.config().retain));
                if let Some(last) = &last {
                    call.arg(&last[..]);
                }
            });
            let reply = reply.await;
            let tails = reply.as_ref().ok().and_then(|reply| reply.text(2)).map(str::to_owned);
            let sealed = position(reply)?;
            core.grown(log, tails.as_deref());
            Ok(sealed)
        }
        .boxed()
    }

    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup> {
        async move {
            let core = self.core();
            let watcher = core.watchers.enter(log);
            loop {
                let grown = watcher.grown.listen();
                match look(core, log, after).await {
                    Ok(Look::News) => return Wakeup::Grown,
                    Ok(Look::Orphan) => return Wakeup::OwnerGone,
                    Ok(Look::Quiet) | Err(_) => {}
                }
                // A notice may be lost, and nobody tells that an owner is gone. The standalone log has none.
                let lease = core.config().lease;
                let time = if log.stream == LogId::STANDALONE { lease * 2 } else { lease / 2 };
                let later = std::pin::pin!(core.sleep(time));
                if let Either::Left(_) = select(grown, later).await {
                    return Wakeup::Grown;
                }
            }
        }
        .boxed()
    }

    fn purge(&self, session: SessionId) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            let core = self.core();
            core.purge(session).await.map_err(|_| Unavailable)?;
            core.watchers.notify_all();
            Ok(())
        }
        .boxed()
    }

    fn failover(&self) -> BoxFuture<'_, ()> {
        // As of the call, not of the first poll: nothing between two calls is missed.
        let generation = self.core().link.generation();
        async move { self.core().link.connected_since(generation.max(1)).await }.boxed()
    }
}

fn is_standalone(log: LogId) -> u8 {
    u8::from(log.stream == LogId::STANDALONE)
}

fn position(reply: Result<Reply, Trouble>) -> Result<Position, ReadError> {
    match reply.and_then(said).map_err(|_| Unavailable)? {
        Said::Done(reply) => Ok(reply.number(1).map_err(|_| Unavailable)?.into()),
        Said::Gone | Said::Unknown | Said::Sealed | Said::Behind(_) => Err(ReadError::Unknown),
    }
}

/// What a watcher finds.
enum Look {
    News,
    Quiet,
    Orphan,
}

async fn look(core: &Core, log: LogId, after: Position) -> Result<Look, Trouble> {
    if after.epoch != 0 || after.seq >= LAST {
        return Ok(Look::News); // it is unknown, as a read will say
    }
    let reader = core.nodes.reader().map(|node| node.to_string()).unwrap_or_default();
    let reply = core.call_log(&script::TAIL, log, 0, |call| {
        call.arg(log.stream).arg(after.seq).arg(is_standalone(log)).arg(&reader);
    });
    let reply = reply.await?;
    if reply.what() != b"none" {
        return Ok(Look::News);
    }
    let owner: Option<NodeId> = reply.text(1).and_then(|owner| owner.parse().ok());
    match owner {
        Some(owner) if core.is_gone(owner).await? => Ok(Look::Orphan),
        Some(_) | None => Ok(Look::Quiet),
    }
}
