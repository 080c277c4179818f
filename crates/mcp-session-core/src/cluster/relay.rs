//! [`Relay`]: reads a log from the store and passes its events on to a connection.

use std::time::{Duration, Instant};

use futures::future::{Either, select};
use mcp_session_proto::{
    self as proto, ErrorCode, EventId, Outgoing, SendError, StreamKey, TerminateReason, after, encode_event,
    with_id,
};

use crate::{
    session::{Session, cell::SharedWaiters},
    store::node::Node,
    store::{LogId, Page, PeerRequest, ReadError, Wakeup},
};

/// The maximum number of events per read.
pub(crate) const PAGE: usize = 64;

/// How often a reader reads again without a wake-up, because wake-ups of a store may be late or lost.
const RECHECK: Duration = Duration::from_secs(5);

/// The pause between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// A connection to which a log is relayed.
pub(crate) struct Relay {
    pub(crate) session: Session,
    pub(crate) node: Node,
    pub(crate) log: LogId,
    pub(crate) key: StreamKey,
    pub(crate) waiters: SharedWaiters,
    /// The id of the last event that was passed on.
    pub(crate) after: EventId,
    /// The client sent no `Last-Event-ID`: it starts with the oldest event that is kept.
    pub(crate) plain: bool,
    /// When the node of the call was last told that its client reads here.
    pub(crate) told: Instant,
}

/// Since when the store lacks events that a client has: their owner writes them again, if it can.
#[derive(Debug, Default)]
pub(super) struct Behind(Option<Instant>);

impl Behind {
    /// Whether a reader that waits for the owner for this time may wait on.
    pub(super) fn may_wait(&mut self, node: &Node, patience: Duration) -> bool {
        let now = node.now();
        now < after(*self.0.get_or_insert(now), patience)
    }
}

/// Says that the client reads this stream here, on the connection with this number: also to the call, if it runs at this node.
pub(crate) async fn tell_reader(node: &Node, session: &Session, stream: u64, number: u64) {
    session.with(|machine, now| machine.handle_taken_over(now, stream, number));
    node.tell_others(session.id(), PeerRequest::TakenOver { stream, number }).await;
}

