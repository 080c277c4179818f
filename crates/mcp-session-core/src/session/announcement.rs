//! [`Announcement`]: a broadcast on its way to the sessions and subscriptions of other nodes.

use bytes::Bytes;
use mcp_session_proto::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Session,
    broadcast::{Broadcast, Subscribers},
    notification,
};
use crate::store::NodeId;

/// The version of the form. It is raised by a change after which an older node must not read it; a new field does not.
const VERSION: u64 = 1;

/// A notification for all sessions and subscriptions, as nodes send it to each other:
/// `{"v":1,"method":"…","params":{…},"from":"…","token":1}`.
#[derive(Debug, Deserialize)]
pub(crate) struct Announcement {
    v: u64,
    method: String,
    params: Option<Map<String, Value>>,
    /// Under which source and token each node publishes it to its sessions: so a session that several nodes serve gets it once.
    /// None of an older node: then only subscriptions get it.
    from: Option<NodeId>,
    #[serde(default)]
    token: u64,
    /// Only for the sessions that are subscribed to this resource. An older node tells all sessions.
    #[serde(default)]
    subscribed: Option<String>,
}

impl Announcement {
    /// Writes an announcement. `None` if it cannot be written.
    pub(super) fn encode(
        method: &str,
        params: Option<&Json>,
        subscribed: Option<&str>,
        (from, token): (u64, u64),
    ) -> Option<Bytes> {
        #[derive(Serialize)]
        struct Written<'a> {
            v: u64,
            method: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            params: Option<&'a Json>,
            from: NodeId,
            token: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            subscribed: Option<&'a str>,
        }
        let written = serde_json::to_vec(&Written {
            v: VERSION,
            method,
            params,
            from: NodeId(from),
            token,
            subscribed,
        });
        written.ok().map(Bytes::from)
    }

    /// Reads what another node has announced. `None` if this node cannot read it: it may be of a newer release.
    pub(crate) fn read(announced: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(announced).ok()?;
        (read.v == VERSION).then_some(read)
    }

    /// Sends the notification to these sessions of this node, and to the subscriptions that asked for it. Returns how many
    /// took it.
    pub(crate) fn deliver(
        self,
        sessions: impl IntoIterator<Item = Session>,
        subscribers: &dyn Subscribers,
    ) -> Broadcast {
        let params = self.params.map(|params| Json::from(Value::Object(params)));
        let announced = self.from.map(|from| (from.0, self.token));
        let event = announced.and_then(|_| notification(&self.method, params.as_ref()).ok());
        let mut told = Broadcast::default();
        if let Some(event) = event {
            let uri = self.subscribed.as_deref();
            let wants = |session: &Session| uri.is_none_or(|uri| session.is_subscribed(uri));
            Session::each(sessions.into_iter().filter(wants), |session| {
                _ = session.broadcast(&event, announced);
            });
        }
        subscribers.notify(&self.method, params.as_ref(), &mut told);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Mutex, lock};

    #[derive(Default)]
    struct Heard(Mutex<Vec<(String, Option<String>)>>);

    impl Subscribers for Heard {
        fn notify(&self, method: &str, params: Option<&Json>, told: &mut Broadcast) {
            told.subscriptions += 1;
            lock(&self.0).push((method.into(), params.map(|params| params.as_str().into())));
        }
    }

    #[test]
    fn g_61_what_is_announced_is_what_is_heard() {
        let heard = Heard::default();
        let uri = Json::from(serde_json::json!({ "uri": "file:///a" }));
        for params in [None, Some(&uri)] {
            let announced =
                Announcement::encode("notifications/x", params, None, (7, 1)).expect("it can be written");
            let told = Announcement::read(&announced).expect("it can be read").deliver([], &heard);
            assert_eq!(told.subscriptions, 1);
        }
        let method = || "notifications/x".to_owned();
        assert_eq!(*lock(&heard.0), [(method(), None), (method(), Some(uri.as_str().to_owned()))]);
    }

    #[test]
    fn g_61_an_announcement_that_this_node_cannot_read_is_ignored() {
        for announced in [
            "",
            "{}",
            "null",
            r#"{"v":1}"#,
            r#"{"method":"m"}"#,
            r#"{"v":2,"method":"m"}"#,
            r#"{"v":1,"method":7}"#,
            r#"{"v":1,"method":"m","params":[]}"#,
            r#"{"v":1,"method":"m","params":{}"#,
        ] {
            assert!(Announcement::read(announced.as_bytes()).is_none(), "{announced}");
        }
        assert!(Announcement::read(b"\xff").is_none());
        let newer = br#"{"v":1,"method":"m","params":{},"tenant":"t1"}"#;
        assert!(Announcement::read(newer).is_some(), "a new field");
        let older = Announcement::read(br#"{"v":1,"method":"m"}"#).expect("an older node writes this");
        assert_eq!((older.from, older.token), (None, 0));
    }
}
