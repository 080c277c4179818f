//! The data types of a store.

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use mcp_session_proto::{
    ClientCapabilities, Json, Position, ProtocolVersion, RequestId, SessionId, TerminateReason,
};
use serde_json::Value;

use crate::principal::Principal;

/// The id of a node: one of the endpoints that share a store. Each endpoint gets a new one, so a restarted endpoint is a
/// different node.
///
/// Its text is 16 lower-case hexadecimal digits.
///
/// ```
/// use mcp_session_core::store::NodeId;
///
/// assert_eq!(NodeId(0x2a).to_string(), "000000000000002a");
/// assert_eq!("000000000000002a".parse(), Ok(NodeId(0x2a)));
/// assert!("2a".parse::<NodeId>().is_err()); // one id has one spelling
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "stores make it from what they keep")]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not a node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a node id")]
#[non_exhaustive]
pub struct InvalidNodeId;

impl FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(s: &str) -> Result<Self, InvalidNodeId> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = Some(s).filter(|s| s.len() == 16 && s.bytes().all(digit)).ok_or(InvalidNodeId)?;
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| InvalidNodeId)
    }
}

/// The id of a log: a session and the number of a stream in it. A stream's number without its session reads nothing
/// (D-31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "stores make it from what they keep")]
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

/// Events that the owner of a log appends. `Debug` shows how many, not what they say (E-20).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
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

impl Append {
    /// An append to this log at this position, without events and without an end: it creates the log.
    ///
    /// ```
    /// use mcp_session_core::{SessionId, store::{Append, LogId, NodeId}};
    ///
    /// let log = LogId { session: SessionId::from_bits(7), stream: 3 };
    /// let mut append = Append::new(log, NodeId(1), "call".into(), 1);
    /// assert!(append.events.is_empty() && !append.ends);
    /// append.events.push("data: secret\n\n".into());
    /// assert!(format!("{append:?}").contains("1 event, 14 bytes"));
    /// ```
    pub fn new(log: LogId, owner: NodeId, request: RequestId, at: u64) -> Self {
        Self { log, owner, request, at, events: Vec::new(), ends: false }
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, owner, request, at, events, ends } = self;
        f.debug_struct("Append")
            .field("log", log)
            .field("owner", owner)
            .field("request", request)
            .field("at", at)
            .field("events", &Size::of(events))
            .field("ends", ends)
            .finish()
    }
}

/// The number and size of events, in place of what they say.
struct Size {
    events: usize,
    bytes: usize,
}

impl Size {
    fn of<'a>(events: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let start = Self { events: 0, bytes: 0 };
        events
            .into_iter()
            .fold(start, |sum, event| Self { events: sum.events + 1, bytes: sum.bytes + event.len() })
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.events == 1 { "" } else { "s" };
        write!(f, "{} event{plural}, {} bytes", self.events, self.bytes)
    }
}

/// A page of events, read from a log. `Debug` shows how many, not what they say (E-20).
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Complete events, without their ids, and their positions.
    pub events: Vec<(Position, Bytes)>,
    /// Whether the log has ended and these are its last events.
    pub ended: bool,
    /// The request that the log replies to.
    pub request: Option<RequestId>,
}

impl Page {
    /// A page of these events. `ended` if the log has ended and these are its last.
    pub fn new(events: Vec<(Position, Bytes)>, ended: bool, request: Option<RequestId>) -> Self {
        Self { events, ended, request }
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, ended, request } = self;
        let positions = events.first().zip(events.last()).map(|((first, _), (last, _))| (first, last));
        f.debug_struct("Page")
            .field("positions", &positions)
            .field("events", &Size::of(events.iter().map(|(_, event)| event)))
            .field("ended", ended)
            .field("request", request)
            .finish()
    }
}

/// Why a reader should read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wakeup {
    /// There may be more to read.
    Grown,
    /// The owner of the log is gone, and has not ended it.
    OwnerGone,
}

/// The state of a session that all nodes share.
///
/// A store on a network keeps it in its [wire form](super::wire), or keeps its fields in any form and builds a record from
/// them with [`Record::new`].
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
    /// What a newer node has written in addition, so that it is not lost when the record is written again.
    pub(super) unknown: Unknown,
}

/// The fields of a record that only a newer node knows. `Debug` shows their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Unknown(
    Option<Box<serde_json::Map<String, Value>>>, // nearly always none
);

impl Unknown {
    pub(super) fn new(fields: serde_json::Map<String, Value>) -> Self {
        Self((!fields.is_empty()).then(|| Box::new(fields)))
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().flat_map(|fields| fields.iter())
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields().map(|(name, _)| name)).finish()
    }
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

/// A change of a [`Record`]. A store that does not know a change fails with [`Unavailable`](super::Unavailable).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    /// let mut record = Record::new(SessionId::from_bits(7), ProtocolVersion::LATEST_WITH_HANDSHAKE);
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
            unknown: Unknown::default(),
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
#[non_exhaustive]
pub struct PeerMessage {
    /// The session that it is about.
    pub session: SessionId,
    /// What the node should do.
    pub request: PeerRequest,
}

impl PeerMessage {
    /// A message about this session.
    pub fn new(session: SessionId, request: PeerRequest) -> Self {
        Self { session, request }
    }
}

/// Where a node acknowledges a message that it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The node that has sent the message.
    pub node: NodeId,
    /// The number of the message at that node.
    pub number: u64,
}

impl Receipt {
    /// The receipt of this message of this node.
    pub fn new(node: NodeId, number: u64) -> Self {
        Self { node, number }
    }
}

/// A request of one node to another. Idempotent. `Debug` shows the size of a client's message, not what it says (E-20).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerRequest {
    /// The client has posted this JSON message, a reply or a cancel.
    Posted {
        /// The message.
        message: Bytes,
        /// Whom to tell that it was taken, with [`PeerRequest::Taken`]. It may come again until then. `None`: nobody waits.
        receipt: Option<Receipt>,
    },
    /// The message with this number, from the [`Receipt`], was taken.
    Taken(u64),
    /// The client now reads this stream at another node: a connection that carries it here ends, if it is an older one
    /// (D-21, D-23). Sent again as long as it reads there: the call counts as left since the last time (E-14).
    TakenOver {
        /// The stream.
        stream: u64,
        /// The number of the connection at the other node, from [`EventStore::attach`](super::EventStore::attach); 0 if it has
        /// none, so that nobody knows which connection is newer.
        number: u64,
    },
    /// The listener with this number now reads the standalone log at another node: earlier ones stop, and record it
    /// ([`Update::Settled`]).
    Listens(u64),
    /// `notifications/initialized` has arrived at another node.
    Initialized,
    /// The session is terminated.
    Terminated(TerminateReason),
}

impl fmt::Debug for PeerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Posted { message, receipt } => {
                write!(f, "Posted({} bytes, {receipt:?})", message.len())
            }
            Self::Taken(number) => f.debug_tuple("Taken").field(number).finish(),
            Self::TakenOver { stream, number } => {
                f.debug_struct("TakenOver").field("stream", stream).field("number", number).finish()
            }
            Self::Listens(number) => f.debug_tuple("Listens").field(number).finish(),
            Self::Initialized => f.write_str("Initialized"),
            Self::Terminated(reason) => f.debug_tuple("Terminated").field(reason).finish(),
        }
    }
}
