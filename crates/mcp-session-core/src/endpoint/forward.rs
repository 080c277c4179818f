//! The endpoint's part in a session that other nodes serve too: see [`store`](crate::store).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Endpoint;
use crate::{
    cluster::relay::{PAGE, Relay},
    proto::{
        self, EventId, Message, Outgoing, Refusal, RequestError, RequestId, RpcResponse, StreamKey,
        TerminateReason,
    },
    session::{
        Session,
        cell::{Machine, Waiters},
    },
    store::{LogId, Page, PeerRequest, ReadError, Record, Unavailable, Update, node::Node},
    transport::Rejection,
};

impl Endpoint {
    /// GET: opens the standalone stream. With a store, it relays the events of all nodes that the client does not have yet.
    pub(super) async fn listen(
        &self,
        session: &Session,
        waiters: &Arc<Waiters>,
    ) -> Result<StreamKey, Rejection> {
        if let Some(node) = &self.registry.env.node {
            become_listener(node, session).await?;
        }
        let (key, heard) = contest(session, |machine, now| {
            machine.handle_get(now, Arc::clone(waiters)).map(|key| (key, machine.heard()))
        })
        .await?;
        if let Some(node) = &self.registry.env.node {
            let after = EventId { stream: LogId::STANDALONE, position: heard };
            self.relay(node, session, key, waiters, after, None);
        }
        Ok(key)
    }

    /// GET with `Last-Event-ID`: resumes a stream, from the store if this node does not have the event.
    pub(super) async fn resume(
        &self,
        session: &Session,
        last_event_id: &str,
        waiters: &Arc<Waiters>,
    ) -> Result<StreamKey, Rejection> {
        let resumed =
            contest(session, |machine, now| machine.handle_resume(now, last_event_id, Arc::clone(waiters)))
                .await;
        let (node, after) = match (resumed, &self.registry.env.node, EventId::parse(last_event_id)) {
            (Err(Refusal::UnknownEvent), Some(node), Some(after)) => (node, after),
            (Ok(key), Some(node), Some(after)) => {
                take_over(node, session, after.stream);
                return Ok(key);
            }
            (resumed, ..) => return Ok(resumed?),
        };
        if after.stream == LogId::STANDALONE {
            become_listener(node, session).await?;
        }
        let log = Node::log(session.id(), after.stream);
        let page = match node.within(node.store.events.read(log, after.position, PAGE)).await {
            Ok(page) => page,
            Err(ReadError::Unknown) => return Err(Refusal::UnknownEvent.into()),
            Err(ReadError::Unavailable) => return Err(Rejection::StoreUnavailable),
        };
        let key = session.with(|machine, now| machine.handle_relay(now, after, Arc::clone(waiters)))?;
        if after.stream != LogId::STANDALONE {
            take_over(node, session, after.stream);
        }
        self.relay(node, session, key, waiters, after, Some(page));
        Ok(key)
    }

    fn relay(
        &self,
        node: &Node,
        session: &Session,
        key: StreamKey,
        waiters: &Arc<Waiters>,
        after: EventId,
        first: Option<Page>,
    ) {
        let (session, waiters, log) =
            (session.clone(), Arc::clone(waiters), Node::log(session.id(), after.stream));
        let plain = first.is_none();
        let relay = Relay { session, node: node.clone(), log, key, waiters, after, plain };
        self.registry.env.runtime.spawn(Box::pin(relay.run(first)));
    }

    /// Writes a new session to the store, so that all nodes know it before its client does.
    pub(super) async fn keep(&self, session: &Session) -> Result<(), Rejection> {
        let Some(node) = &self.registry.env.node else { return Ok(()) };
        let mut record = Record::new(session.id(), session.version());
        record.principal = session.principal().cloned();
        record.capabilities = session.capabilities();
        record.initialize = session.initialize_params().clone();
        (record.home, record.members) = (Some(node.id), vec![Some(node.id)]);
        if node.within(node.store.sessions.create(record)).await.is_err() {
            // The client must not get a session that only this node knows.
            session.terminate(TerminateReason::Error);
            return Err(Rejection::StoreUnavailable);
        }
        session.kept();
        if session.state() == proto::State::Terminated {
            // It ended before the store knew it: no node may adopt it.
            node.remove(session.id(), TerminateReason::Error).await;
        }
        Ok(())
    }

