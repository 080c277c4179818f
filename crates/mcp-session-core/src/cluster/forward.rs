//! What other nodes have to know: a new session, and the messages of its client for requests that they run.

use mcp_session_proto::{self as proto, Message, Outgoing, RequestId, RpcResponse, TerminateReason};

use crate::{
    session::Session,
    store::{PeerRequest, Record, node::Node},
    transport::Rejection,
};

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

/// Accepts a reply of the client, to a request of this node or of another one.
pub(crate) fn response(node: &Node, session: &Session, response: RpcResponse) -> Result<(), Rejection> {
    let asked_by = match &response.id {
        Some(RequestId::Integer(id)) => u64::try_from(*id).ok().map(proto::Session::<()>::member_of),
        Some(RequestId::String(_)) | None => None,
    };
    let elsewhere = asked_by.filter(|member| session.with(|machine, _| machine.member() != Some(*member)));
    let passed_on = elsewhere.map(|_| Message::Response(response.clone()));
    session.with(|machine, now| machine.handle_response(now, response))?;
    if let Some(message) = passed_on {
        pass_on(node, session, elsewhere, &message);
    }
    Ok(())
}

/// Sends a message of the client to the node with this number in the session, or to all other nodes.
pub(crate) fn pass_on(node: &Node, session: &Session, member: Option<u32>, message: &Message) {
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
    let (id, teller) = (session.id(), node.clone());
    node.spawn(async move { teller.tell_member(id, member, PeerRequest::Posted(text)).await });
}
