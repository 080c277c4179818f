//! The laws of a store and the behaviour of several nodes hold for a store whose values travel: each value that a node
//! hands to the store, or gets from it, is written in its wire form and read again, as on a network.

use std::{
    fmt,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, TryFutureExt};
use mcp_session_core::{
    BoxFuture, Config, Runtime, SessionId,
    proto::Position,
    store::{
        Append, AppendError, EventStore, LogId, MemoryStore, NodeId, Page, PeerMessage, Peers, PublishError,
        ReadError, Record, SessionStore, Store, Unavailable, Update, Wakeup,
    },
};
use mcp_session_testkit::{
    Contended, SimRuntime, TestBed, behaviour,
    store_contract::{self, announcements},
    suite::{self, Scenario, Suite},
};

fn main() -> ExitCode {
    let memory = async |runtime| wired(Store::new(MemoryStore::new(runtime)));
    suite::run([
        store_contract::suite("wired_fifo", || SimRuntime::new(0), memory),
        store_contract::suite("wired_contended", || Contended::new(SimRuntime::new(2), 2), memory),
        announcements::suite("wired_announcements", || SimRuntime::new(1), memory),
        behaviour::suite("wired_behaviour", || Wired::new(SimRuntime::new(1))),
        Suite::new(
            "wired",
            [Scenario::new("the_wire_is_between_each_node_and_the_store", is_between)],
            || Wired::new(SimRuntime::new(1)),
        ),
    ])
}

/// Without it, the suite would pass with no wire at all.
fn is_between(bed: &Wired<SimRuntime>) {
    let mut all = behaviour::scenarios().into_iter();
    let moves =
        all.find(|it| it.name == "s_6_s_13_a_session_moves_with_its_running_call").expect("a scenario");
    // Through the other beds, which forward it.
    moves.run(&Contended::new(bed.clone(), 1));
    assert_eq!(bed.stores.load(SeqCst), 2);
}

/// A test bed that puts the wire between the endpoints of a scenario and their store.
#[derive(Debug, Clone)]
struct Wired<B> {
    bed: B,
    /// How many endpoints with a store there were.
    stores: Arc<AtomicUsize>,
}

impl<B> Wired<B> {
    fn new(bed: B) -> Self {
        Self { bed, stores: Arc::default() }
    }
}

impl<B: TestBed> TestBed for Wired<B> {
    fn name(&self) -> &str {
        "wired"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.bed.runtime()
    }

    #[track_caller]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.bed.block_on(future)
    }

    fn configure(&self, config: &mut Config) {
        if let Some(store) = config.store.take() {
            config.store = Some(wired(store));
            self.stores.fetch_add(1, SeqCst);
        }
    }
}

/// The store, with the wire before each part.
fn wired(mut store: Store) -> Store {
    store.events = Arc::new(Wire(store.events));
    store.sessions = Arc::new(Wire(store.sessions));
    store.peers = Arc::new(Wire(store.peers));
    store
}

/// One part of a store, behind the wire.
struct Wire<S: ?Sized>(Arc<S>);

impl<S: fmt::Debug + ?Sized> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes a value and reads it again.
macro_rules! travel {
    ($value:expr) => {{
        let value = $value;
        let written = serde_json::to_vec(&value).expect("it can be written");
        let read = serde_json::from_slice(&written).expect("it can be read");
        assert_eq!(read, value);
        read
    }};
}

/// An announcement is text, which a store may keep as such.
fn text(announcement: &Bytes) -> Bytes {
    let text = std::str::from_utf8(announcement).expect("an announcement is text");
    let read: String = travel!(text.to_owned());
    read.into()
}

fn session(id: SessionId) -> SessionId {
    let log: LogId = travel!(LogId::shared(id));
    log.session
}

fn sessions(ids: Vec<SessionId>) -> Vec<SessionId> {
    ids.into_iter().map(session).collect()
}

impl EventStore for Wire<dyn EventStore> {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), AppendError>> {
        self.0.append(travel!(append))
    }

    fn publish(
        &self,
        id: SessionId,
        node: NodeId,
        token: u64,
        event: Bytes,
    ) -> BoxFuture<'_, Result<Position, PublishError>> {
        self.0.publish(session(id), travel!(node), token, event)
    }

    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.0.read(travel!(log), after, limit).map_ok(|page| travel!(page)).boxed()
    }

    fn oldest(&self, log: LogId) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.0.oldest(travel!(log))
    }

    fn attach(&self, log: LogId, node: NodeId) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.0.attach(travel!(log), node)
    }

    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.0.seal(travel!(log), last)
    }

    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup> {
        self.0.watch(travel!(log), after).map(|wakeup| travel!(wakeup)).boxed()
    }

    fn purge(&self, id: SessionId) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.purge(session(id))
    }

    fn failover(&self) -> BoxFuture<'_, ()> {
        self.0.failover()
    }
}

impl SessionStore for Wire<dyn SessionStore> {
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.create(travel!(record))
    }

    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>> {
        self.0.load(session(id)).map_ok(|record| travel!(record)).boxed()
    }

    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.0.update(session(id), travel!(update))
    }

    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.touch(sessions(ids))
    }

    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>> {
        self.0.remove(session(id)).map_ok(|nodes| travel!(nodes)).boxed()
    }

    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>> {
        self.0.enlist(session(id), travel!(node))
    }

    fn agree(&self, name: &str, value: Bytes) -> BoxFuture<'_, Result<Bytes, Unavailable>> {
        self.0.agree(name, value)
    }

    fn claim(
        &self,
        id: SessionId,
        node: NodeId,
        from: Option<NodeId>,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.0.claim(session(id), travel!(node), travel!(from))
    }

    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.park(travel!(node), sessions(ids))
    }

    fn retire(
        &self,
        id: SessionId,
        node: NodeId,
        idle: Duration,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.0.retire(session(id), travel!(node), idle)
    }

    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>> {
        self.0.sweep(idle).map_ok(|records| travel!(records)).boxed()
    }
}

impl Peers for Wire<dyn Peers> {
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.send(travel!(to), travel!(message))
    }

    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>> {
        self.0.receive(travel!(node)).map(|message| travel!(message)).boxed()
    }

    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.announce(travel!(from), text(&announcement))
    }

    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        self.0.announced(travel!(node)).map(|announced| announced.as_ref().map(text)).boxed()
    }

    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.0.is_gone(travel!(node))
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.leave(travel!(node))
    }
}
