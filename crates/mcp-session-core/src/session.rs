//! [`Session`]: a cheap handle to a session. Its machine is behind [`cell`], its end in [`parting`].

pub(crate) mod adoptions;
pub(crate) mod announcement;
pub(crate) mod ask;
pub(crate) mod broadcast;
pub(crate) mod cell;
pub(crate) mod client;
mod connect;
pub(crate) mod counters;
pub(crate) mod data;
pub(crate) mod env;
pub(crate) mod hooks;
pub(crate) mod manager;
pub(crate) mod parting;
pub(crate) mod quota;
pub(crate) mod registry;
pub(crate) mod timers;
pub(crate) mod wishes;
mod writer;

use std::{
    fmt,
    future::IntoFuture,
    sync::Arc,
    time::{Duration, Instant},
};

use event_listener::Event;
use futures::future::BoxFuture;
use mcp_session_proto::{
    ClientCapabilities, Json, Phase, ProtocolVersion, Refusal, RequestError, SendError, SessionId, State,
    TerminateReason, encode_notification,
};
use serde::Serialize;

use cell::{Locked, Machine, SharedWaiters};
use client::Client;
use counters::Stripe;
use env::Env;
use parting::Fate;

use crate::{
    contain::{self, Panicked},
    metrics::SessionEvent,
    principal::Principal,
    session::{ask::ask, data::SessionData},
    store::{PeerRequest, Update, node::Node},
    sync::{
        CachePadded, Mutex, acquire,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        global, lock,
    },
    trace,
    transport::Rejection,
};

/// A handle to a session. Cheap to clone; it does not keep the session alive.
///
/// ```
/// # use mcp_session_core::{Endpoint, Router, Runtime, TerminateReason};
/// # async fn example(endpoint: Endpoint) -> Result<(), Box<dyn std::error::Error>> {
/// for session in endpoint.manager().sessions() {
///     session.notify("notifications/tools/list_changed", None::<&()>).await?;
/// }
/// if let Some(session) = endpoint.manager().sessions().first() {
///     let reason = session.terminate(TerminateReason::Evicted).await; // its running calls are answered first
///     assert_eq!(reason, TerminateReason::Evicted);
///     assert!(session.notify("notifications/tools/list_changed", None::<&()>).await.is_err());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session(Arc<Inner>);

/// The state of a session. Public to the crate for [`Weak`] references only.
pub(crate) struct Inner {
    id: SessionId,
    principal: Option<Principal>,
    client: Arc<Client>,
    number: u64,
    env: Arc<Env>,
    locked: Mutex<Locked>,
    /// Notified when the session starts to end, is closed, was removed from the store, or has space again.
    changed: Event,
    /// The number of running notifications.
    notifications: AtomicUsize,
}

/// Drops the handler's data even if the session was never registered and so never ends.
impl Drop for Inner {
    fn drop(&mut self) {
        self.env.wishes.remove(self.number);
        contain::dispose(self.env.data.remove(self.number));
    }
}

