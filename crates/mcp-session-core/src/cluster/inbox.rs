//! The background task of a node: receives messages and announcements of other nodes, sends its own announcements, keeps its
//! sessions alive in the store, and gets the keys that all nodes share.

use std::sync::{Arc, Weak};

use futures::future::{Either, join3, select};
use mcp_session_proto::{self as proto, Message};

use crate::{
    contain,
    runtime::BoxFuture,
    session::{Session, announcement::Announcement, registry::Registry},
    store::node::Node,
    store::{PeerMessage, PeerRequest, Update},
    trace,
};

/// Runs until the endpoint is gone or this node has left. `keys` gets the keys that all nodes share.
pub(crate) async fn keep(weak: Weak<Registry>, node: Node, keys: BoxFuture<'static, ()>) {
    let upkeep = Box::pin(keep_alive(weak.clone(), node.clone()));
    let announced = Box::pin(hear(weak.clone(), node.clone()));
    let announcing = node.clone();
    let announcing = Box::pin(async move { announcing.send_announcements().await });
    let inbox = Box::pin(listen(weak, node));
    // Concurrently: a slow store call of one does not delay the others. The upkeep ends with the endpoint.
    select(inbox, select(upkeep, join3(announced, announcing, keys))).await;
}

/// Handles messages of other nodes, and failovers of the store.
async fn listen(weak: Weak<Registry>, node: Node) {
    let peers = Arc::clone(&node.store.peers);
    let events = Arc::clone(&node.store.events);
    let (mut inbox, mut failover) = (peers.receive(node.id), events.failover());
    loop {
        let happened = select(&mut inbox, &mut failover).await;
        let heard = match happened {
            Either::Left((Some(message), _)) => Some(message),
            Either::Left((None, _)) => return, // this node has left
            Either::Right(((), _)) => None,
        };
        let Some(registry) = weak.upgrade() else { return };
        if let Some(message) = heard {
            inbox = peers.receive(node.id);
            if contain::call(|| receive(&registry, &node, message)).is_err() {
                trace::panicked("a session that handled a message of another node");
            }
        } else {
            failover = events.failover();
            Session::each(registry.sessions(), |session| session.with(proto::Session::handle_failover));
            let sealer = node.clone();
            node.spawn(async move { sealer.seal_again().await });
        }
    }
}

/// Passes what other nodes announce on to the sessions and subscriptions of this node (G-61).
async fn hear(weak: Weak<Registry>, node: Node) {
    while let Some(announced) = node.store.peers.announced(node.id).await {
        let Some(registry) = weak.upgrade() else { return };
        let Some(subscribers) = registry.subscribers.get() else { continue };
        let Some(announcement) = Announcement::read(&announced) else { continue };
        if contain::call(|| announcement.deliver(registry.sessions(), &**subscribers)).is_err() {
            trace::panicked("a session or subscription that got an announcement of another node");
        }
    }
}

/// Every `touch_interval`, reports the sessions of this node as active, and ends those that no node serves any more.
async fn keep_alive(weak: Weak<Registry>, node: Node) {
    loop {
        node.pause(node.store.touch_interval).await;
        let Some(registry) = weak.upgrade() else { return };
        let active = registry.sessions().map(|session| session.id()).collect();
        let idle = registry.env.session_config.idle_timeout;
        let sweeps = registry.admits().is_ok();
        drop(registry);
        let _ = node.within(node.store.sessions.touch(active)).await; // retried after the next interval
        if sweeps {
            let swept = node.sweep(idle).await;
            let Some(registry) = weak.upgrade() else { return };
            swept.iter().for_each(|record| registry.end_swept(record));
        }
    }
}

fn receive(registry: &Registry, node: &Node, PeerMessage { session: id, request }: PeerMessage) {
    let session = registry.get(&id);
    let tell = |act: &dyn Fn(&Session)| session.iter().for_each(act);
    match request {
        PeerRequest::Posted { message, receipt } => {
            tell(&|session| posted(session, &message));
            // Also if the session is not here any more: then nobody waits for the message.
            receipt.into_iter().for_each(|receipt| node.acknowledge(id, receipt));
        }
        PeerRequest::Taken(number) => node.was_taken(number),
        PeerRequest::TakenOver { stream, number } => {
            tell(&|session| session.with(|machine, now| machine.handle_taken_over(now, stream, number)));
        }
        PeerRequest::Listens(number) => tell(&|session| {
            let stopped = session.with(|machine, now| machine.handle_listener(now, number));
            if let Some((number, heard)) = stopped {
                let node = node.clone();
                node.clone().spawn(async move { node.update(id, Update::Settled(number, heard)).await });
            }
        }),
        PeerRequest::Initialized => tell(&|session| _ = session.with(proto::Session::handle_initialized)),
        PeerRequest::Terminated(reason) => {
            tell(&|session| _ = session.with(|machine, now| machine.terminate(now, reason)));
        }
    }
}

/// Handles a reply or a cancel that another node has forwarded. Errors are ignored: its POST has already been answered.
fn posted(session: &Session, message: &bytes::Bytes) {
    match Message::parse(message) {
        Ok(Message::Response(response)) => {
            let _ = session.with(|machine, now| machine.handle_response(now, response));
        }
        Ok(Message::Notification(notification)) => {
            let (id, reason) = notification.cancelled();
            session.with(|machine, now| machine.handle_forwarded_cancelled(now, id.as_ref(), reason));
        }
        Ok(Message::Request(_)) | Err(_) => {}
    }
}
