//! What goes into a store and comes out of it.

use std::fmt;

use bytes::Bytes;

use crate::{
    ClientCapabilities, Principal, ProtocolVersion, RequestId, SessionId, TerminateReason, proto::Position,
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
    pub const SHARED: u64 = u32::MAX as u64;

    /// The shared log of a session.
    pub fn shared(session: SessionId) -> Self {
        Self { session, stream: Self::SHARED }
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

/// A session, as every node has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: SessionId,
    /// Whose it is (E-06). Nobody else's requests find it.
    pub principal: Option<Principal>,
    /// The negotiated version.
    pub version: ProtocolVersion,
    /// What the client can do.
    pub capabilities: ClientCapabilities,
    /// Whether `notifications/initialized` has arrived.
    pub initialized: bool,
    /// The node to send its requests to, for a router that can: see [`SessionStore::claim`](super::SessionStore::claim).
    pub home: Option<NodeId>,
    /// The nodes that serve it, by their numbers in it; `None` for one that does not any more.
    pub members: Vec<Option<NodeId>>,
    /// How far the shared log has been sent to the client.
    pub heard: Position,
}

/// A change of a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// `notifications/initialized` has arrived.
    Initialized,
    /// The shared log has been sent to the client this far. It never goes back.
    Heard(Position),
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
    /// The session is terminated.
    Terminated(TerminateReason),
}
