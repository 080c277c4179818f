//! [`Contained`]: a store whose panics fail only the call that panics, and whose calls an observer hears of.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mcp_session_proto::{Position, SessionId, after};

use super::{
    Append, AppendError, EventStore, LogId, NodeId, Page, PeerMessage, Peers, PublishError, ReadError,
    Record, SessionStore, Store, Unavailable, Update, Wakeup,
};
use crate::{
    contain::{self, Panicked},
    observer::{self, Observer, StoreCall, StoreOutcome},
    runtime::{BoxFuture, Runtime},
    trace,
};

/// The pause before a wait that has panicked is restarted.
const PAUSE: Duration = Duration::from_millis(100);

/// One part of a store. A call that panics fails with [`Unavailable`]; a wait that panics is restarted.
struct Contained<S: ?Sized> {
    store: Arc<S>,
    runtime: Arc<dyn Runtime>,
    observer: Option<Arc<dyn Observer>>,
}

impl Store {
    /// Wraps all three parts in [`Contained`].
    pub(crate) fn contained(self, runtime: &Arc<dyn Runtime>, observer: Option<&Arc<dyn Observer>>) -> Self {
        fn part<S: ?Sized>(
            store: Arc<S>,
            runtime: &Arc<dyn Runtime>,
            observer: Option<&Arc<dyn Observer>>,
        ) -> Contained<S> {
            Contained { store, runtime: Arc::clone(runtime), observer: observer.cloned() }
        }
        Self {
            events: Arc::new(part(self.events, runtime, observer)),
            sessions: Arc::new(part(self.sessions, runtime, observer)),
            peers: Arc::new(part(self.peers, runtime, observer)),
            ..self
        }
    }
}

/// A call that an observer hears of when it ends, also if it is dropped.
struct Observed<'a> {
    observer: &'a Arc<dyn Observer>,
    runtime: &'a dyn Runtime,
    operation: &'static str,
    began: Instant,
    outcome: StoreOutcome,
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        let took = self.runtime.now().saturating_duration_since(self.began);
        let call = StoreCall::new(self.operation, took, self.outcome);
        observer::tell(Some(self.observer), |it| it.store_called(&call));
    }
}

impl<S: Send + Sync + ?Sized> Contained<S> {
    /// A call, which fails with [`Unavailable`] if it panics.
    fn call<'a, T: 'a, E: From<Unavailable> + PartialEq + 'a>(
        &'a self,
        name: &'static str,
        make: impl FnOnce() -> BoxFuture<'a, Result<T, E>>,
    ) -> BoxFuture<'a, Result<T, E>> {
        let mut observed = self.observer.as_ref().map(|observer| {
            let (runtime, outcome) = (&*self.runtime, StoreOutcome::Dropped);
            Observed { observer, runtime, operation: name, began: runtime.now(), outcome }
        });
        let called = contain::Contained::new(make);
        Box::pin(async move {
            let called = called.await;
            if let Some(observed) = &mut observed {
                observed.outcome = match &called {
                    Ok(Err(error)) if *error == Unavailable.into() => StoreOutcome::Unavailable,
                    Ok(_) => StoreOutcome::Answered,
                    Err(Panicked) => StoreOutcome::Panicked,
                };
            }
            called.unwrap_or_else(|Panicked| {
                trace::store_panicked(name);
                Err(Unavailable.into())
            })
        })
    }

    /// A wait, which is restarted if it panics.
    fn wait<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        make: impl Fn() -> BoxFuture<'a, T> + Send + 'a,
    ) -> BoxFuture<'a, T> {
        Box::pin(async move {
            loop {
                match contain::Contained::new(&make).await {
                    Ok(happened) => return happened,
                    Err(Panicked) => trace::store_panicked(name),
                }
                self.runtime.sleep_until(after(self.runtime.now(), PAUSE)).await;
            }
        })
    }
}

impl<S: fmt::Debug + ?Sized> fmt::Debug for Contained<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl EventStore for Contained<dyn EventStore> {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), AppendError>> {
        self.call("append", || self.store.append(append))
    }

    fn publish(
        &self,
        session: SessionId,
        node: NodeId,
        token: u64,
        event: Bytes,
    ) -> BoxFuture<'_, Result<Position, PublishError>> {
        self.call("publish", || self.store.publish(session, node, token, event))
    }

    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.call("read", || self.store.read(log, after, limit))
    }

    fn oldest(&self, log: LogId) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.call("oldest", || self.store.oldest(log))
    }

    fn attach(&self, log: LogId, node: NodeId) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.call("attach", || self.store.attach(log, node))
    }

    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.call("seal", || self.store.seal(log, last))
    }

    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup> {
        self.wait("watch", move || self.store.watch(log, after))
    }

    fn purge(&self, session: SessionId) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("purge", || self.store.purge(session))
    }

    fn failover(&self) -> BoxFuture<'_, ()> {
        self.wait("failover", || self.store.failover())
    }
}

impl SessionStore for Contained<dyn SessionStore> {
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("create", || self.store.create(record))
    }

    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>> {
        self.call("load", || self.store.load(id))
    }

    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.call("update", || self.store.update(id, update))
    }

    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("touch", || self.store.touch(ids))
    }

    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>> {
        self.call("remove", || self.store.remove(id))
    }

    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>> {
        self.call("enlist", || self.store.enlist(id, node))
    }

    fn claim(
        &self,
        id: SessionId,
        node: NodeId,
        from: Option<NodeId>,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.call("claim", || self.store.claim(id, node, from))
    }

    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("park", || self.store.park(node, ids))
    }

    fn retire(
        &self,
        id: SessionId,
        node: NodeId,
        idle: Duration,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.call("retire", || self.store.retire(id, node, idle))
    }

    fn agree(&self, name: &str, value: Bytes) -> BoxFuture<'_, Result<Bytes, Unavailable>> {
        self.call("agree", || self.store.agree(name, value))
    }

    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>> {
        self.call("sweep", || self.store.sweep(idle))
    }
}

impl Peers for Contained<dyn Peers> {
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("send", || self.store.send(to, message))
    }

    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>> {
        self.wait("receive", move || self.store.receive(node))
    }

    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("announce", || self.store.announce(from, announcement))
    }

    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        self.wait("announced", move || self.store.announced(node))
    }

    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.call("is_gone", || self.store.is_gone(node))
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.call("leave", || self.store.leave(node))
    }
}