impl From<Arc<Inner>> for Session {
    fn from(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

impl Session {
    /// Creates a session with this machine. It is not registered yet.
    pub(crate) fn new(
        id: SessionId,
        principal: Option<Principal>,
        client: Arc<Client>,
        env: Arc<Env>,
        machine: Machine,
    ) -> Self {
        let locked = Locked {
            armed: false,
            machine,
            left: false,
            tracker: None,
            writing: false,
            unconfirmed: false,
            fate: Fate::Unkept,
        };
        Self(Arc::new(Inner {
            id,
            principal,
            client,
            number: next_number(),
            env,
            locked: Mutex::new(locked),
            changed: Event::new(),
            notifications: AtomicUsize::new(0),
        }))
    }

    /// The session id. It is a secret: log [`SessionId::prefix`] instead.
    pub fn id(&self) -> SessionId {
        self.0.id
    }

    /// The principal that owns the session: that of the request which opened it. Every request of the session has the
    /// same principal (E-06).
    pub fn principal(&self) -> Option<&Principal> {
        self.0.principal.as_ref()
    }

    /// The handler's data of this session, if it is a `T`: see [`Handler::session_data`](crate::Handler::session_data).
    /// `None` if there is no data, if it has another type, and after the session has ended here.
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.env.data.get(self.0.number)
    }

    /// The negotiated version.
    pub fn version(&self) -> ProtocolVersion {
        self.peek(Machine::version)
    }

    /// When it was opened.
    pub(crate) fn created(&self) -> Instant {
        self.peek(Machine::created)
    }

    /// The client's declared capabilities, as far as the session uses them.
    pub fn capabilities(&self) -> ClientCapabilities {
        self.peek(Machine::capabilities)
    }

    /// Returns `true` if the client has not used the session since `initialize`, not even with `notifications/initialized`. It ends
    /// after [`initialize_timeout`](crate::SessionConfig::initialize_timeout).
    pub fn is_half_open(&self) -> bool {
        self.peek(Machine::is_half_open)
    }

    /// Ends the session to make room for another, if it is half-open. Returns `true` if it was.
    pub(crate) fn evict(&self) -> bool {
        // With a store, the client may use it at another node: then only this node drops it.
        let reason = match &self.0.env.node {
            Some(_) => TerminateReason::InitializeTimeout,
            None => TerminateReason::Evicted,
        };
        let evicted = self.with(|machine, now| {
            let half_open = machine.is_half_open();
            if half_open {
                machine.close(now, reason);
            }
            half_open
        });
        if evicted {
            self.stripe().sessions_evicted.fetch_add(1, Relaxed);
            trace::session_evicted(&self.0.id);
        }
        evicted
    }

    /// The client's `clientInfo`, as sent with `initialize` (at any node): an object with `name` and `version`. It is
    /// unverified.
    ///
    /// If the params were longer than 4 KiB, only `name`, `version` and `title` are kept, 256 characters of each.
    pub fn client_info(&self) -> &Json {
        &self.0.client.info
    }

    /// The client's `capabilities`, as sent with `initialize` (at any node): an object. [`Session::capabilities`] has those
    /// that the session uses (C-12). If they were longer than 4 KiB, they are not kept: `{}`.
    pub fn client_capabilities(&self) -> &Json {
        &self.0.client.capabilities
    }

    /// All params of `initialize`, as sent (at any node). If they were longer than 4 KiB, they are reduced to
    /// [`Session::client_info`], [`Session::client_capabilities`] and the version that the client requested.
    pub fn initialize_params(&self) -> &Json {
        &self.0.client.params
    }

    /// The state of the session, as its client sees it.
    pub fn state(&self) -> State {
        self.peek(Machine::state)
    }

    /// Sends a notification that belongs to no request, on the GET stream. Waits while the stream's queue is full. Without
    /// a GET stream, the notification is kept for the next one, within the bounds of
    /// [`replay`](crate::SessionConfig::replay), or dropped if replay is off (D-17, D-24).
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if the session is ending, [`SendError::Invalid`] if the params are not a JSON object.
    ///
    /// # Cancel safety
    ///
    /// If dropped while waiting, nothing was sent.
    pub async fn notify<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
    ) -> Result<(), SendError> {
        let event = notification(method, params)?;
        self.send_with(|machine, now| match machine.notify_standalone(now, &event) {
            Err(SendError::Full) if machine.member().is_some() => Err(None), // the store is behind
            Err(SendError::Full) => Err(machine.standalone_tag().cloned()),
            sent => Ok(sent),
        })
        .await
    }

