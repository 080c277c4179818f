//! [`Intercepted`]: a store in memory whose calls a scenario delays, refuses or makes panic.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::ready};
use mcp_session_core::{
    BoxFuture, SessionId,
    proto::Position,
    store::{
        Append, AppendError, EventStore, LogId, MemoryStore, NodeId, Page, PeerMessage, Peers, PublishError,
        ReadError, Record, SessionStore, Unavailable, Update, Wakeup,
    },
};

/// What happens to a call of the store, by the name of its method.
pub(super) trait Intercept: fmt::Debug + Send + Sync + 'static {
    /// When it is called.
    fn called(&self, _method: &str) {}

    /// When its future is polled, before the store does anything.
    fn polled(&self, method: &'static str) -> BoxFuture<'_, ()>;

    /// Whether this message is accepted and never arrives.
    fn loses(&self, _message: &PeerMessage) -> bool {
        false
    }

    /// Whether records cannot be created and loaded.
    fn unreachable(&self) -> bool {
        false
    }
}

#[derive(Debug)]
pub(super) struct Intercepted<I> {
    pub(super) store: MemoryStore,
    pub(super) by: I,
}

impl<I: Intercept> Intercepted<I> {
    fn call<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        make: impl FnOnce(&'a MemoryStore) -> BoxFuture<'a, T>,
    ) -> BoxFuture<'a, T> {
        self.by.called(method);
        let future = make(&self.store);
        async move {
            self.by.polled(method).await;
            future.await
        }
        .boxed()
    }

    fn record<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        make: impl FnOnce(&'a MemoryStore) -> BoxFuture<'a, Result<T, Unavailable>>,
    ) -> BoxFuture<'a, Result<T, Unavailable>> {
        if self.by.unreachable() { ready(Err(Unavailable)).boxed() } else { self.call(method, make) }
    }
}

impl<I: Intercept> EventStore for Intercepted<I> {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), AppendError>> {
        self.call("append", |store| store.append(append))
    }

    fn publish(
        &self,
        session: SessionId,
        node: NodeId,
        token: u64,
        event: Bytes,
    ) -> BoxFuture<'_, Result<Position, PublishError>> {
        self.call("publish", |store| store.publish(session, node, token, event))
    }

    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.call("read", |store| store.read(log, after, limit))
    }

    fn attach(&self, log: LogId, node: NodeId) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.call("attach", |store| store.attach(log, node))
    }

    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.call("seal", |store| store.seal(log, last))
    }

    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup> {
        self.call("watch", |store| store.watch(log, after))
    }

    fn purge(&self, session: SessionId) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("purge", |store| store.purge(session))
    }

    fn failover(&self) -> BoxFuture<'_, ()> {
        self.call("failover", |store| store.failover())
    }
}

impl<I: Intercept> SessionStore for Intercepted<I> {
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.record("create", |store| store.create(record))
    }

    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>> {
        self.record("load", |store| store.load(id))
    }

    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.call("update", |store| store.update(id, update))
    }

    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("touch", |store| store.touch(ids))
    }

    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>> {
        self.call("remove", |store| store.remove(id))
    }

    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>> {
        self.call("sweep", |store| store.sweep(idle))
    }

    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>> {
        self.call("enlist", |store| store.enlist(id, node))
    }

    fn agree(&self, name: &str, value: Bytes) -> BoxFuture<'_, Result<Bytes, Unavailable>> {
        self.call("agree", |store| store.agree(name, value))
    }

    fn claim(
        &self,
        id: SessionId,
        node: NodeId,
        from: Option<NodeId>,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.call("claim", |store| store.claim(id, node, from))
    }

    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("park", |store| store.park(node, ids))
    }
}

impl<I: Intercept> Peers for Intercepted<I> {
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>> {
        if self.by.loses(&message) {
            return ready(Ok(())).boxed();
        }
        self.call("send", |store| store.send(to, message))
    }

    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>> {
        self.call("receive", |store| store.receive(node))
    }

    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("announce", |store| store.announce(from, announcement))
    }

    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        self.call("announced", |store| store.announced(node))
    }

    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.call("is_gone", |store| store.is_gone(node))
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("leave", |store| store.leave(node))
    }
}
