//! Stores let a session continue at another node, and outlive the process that opened it.
//!
//! Without a store, a session lives and ends with its [`Endpoint`](crate::Endpoint). With one
//! ([`Config::store`](crate::Config::store)), several endpoints, called *nodes* here, serve the same sessions, no matter
//! which of them a request reaches:
//!
//! ```text
//!   client ── POST ──► node A ── append ──► EventStore ── read, watch ──► node B ◄── GET, Last-Event-ID ── client
//!                        ▲                 SessionStore ── load, enlist ──►  │
//!                        └──────────── a reply, a cancel, DELETE ── Peers ───┘
//! ```
//!
//! A store implements three traits: [`EventStore`], [`SessionStore`] and [`Peers`]. [`MemoryStore`] implements all three in
//! memory, for several endpoints of one process. The test kit tests the laws of each trait:
//! `mcp_session_testkit::store_contract::suite`. The [wire form](wire) of the values is for stores on a network.
//!
//! # Where data lives
//!
//! | what | where |
//! |---|---|
//! | the lifecycle of a session: version, principal, the nodes that serve it | [`Record`], in the [`SessionStore`] |
//! | the events of a reply | an owned log: only the node of the request appends |
//! | the events of the standalone stream | a log shared by all nodes: each may publish ([`LogId::shared`]) |
//! | a running request, its handler, its requests to the client | only in its node |
//!
//! An event is sent only after the store has it, so any node can resume from any event id that a client has. (If a store
//! stops answering, streams wait for [`Store::patience`] and then continue without it, as long as their node lives. The
//! ids of such events are unknown at other nodes: the client gets 400, after [`Store::timeout`], not a gap. If a store has
//! lost events that it had acknowledged, their node writes them again meanwhile: see [`EventStore::failover`].)
//!
//! # Running calls when a node drains
//!
//! A running call stays at its node. A handler holds sockets and locks, and some of its side effects are done: it cannot
//! be moved, and running it again elsewhere would repeat them. But its *client* can move, because the events of the call
//! can be read at any node:
//!
//! 1. When the drain begins, the node closes the connections of its running calls, with `retry`: the connection ends
//!    properly, and the stream continues (S6, F-39). The clients reconnect to another node, which adopts the session and
//!    reads the log while the first node writes it. A client that reconnects to the draining node is served there (F-37).
//! 2. The handler has the whole drain budget, as without a store, then the cancel budget. If it does not answer, the
//!    session answers for it (S5). Either answer is appended together with the end of the log, so a client that reads
//!    elsewhere gets exactly one answer, followed by the end.
//! 3. If the client is disconnected, the call is complete at its node when the answer is in the store. The shutdown waits
//!    for the store, not for the client. An answer that does not reach the store in time counts as `forced` in the report.
//! 4. Clients of versions before 2025-11-25 cannot be told to reconnect (D-05). They keep their connection until the
//!    answer, which comes before the end of the budgets in any case.
//!
//! Then the session is *parked*: its record stays, without this node. A `DELETE` *removes* the session everywhere: its
//! record, its logs, and, by a message, what each node that serves it still has (S13).
//!
//! A client's reply to a handler's request, a cancel, or the end of a session may reach a different node than the one that
//! needs it; it is forwarded to that node ([`Peers`]). A broadcast at one node is announced to the others, which pass it on to
//! the sessions that they serve, once for each, and to their `subscriptions/listen` streams (G-61).
//!
//! # Time
//!
//! A session never waits for a store under its lock: a task of the endpoint awaits the answer with a deadline
//! ([`Store::timeout`]) and passes it to the session as an input. A hung store delays the events of its sessions by
//! [`Store::patience`] at most, and does not delay a shutdown (S13, S3).

mod contained;
mod error;
mod memory;
pub(crate) mod node;
mod receipts;
mod record;
mod seals;
pub mod wire;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
pub use error::{AppendError, PublishError, ReadError, Unavailable};
use futures::FutureExt;
use mcp_session_proto::{Position, SessionId};
#[doc(hidden)]
#[allow(deprecated)]
pub use memory::SharedStore;
pub use memory::{MemoryStore, StoreLimits};
pub use record::{
    Append, InvalidNodeId, Listener, LogId, NodeId, Page, PeerMessage, PeerRequest, Receipt, Record, Update,
    Wakeup,
};

use crate::runtime::BoxFuture;

