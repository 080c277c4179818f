//! [`Link`]: the JSON-RPC of one child. It has ids and progress tokens of its own, so that clients never share any.
//!
//! What the child says is never waited for: each call has its own queue, which the call's own future empties
//! (`call.rs`). So a client that does not read delays no other.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use futures::future::AbortHandle;
use mcp_session_core::{Json, RpcError, SessionId};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::{
    audience::Owner,
    core::{Core, lock},
    keeper, message,
    message::Message,
    params,
};
use crate::child::{
    input::Input,
    lines::{Line, TooLong},
    spawn::Spawned,
};

/// A child that speaks JSON-RPC. Cheap to clone; when the last clone is dropped, the child is ended.
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<CloseOnDrop>);

#[derive(Debug)]
struct CloseOnDrop(Arc<LinkInner>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the tasks of a child have of it, too.
#[derive(Debug)]
pub(crate) struct LinkInner {
    pub(crate) core: Arc<Core>,
    pub(crate) number: u64,
    /// Names it in the log.
    pub(crate) label: String,
    pub(crate) input: Input,
    state: Mutex<State>,
    /// Whether the child was told that its client is ready.
    initialized: AtomicBool,
    /// The child's requests to its client outside of calls.
    pub(crate) outside: AtomicUsize,
    pub(crate) status: watch::Sender<Status>,
}

/// How far a child is on the way to its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Status {
    /// It is to be ended.
    pub(crate) closing: bool,
    /// There are no more answers.
    pub(crate) dead: bool,
    /// Its process has ended: with success?
    pub(crate) exited: Option<bool>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    pending: BTreeMap<u64, Pending>,
    /// The child's requests that are not answered, by their ids as it has written them.
    asked: HashMap<Box<str>, Asked>,
    owner: Owner,
    /// Why there are no more answers.
    death: Option<RpcError>,
}

/// A request to the child that is not answered.
#[derive(Debug)]
struct Pending {
    items: mpsc::UnboundedSender<Item>,
    backlog: Arc<AtomicUsize>,
    /// The client's progress token.
    token: Option<String>,
    caller: Caller,
}

/// For whom a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The gateway itself.
    Gateway,
    /// A client with this session.
    Session(SessionId),
    /// A client without one.
    Stateless,
}

/// A request of the child that is not answered.
#[derive(Debug)]
struct Asked {
    /// Ends the one that waits for the client.
    abort: Option<AbortHandle>,
}

/// A request of the child.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) id: Box<RawValue>,
    pub(crate) method: String,
    pub(crate) params: Option<Json>,
}

/// What a call gets from the child.
#[derive(Debug)]
pub(crate) enum Item {
    Notification { method: String, params: Option<Json> },
    Ask(Ask),
    Answer(Result<Json, RpcError>),
}

/// A call at the child. Dropped before the answer has come, it tells the child to cancel.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    link: &'a LinkInner,
    pub(crate) id: u64,
    items: mpsc::UnboundedReceiver<Item>,
    backlog: Arc<AtomicUsize>,
    /// Whether the child has the request and nobody has its answer.
    pub(crate) open: bool,
    /// Why, for the child.
    pub(crate) reason: String,
}

impl Link {
    /// Starts the tasks of a child.
    pub(crate) fn start(
        core: Arc<Core>,
        number: u64,
        label: String,
        spawned: Spawned,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let Spawned { process, input, output, errors } = spawned;
        let inner = Arc::new(LinkInner {
            core,
            number,
            label,
            input,
            state: Mutex::default(),
            initialized: AtomicBool::new(false),
            outside: AtomicUsize::new(0),
            status: watch::Sender::default(),
        });
        keeper::start(&inner, process, output, errors, place);
        Self(Arc::new(CloseOnDrop(inner)))
    }

    pub(crate) fn inner(&self) -> Arc<LinkInner> {
        Arc::clone(&self.0.0)
    }
}

impl std::ops::Deref for Link {
    type Target = LinkInner;

    fn deref(&self) -> &LinkInner {
        &self.0.0
    }
}

impl LinkInner {
    /// Begins to end the child: its ladder starts.
    pub(crate) fn close(&self) {
        self.status.send_modify(|status| status.closing = true);
    }

