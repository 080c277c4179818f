//! What goes into a store and comes out of it.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{
    principal::Principal,
    proto::{ClientCapabilities, Json, Position, ProtocolVersion, RequestId, SessionId, TerminateReason},
};

/// A node: an endpoint among those that share a store. Made anew with each endpoint, so that what is started again is another
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A log: the stream of this number in this session. The session is part of it: whoever has a stream's number and not its
/// session reads nothing (D-31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId {
    /// The session.
    pub session: SessionId,
    /// The stream.
    pub stream: u64,
}

impl LogId {
    /// The number of the log that all nodes of a session share. No stream of a request has it.
    pub const STANDALONE: u64 = u32::MAX as u64;

    /// The standalone log of a session.
    pub fn shared(session: SessionId) -> Self {
        Self { session, stream: Self::STANDALONE }
    }
}

/// What the owner of a log appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The log.
    pub log: LogId,
    /// Its owner: once it is gone, somebody else may end the log.
    pub owner: NodeId,
    /// The request whose reply it is: for whoever ends it.
    pub request: RequestId,
    /// The position of the first of the events. The first of all is 1.
    pub at: u64,
    /// Whole events, without their ids.
    pub events: Vec<Bytes>,
    /// Whether the log ends after them.
    pub ends: bool,
}

/// What was read from a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Whole events, without their ids, and their positions.
    pub events: Vec<(Position, Bytes)>,
    /// Whether the log has ended, and these are the last.
    pub ended: bool,
    /// The request whose reply it is.
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

/// A session, as every node has to know it: all that its life depends on.
///
/// A store on a network keeps these fields as it likes, and makes a record of them with [`Record::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its id.
    pub id: SessionId,
    /// Whose it is (E-06). Nobody else's requests find it.
    pub principal: Option<Principal>,
    /// The negotiated version.
    pub version: ProtocolVersion,
    /// What the client can do.
    pub capabilities: ClientCapabilities,
    /// The params of `initialize`: what handlers at every node know of their client. An object, 5 KiB at the most.
    pub initialize: Json,
    /// Whether `notifications/initialized` has arrived, at any node.
    pub initialized: bool,
    /// How old the session is: since [`SessionStore::create`](super::SessionStore::create), by the clock of the store, so
    /// that nodes need none in common. [`max_age`](crate::SessionConfig::max_age) counts from there at every node.
    pub age: Duration,
    /// How long ago a node last took the session up for a client, or a client last used it at a node that has parked it since:
    /// by the clock of the store, which counts from [`SessionStore::enlist`](super::SessionStore::enlist) and
    /// [`Update::Used`]. What nodes that serve it know better is not in it.
    pub unused: Duration,
    /// The node to send its requests to, for a router that can: see [`SessionStore::claim`](super::SessionStore::claim).
    pub home: Option<NodeId>,
    /// The nodes that serve it, by their numbers in it; `None` for one that does not any more.
    pub members: Vec<Option<NodeId>>,
    /// How far the standalone log has been sent to the client.
    pub heard: Position,
    /// Which node sends the standalone log to the client.
    pub listener: Listener,
}

/// Which node sends the standalone log of a session to its client: one at a time (D-21).
///
/// Nodes take it from each other by numbers that grow: who has the highest one listens. Whoever had it before stops, and says
/// how far it came; only then does the next one begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Listener {
    /// How often a node has become the listener. 0: none has.
    pub number: u64,
    /// The last one that has.
    pub node: Option<NodeId>,
    /// All listeners up to this number have stopped, and [`Record::heard`] says how far they came.
    pub settled: u64,
}

/// A change of a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// `notifications/initialized` has arrived.
    Initialized,
    /// The standalone log has been sent to the client this far. It never goes back.
    Heard(Position),
    /// A client last used the session so long ago, at a node that parks it now.
    Used(Duration),
    /// This node becomes the listener of this number, unless there is one of that number, or of a higher one.
    Listens(NodeId, u64),
    /// The listener of this number has stopped, and so have all before it. The standalone log has been sent this far.
    Settled(u64, Position),
}

impl Record {
    /// A session of this version that has just been opened, with nothing else in it: no capabilities, no members.
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

    /// What a change makes of it: what [`SessionStore::update`](super::SessionStore::update) has to do in one step. Changes
    /// may come in any order and more than once.
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

    /// The nodes that serve it, each once.
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
    /// What there is to do.
    pub request: PeerRequest,
}

/// What a node asks another to do. To do it twice is to do it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerRequest {
    /// The client has posted this message: a reply, or a cancel. It is JSON.
    Posted(Bytes),
    /// The client reads this stream elsewhere now: a connection that carries it here ends (D-21, D-23).
    TakenOver(u64),
    /// The listener of this number reads the standalone log elsewhere now: those before it stop, and say so
    /// ([`Update::Settled`]).
    Listens(u64),
    /// `notifications/initialized` has arrived elsewhere.
    Initialized,
    /// The session is terminated.
    Terminated(TerminateReason),
}