/// The logs of all sessions: the events for their clients, in order, kept as long as clients may resume from them.
///
/// A log is identified by its session and its number in it. It is either *owned* by the one node that appends to it, or
/// *shared*. It ends once. The store bounds what it keeps (events, bytes, age), and drops the oldest events of a session
/// first.
///
/// # The laws
///
/// 1. A returned future may be dropped at any time: its effect has happened or not, and calling again is safe.
/// 2. Every node can read a position that was returned, in order, until it is dropped or purged. A reader that continues
///    from its last position reads nothing twice and skips nothing.
/// 3. A log has one end: the first of its owner and [`seal`](EventStore::seal) to end it decides, and the other learns of
///    it.
/// 4. Numbers of connections grow, whichever nodes open them.
/// 5. Purged logs stay purged.
///
/// In all three traits, a call that panics is logged and counts as [`Unavailable`]; a wait that panics is logged and
/// restarted after 100 ms.
pub trait EventStore: fmt::Debug + Send + Sync + 'static {
    /// Appends to an owned log, at the position that its owner gives. Events that are there already are skipped, so
    /// repeating an append, wholly or partly, is `Ok`. An append without events and without an end creates the log.
    ///
    /// # Errors
    ///
    /// [`AppendError`].
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Appends to the standalone log of a session, at a position that the store chooses. `token` grows with each event of
    /// a source: the same token again, from whichever node, appends nothing, and returns the position of the first time, or a
    /// later one. A source is a node; or what a node announces, under an id that no node has. No position is given twice, even
    /// if the store has lost what it had there: a reader would take the new event for one that it has.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    fn publish(
        &self,
        session: SessionId,
        source: NodeId,
        token: u64,
        event: Bytes,
    ) -> BoxFuture<'_, Result<Position, PublishError>>;

    /// Reads at most `limit` events after the position `after`. After the last event the page is empty, and says whether
    /// the log has ended. [`Position::START`] is before the first event.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unknown`] if there is no such log, if the log never had this position, or if an event after it was
    /// dropped. [`ReadError::Behind`] if the position is beyond the last one of an owned log that has not ended: the owner may
    /// be about to write it again.
    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// The position before the oldest event that is kept: where a reader without a position starts. Defaults to
    /// [`Position::START`].
    ///
    /// # Errors
    ///
    /// [`ReadError::Unknown`] if there is no such log.
    fn oldest(&self, log: LogId) -> BoxFuture<'_, Result<Position, ReadError>> {
        let _ = log;
        async { Ok(Position::START) }.boxed()
    }

    /// Returns the number of a new connection to a client, at this node, for which the log is read. No two calls for a log
    /// return the same number, and a call that begins after another one has returned gets a higher one: by these numbers
    /// nodes know which of their connections is the newest. The first connection of a call has none, and counts as 0.
    ///
    /// A number that is never used harms nobody, so a call whose answer is lost is repeated.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unknown`] if there is no such session.
    fn attach(&self, log: LogId, node: NodeId) -> BoxFuture<'_, Result<u64, ReadError>>;

    /// Ends the log of an owner that is gone, with `last` as its last event. Does nothing if the log has already ended.
    /// Returns the position of the last event. Later appends of the owner fail with [`AppendError::Sealed`].
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>>;

    /// Waits until the log has an event after this position, has ended, or has lost its owner. May wake spuriously, and
    /// may be late by a few seconds: a reader that is woken reads again.
    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup>;

    /// Removes the logs of a session. Later appends and publications to it fail with `Gone`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn purge(&self, session: SessionId) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Waits until the store may have lost acknowledged events, as after a failover. Then every owner appends the last event
    /// of each of its logs again, and all that the store says it is behind by; who has sealed a log, seals it again. They do
    /// this for open logs, and for logs that ended less than 5 seconds ago, as far as the owner's
    /// [`ReplayConfig`](crate::ReplayConfig) keeps the events: a store must not lose what it has acknowledged longer ago than
    /// that. A shutdown does not wait for these 5 seconds. By default it never resolves.
    fn failover(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}

/// The records of all sessions.
///
/// # The laws
///
/// 1. As for [`EventStore`]: a future may be dropped, and calling again is safe.
/// 2. A session ends once, by [`remove`](SessionStore::remove), [`retire`](SessionStore::retire) or
///    [`sweep`](SessionStore::sweep), or because it was inactive for too long. Nothing brings it back.
/// 3. No two calls of [`enlist`](SessionStore::enlist) for a session return the same number.
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the record of a new session, and creates its standalone log.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Returns the record of a session, or `None` if there is none (any more). Counts as activity, which keeps the record,
    /// but not as a use, which keeps the session from expiring.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>>;

    /// Changes a record as [`Record::apply`] does. Returns `true` if the session exists; it never creates one.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>>;

    /// Marks these sessions as active. The store drops sessions that are inactive for long enough, with all their logs.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Ends a session. Only the first caller gets the nodes that serve it, in order to notify them; others get `None`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>>;

    /// Adds a node to those that serve the session. Returns its number in the session, which is never given twice: the
    /// node makes ids from it. `None` if there is no such session. Counts as a use, because a node adopts a session when a
    /// client's request arrives.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>>;

    /// Makes `node` the session's home, if the home is `from`. This is only for affinity: any node may serve any session.
    /// Returns `true` if `node` is the home now.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn claim(
        &self,
        id: SessionId,
        node: NodeId,
        from: Option<NodeId>,
    ) -> BoxFuture<'_, Result<bool, Unavailable>>;

    /// Removes the node from the records of these sessions. The records stay.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Parks a session that nobody has used at this node for `idle`, as [`park`](SessionStore::park) does. If no other
    /// node serves it and [`Record::unused`] is at least `idle`, the session is removed. Returns `true` if this call removed
    /// it; the caller then purges the logs.
    ///
    /// A store should do this atomically, or a client that reconnects to another node at that moment loses its session. The
    /// default takes three steps: [`park`](SessionStore::park), [`load`](SessionStore::load),
    /// [`remove`](SessionStore::remove).
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn retire(
        &self,
        id: SessionId,
        node: NodeId,
        idle: Duration,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        async move {
            self.park(node, vec![id]).await?;
            let over = |record: Record| record.nodes().is_empty() && record.unused >= idle;
            Ok(self.load(id).await?.is_some_and(over) && self.remove(id).await?.is_some())
        }
        .boxed()
    }

    /// Keeps this value under this name, for ever, unless there is one already; returns the one that is kept. So the first
    /// value stays, and every node gets it. It is a secret of some bytes, which all nodes share; names are few and short.
    ///
    /// By default nothing is kept, and each node has its own value.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn agree(&self, name: &str, value: Bytes) -> BoxFuture<'_, Result<Bytes, Unavailable>> {
        let _ = name;
        async move { Ok(value) }.boxed()
    }

    /// Removes sessions that no running node serves and that nobody has used for `idle`, some 100 at most, and returns
    /// their records. Each record is returned to one caller only, which purges its logs and runs the hook. A lost node
    /// counts as having parked its sessions at its last [`touch`](SessionStore::touch).
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>>;
}

