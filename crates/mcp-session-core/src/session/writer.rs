//! Performs a session's store effects, outside its lock, in order; tries again after a pause. The deadline is `Node::within`.

use std::time::Duration;

use mcp_session_proto::{self as proto, Effect, Publication, Stored, TerminateReason, after};

use crate::{
    session::Session,
    store::node::Node,
    store::{Append, AppendError, NodeId, PublishError},
    trace,
};

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Performs the session's effects until there are none left.
pub(crate) async fn write(session: Session, node: Node) {
    let mut first_failure = None;
    while let Some(effect) = session.next_effect() {
        let now = session.now();
        let given_up = first_failure.is_some_and(|since| after(since, node.store.patience) <= now);
        let answered = match effect {
            Effect::Append(append) => write_append(&session, &node, append, given_up).await,
            Effect::Publish(Publication { source, token, event }) => {
                let source = source.map_or(node.id, NodeId);
                let publish = node.store.events.publish(session.id(), source, token, event);
                let published = node.within(publish).await;
                let answered = !matches!(published, Err(PublishError::Unavailable));
                session.published(answered || given_up);
                answered
            }
        };
        if answered {
            first_failure = None;
        } else if first_failure.is_none() {
            first_failure = Some(now);
        }
        if !answered && !given_up {
            node.pause(PAUSE).await;
        }
    }
}

/// Returns `true` if the store has answered.
async fn write_append(session: &Session, node: &Node, append: proto::Unstored, given_up: bool) -> bool {
    let appended = node
        .within(node.store.events.append(Append {
            log: Node::log(session.id(), append.stream),
            owner: node.id,
            request: append.request.clone(),
            at: append.at,
            events: append.events.clone(),
            ends: append.ends,
        }))
        .await;
    let stored = match appended {
        Ok(()) => Stored::Done,
        Err(AppendError::Behind { next }) => Stored::Behind(next),
        Err(AppendError::Sealed) => Stored::Sealed,
        Err(AppendError::Gone) => Stored::Failed,
        Err(AppendError::Unavailable) if given_up => {
            trace::store_failed(&session.id(), "a stream goes on without the store");
            Stored::Failed
        }
        Err(AppendError::Unavailable) => Stored::Later,
    };
    session.with(|machine, now| {
        machine.handle_stored(now, &append, stored);
        if appended == Err(AppendError::Gone) {
            machine.terminate(now, TerminateReason::ClientDelete); // it was removed elsewhere
        }
    });
    stored != Stored::Later
}
