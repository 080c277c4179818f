//! What other nodes have to know: a new session, and the messages of its client for requests that they run.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use mcp_session_proto::{
    self as proto, Message, Notification, Outgoing, RequestId, RpcResponse, TerminateReason,
};

use crate::{
    session::Session,
    store::{
        Record, Unavailable,
        node::{Delivery, Node},
    },
    transport::Rejection,
};

/// How long a reply of a client is sent again to the node that needs it, at most; no longer than
/// [`Store::patience`](crate::store::Store::patience).
/// 3 seconds: longer than most failovers of a store, shorter than a client waits for the answer to a POST.
const PATIENCE: Duration = Duration::from_secs(3);

/// Writes a new session to the store, so that all nodes know it before its client does.
pub(crate) async fn keep(node: &Node, session: &Session) -> Result<(), Rejection> {
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
    if !session.kept() {
        // It ended before the store knew it: no node may adopt it, and its client must not get it.
        node.remove(session.id(), TerminateReason::Error).await;
        return Err(Rejection::StoreUnavailable);
    }
    Ok(())
}

/// Accepts a reply of the client, to a request of this node or of another one: then that node has it when this returns.
///
/// # Errors
///
/// [`Rejection::ReplyUnconfirmed`] if that node does not say so in time; the client may send the reply again. If the node is
/// gone, nobody waits for the reply, and it is dropped as any other (B-19).
pub(crate) async fn response(node: &Node, session: &Session, response: RpcResponse) -> Result<(), Rejection> {
    let asked_by = match &response.id {
        Some(RequestId::Integer(id)) => u64::try_from(*id).ok().map(proto::Session::<()>::member_of),
        Some(RequestId::String(_)) | None => None,
    };
    let elsewhere = asked_by.filter(|member| session.with(|machine, _| machine.member() != Some(*member)));
    let text = elsewhere.and_then(|_| written(&Message::Response(response.clone())));
    session.with(|machine, now| machine.handle_response(now, response))?;
    let Some((member, text)) = elsewhere.zip(text) else { return Ok(()) };
    let record = node.load(session.id()).await.map_err(|Unavailable| Rejection::StoreUnavailable)?;
    let record = record.ok_or(Rejection::UnknownSession)?;
    let owner = usize::try_from(member).ok().and_then(|member| *record.members.get(member)?);
    let Some(owner) = owner.filter(|owner| *owner != node.id) else { return Ok(()) };
    match node.deliver(session.id(), owner, text, node.store.patience.min(PATIENCE)).await {
        Delivery::Taken | Delivery::Gone => Ok(()),
        Delivery::Late => Err(Rejection::ReplyUnconfirmed),
    }
}

/// Passes a cancel on to all other nodes, in the background: one of them may run the call.
pub(crate) fn cancel(node: &Node, session: &Session, notification: Notification) {
    let Some(text) = written(&Message::Notification(notification)) else { return };
    let (id, teller) = (session.id(), node.clone());
    node.spawn(async move {
        let Some(record) = teller.load_patiently(id).await else { return };
        let others = teller.others(&record);
        join_all(
            others.into_iter().map(|other| teller.deliver(id, other, text.clone(), teller.store.patience)),
        )
        .await;
    });
}

/// The text of a message that another node may need.
fn written(message: &Message) -> Option<Bytes> {
    let message = match message {
        Message::Notification(notification) => {
            Outgoing::Notification { method: &notification.method, params: notification.params.as_ref() }
        }
        Message::Response(RpcResponse { id: Some(id), outcome: Ok(result) }) => {
            Outgoing::Result { id, result }
        }
        Message::Response(RpcResponse { id, outcome: Err(error) }) => {
            Outgoing::Error { id: id.as_ref(), error }
        }
        Message::Response(RpcResponse { id: None, outcome: Ok(_) }) | Message::Request(_) => return None,
    };
    Some(message.to_json())
}