    /// Accepts a reply of the client, to a request of this node or of another one.
    pub(super) fn replied(&self, session: &Session, response: RpcResponse) -> Result<(), Rejection> {
        let asked_by = match &response.id {
            Some(RequestId::Integer(id)) => u64::try_from(*id).ok().map(proto::Session::<()>::member_of),
            Some(RequestId::String(_)) | None => None,
        };
        let elsewhere =
            asked_by.filter(|member| session.with(|machine, _| machine.member() != Some(*member)));
        let passed_on = elsewhere.map(|_| Message::Response(response.clone()));
        session.with(|machine, now| machine.handle_response(now, response))?;
        if let Some(message) = passed_on {
            self.pass_on(session, elsewhere, &message);
        }
        Ok(())
    }

    /// Sends a message of the client to the node with this number in the session, or to all other nodes.
    pub(super) fn pass_on(&self, session: &Session, member: Option<u32>, message: &Message) {
        let Some(node) = self.registry.env.node.clone() else { return };
        let text = match message {
            Message::Notification(notification) => {
                Outgoing::Notification { method: &notification.method, params: notification.params.as_ref() }
                    .to_json()
            }
            Message::Response(RpcResponse { id: Some(id), outcome: Ok(result) }) => {
                Outgoing::Result { id, result }.to_json()
            }
            Message::Response(RpcResponse { id, outcome: Err(error) }) => {
                Outgoing::Error { id: id.as_ref(), error }.to_json()
            }
            Message::Response(RpcResponse { id: None, outcome: Ok(_) }) | Message::Request(_) => return,
        };
        let id = session.id();
        node.clone().spawn(async move { node.tell_member(id, member, PeerRequest::Posted(text)).await });
    }
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
    let (number, last) = loop {
        let last = record.listener;
        let listens = Update::Listens(node.id, last.number + 1);
        let updated = node.within(node.store.sessions.update(id, listens)).await;
        if !updated.map_err(|Unavailable| Rejection::StoreUnavailable)? {
            return Err(Rejection::UnknownSession);
        }
        record = load().await?;
        if record.listener.number == last.number + 1 && record.listener.node == Some(node.id) {
            break (last.number + 1, last);
        } // else another node was faster
    };
    if let Some(other) = last.node.filter(|other| *other != node.id && last.settled < last.number) {
        node.tell(id, [other], &PeerRequest::Listens(number)).await;
    }
    let patience = node.deadline();
    let mut pause = Duration::from_millis(1);
    while record.listener.settled + 1 < number && last.node != Some(node.id) && node.now() < patience {
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

/// Opens a connection for a stream. If the stream was taken over too often, the client that has it is asked by `ping`
/// first. It keeps the stream if it answers, even with an error, or if it must not be asked now (D-23).
async fn contest<R>(
    session: &Session,
    connect: impl Fn(&mut Machine, Instant) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let contested = session.with(&connect);
    if !matches!(contested, Err(Refusal::StreamContested)) {
        return contested;
    }
    let Some(patience) = session.with(Machine::contest) else { return contested };
    match session.ping(patience).await {
        Ok(()) | Err(RequestError::Client(_)) => contested,
        Err(_) => session.with(|machine, now| {
            machine.handle_silent();
            connect(machine, now)
        }),
    }
}

/// Makes the other nodes stop carrying the stream to a connection that the client has given up (D-21).
fn take_over(node: &Node, session: &Session, stream: u64) {
    let (id, teller) = (session.id(), node.clone());
    node.spawn(async move { teller.tell_member(id, None, PeerRequest::TakenOver(stream)).await });
}