    /// Whether it can be used.
    pub(crate) fn is_alive(&self) -> bool {
        lock(&self.state).death.is_none() && !self.status.borrow().closing
    }

    /// Waits until the child is dead, or is being ended.
    pub(crate) async fn until_dead(&self) {
        self.until(|status| status.dead).await;
    }

    /// Waits until the child is as far as this.
    pub(crate) async fn until(&self, far: impl Fn(Status) -> bool) {
        let _ = self.status.subscribe().wait_for(|status| far(*status)).await;
    }

    /// Whether the process has ended with success, when it has ended.
    pub(crate) async fn has_succeeded(&self) -> bool {
        self.until(|status| status.exited.is_some()).await;
        self.status.borrow().exited == Some(true)
    }

    /// Sets who hears what the child says outside of calls. Returns `false` if the child is dead already.
    pub(crate) fn set_owner(&self, owner: Owner) -> bool {
        let mut state = lock(&self.state);
        state.owner = owner;
        state.death.is_none()
    }

    pub(crate) fn owner(&self) -> Owner {
        lock(&self.state).owner.clone()
    }

    /// Tells the child once that its client is ready. A client may forget to say so, and a strict child refuses its requests
    /// then.
    pub(crate) fn tell_initialized(&self) {
        if !self.initialized.swap(true, SeqCst) {
            self.notify("notifications/initialized", None);
        }
    }

    /// Sends a notification. A child that is gone does not hear it.
    pub(crate) fn notify(&self, method: &str, params: Option<&str>) {
        let _ = self.input.send(message::notification(method, params));
    }

