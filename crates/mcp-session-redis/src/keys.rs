//! [`Keys`]: the names of all keys. The keys of one session, and of one node, are in one hash slot.

use mcp_session_core::{
    SessionId,
    store::{LogId, NodeId},
};

/// Makes names with a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn session(&self, id: SessionId) -> SessionKeys {
        let record = format!("{}{{{id}}}", self.prefix);
        SessionKeys {
            table: format!("{record}:x"),
            standalone: format!("{record}:g"),
            logs: format!("{record}:s:"),
            record,
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> NodeKeys {
        let inbox = format!("{}{{n:{id}}}", self.prefix);
        NodeKeys {
            lease: format!("{inbox}:up"),
            notices: format!("{inbox}:t"),
            left: format!("{inbox}:left"),
            inbox,
        }
    }

    /// A random text: if it is another one, Redis has lost its data.
    pub(crate) fn boot(&self) -> String {
        format!("{}boot", self.prefix)
    }

    /// The name of the service that has the prefix.
    pub(crate) fn service(&self) -> String {
        format!("{}service", self.prefix)
    }

    /// What all nodes have agreed on. Strings that do not expire.
    pub(crate) fn agreed(&self, name: &str) -> String {
        format!("{}agreed:{name}", self.prefix)
    }

    /// The nodes that may run, for announcements. A set.
    pub(crate) fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    /// The sessions by the time when they were last active, for sweeps. A sorted set; the records decide.
    pub(crate) fn activity(&self) -> String {
        format!("{}active", self.prefix)
    }
}

/// The keys of a session.
#[derive(Debug)]
pub(crate) struct SessionKeys {
    /// The record, or `-` if the session was removed. A string.
    pub(crate) record: String,
    /// The running logs, who tails each, the state of the standalone log, and the number of the last connection. A hash.
    pub(crate) table: String,
    /// The standalone log. A stream.
    pub(crate) standalone: String,
    /// The beginning of the keys of the other logs.
    pub(crate) logs: String,
}

impl SessionKeys {
    pub(crate) fn log(&self, stream: u64) -> String {
        if stream == LogId::STANDALONE { self.standalone.clone() } else { format!("{}{stream}", self.logs) }
    }
}

/// The keys of a node.
#[derive(Debug)]
pub(crate) struct NodeKeys {
    /// Expires if the node does not renew it. Not the inbox: messages must outlive a pause.
    pub(crate) lease: String,
    /// Messages to the node. A stream, which only its reader trims.
    pub(crate) inbox: String,
    /// Which logs have grown, and announcements. A stream that may lose entries.
    pub(crate) notices: String,
    /// The node has left.
    pub(crate) left: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_session_are_in_one_slot_and_begin_with_the_prefix() {
        let keys = Keys::new("app:");
        let session = keys.session(SessionId::from_bits(7));
        let tag = "app:{00000000000000000000000000000007}";
        for key in [&session.record, &session.table, &session.standalone, &session.log(3)] {
            assert!(key.starts_with(tag), "{key}");
        }
        assert_eq!(session.log(LogId::STANDALONE), session.standalone);
        let node = keys.node(NodeId(10));
        for key in [&node.lease, &node.inbox, &node.notices, &node.left] {
            assert!(key.starts_with("app:{n:000000000000000a}"), "{key}");
        }
    }
}
