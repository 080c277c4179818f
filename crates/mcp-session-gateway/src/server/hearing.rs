//! What a child says, and to whom it goes: to the call that it is about, to whoever owns the child, or to nobody.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use mcp_session_core::{Json, RpcError};
use serde_json::value::RawValue;

use super::{
    audience::Owner,
    core::lock,
    link::{Ask, Asked, Caller, Item, LinkInner, Pending},
    message,
    message::Message,
    params,
};
use crate::child::lines::{Line, TooLong};

/// The maximum number of requests of a child that are not answered. 1,000, as a client may have.
const MOST_ASKED: usize = 1_000;

impl LinkInner {
    /// A line of the child.
    pub(crate) fn hear(self: &Arc<Self>, line: Line) {
        match line {
            Line::Whole(text) => {
                let (messages, wrong) = message::read(&text);
                if wrong > 0 {
                    self.drop_lines(wrong);
                    tracing::debug!(
                        server = self.core.config.name,
                        child = self.label,
                        "a line that is no message"
                    );
                }
                for message in messages {
                    self.hear_message(message);
                }
            }
            Line::TooLong(long) => self.hear_too_long(&long),
        }
    }

    fn drop_lines(&self, count: usize) {
        self.core.counts.lines_dropped.fetch_add(count as u64, Relaxed);
    }

    fn hear_message(self: &Arc<Self>, message: Message) {
        match message {
            Message::Answer { id, outcome } => self.answered(id, outcome),
            Message::Request { id, method, .. } if method == "ping" => {
                let _ = self.input.send(message::answer(&id, &Ok(serde_json::json!({}).into())));
            }
            Message::Request { id, method, params } => {
                let mut state = lock(&self.state);
                if state.asked.len() >= MOST_ASKED {
                    drop(state);
                    let refused = Err(self.core.error("too many questions at once"));
                    let _ = self.input.send(message::answer(&id, &refused));
                    return;
                }
                state.asked.insert(id.get().into(), Asked { abort: None });
                drop(state);
                self.route_ask(Ask { id, method, params });
            }
            Message::Notification { method, params } => self.hear_notification(method, params),
        }
    }

    fn answered(&self, id: u64, outcome: Result<Json, RpcError>) {
        let mut state = lock(&self.state);
        let pending = state.pending.remove(&id);
        let known = id <= state.last_id; // an answer to what was cancelled is normal
        drop(state);
        match pending {
            Some(pending) => _ = pending.items.send(Item::Answer(outcome)),
            None if known => {}
            None => self.drop_lines(1),
        }
    }

    fn hear_notification(self: &Arc<Self>, method: String, params: Option<Json>) {
        match method.as_str() {
            "notifications/progress" => self.hear_progress(method, params.as_ref()),
            "notifications/cancelled" => self.hear_cancelled(params.as_ref()),
            "notifications/message" => self.hear_log(method, params),
            "notifications/subscriptions/acknowledged" => {
                let state = lock(&self.state);
                let id = params.as_ref().and_then(params::subscription);
                if let Some(pending) = id.and_then(|id| state.pending.get(&id)) {
                    self.queue(pending, method, params);
                }
            }
            // A child of 2026-07-28 marks what comes with a subscription.
            _ if self.is_modern() => {
                let unmarked = params.as_ref().map(params::without_envelope);
                let unmarked = unmarked.and_then(|params| Json::from_text(params.into_owned().into()).ok());
                self.tell_owner(&method, unmarked.as_ref());
            }
            _ => self.tell_owner(&method, params.as_ref()),
        }
    }

    /// A log message: about the newest call, as far as anybody knows. A shared child's is about the only call, or that of the
    /// only session; while calls of several clients run, it reaches none of them: it may be about another's.
    fn hear_log(&self, method: String, params: Option<Json>) {
        let state = lock(&self.state);
        let calls = || state.pending.values().filter(|pending| pending.caller != Caller::Gateway);
        let Some(newest) = calls().next_back() else {
            drop(state);
            return self.tell_owner(&method, params.as_ref());
        };
        let is_known = match state.owner {
            Owner::Nobody | Owner::Session(_) => true,
            Owner::Everyone(_) => {
                let session = matches!(newest.caller, Caller::Session(_));
                calls().count() == 1 || session && calls().all(|it| it.caller == newest.caller)
            }
        };
        match is_known {
            true => self.queue(newest, method, params),
            false => self.count_unheard(),
        }
    }

    /// A line of the child's stderr, as a log message.
    pub(crate) fn hear_stderr(&self, params: Json) {
        self.hear_log("notifications/message".to_owned(), Some(params));
    }

    fn hear_progress(&self, method: String, params: Option<&Json>) {
        let token = params.and_then(params::progress_token);
        let state = lock(&self.state);
        let pending = token.and_then(|token| state.pending.get(&token));
        let restored = pending.and_then(|pending| {
            let restored = params::restore_token(params?, pending.token.as_deref()?)?;
            Some((pending, restored))
        });
        match restored {
            Some((pending, params)) => self.queue(pending, method, Some(params)),
            // After the answer it is late, and otherwise about nothing.
            None if token.is_some_and(|token| token <= state.last_id) => {}
            None => self.drop_lines(1),
        }
    }

    /// Puts a notification into the queue of its call.
    fn queue(&self, pending: &Pending, method: String, params: Option<Json>) {
        let length = length(&method, params.as_ref());
        if pending.backlog.fetch_add(length, Relaxed) > self.core.config.limits.backlog {
            pending.backlog.fetch_sub(length, Relaxed);
            self.count_unheard();
            return;
        }
        let _ = pending.items.send(Item::Notification { method, params });
    }

    pub(crate) fn count_unheard(&self) {
        self.core.counts.notifications_dropped.fetch_add(1, Relaxed);
    }

    /// The child does not wait any more for the answer to one of its requests.
    fn hear_cancelled(&self, params: Option<&Json>) {
        #[derive(serde::Deserialize)]
        struct Cancelled<'a> {
            #[serde(borrow, rename = "requestId")]
            request_id: &'a RawValue,
        }
        let cancelled = params.and_then(|params| params.borrow::<Cancelled<'_>>().ok());
        let asked = cancelled.and_then(|it| lock(&self.state).asked.remove(it.request_id.get()));
        if let Some(abort) = asked.and_then(|asked| asked.abort) {
            abort.abort();
        }
    }

    fn hear_too_long(&self, long: &TooLong) {
        self.drop_lines(1);
        let limit = self.core.config.limits.line;
        tracing::warn!(
            server = self.core.config.name,
            child = self.label,
            length = long.length,
            limit,
            "a line is too long"
        );
        let mut id = message::id_of(long);
        if id.is_none() {
            // If only one call runs, it is its answer, or it waits in vain for it.
            let state = lock(&self.state);
            id = state.pending.keys().next().copied().filter(|_| state.pending.len() == 1);
        }
        if let Some(id) = id {
            let error =
                self.core.error(format_args!("its message of {} bytes is longer than {limit}", long.length));
            self.answered(id, Err(error));
        }
    }
}

pub(super) fn length(method: &str, params: Option<&Json>) -> usize {
    method.len() + params.map_or(0, |params| params.as_bytes().len())
}
