//! Stores: what lets a session go on at another node, and outlive the process that began it.
//!
//! Without a store a session lives and ends with its [`Endpoint`](crate::Endpoint). With one ([`Config::store`](crate::Config::store))
//! several endpoints, which are called *nodes* here, serve the same sessions, whichever of them a request reaches:
//!
//! ```text
//!   client ── POST ──► node A ── append ──► EventStore ── read, watch ──► node B ◄── GET, Last-Event-ID ── client
//!                        ▲                 SessionStore ── load, enlist ──►  │
//!                        └──────────── a reply, a cancel, DELETE ── Peers ───┘
//! ```
//!
//! Three traits say what a store does: [`EventStore`], [`SessionStore`] and [`Peers`]. [`MemoryStore`] keeps it all in
//! memory, for several endpoints of one process. The laws of each trait are tests, in the test kit:
//! `mcp_session_testkit::store_contract!`.
//!
//! # What is where
//!
//! | what | where |
//! |---|---|
//! | the lifecycle of a session: version, owner of the session, who serves it | [`Record`], in the [`SessionStore`] |
//! | the events of a reply | a log that the node of the request owns: it alone appends |
//! | what belongs to no request | a log that all nodes share: each may publish ([`LogId::shared`]) |
//! | a running request, its handler, its waits for the client | in its node, and nowhere else |
//!
//! An event leaves only when the store has it: whatever id a client has in its hands, any node can go on from there. (A
//! store that stops answering is given [`Store::patience`]; after that a stream goes on without it, for as long as its
//! node lives, and an id of it is unknown elsewhere: 400, not a gap.)
//!
//! # What becomes of a running call when its node drains
//!
//! It stays where it is. A handler is code at work with sockets, locks and half of its side effects done: it cannot
//! be moved, and to cancel it in order to run it again elsewhere would do twice what was to be done once. But its *client*
//! need not stay, because what the call says from now on can be read anywhere:
//!
//! 1. With the first moment of the drain the node sends the clients of its running calls away, with `retry` (S6, F-39): the
//!    connection ends properly, the stream lives on. They come back to another node, which adopts the session and reads the
//!    log along with the node that writes it. Who comes back to the draining node is served there as well (F-37).
//! 2. The handler has the whole drain budget, as without a store, then the cancel budget; and if it does not answer, the
//!    session answers for it (S5). Whichever answer it is, it is appended to the log, with the end of the log in the same
//!    append: so a client that reads elsewhere gets exactly one answer, and the end behind it.
//! 3. With the answer in the store the call is settled at its node: *handed over* means handed over to the store, if the
//!    client is away. Shutdown waits for that, and not for the client. What does not reach the store in time is `forced`, and
//!    the report says so.
//! 4. Clients of versions before 2025-11-25 do not understand being sent away (D-05). They keep their connection until the
//!    answer, which is sooner than the end of the budgets in any case.
//!
//! The session is then *parked*: its record stays, without this node. A `DELETE` *removes* it, everywhere: the record, the
//! logs, and by a message to each node that serves it, what is left there (S13).
//!
//! Replies of the client to requests of a handler, cancels, and the end of a session may reach another node than the one they
//! are meant for; they are passed on to it ([`Peers`]).
//!
//! # Time
//!
//! The session never waits for a store under its lock: it asks, a task of the endpoint awaits the answer with a deadline
//! ([`Store::timeout`]), and the answer comes back as an input. A store that hangs delays the events of its sessions for its
//! patience and a shutdown not at all (S13, S3).

mod adopt;
mod contained;
mod error;
mod keeper;
mod memory;
mod node;
mod record;
mod relay;
mod writer;

use std::{fmt, sync::Arc, time::Duration};

pub(crate) use adopt::Adoptions;
use bytes::Bytes;
pub use error::{AppendError, PublishError, ReadError, Unavailable};
use futures::FutureExt;
pub(crate) use keeper::keep;
pub use memory::{MemoryStore, StoreLimits};
pub(crate) use node::Node;
pub use record::{Append, Listener, LogId, NodeId, Page, PeerMessage, PeerRequest, Record, Update, Wakeup};
pub(crate) use relay::{PAGE, Relay};
pub(crate) use writer::write;

use crate::{
    proto::{Position, SessionId},
    runtime::BoxFuture,
};

