//! [`Link`]: the JSON-RPC of one child. It has ids and progress tokens of its own, so that clients never share any.
//!
//! What the child says is never waited for: each call has its own queue, which the call's own future empties
//! (`call.rs`). So a client that does not read delays no other.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, OnceLock,
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
    hearing::length,
    keeper, message,
    modern::Modern,
    params,
};
use crate::child::{input::Input, spawn::Spawned};

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
    pub(super) state: Mutex<State>,
    /// Whether the child was told that its client is ready.
    initialized: AtomicBool,
    /// The child's requests to its client outside of calls.
    pub(crate) outside: AtomicUsize,
    pub(crate) status: watch::Sender<Status>,
    /// If the child is of 2026-07-28.
    pub(crate) modern: OnceLock<Modern>,
}

/// How far a child is on the way to its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Status {
    /// Its client is ready, and perhaps has called it.
    used: bool,
    /// It is to be ended.
    pub(crate) closing: bool,
    /// There are no more answers.
    pub(crate) dead: bool,
    /// Its process has ended: with success?
    pub(crate) exited: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) last_id: u64,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// The child's requests that are not answered, by their ids as it has written them.
    pub(super) asked: HashMap<Box<str>, Asked>,
    pub(super) owner: Owner,
    /// Why there are no more answers.
    death: Option<RpcError>,
}

/// A request to the child that is not answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) items: mpsc::UnboundedSender<Item>,
    pub(super) backlog: Arc<AtomicUsize>,
    /// The client's progress token.
    pub(super) token: Option<String>,
    pub(super) caller: Caller,
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
pub(super) struct Asked {
    /// Ends the one that waits for the client.
    pub(super) abort: Option<AbortHandle>,
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
            modern: OnceLock::new(),
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
        if self.initialized.swap(true, SeqCst) {
            return;
        }
        if !self.is_modern() {
            self.notify("notifications/initialized", None);
        }
        self.status.send_modify(|status| status.used = true);
    }

    /// Waits until its client has used the child, or the child is being ended.
    pub(crate) fn first_use(&self) -> impl Future<Output = ()> + use<> {
        let mut status = self.status.subscribe();
        async move {
            let _ = status.wait_for(|status| status.used || status.closing || status.dead).await;
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
        let mut running = self.send(Caller::Gateway, method, params, false)?;
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

    /// Sends a request. If it `wants_progress`, the child gets a progress token of the gateway in place of the client's.
    ///
    /// # Errors
    ///
    /// If the child is dead.
    pub(crate) fn send(
        &self,
        caller: Caller,
        method: &str,
        params: Option<&str>,
        wants_progress: bool,
    ) -> Result<Running<'_>, RpcError> {
        let (sender, items) = mpsc::unbounded_channel();
        let backlog = Arc::<AtomicUsize>::default();
        let mut state = lock(&self.state);
        if let Some(death) = &state.death {
            return Err(death.clone());
        }
        state.last_id += 1;
        let id = state.last_id;
        let asks = params.filter(|_| wants_progress);
        let replaced = asks.and_then(|params| params::replace_token(params, id));
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
