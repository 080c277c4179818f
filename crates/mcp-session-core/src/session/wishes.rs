//! [`Wishes`]: what the client of a session has asked to be told: resources, and log messages from a level on.

use std::collections::{HashMap, HashSet};

use mcp_session_proto::{Json, RpcError, SendError, State};
use serde_json::json;

use super::{Session, broadcast::Broadcast, manager::SessionManager};
use crate::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
    lock,
};
#[cfg(feature = "tools")]
use crate::transport::LogLevel;

/// The maximum number of resources that a session can subscribe to, so that a client cannot fill the memory. No known client
/// subscribes to more than some dozen.
const MAX_SUBSCRIPTIONS: usize = 1_000;

/// The wishes of an endpoint's sessions, by session number. They are not part of the session, because most sessions have none
/// and should not reserve space for them.
#[derive(Default)]
pub(crate) struct AllWishes {
    /// Whether there has ever been a wish; until then nothing takes the lock.
    used: AtomicBool,
    wishes: Mutex<HashMap<u64, Wishes>>,
}

/// What the client of one session has asked for.
#[derive(Debug, Default)]
struct Wishes {
    resources: HashSet<Box<str>>,
    #[cfg(feature = "tools")]
    log_level: Option<LogLevel>,
}

impl Wishes {
    fn subscribe(&mut self, uri: &str) -> Result<(), RpcError> {
        if self.resources.len() >= MAX_SUBSCRIPTIONS && !self.resources.contains(uri) {
            let why = format!("a session can subscribe to at most {MAX_SUBSCRIPTIONS} resources");
            return Err(RpcError::invalid_params(why));
        }
        self.resources.insert(uri.into());
        Ok(())
    }
}

impl AllWishes {
    fn read<R>(&self, number: u64, read: impl FnOnce(&Wishes) -> R) -> Option<R> {
        if !self.used.load(Relaxed) {
            return None;
        }
        lock(&self.wishes).get(&number).map(read)
    }

    fn change<R>(&self, number: u64, change: impl FnOnce(&mut Wishes) -> R) -> R {
        self.used.store(true, Relaxed);
        change(lock(&self.wishes).entry(number).or_default())
    }

    /// Forgets the wishes of a session that is gone (E-17).
    pub(crate) fn remove(&self, number: u64) {
        if self.used.load(Relaxed) {
            lock(&self.wishes).remove(&number);
        }
    }
}

impl Session {
    /// The client wants to be told when this resource changes: for a handler that answers `resources/subscribe`. Kept until the
    /// session ends here, and not in the [`store`](crate::store): a client whose session moves to another node subscribes again.
    ///
    /// # Errors
    ///
    /// -32602 for more than 1,000 resources.
    pub fn subscribe(&self, uri: &str) -> Result<(), RpcError> {
        self.wish(|wishes| wishes.subscribe(uri))
    }

    /// Undoes [`Session::subscribe`]. Returns `true` if the client had subscribed.
    pub fn unsubscribe(&self, uri: &str) -> bool {
        self.is_subscribed(uri) && self.wish(|wishes| wishes.resources.remove(uri))
    }

    /// Returns `true` if the client wants to be told when this resource changes.
    pub fn is_subscribed(&self, uri: &str) -> bool {
        self.0.env.wishes.read(self.0.number, |wishes| wishes.resources.contains(uri)).unwrap_or(false)
    }

    /// The client wants log messages from this level on.
    #[cfg(feature = "tools")]
    pub(crate) fn set_log_level(&self, level: LogLevel) {
        self.wish(|wishes| wishes.log_level = Some(level));
    }

    /// The least level of the log messages that the client wants, if it has said so.
    #[cfg(feature = "tools")]
    pub(crate) fn log_level(&self) -> Option<LogLevel> {
        self.0.env.wishes.read(self.0.number, |wishes| wishes.log_level).flatten()
    }

    /// Changes the wishes. If the session has ended meanwhile, they may have been removed before: then they are removed again.
    fn wish<R>(&self, change: impl FnOnce(&mut Wishes) -> R) -> R {
        let wishes = &self.0.env.wishes;
        let changed = wishes.change(self.0.number, change);
        if self.state() == State::Terminated {
            wishes.remove(self.0.number);
        }
        changed
    }
}

impl SessionManager {
    /// Tells each client that has subscribed to this resource that it has changed, with `notifications/resources/updated`:
    /// sessions that are [subscribed](Session::subscribe), and each `subscriptions/listen` stream that names the resource
    /// (G-54). Otherwise as [`SessionManager::broadcast`]: it does not wait, and other nodes are told.
    ///
    /// ```
    /// # use mcp_session_core::Endpoint;
    /// # fn example(endpoint: &Endpoint) {
    /// let told = endpoint.manager().resource_updated("notes://shopping");
    /// println!("{} sessions and {} subscriptions were told", told.taken, told.subscriptions);
    /// # }
    /// ```
    pub fn resource_updated(&self, uri: &str) -> Broadcast {
        let params = Json::from(json!({ "uri": uri }));
        let told: Result<Broadcast, SendError> =
            self.tell("notifications/resources/updated", Some(&params), Some(uri));
        told.unwrap_or_default() // the params are an object
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http::Request;
    use mcp_session_proto::{SessionId, TerminateReason};

    use super::*;
    use crate::{endpoint::Endpoint, handler::router::Router, testing::Stopped};

    #[test]
    fn a_session_that_has_ended_keeps_no_wishes() {
        let endpoint = Endpoint::new(Stopped::default(), Router::new("wishes", "1.0.0"));
        let initialize = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
                "capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#
                    .to_owned(),
            );
        let opened = endpoint.handle(initialize.expect("a request")).now_or_never().expect("at once");
        let id: SessionId = opened.headers()["mcp-session-id"].to_str().unwrap().parse().unwrap();
        let session = endpoint.manager().get(&id).expect("it is open");
        let kept = || lock(&session.0.env.wishes.wishes).len();
        session.subscribe("notes://a").unwrap();
        assert!(session.is_subscribed("notes://a") && !session.is_subscribed("notes://b"));
        assert_eq!(kept(), 1);
        session.terminate(TerminateReason::ClientDelete);
        assert_eq!(session.state(), State::Terminated);
        session.subscribe("notes://a").unwrap();
        assert_eq!(kept(), 0, "nobody would remove it");
    }

    #[test]
    fn a_session_has_at_most_1_000_subscriptions() {
        let mut wishes = Wishes::default();
        assert!((0..MAX_SUBSCRIPTIONS).all(|n| wishes.subscribe(&n.to_string()).is_ok()));
        assert_eq!(wishes.subscribe("0"), Ok(()), "it is one of them");
        assert!(wishes.subscribe("one more").unwrap_err().message.contains("1000"));
    }
}