    /// Sends a request of the gateway itself, and waits for the answer.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the child is told to cancel.
    pub(crate) async fn ask(&self, method: &str, params: Option<&str>) -> Result<Json, RpcError> {
        let mut running = self.send(Caller::Gateway, method, params, None)?;
        // `initialize` cannot be cancelled: a child that does not answer it is ended.
        running.open = method != "initialize";
        loop {
            match running.next().await {
                Item::Answer(outcome) => return outcome,
                Item::Ask(ask) => self.reply(&ask.id, &Err(RpcError::method_not_found(&ask.method))),
                Item::Notification { .. } => {}
            }
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// If the child is dead.
    pub(crate) fn send(
        &self,
        caller: Caller,
        method: &str,
        params: Option<&str>,
        replace_token: Option<fn(&str, u64) -> Option<(String, String)>>,
    ) -> Result<Running<'_>, RpcError> {
        let (sender, items) = mpsc::unbounded_channel();
        let backlog = Arc::<AtomicUsize>::default();
        let mut state = lock(&self.state);
        if let Some(death) = &state.death {
            return Err(death.clone());
        }
        state.last_id += 1;
        let id = state.last_id;
        let replaced = params.zip(replace_token).and_then(|(params, replace)| replace(params, id));
        let (params, token) = match replaced {
            Some((params, token)) => (Some(std::borrow::Cow::Owned(params)), Some(token)),
            None => (params.map(Into::into), None),
        };
        let pending = Pending { items: sender, backlog: Arc::clone(&backlog), token, caller };
        state.pending.insert(id, pending);
        // Under the lock, so that requests reach the child in the order of their ids.
        let sent = self.input.send(message::request(id, method, params.as_deref()));
        drop(state);
        let open = sent.is_ok(); // otherwise its death is about to be seen
        Ok(Running { link: self, id, items, backlog, open, reason: "nobody waits for the answer".to_owned() })
    }

    /// Answers a request of the child, if it still waits for it.
    pub(crate) fn reply(&self, id: &RawValue, outcome: &Result<Json, RpcError>) {
        if lock(&self.state).asked.remove(id.get()).is_some() {
            let _ = self.input.send(message::answer(id, outcome));
        }
    }

    /// Notes who waits for the client on behalf of the child. Returns `false` if the child does not wait any more.
    pub(crate) fn asking(&self, id: &RawValue, abort: AbortHandle) -> bool {
        match lock(&self.state).asked.get_mut(id.get()) {
            Some(asked) => {
                asked.abort = Some(abort);
                true
            }
            None => false,
        }
    }

    /// Whether the child still waits for the answer to its request.
    pub(crate) fn is_asking(&self, id: &RawValue) -> bool {
        lock(&self.state).asked.contains_key(id.get())
    }

    /// Passes a request of the child to the newest call of those that `may` take it. Otherwise returns it.
    pub(crate) fn pass_ask(&self, ask: Ask, may: impl Fn(Caller) -> bool) -> Option<Ask> {
        let state = lock(&self.state);
        let newest = state.pending.values().rev().find(|pending| may(pending.caller));
        let Some(newest) = newest else { return Some(ask) };
        match newest.items.send(Item::Ask(ask)) {
            Ok(()) => None,
            Err(mpsc::error::SendError(Item::Ask(ask))) => Some(ask), // the call is over
            Err(_) => None,
        }
    }

    /// The session whose calls are the only ones that run, if there is one.
    pub(crate) fn only_session(&self) -> Option<SessionId> {
        let state = lock(&self.state);
        let mut sessions = state.pending.values().map(|pending| match pending.caller {
            Caller::Session(session) => Some(session),
            Caller::Gateway | Caller::Stateless => None,
        });
        let first = sessions.next()??;
        sessions.all(|session| session == Some(first)).then_some(first)
    }

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
                lock(&self.state).asked.insert(id.get().into(), Asked { abort: None });
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
            "notifications/progress" => self.hear_progress(method, params),
            "notifications/cancelled" => self.hear_cancelled(params.as_ref()),
            "notifications/message" => self.hear_log(method, params),
            _ => self.tell_owner(&method, params.as_ref()),
        }
    }

    /// A log message: about the newest call, as far as anybody knows.
    fn hear_log(&self, method: String, params: Option<Json>) {
        let state = lock(&self.state);
        let newest = match state.owner {
            Owner::Everyone(_) => None,
            Owner::Nobody | Owner::Session(_) => state.pending.values().next_back(),
        };
        match newest.filter(|pending| pending.caller != Caller::Gateway) {
            Some(pending) => self.queue(pending, method, params),
            None => {
                drop(state);
                self.tell_owner(&method, params.as_ref());
            }
        }
    }

    /// A line of the child's stderr, as a log message.
    pub(crate) fn hear_stderr(&self, params: Json) {
        self.hear_log("notifications/message".to_owned(), Some(params));
    }

    fn hear_progress(&self, method: String, params: Option<Json>) {
        let token = params.as_ref().and_then(params::progress_token);
        let state = lock(&self.state);
        let pending = token.and_then(|token| state.pending.get(&token));
        let restored = pending.and_then(|pending| {
            let restored = params::restore_token(params.as_ref()?, pending.token.as_deref()?)?;
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
            let why = format_args!("its message of {} bytes is longer than {limit}", long.length);
            self.answered(id, Err(self.core.error(why)));
        }
    }

    /// There are no more answers: each running call gets this error. Returns the number of those that had a client.
    pub(crate) fn die(&self, error: &RpcError) -> usize {
        let (pending, asked) = {
            let mut state = lock(&self.state);
            state.death.get_or_insert_with(|| error.clone());
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.asked))
        };
        let lost = pending.values().filter(|pending| pending.caller != Caller::Gateway).count();
        for pending in pending.into_values() {
            let _ = pending.items.send(Item::Answer(Err(error.clone())));
        }
        for abort in asked.into_values().filter_map(|asked| asked.abort) {
            abort.abort();
        }
        self.status.send_modify(|status| status.dead = true);
        lost
    }
}

fn length(method: &str, params: Option<&Json>) -> usize {
    method.len() + params.map_or(0, |params| params.as_bytes().len())
}

impl Running<'_> {
    /// What comes next for this call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Item {
        match self.items.recv().await {
            Some(item) => {
                match &item {
                    Item::Notification { method, params } => {
                        self.backlog.fetch_sub(length(method, params.as_ref()), Relaxed);
                    }
                    Item::Answer(_) => self.open = false,
                    Item::Ask(_) => {}
                }
                item
            }
            // Not before an answer: the sender is dropped with it.
            None => Item::Answer(Err(RpcError::internal("the answer is lost"))),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let removed = lock(&self.link.state).pending.remove(&self.id);
        if self.open && removed.is_some() {
            let params = serde_json::json!({ "requestId": self.id, "reason": self.reason }).to_string();
            self.link.notify("notifications/cancelled", Some(&params));
        }
    }
}