/// Messages between nodes, for input that reached the wrong node; and announcements to all nodes, of broadcasts.
///
/// # The laws
///
/// 1. As for [`EventStore`]: a future may be dropped, and calling again is safe. So a message may arrive twice.
/// 2. A message that was accepted arrives, unless its node never runs again. If the store fails over, it may lose some: a
///    client's reply or cancel is sent again until its node has taken it, for some seconds at most ([`PeerRequest::Taken`]).
/// 3. A node may miss announcements. It gets each at most once, those of one node in their order, and none of its own.
///
/// # Announcements are optional
///
/// [`announce`](Peers::announce) and [`announced`](Peers::announced) have defaults that carry nothing. With these, a
/// [`broadcast`](crate::SessionManager::broadcast) reaches the sessions and subscriptions of its own node only. A store
/// implements both or neither. Their laws are a suite of their own: `mcp_session_testkit::store_contract::announcements::suite`.
pub trait Peers: fmt::Debug + Send + Sync + 'static {
    /// Sends a message to a node.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Waits for the next message to a node; `None` when the node has left. The first call registers the node.
    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>>;

    /// Sends this to every other node that runs. Best effort: it is not repeated, and whoever does not wait for it may miss
    /// it. Never waits for a node that does not fetch its announcements: that node misses the oldest. An announcement is
    /// JSON text, of the size of the notification in it; what it says concerns only nodes. By default it goes nowhere.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        let _ = (from, announcement);
        async { Ok(()) }.boxed()
    }

    /// Waits for the next announcement of another node; `None` when this node has left. The first call registers the node.
    /// By default it never resolves.
    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        let _ = node;
        std::future::pending().boxed()
    }

    /// Whether the node will not run again, as far as the store knows: it has left, or is lost. `false` if it may run.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>>;

    /// Records that the node will not run again: its logs have no owner, and messages to it are discarded.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>>;
}

/// The store of an endpoint, and its time limits.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use mcp_session_core::{Config, ConfigError, Endpoint, Router, Runtime, store::{MemoryStore, Store}};
///
/// fn two_nodes(runtime: Arc<dyn Runtime>) -> Result<[Endpoint; 2], ConfigError> {
///     let mut store = Store::new(MemoryStore::new(Arc::clone(&runtime)));
///     store.timeout = Duration::from_secs(1);
///     let mut config = Config::default();
///     config.store = Some(store);
///     let node = || Endpoint::with_config(Arc::clone(&runtime), Router::new("node", "1.0.0"), config.clone());
///     Ok([node()?, node()?])
/// }
/// # let _ = two_nodes;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Store {
    /// The logs.
    pub events: Arc<dyn EventStore>,
    /// The records.
    pub sessions: Arc<dyn SessionStore>,
    /// Messages to other nodes.
    pub peers: Arc<dyn Peers>,
    /// How long one call may take. 2 seconds: a store in the same network takes milliseconds; a failover takes some
    /// seconds, and the call is repeated.
    pub timeout: Duration,
    /// How long a stream waits for a store that does not accept its events, before it continues without the store.
    /// 10 seconds: longer than a failover takes, shorter than a person waits. A client's reply waits no longer for the node
    /// that needs it, and 3 seconds at most.
    pub patience: Duration,
    /// How often a node reports its active sessions. 1 minute: a fraction of the time that a store should wait.
    pub touch_interval: Duration,
}

impl Store {
    /// Creates a `Store` from a value that implements all three traits.
    pub fn new(store: impl EventStore + SessionStore + Peers) -> Self {
        let store = Arc::new(store);
        Self {
            events: Arc::clone(&store) as _,
            sessions: Arc::clone(&store) as _,
            peers: store,
            timeout: Duration::from_secs(2),
            patience: Duration::from_secs(10),
            touch_interval: Duration::from_secs(60),
        }
    }
}
