//! The data types of a store.

use std::{fmt, time::Duration};

use bytes::Bytes;
use mcp_session_proto::{
    ClientCapabilities, Json, Position, ProtocolVersion, RequestId, SessionId, TerminateReason,
};

use crate::principal::Principal;

/// The id of a node: one of the endpoints that share a store. Each endpoint gets a new one, so a restarted endpoint is a
/// different node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The id of a log: a session and the number of a stream in it. A stream's number without its session reads nothing
/// (D-31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId {
    /// The session.
    pub session: SessionId,
    /// The stream.
    pub stream: u64,
}

impl LogId {
    /// The number of the standalone log, which all nodes of a session share. No stream of a request has it.
    pub const STANDALONE: u64 = u32::MAX as u64;

    /// The id of the standalone log of a session.
    pub fn shared(session: SessionId) -> Self {
        Self { session, stream: Self::STANDALONE }
    }
}

/// Events that the owner of a log appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The log.
    pub log: LogId,
    /// Its owner. When the owner is gone, another node may end the log.
    pub owner: NodeId,
    /// The request that the log replies to, for the node that ends the log.
    pub request: RequestId,
    /// The position of the first of these events. The first position of a log is 1.
    pub at: u64,
    /// Complete events, without their ids.
    pub events: Vec<Bytes>,
    /// Whether the log ends after these events.
    pub ends: bool,
}

/// A page of events, read from a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Complete events, without their ids, and their positions.
    pub events: Vec<(Position, Bytes)>,
    /// Whether the log has ended and these are its last events.
    pub ended: bool,
    /// The request that the log replies to.
    pub request: Option<RequestId>,
}

/// Why a reader should read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    /// There may be more to read.
    Grown,
    /// The owner of the log is gone, and has not ended it.
    OwnerGone,
}

/// The state of a session that all nodes share.
///
/// A store on a network may keep these fields in any form, and builds a record from them with [`Record::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The session id.
    pub id: SessionId,
    /// The principal that owns it. Requests of others do not find it (E-06).
    pub principal: Option<Principal>,
    /// The negotiated version.
    pub version: ProtocolVersion,
    /// The client's capabilities.
    pub capabilities: ClientCapabilities,
    /// The params of `initialize`, from which handlers at every node know their client. An object, at most 5 KiB.
    pub initialize: Json,
    /// Whether `notifications/initialized` has arrived at any node.
    pub initialized: bool,
    /// The age of the session since [`SessionStore::create`](super::SessionStore::create), by the clock of the store, so
    /// that nodes need no common clock. [`max_age`](crate::SessionConfig::max_age) counts from there at every node.
    pub age: Duration,
    /// How long ago a node last adopted the session for a client, or a client last used it at a node that has parked it
    /// since. By the clock of the store, counted from [`SessionStore::enlist`](super::SessionStore::enlist) and
    /// [`Update::Used`]. Nodes that serve the session may know of later uses.
    pub unused: Duration,
    /// The node that a load balancer should prefer, if it can: see [`SessionStore::claim`](super::SessionStore::claim).
    pub home: Option<NodeId>,
    /// The nodes that serve the session, indexed by their numbers in it; `None` for a node that no longer does.
    pub members: Vec<Option<NodeId>>,
    /// How far the standalone log has been sent to the client.
    pub heard: Position,
    /// Which node sends the standalone log to the client.
    pub listener: Listener,
}

/// Which node sends the standalone log of a session to its client: one at a time (D-21).
///
/// Nodes take over from each other by growing numbers: the node with the highest number listens. The previous listener
/// stops and records how far it came; only then does the next one begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Listener {
    /// How often a node has become the listener. 0 if none has.
    pub number: u64,
    /// The last node that became the listener.
    pub node: Option<NodeId>,
    /// All listeners up to this number have stopped; [`Record::heard`] says how far they came.
    pub settled: u64,
}

/// A change of a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// `notifications/initialized` has arrived.
    Initialized,
    /// The standalone log has been sent to the client up to this position. It never moves back.
    Heard(Position),
    /// A client last used the session this long ago, at a node that parks it now.
    Used(Duration),
    /// This node becomes the listener with this number, unless there is one with the same or a higher number.
    Listens(NodeId, u64),
    /// The listener with this number and all before it have stopped. The standalone log has been sent up to this
    /// position.
    Settled(u64, Position),
}

impl Record {
    /// The record of a newly opened session of this version, without capabilities and members.
    ///
    /// ```
    /// use mcp_session_core::{ProtocolVersion, SessionId, store::{Record, Update}};
    ///
    /// let mut record = Record::new(SessionId::from_bits(7), ProtocolVersion::LATEST);
    /// assert!(!record.initialized && record.members.is_empty());
    /// record.apply(Update::Initialized);
    /// assert!(record.initialized);
    /// ```
    pub fn new(id: SessionId, version: ProtocolVersion) -> Self {
        Self {
            id,
            principal: None,
            version,
            capabilities: ClientCapabilities::default(),
            initialize: serde_json::json!({}).into(),
            initialized: false,
            age: Duration::ZERO,
            unused: Duration::ZERO,
            home: None,
            members: Vec::new(),
            heard: Position::START,
            listener: Listener::default(),
        }
    }

    /// Applies a change. [`SessionStore::update`](super::SessionStore::update) must do this atomically. Changes may come
    /// in any order and more than once.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Initialized => self.initialized = true,
            Update::Heard(position) => self.heard = self.heard.max(position),
            Update::Used(ago) => self.unused = self.unused.min(ago),
            Update::Listens(node, number) => {
                if number > self.listener.number {
                    self.listener.number = number;
                    self.listener.node = Some(node);
                }
            }
            Update::Settled(number, position) => {
                self.listener.settled = self.listener.settled.max(number);
                self.heard = self.heard.max(position);
            }
        }
    }

    /// The nodes that serve the session, without duplicates.
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.members.iter().flatten().copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}

/// A message from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMessage {
    /// The session that it is about.
    pub session: SessionId,
    /// What the node should do.
    pub request: PeerRequest,
}

/// A request of one node to another. Idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerRequest {
    /// The client has posted this JSON message, a reply or a cancel.
    Posted(Bytes),
    /// The client now reads this stream at another node: a connection that carries it here ends (D-21, D-23).
    TakenOver(u64),
    /// The listener with this number now reads the standalone log at another node: earlier ones stop, and record it
    /// ([`Update::Settled`]).
    Listens(u64),
    /// `notifications/initialized` has arrived at another node.
    Initialized,
    /// The session is terminated.
    Terminated(TerminateReason),
}
