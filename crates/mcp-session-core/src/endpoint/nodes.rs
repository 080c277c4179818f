//! What an endpoint does with a session that other nodes serve as well: see [`store`](crate::store).

use std::{sync::Arc, time::Instant};

use super::Endpoint;
use crate::{
    Message, Outgoing, RequestError, RequestId, Session, TerminateReason,
    error::Rejection,
    proto::{self, EventId, Position, Refusal, Response, StreamKey},
    session::{Machine, Signal},
    store::{LogId, Node, PAGE, Page, PeerRequest, ReadError, Record, Relay},
};

impl Endpoint {
    /// GET: the standalone stream. What all nodes write there is relayed, from where the client has it.
    pub(super) async fn listen(
        &self,
        session: &Session,
        signal: &Arc<Signal>,
    ) -> Result<StreamKey, Rejection> {
        let (key, heard) = contest(session, |machine, now| {
            machine.handle_get(now, Arc::clone(signal)).map(|key| (key, machine.heard()))
        })
        .await?;
        if let Some(node) = &self.registry.hub.node {
            let after = EventId { stream: LogId::SHARED, position: heard };
            self.relay(node, session, key, signal, after, None);
        }
        Ok(key)
    }

    /// GET with `Last-Event-ID`. What this node does not have, the store may.
    pub(super) async fn resume(
        &self,
        session: &Session,
        last_event_id: &str,
        signal: &Arc<Signal>,
    ) -> Result<StreamKey, Rejection> {
        let resumed =
            contest(session, |machine, now| machine.handle_resume(now, last_event_id, Arc::clone(signal)))
                .await;
        let (node, after) = match (resumed, &self.registry.hub.node, EventId::parse(last_event_id)) {
            (Err(Refusal::UnknownEvent), Some(node), Some(after)) => (node, after),
            (Ok(key), Some(node), Some(after)) => {
                take_over(node, session, after.stream);
                return Ok(key);
            }
            (resumed, ..) => return Ok(resumed?),
        };
        let log = Node::log(session.id(), after.stream);
        let page = match node.within(node.store.events.read(log, after.position, PAGE)).await {
            Ok(page) => page,
            Err(ReadError::Unknown) => return Err(Refusal::UnknownEvent.into()),
            Err(ReadError::Unavailable) => return Err(Rejection::StoreUnavailable),
        };
        let key = session.with(|machine, now| machine.handle_relay(now, after, Arc::clone(signal)))?;
        take_over(node, session, after.stream);
        self.relay(node, session, key, signal, after, Some(page));
        Ok(key)
    }

    fn relay(
        &self,
        node: &Node,
        session: &Session,
        key: StreamKey,
        signal: &Arc<Signal>,
        after: EventId,
        first: Option<Page>,
    ) {
        let (session, signal, log) =
            (session.clone(), Arc::clone(signal), Node::log(session.id(), after.stream));
        let relay = Relay { session, node: node.clone(), log, key, signal, after };
        self.registry.hub.runtime.spawn(Box::pin(relay.run(first)));
    }

    /// A new session becomes known to all nodes, before its client knows of it.
    pub(super) async fn keep(&self, session: &Session) -> Result<(), Rejection> {
        let Some(node) = &self.registry.hub.node else { return Ok(()) };
        let record = Record {
            id: session.id(),
            principal: session.principal().cloned(),
            version: session.version(),
            capabilities: session.capabilities(),
            initialized: false,
            home: Some(node.id),
            members: vec![Some(node.id)],
            heard: Position::START,
        };
        if node.within(node.store.sessions.create(record)).await.is_err() {
            // Its client must not have a session that only this node knows of.
            session.terminate(TerminateReason::Error);
            return Err(Rejection::StoreUnavailable);
        }
        Ok(())
    }

    /// A reply of the client: for a request of this node, or of another one.
    pub(super) fn replied(&self, session: &Session, response: Response) -> Result<(), Rejection> {
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

    /// Sends a message of the client to the node of this number in the session, or to all others.
    pub(super) fn pass_on(&self, session: &Session, member: Option<u32>, message: &Message) {
        let Some(node) = self.registry.hub.node.clone() else { return };
        let text = match message {
            Message::Notification(notification) => {
                Outgoing::Notification { method: &notification.method, params: notification.params.as_ref() }
                    .to_json()
            }
            Message::Response(Response { id: Some(id), outcome: Ok(result) }) => {
                Outgoing::Result { id, result }.to_json()
            }
            Message::Response(Response { id, outcome: Err(error) }) => {
                Outgoing::Error { id: id.as_ref(), error }.to_json()
            }
            Message::Response(Response { id: None, outcome: Ok(_) }) | Message::Request(_) => return,
        };
        let id = session.id();
        node.clone().spawn(async move { node.tell_member(id, member, PeerRequest::Posted(text)).await });
    }
}

/// Opens a connection for a stream. Where it would take one over that has been taken over too often, the client that has
/// it is asked first, and keeps it if it is there (D-23).
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

/// Whichever node carries the stream to a connection that the client has given up, does so no more (D-21).
fn take_over(node: &Node, session: &Session, stream: u64) {
    let (id, teller) = (session.id(), node.clone());
    node.spawn(async move { teller.tell_member(id, None, PeerRequest::TakenOver(stream)).await });
}