    /// Like [`Session::notify`], without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] if the queue is full; otherwise as [`Session::notify`].
    pub fn try_notify<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
    ) -> Result<(), SendError> {
        let event = notification(method, params)?;
        self.with(|machine, now| machine.notify_standalone(now, &event))
    }

    /// Pings the client on the GET stream, and waits at most `timeout` for its answer (C-14). Sessions ping by themselves
    /// after [`ping_interval`](crate::SessionConfig::ping_interval) of silence.
    ///
    /// # Errors
    ///
    /// [`RequestError::Send`] if there is no GET stream (D-24), [`RequestError::TimedOut`], [`RequestError::Client`] if
    /// the client answers with an error (it is alive, too), [`RequestError::Terminated`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the client is told to cancel.
    pub async fn ping(&self, timeout: Duration) -> Result<(), RequestError> {
        self.request("ping", None::<&()>, timeout).await.map(drop)
    }

    /// Sends a request that belongs to no request of the client, on the GET stream, and waits at most `timeout` for its
    /// reply. A request that a call needs belongs on the stream of that call:
    /// [`RequestContext::request`](crate::RequestContext::request). This is for a server that asks by itself, such as one
    /// behind a gateway that asks for `roots/list` once its client is ready. Clients of older revisions expect it there; those
    /// of newer ones need not answer (F-22).
    ///
    /// # Errors
    ///
    /// As [`RequestContext::request`](crate::RequestContext::request). [`RequestError::Send`] with [`SendError::Closed`] if
    /// there is no GET stream (D-24): at once, it does not wait for one.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the client is told to cancel.
    pub async fn request<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
        timeout: Duration,
    ) -> Result<Json, RequestError> {
        let params = object(params)?;
        let waiters = SharedWaiters::default();
        let send = |machine: &mut Machine, now, left| {
            let tag = SharedWaiters::clone(&waiters);
            machine.request_standalone(now, tag, method, params.as_ref(), left)
        };
        ask(self, &waiters, timeout, send, |machine| machine.standalone_tag().cloned()).await
    }

    /// Terminates the session. From now on its id gets 404. Running requests are told to stop and are answered in any
    /// case, and every stream ends properly (S5). The first reason counts (S12).
    ///
    /// Await the [`Termination`] to wait until nothing of the session is left. Dropping it changes nothing (S10).
    pub fn terminate(&self, reason: TerminateReason) -> Termination {
        self.with(|machine, now| machine.terminate(now, reason));
        Termination { session: self.clone(), reason }
    }

    /// Creates the handler's data of this session, before the session is visible to anybody.
    pub(crate) fn attach(&self) -> Result<(), Rejection> {
        let env = self.env();
        let data = contain::call(|| env.hooks.session_data(self))
            .map_err(|Panicked| Rejection::Internal("the data of the session could not be created"))?;
        self.set_data(data);
        Ok(())
    }

    /// Sets the handler's data, if there is any. If the session has ended here, the data is dropped.
    pub(crate) fn set_data(&self, data: SessionData) {
        let Inner { env, number, .. } = &*self.0;
        let locked = lock(&self.0.locked);
        if locked.left {
            drop(locked);
            contain::dispose(data); // the session has ended meanwhile
        } else {
            let replaced = env.data.insert(*number, data);
            drop(locked);
            contain::dispose(replaced);
        }
    }

    /// Reports that `notifications/initialized` has arrived.
    pub(crate) async fn initialized(&self) {
        let Inner { id, env, .. } = &*self.0;
        env.publish(&SessionEvent::Initialized(*id));
        trace::session_initialized(id);
        self.run("initialized".into(), || env.hooks.initialized(self.clone()));
        if let Some(node) = &env.node {
            self.tell_initialized(node).await;
        }
    }

    /// Tells the store and the other nodes that `notifications/initialized` has arrived. Await it before the client is
    /// answered: it may go to another node then.
    pub(crate) async fn tell_initialized(&self, node: &Node) {
        let (id, teller) = (self.0.id, node.clone());
        node.update(id, Update::Initialized).await;
        node.spawn(async move { teller.tell_others(id, PeerRequest::Initialized).await });
    }

    /// Returns `true` if both are handles to the same session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How long it may go unused.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.0.env.session_config.idle_timeout
    }

    /// A permit for one more running notification, unless there are as many as there may be requests.
    pub(crate) fn notification_permit(&self) -> Result<NotificationPermit, Refusal> {
        if acquire(&self.0.notifications, 1, self.0.env.session_config.max_exchanges) {
            Ok(NotificationPermit(self.clone()))
        } else {
            Err(Refusal::TooManyRequests)
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.0.env.runtime.now()
    }

    pub(crate) fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.env.runtime.sleep_until(deadline)
    }

    pub(crate) fn env(&self) -> &Arc<Env> {
        &self.0.env
    }

    /// The counters of this session.
    pub(crate) fn stripe(&self) -> &Stripe {
        self.0.env.counters.stripe(self.0.number)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.0.id).finish()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A terminating session: see [`Session::terminate`]. Await it, or drop it.
#[derive(Debug)]
pub struct Termination {
    session: Session,
    reason: TerminateReason,
}

impl IntoFuture for Termination {
    /// The reason that counts: the first one.
    type Output = TerminateReason;
    type IntoFuture = BoxFuture<'static, TerminateReason>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.session.until_ending(|machine| machine.phase() == Phase::Closed).await;
            self.session.peek(Machine::reason).unwrap_or(self.reason)
        })
    }
}

/// Counts a running notification as long as it lives.
#[derive(Debug)]
pub(crate) struct NotificationPermit(Session);

impl Drop for NotificationPermit {
    fn drop(&mut self) {
        self.0.0.notifications.fetch_sub(1, Relaxed);
    }
}

/// A number for a session, or for an exchange without one, that no other has in this process.
pub(crate) fn next_number() -> u64 {
    global!(NUMBER: CachePadded<AtomicU64> = CachePadded(AtomicU64::new(0)));
    NUMBER.0.fetch_add(1, Relaxed)
}

/// Encodes a notification as a complete event.
pub(crate) fn notification<P: Serialize + ?Sized>(
    method: &str,
    params: Option<&P>,
) -> Result<bytes::Bytes, SendError> {
    encode_notification(method, params).ok_or(SendError::Invalid)
}

/// Serializes params, which must be an object (A-03).
pub(crate) fn object<P: Serialize + ?Sized>(params: Option<&P>) -> Result<Option<Json>, SendError> {
    match params.map(Json::new).transpose() {
        Ok(params) if params.as_ref().is_none_or(Json::is_object) => Ok(params),
        Ok(_) | Err(_) => Err(SendError::Invalid),
    }
}

#[cfg(test)]
mod tests;
