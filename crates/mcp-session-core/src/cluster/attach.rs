//! GET with a store: the client gets the events of all nodes, and one node at a time sends them (D-21).

use std::time::Duration;

use futures::{channel::oneshot, future::select};
use mcp_session_proto::{EventId, Refusal, StreamKey};

use super::relay::{Behind, PAGE, PAUSE, Relay, tell_reader};
use crate::{
    session::{
        Session,
        cell::{Machine, SharedWaiters},
    },
    store::{LogId, Page, PeerRequest, ReadError, Unavailable, Update, node::Node},
    transport::Rejection,
};

/// The pause after the first try to become the listener; later ones are longer.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// GET: opens the standalone stream, and relays the events of all nodes that the client does not have yet.
pub(crate) async fn listen(
    node: &Node,
    session: &Session,
    waiters: &SharedWaiters,
) -> Result<StreamKey, Rejection> {
    become_listener(node, session).await?;
    let (key, heard) = session.listen(waiters).await?;
    let after = EventId { stream: LogId::STANDALONE, position: heard };
    relay(node, session, key, waiters, after, None);
    Ok(key)
}

/// Tells when the store has numbered a connection. Numbers follow the order in which clients connect only if a client gets
/// the head of its response after that: then it has no newer connection yet.
pub(crate) struct Numbered(Option<oneshot::Receiver<()>>);

impl Numbered {
    /// Waits for it, at most for [`Store::timeout`](crate::store::Store::timeout).
    ///
    /// The connection must be in the hands of its [`EventStream`](crate::stream::EventStream), which detaches it if the
    /// client leaves meanwhile.
    pub(crate) async fn wait(self, node: &Node) {
        if let Self(Some(numbered)) = self {
            select(numbered, Box::pin(node.pause(node.store.timeout))).await;
        }
    }
}

/// GET with `Last-Event-ID`: resumes a stream, from the store if this node does not have the event.
pub(crate) async fn resume(
    node: &Node,
    session: &Session,
    last_event_id: &str,
    waiters: &SharedWaiters,
) -> Result<(StreamKey, Numbered), Rejection> {
    let resumed = session.resume(last_event_id, waiters).await;
    let after = match (resumed, EventId::parse(last_event_id)) {
        (Err(Refusal::UnknownEvent), Some(after)) => after,
        (Ok(key), Some(after)) => return Ok((key, take_over(node, session, key, after.stream))),
        (resumed, None) => return Ok((resumed?, Numbered(None))),
        (Err(refusal), Some(_)) => return Err(refusal.into()),
    };
    if after.stream == LogId::STANDALONE {
        become_listener(node, session).await?;
    }
    let log = Node::log(session.id(), after.stream);
    // Nobody has what this node does not have of its own streams.
    let own = session.with(|machine, _| machine.member() == Some(Machine::member_of(after.stream)));
    let mut behind = Behind::default();
    let page = loop {
        match node.within(node.store.events.read(log, after.position, PAGE)).await {
            Ok(page) => break page,
            // Not for long: the client may have made the position up, and an owner hears of a failover at once.
            Err(ReadError::Behind) if !own && behind.may_wait(node, node.store.timeout) => {
                node.pause(PAUSE).await;
            }
            Err(ReadError::Unknown | ReadError::Behind) => return Err(Refusal::UnknownEvent.into()),
            Err(ReadError::Unavailable) => return Err(Rejection::StoreUnavailable),
        }
    };
    let over = page.ended && page.events.is_empty(); // its client has the answer
    let request = page.request.clone().filter(|_| !over);
    let key = session
        .with(|machine, now| machine.handle_relay(now, after, request, SharedWaiters::clone(waiters)))?;
    let numbered = take_over(node, session, key, after.stream);
    relay(node, session, key, waiters, after, Some(page));
    Ok((key, numbered))
}

fn relay(
    node: &Node,
    session: &Session,
    key: StreamKey,
    waiters: &SharedWaiters,
    after: EventId,
    first: Option<Page>,
) {
    let (session, waiters, log) =
        (session.clone(), SharedWaiters::clone(waiters), Node::log(session.id(), after.stream));
    let plain = first.is_none();
    let told = node.now();
    let relay = Relay { session, node: node.clone(), log, key, waiters, after, plain, told };
    node.spawn(relay.run(first));
}

/// Makes this node the one that sends the standalone log to the client, from where the previous one stopped (D-21).
///
/// The previous node is told, stops, and records how far it came. If it records nothing within
/// [`Store::timeout`](crate::store::Store::timeout), it counts as gone, and this node starts from
/// the position that was recorded last.
async fn become_listener(node: &Node, session: &Session) -> Result<(), Rejection> {
    let id = session.id();
    let load = async || match node.load(id).await {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(Rejection::UnknownSession),
        Err(Unavailable) => Err(Rejection::StoreUnavailable),
    };
    let mut record = load().await?;
    let here = session.with(|machine, _| machine.listener());
    if here > 0 && record.listener.number == here && record.listener.node == Some(node.id) {
        return Ok(());
    }
    let patience = node.deadline();
    let (number, last) = loop {
        let last = record.listener;
        let listens = Update::Listens(node.id, last.number + 1);
        let updated = node.within(node.store.sessions.update(id, listens)).await;
        if !updated.map_err(|Unavailable| Rejection::StoreUnavailable)? {
            return Err(Rejection::UnknownSession);
        }
        record = load().await?;
        // Also if another node was faster: this one may have been the listener in between, which nobody else tells the last one.
        if let Some(other) = last.node.filter(|other| *other != node.id && last.settled < last.number) {
            node.tell(id, [other], &PeerRequest::Listens(record.listener.number)).await;
        }
        if record.listener.number == last.number + 1 && record.listener.node == Some(node.id) {
            break (last.number + 1, last);
        }
        // Another node was faster, or the store has lost what it accepted.
        if node.now() >= patience {
            return Err(Rejection::StoreUnavailable);
        }
        node.pause(FIRST_PAUSE).await;
    };
    let patience = node.deadline();
    let mut pause = FIRST_PAUSE;
    // Another GET at this node may be waiting for the previous node, too: it comes first.
    let follows =
        || last.node == Some(node.id) && session.with(|machine, _| machine.listener()) >= last.number;
    while record.listener.settled + 1 < number && !follows() && node.now() < patience {
        node.pause(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
        record = load().await?;
    }
    if session.with(|machine, _| machine.listen(number, record.heard)) {
        return Ok(());
    }
    node.update(id, Update::Settled(number, record.heard)).await;
    Err(Refusal::StreamTaken.into()) // meanwhile there is a newer listener, at another node
}

/// Numbers a new connection, and makes the other nodes stop carrying the stream to older ones, which their client has given
/// up (D-21). A task does it, so the client may leave.
fn take_over(node: &Node, session: &Session, key: StreamKey, stream: u64) -> Numbered {
    if stream == LogId::STANDALONE {
        return Numbered(None); // its listeners have numbers
    }
    let (session, teller) = (session.clone(), node.clone());
    let (done, numbered) = oneshot::channel();
    node.spawn(async move {
        let id = session.id();
        let number = teller.attach(Node::log(id, stream)).await;
        session.with(|machine, now| machine.handle_attached(now, key, number.unwrap_or(0)));
        let _ = done.send(()); // its client may have left
        if let Some(number) = number {
            tell_reader(&teller, &session, stream, number).await;
        }
    });
    Numbered(Some(numbered))
}