impl Relay {
    /// Passes events on until the log ends or nobody reads any more, starting with the page `first`, if there is one.
    pub(crate) async fn run(mut self, first: Option<Page>) {
        if !self.may_send().await {
            return; // nobody reads it
        }
        let mut next = first.map(Ok);
        let mut behind = Behind::default();
        loop {
            let page = match next.take() {
                Some(page) => page,
                None => {
                    self.node.within(self.node.store.events.read(self.log, self.after.position, PAGE)).await
                }
            };
            match page {
                Ok(Page { events, ended, request }) => {
                    (self.plain, behind) = (false, Behind::default());
                    let more = events.len() >= PAGE;
                    let end = events.last().filter(|_| ended).map(|(position, _)| *position);
                    for (position, event) in events {
                        let id = EventId { position, ..self.after };
                        if self.pass(&with_id(id, &event), end == Some(position)).await.is_err() {
                            return; // nobody reads it
                        }
                        self.after = id;
                    }
                    if ended {
                        return self.session.with(|machine, now| machine.end_relay(now, self.key));
                    }
                    if more {
                        continue; // otherwise the wait says so if there are more
                    }
                    match self.wait().await {
                        None => return,
                        Some(Wakeup::Grown) => {}
                        Some(Wakeup::OwnerGone) => {
                            // Its request is owed an answer, and its node is gone (S5).
                            let error = TerminateReason::Error.to_error(ErrorCode::CONNECTION_CLOSED);
                            let last = request.map(|id| {
                                encode_event(None, &Outgoing::Error { id: Some(&id), error: &error })
                            });
                            // A store that cannot write now answers at once, and its reader comes back here at once.
                            if !self.node.seal(self.log, last).await && !self.retries().await {
                                return;
                            }
                        }
                    }
                }
                Err(ReadError::Behind) if behind.may_wait(&self.node, self.node.store.patience) => {
                    if !self.retries().await {
                        return;
                    }
                }
                Err(ReadError::Unknown | ReadError::Behind) => {
                    match self.node.load(self.session.id()).await {
                        Ok(None) => return self.removed().await,
                        Ok(Some(_)) if self.plain => {
                            // Events that no client has read were kept within bounds (D-24).
                            let oldest = self.node.within(self.node.store.events.oldest(self.log)).await;
                            let oldest = oldest.unwrap_or(self.after.position);
                            self.plain = oldest > self.after.position; // otherwise the next try would fail as well
                            self.after.position = oldest.max(self.after.position);
                        }
                        // Events were dropped, and must not be skipped silently.
                        Ok(Some(_)) => {
                            return self.session.with(|machine, now| machine.cut_relay(now, self.key));
                        }
                        Err(_) => {
                            if !self.retries().await {
                                return;
                            }
                        }
                    }
                }
                Err(ReadError::Unavailable) => {
                    if !self.retries().await {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until it may read again. Returns `false` if nobody reads any more.
    async fn retries(&self) -> bool {
        let read = self.session.with(|machine, _| machine.poll_relay(self.key));
        if read {
            self.node.pause(PAUSE).await;
        }
        read
    }

    /// The standalone stream waits for `notifications/initialized`, at whichever node it arrives (C-06). Returns `true` if
    /// the stream is still read then.
    async fn may_send(&self) -> bool {
        if self.log.stream != LogId::STANDALONE {
            return true;
        }
        loop {
            let (initialized, read, changed) = self.session.with(|machine, _| {
                let read = machine.poll_relay(self.key);
                (machine.is_initialized(), read, self.waiters.handler.listen())
            });
            if initialized || !read {
                return read;
            }
            select(changed, Box::pin(self.node.pause(RECHECK))).await;
            if self
                .node
                .load(self.session.id())
                .await
                .is_ok_and(|record| record.is_some_and(|record| record.initialized))
            {
                self.session.with(proto::Session::handle_initialized);
            }
        }
    }

    /// Ends the session, which was removed at another node, and the stream with it. That node may still send the reason.
    async fn removed(self) {
        self.node.pause(self.node.store.timeout).await;
        self.session.with(|machine, now| machine.terminate(now, TerminateReason::ClientDelete));
    }

    /// Passes an event on; waits for space in the queue.
    async fn pass(&self, event: &bytes::Bytes, last: bool) -> Result<(), SendError> {
        self.session
            .send_with(|machine, now| match machine.relay(now, self.key, event, last) {
                Err(SendError::Full) => Err(Some(SharedWaiters::clone(&self.waiters))),
                sent => Ok(sent),
            })
            .await
    }

    /// Tells the node of the call from time to time that its client reads here. Without, it takes the client for gone (E-14): this node
    /// may be lost, and cannot say then that its reader has left.
    fn tell_reader(&mut self) {
        let now = self.node.now();
        if now < after(self.told, self.interval()) {
            return;
        }
        self.told = now;
        let number = self.session.with(|machine, _| machine.attached(self.key));
        let (node, session, stream) = (self.node.clone(), self.session.clone(), self.log.stream);
        self.node.spawn(async move { tell_reader(&node, &session, stream, number).await });
    }

    /// How often the node of the call is told that its client reads here.
    fn interval(&self) -> Duration {
        self.node.store.touch_interval.min(self.session.idle_timeout() / 4)
    }

    /// Waits until there may be more to read. Returns `None` if nobody reads any more.
    async fn wait(&mut self) -> Option<Wakeup> {
        if !self.session.with(|machine, _| machine.poll_relay(self.key)) {
            return None;
        }
        self.tell_reader();
        let watch = self.node.store.events.watch(self.log, self.after.position);
        let mut news = select(watch, Box::pin(self.node.pause(RECHECK.min(self.interval()))));
        loop {
            let (read, changed) =
                self.session.with(|machine, _| (machine.poll_relay(self.key), self.waiters.handler.listen()));
            if !read {
                return None;
            }
            // A client that has taken an event has changed the session, and says nothing about the log.
            match select(news, changed).await {
                Either::Left((Either::Left((wakeup, _)), _)) => return Some(wakeup),
                Either::Left((Either::Right(_), _)) => return Some(Wakeup::Grown),
                Either::Right(((), rest)) => news = rest,
            }
        }
    }
}