/// The logs of all sessions: what their clients get, in order, for as long as they may ask for it.
///
/// A log belongs to a session and has a number in it. It is *owned*, by the one node that appends to it, or *shared*. It ends
/// once. Bounds on what is kept (events, bytes, age) are the store's; it forgets the oldest of a session first.
///
/// # The laws
///
/// 1. A returned future may be dropped at any time: its effect has happened or not, and asking again is safe.
/// 2. A position that was returned is readable by every node, in order, until it is forgotten or purged. Nothing is read twice
///    or skipped by a reader that goes on from the last position it has.
/// 3. A log has one end. Whoever ends it first, its owner or [`seal`](EventStore::seal), decides; the other learns of it.
/// 4. What was purged stays purged.
///
/// A call that panics, here as in the other two traits, counts as [`Unavailable`], and is logged; a wait that panics begins again
/// after 100 ms.
pub trait EventStore: fmt::Debug + Send + Sync + 'static {
    /// Appends to an owned log, at the position that its owner says. What is there already is passed over: a repetition, whole
    /// or in part, is `Ok`. No events and no end opens the log.
    ///
    /// # Errors
    ///
    /// [`AppendError`].
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Appends to the standalone log of a session, at a position that the store says. `token` grows with each event of a node: the
    /// same token again appends nothing, and returns the position of the first time, or a later one.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    fn publish(
        &self,
        session: SessionId,
        node: NodeId,
        token: u64,
        event: Bytes,
    ) -> BoxFuture<'_, Result<Position, PublishError>>;

    /// What follows `after`, `limit` events at the most. Nothing follows the last one: then the page is empty, and says
    /// whether the log has ended. [`Position::START`] is before the first.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unknown`] if there is no such log, or never was such a position in it, or something that followed it is
    /// forgotten.
    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// The last position after which nothing is forgotten: where a reader begins that has no other. By default the beginning.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unknown`] if there is no such log.
    fn oldest(&self, log: LogId) -> BoxFuture<'_, Result<Position, ReadError>> {
        let _ = log;
        async { Ok(Position::START) }.boxed()
    }

    /// Ends the log of an owner that is gone, with this last event. If it has ended already, nothing happens. Returns the
    /// position of the last event. What the owner appends later is [`AppendError::Sealed`].
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>>;

    /// Resolves when there is something after this position, or an end, or nobody left to write more. May be spurious, and may
    /// be late, by seconds, not more: a reader that is woken reads again.
    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup>;

    /// Forgets the logs of a session. Later appends and publications to it are `Gone`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn purge(&self, session: SessionId) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Resolves when the store may have lost what it had acknowledged, as by a failover: every owner appends the last event of
    /// each open log once more. Never, by default.
    fn failover(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}

/// The records of all sessions.
///
/// # The laws
///
/// 1. As that of [`EventStore`]: a future may be dropped, and asking again is safe.
/// 2. A session ends in one place, [`remove`](SessionStore::remove), and nothing brings it back.
/// 3. No two calls of [`enlist`](SessionStore::enlist) for a session return the same number.
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps a new session. Its standalone log begins with it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// The record of a session; `None` if there is none, or not any more. Counts as activity, which keeps the record, and not
    /// as a use, which keeps the session from ending when it is idle.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>>;

    /// Changes a record, as [`Record::apply`] says. Returns whether the session is there; it is never brought back.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>>;

    /// These sessions are active. Those that are not, for long enough, the store lets go with all their logs.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Ends a session. Tells exactly one caller, the first one, which nodes serve it, for those to be told; others get `None`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>>;

    /// A node serves the session from now on, too. Returns its number there, which no other has had and none will have: what it
    /// makes ids of. `None` if there is no such session. Counts as a use: a node takes a session up for a client that came with
    /// it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>>;

    /// Makes `node` the session's home, if that is `from` until now. A matter of affinity only: any node may serve any
    /// session. Returns whether it is its home now.
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

    /// The node does not serve these sessions any more. Their records stay.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// As [`park`](SessionStore::park), for a session that nobody has used at this node for `idle`. If no other node serves it
    /// either, and [`Record::unused`] is as much, that is its end: it is removed. Returns whether it was this call that ended
    /// it; the logs are purged after that.
    ///
    /// A store does it in one step, or a client that comes back to another node at that moment loses its session. By default
    /// it is done in three: [`park`](SessionStore::park), [`load`](SessionStore::load), [`remove`](SessionStore::remove).
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

    /// Ends the sessions that no running node serves and that nobody has used for `idle`, and returns their records, those of
    /// some 100 at the most. Each is given to one caller alone, who purges its logs and runs the hook. A node that was lost
    /// counts as one that parks at its last [`touch`](SessionStore::touch).
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>>;
}

/// Messages between nodes, for what landed on the wrong one.
///
/// # The laws
///
/// 1. As that of [`EventStore`]: a future may be dropped, and asking again is safe. So a message may arrive twice.
/// 2. A message that was accepted arrives, or its node never runs again.
pub trait Peers: fmt::Debug + Send + Sync + 'static {
    /// Sends a message to a node.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// The next message for a node; `None` when it has left. From the first call on, the node is there.
    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>>;

    /// The node will not run again: its logs have no owner, and messages for it go nowhere.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>>;
}

/// The store of an endpoint, and how long it may take.
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
    /// The way to other nodes.
    pub peers: Arc<dyn Peers>,
    /// How long one call may take. 2 seconds: a store in the same network takes milliseconds, a failover some seconds, and
    /// then it is asked again.
    pub timeout: Duration,
    /// How long a stream waits for a store that does not take its events, before it goes on without. 10 seconds: longer than
    /// a failover takes, shorter than a person waits.
    pub patience: Duration,
    /// How often a node says which of its sessions are active. 1 minute: a fraction of what a store should wait.
    pub touch_interval: Duration,
}

impl Store {
    /// A store that is all three.
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
