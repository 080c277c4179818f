//! [`Session`]: a cheap handle to a session, and the only access to its machine: `enter` and `finish`.

pub(crate) mod ask;
pub(crate) mod broadcast;
pub(crate) mod data;
pub(crate) mod quota;
pub(crate) mod registry;
pub(crate) mod timers;

use std::{
    fmt,
    future::{Future, IntoFuture},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use event_listener::{Event, EventListener};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
    task::AtomicWaker,
};
use serde::Serialize;

use crate::{
    cluster::{node::Node, writer::write},
    contain::{self, Contained, Panicked},
    discard::discard,
    env::{Env, Stripe},
    handler::initialize::Client,
    metrics::SessionEvent,
    proto::{
        self, ClientCapabilities, Effect, Json, Output, Phase, ProtocolVersion, Refusal, RequestError,
        SendError, SessionId, State, TerminateReason, Wake, after, encode_notification,
    },
    session::ask::ask,
    shutdown::{Afterword, DrainTracker},
    store::{PeerRequest, Update},
    sync::lock,
    trace,
    transport::{Rejection, principal::Principal},
};

/// The waiters of one exchange or stream, which the machine's wakes refer to.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// A stream has one reader at a time.
    pub(crate) reader: AtomicWaker,
    /// A handler may wait in several places at once.
    pub(crate) handler: Event,
}

/// The failure of a session whose answers or streams were cut.
const UNREAD: &str = "its client did not read to the end in time";

/// The failure of a session whose hook took too long.
pub(crate) const LATE: &str = "the `terminated` hook did not end in time";

/// The failure of a session whose hook panicked.
const PANICKED: &str = "the `terminated` hook panicked";

pub(crate) type Machine = proto::Session<Arc<Waiters>>;

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
        contain::dispose(self.env.data.remove(self.number));
    }
}

impl Inner {
    /// A number that distinguishes sessions with the same deadline.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

struct Locked {
    machine: Machine,
    /// Whether the driver knows the machine's current deadline. Every change of it goes through [`Session::finish`].
    armed: bool,
    /// The application has been told of its end, and its hook is done.
    left: bool,
    /// The tracker of the shutdown, once the session is enrolled.
    tracker: Option<Arc<DrainTracker>>,
    /// A task performs its store effects.
    writing: bool,
    fate: Fate,
}

/// What is known from the store about the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing yet. The store may not have the session: its client does not know it yet.
    Unkept,
    /// Nothing yet. The store has the session.
    Kept,
    /// It is being removed from the store.
    Asked,
    /// It ended, and this node calls the hook.
    Here,
    /// It ended, and another node calls the hook.
    Elsewhere,
}

/// What becomes of a session that is closed at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    /// It ended, and this node calls the hook.
    Ended,
    /// It ended, and another node calls the hook.
    EndedElsewhere,
    /// It lives on in the store.
    Parked,
}

/// A session whose machine is locked.
struct Guard<'a> {
    locked: MutexGuard<'a, Locked>,
    now: Instant,
    /// The deadline that the driver knows.
    armed: Option<Instant>,
    hook: Hook,
}

/// Who polls the `terminated` hook first.
#[derive(Clone, Copy)]
enum Hook {
    /// The task that ends the session: most hooks are ready at the first poll, and need no task.
    InPlace,
    /// A task of its own: a slow or blocking hook must not delay other sessions (S8).
    Spawned,
}

#[derive(Clone, Copy)]
struct End {
    reason: TerminateReason,
    established: bool,
    age: Duration,
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
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let locked =
            Locked { armed: false, machine, left: false, tracker: None, writing: false, fate: Fate::Unkept };
        Self(Arc::new(Inner {
            id,
            principal,
            client,
            number: NUMBER.fetch_add(1, Relaxed),
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

    /// Returns `true` if the client has not used the session since `initialize`.
    pub(crate) fn is_half_open(&self) -> bool {
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

    /// Pings the client on the GET stream, and waits at most `timeout` for its answer (C-14). A ping is the only request
    /// to a client that need not belong to one of its own requests (F-22); for others, see
    /// [`RequestContext::request`](crate::RequestContext::request). Sessions ping by themselves after
    /// [`ping_interval`](crate::SessionConfig::ping_interval) of silence.
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
        let waiters = Arc::new(Waiters::default());
        let send = |machine: &mut Machine, now, left| machine.ping(now, Arc::clone(&waiters), left);
        ask(self, &waiters, timeout, send, |machine| machine.standalone_tag().cloned()).await.map(drop)
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
        let Inner { env, number, .. } = &*self.0;
        let data = contain::call(|| env.handler.session_data(self))
            .map_err(|Panicked| Rejection::Internal("the data of the session could not be created"))?;
        let locked = lock(&self.0.locked);
        if locked.left {
            drop(locked);
            contain::dispose(data); // the session has ended meanwhile
        } else {
            env.data.insert(*number, data);
        }
        Ok(())
    }

    /// Reports that `notifications/initialized` has arrived.
    pub(crate) async fn initialized(&self) {
        let Inner { id, env, .. } = &*self.0;
        env.publish(&SessionEvent::Initialized(*id));
        trace::session_initialized(id);
        if let Some(node) = &env.node {
            node.update(*id, Update::Initialized).await; // before the client is answered, and may go to another node
            let (id, teller) = (*id, node.clone());
            node.spawn(async move { teller.tell_member(id, None, PeerRequest::Initialized).await });
        }
    }

    /// Records that the store has the session: other nodes may serve it.
    pub(crate) fn kept(&self) {
        lock(&self.0.locked).fate = Fate::Kept;
    }

    /// With a store: returns `true` if the store must be asked before a request may use the session, because it is ending
    /// here but lives on elsewhere, or because this node's state may be outdated.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.peek(|machine| match machine.state() {
            State::AwaitingInitialized => true,
            State::Terminated => machine.reason().is_some_and(may_live_on),
            State::Initializing | State::Operating | State::Draining => false,
        })
    }

    /// Returns `true` if the session is closed here, or about to be, but may live on in the store.
    pub(crate) fn is_parting(&self) -> bool {
        self.peek(|machine| machine.state() == State::Terminated && machine.reason().is_some_and(may_live_on))
    }

    /// Waits until the store has removed the session, if that was requested.
    pub(crate) async fn removed(&self) {
        loop {
            let changed = {
                let locked = lock(&self.0.locked);
                if locked.fate != Fate::Asked {
                    return;
                }
                self.0.changed.listen()
            };
            changed.await;
        }
    }

    /// Removes a dead session from the store, before its end is reported.
    async fn remove(self, node: Node, reason: TerminateReason) {
        // A store that cannot be reached drops it eventually. Then this node calls the hook.
        let here = node.remove(self.0.id, reason).await.unwrap_or(true);
        lock(&self.0.locked).fate = if here { Fate::Here } else { Fate::Elsewhere };
        tell(&self.0.changed);
    }

    /// Returns `true` if both are handles to the same session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The next store effect. `None`: the task that performs them ends.
    pub(crate) fn next_effect(&self) -> Option<Effect> {
        let mut guard = self.enter();
        let effect = guard.locked.machine.poll_effect(guard.now);
        guard.locked.writing = effect.is_some();
        self.finish(guard);
        effect
    }

    /// Passes the outcome of a publication to the machine.
    pub(crate) fn published(&self, done: bool) {
        self.with(|machine, now| machine.handle_published(now, done));
        tell(&self.0.changed); // there may be space
    }

    /// Lock, call, unlock, notify.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        self.act(Hook::Spawned, act)
    }

    /// Like [`Session::with`], for a task that serves the session's client: if the call ends the session, its hook is
    /// polled once in place.
    pub(crate) fn with_client<R>(&self, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        self.act(Hook::InPlace, act)
    }

    /// Calls `act` with each session. A session that panics is ended, and the others are not affected (S8).
    pub(crate) fn each(sessions: impl IntoIterator<Item = Self>, act: impl Fn(&Self)) {
        for session in sessions {
            if contain::call(|| act(&session)).is_err() {
                trace::session_broken(&session.id());
                let _ = contain::call(|| {
                    session.with(|machine, now| machine.close(now, TerminateReason::Error));
                });
            }
        }
    }

    /// Called by the driver when the session's deadline has come.
    pub(crate) fn fire(&self) {
        let mut guard = self.enter();
        guard.armed = None;
        guard.locked.machine.handle_timeout(guard.now);
        self.finish(guard);
    }

    /// Enrolls the session in a shutdown, if anything of it is left, and calls `act`.
    pub(crate) fn enroll<R>(
        &self,
        tracker: &Arc<DrainTracker>,
        act: impl FnOnce(&mut Machine, Instant) -> R,
    ) -> R {
        let mut guard = self.enter();
        let Guard { locked, now, .. } = &mut guard;
        if locked.tracker.is_none() && !locked.left {
            // A session that is being opened is not counted yet: its output so far is still in the machine, and
            // must not be counted twice.
            self.stripe().add(&locked.machine.take_tally());
            tracker.enter(
                self.0.number,
                self.0.id,
                &locked.machine,
                locked.machine.state() != State::Terminated,
                (locked.machine.phase() == Phase::Closed).then_some(*now),
            );
            locked.tracker = Some(Arc::clone(tracker));
        }
        let result = act(&mut locked.machine, *now);
        self.finish(guard);
        result
    }

    /// Waits until the session is ending and `state` returns `true`.
    pub(crate) async fn until_ending(&self, state: impl Fn(&Machine) -> bool) {
        loop {
            // The listener is registered under the lock, so it sees every later change.
            let (reached, changed) = self.with(|machine, _| (state(machine), self.0.changed.listen()));
            if reached {
                return;
            }
            changed.await;
        }
    }

    /// A permit for one more running notification, unless there are as many as there may be requests.
    pub(crate) fn notification_permit(&self) -> Result<NotificationPermit, Refusal> {
        let place = NotificationPermit(self.clone());
        let taken = self.0.notifications.fetch_add(1, Relaxed);
        if taken < self.0.env.session_config.max_exchanges {
            Ok(place)
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

    /// The counters of this session.
    pub(crate) fn stripe(&self) -> &Stripe {
        self.0.env.counters.stripe(self.0.number)
    }

    fn peek<R>(&self, read: impl FnOnce(&Machine) -> R) -> R {
        read(&lock(&self.0.locked).machine)
    }

    fn act<R>(&self, hook: Hook, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        let mut guard = Guard { hook, ..self.enter() };
        let result = act(&mut guard.locked.machine, guard.now);
        self.finish(guard);
        result
    }

    /// Locks the machine. The clock is read under the lock, so that time never goes backwards for the machine.
    fn enter(&self) -> Guard<'_> {
        let locked = lock(&self.0.locked);
        let armed = locked.machine.next_timeout().filter(|_| locked.armed);
        Guard { locked, now: self.now(), armed, hook: Hook::Spawned }
    }

    /// Called after every call on the machine: counts under the lock, releases it, then notifies.
    fn finish(&self, guard: Guard<'_>) {
        let Guard { mut locked, now, armed, hook } = guard;
        let env = &self.0.env;
        let mut output = locked.machine.take_output();
        let (events, machine) = (output.events, &locked.machine);
        let deadline = if machine.phase() == Phase::Closed { None } else { machine.next_timeout() };
        let sooner = deadline != armed && env.timers.set(&self.0, armed, deadline);
        let gone = locked.left && machine.state() == State::Terminated;
        let writes = env.node.is_some() && !locked.writing && machine.has_effect();
        let version = machine.version();
        let end = events.contains(proto::Event::Closed).then(|| End {
            reason: machine.reason().unwrap_or(TerminateReason::Error),
            established: machine.is_established(),
            age: machine.age(now),
        });
        let mut removal = None;
        let unread = output.tally.streams_cut + output.tally.forced > 0;

        // Under the lock, so that whoever sees a change also sees it counted.
        let stripe = self.stripe();
        for event in events {
            match event {
                proto::Event::Established => _ = stripe.sessions_created.fetch_add(1, Relaxed),
                proto::Event::Dead => {
                    stripe.sessions.fetch_sub(1, Relaxed);
                    if env.node.is_none() && machine.is_established() {
                        stripe.sessions_terminated.fetch_add(1, Relaxed);
                    } // with a store it is not known yet whether the session lives on
                    removal =
                        machine.reason().filter(|reason| locked.fate == Fate::Kept && !may_live_on(*reason));
                }
                proto::Event::Ending | proto::Event::Closed => {}
            }
        }
        stripe.add(&output.tally);
        let tracker = locked.tracker.clone();
        let quiet = tracker.as_ref().is_some_and(|tracker| tracker.track(&output.tally));
        if let Some(tracker) = tracker.as_ref().filter(|_| unread) {
            tracker.fail(self.0.id, UNREAD);
        }
        locked.armed = deadline.is_some();
        locked.writing |= writes;
        if removal.is_some() {
            locked.fate = Fate::Asked;
        }
        drop(locked);

        if sooner {
            env.timers.notify();
        }
        let discarded = output.take_discarded();
        if !discarded.is_empty() {
            discard(&env.runtime, discarded);
        }
        for event in events {
            match event {
                proto::Event::Established => {
                    env.publish(&SessionEvent::Created(self.0.id));
                    if let Some(registry) = env.registry.get().and_then(Weak::upgrade) {
                        registry.note_half_open(self);
                    }
                }
                proto::Event::Ending | proto::Event::Closed => tell(&self.0.changed),
                proto::Event::Dead => {}
            }
        }
        let (unanswered, orphaned) = (output.tally.pings_unanswered > 0, output.tally.orphaned);
        if let Some(tracker) = tracker.as_ref().filter(|_| quiet) {
            tracker.notify();
        }
        if let Some(node) = env.node.as_ref().filter(|_| writes) {
            node.spawn(write(self.clone(), node.clone()));
        }
        if let Some((node, reason)) = env.node.as_ref().zip(removal) {
            node.spawn(self.clone().remove(node.clone(), reason));
        }
        wake(output);
        if gone {
            self.unregister();
        }
        // Last, because a `tracing` subscriber may be slow.
        if events.contains(proto::Event::Established) {
            trace::session_created(&self.0.id, version);
        }
        if unread {
            trace::session_failed(&self.0.id, UNREAD);
        }
        if orphaned > 0 {
            trace::exchanges_orphaned(&self.0.id, orphaned);
        }
        if unanswered {
            trace::ping_unanswered(&self.0.id);
        }
        if let Some(end) = end {
            self.ended(end, tracker.as_deref(), hook);
        }
    }

    fn unregister(&self) {
        if let Some(registry) = self.0.env.registry.get().and_then(Weak::upgrade) {
            registry.remove(self);
        }
    }

    /// Called once, when nothing is owed to the client any more: runs the hook.
    fn ended(&self, end: End, tracker: Option<&DrainTracker>, hook: Hook) {
        let env = &self.0.env;
        if !end.established {
            return self.leave(None); // the application never learned of it (C-20)
        }
        let begins =
            |tracker: &DrainTracker, afterword| tracker.begin_afterword(self.now(), self.0.number, afterword);
        let first = if env.node.is_some() { Afterword::Store } else { Afterword::Hook };
        if let Some(tracker) = tracker {
            begins(tracker, first);
        }
        if let Some(node) = &env.node {
            // Boxed, so that it does not enlarge every such task.
            return node.spawn(Box::pin(self.clone().part(node.clone(), end)));
        }
        let mut hooked = self.terminated(end);
        if let Hook::InPlace = hook {
            if let Some(failure) = (&mut hooked).now_or_never() {
                return self.leave(failure);
            }
        }
        let session = self.clone();
        env.runtime.spawn(Box::pin(async move {
            let failure = session.in_time(hooked).await;
            session.leave(failure);
        }));
    }

    /// Awaits the hook, at most for `hook_timeout`; then it is dropped.
    async fn in_time(
        &self,
        mut hooked: impl Future<Output = Option<&'static str>> + Unpin + Send + 'static,
    ) -> Option<&'static str> {
        if let Some(failure) = (&mut hooked).now_or_never() {
            return failure; // most are ready, and need no timer
        }
        let (session, limit) = (self.clone(), self.0.env.config.hook_timeout);
        let waited: BoxFuture<'static, _> = Box::pin(async move {
            match select(hooked, session.sleep_until(after(session.now(), limit))).await {
                Either::Left((failure, _)) => failure,
                Either::Right(((), _)) => {
                    trace::hook_late(&session.id(), limit);
                    Some(LATE)
                }
            }
        });
        waited.await
    }

    /// Reports the end and calls the hook. The returned future runs it, and resolves to its failure.
    fn terminated(&self, end: End) -> impl Future<Output = Option<&'static str>> + Send + Unpin + use<> {
        let Inner { id, env, .. } = &*self.0;
        env.publish(&SessionEvent::Terminated(*id, end.reason));
        trace::session_terminated(id, end.reason, end.age);
        let hooked = Contained::new(|| env.handler.terminated(self.clone(), end.reason));
        hooked.map(|done| done.err().map(|Panicked| PANICKED))
    }

    /// Finishes a closed session that a store may have. If it lives on, it is parked, and subscribers are told; if it has
    /// ended, exactly one node calls the hook.
    async fn part(self, node: Node, end: End) {
        let id = self.0.id;
        let parting = match end.reason {
            _ if lock(&self.0.locked).fate == Fate::Unkept => Parting::Ended,
            reason if may_live_on(reason) => {
                let (listener, heard, unused) =
                    self.with(|machine, now| (machine.listener(), machine.heard(), machine.unused(now)));
                let idle = self.idle(reason);
                node.settle(id, listener, heard, idle.is_none().then_some(unused)).await;
                match idle {
                    Some(idle) if node.retire(id, idle).await => Parting::Ended,
                    Some(_) => Parting::Parked,
                    None => {
                        node.park(id).await;
                        Parting::Parked
                    }
                }
            }
            _ => {
                self.removed().await;
                match lock(&self.0.locked).fate {
                    Fate::Elsewhere => Parting::EndedElsewhere,
                    Fate::Unkept | Fate::Kept | Fate::Asked | Fate::Here => Parting::Ended,
                }
            }
        };
        let failure = match parting {
            Parting::Parked => {
                trace::session_parked(&id, end.reason);
                self.0.env.publish(&SessionEvent::Parked(id));
                None
            }
            Parting::EndedElsewhere => {
                self.stripe().sessions_terminated.fetch_add(1, Relaxed);
                trace::session_terminated(&id, end.reason, end.age);
                self.0.env.publish(&SessionEvent::Terminated(id, end.reason));
                None
            }
            Parting::Ended => {
                self.stripe().sessions_terminated.fetch_add(1, Relaxed);
                let tracker = lock(&self.0.locked).tracker.clone();
                if let Some(tracker) = tracker {
                    tracker.begin_afterword(self.now(), self.0.number, Afterword::Hook);
                }
                let hooked = self.terminated(end);
                self.in_time(hooked).await
            }
        };
        self.leave(failure);
    }

    /// How long a session that ends here for this reason must be unused at all nodes to end everywhere.
    fn idle(&self, reason: TerminateReason) -> Option<Duration> {
        let config = &self.0.env.session_config;
        match reason {
            TerminateReason::Idle => Some(config.idle_timeout),
            TerminateReason::InitializeTimeout => Some(config.initialize_timeout),
            TerminateReason::Shutdown
            | TerminateReason::ClientDelete
            | TerminateReason::MaxAge
            | TerminateReason::Evicted
            | TerminateReason::Error => None,
        }
    }

    /// Called when the application has finished with the session, too.
    fn leave(&self, failure: Option<&'static str>) {
        let (tracker, gone) = {
            let mut locked = lock(&self.0.locked);
            locked.left = true;
            (locked.tracker.clone(), locked.machine.state() == State::Terminated)
        };
        contain::dispose(self.0.env.data.remove(self.0.number));
        if gone {
            self.unregister();
        }
        if let Some(tracker) = tracker {
            tracker.leave(self.0.number, self.0.id, failure);
        }
        if let Some(why) = failure {
            trace::session_failed(&self.0.id, why);
        }
    }

    /// Calls `attempt` until it returns a result. `Err` names the waiters to wait with; `Err(None)` waits for the store.
    pub(crate) async fn send_with<R>(
        &self,
        mut attempt: impl FnMut(&mut Machine, Instant) -> Result<R, Option<Arc<Waiters>>>,
    ) -> R {
        loop {
            let space: EventListener = match self.with(|machine, now| {
                // The listener is registered under the lock, so it sees space that is freed later.
                attempt(machine, now).map_err(|waiters| match waiters {
                    Some(waiters) => waiters.handler.listen(),
                    None => self.0.changed.listen(),
                })
            }) {
                Ok(result) => return result,
                Err(listener) => listener,
            };
            space.await;
        }
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

/// Returns `true` if a session that ends at a node for this reason may live on at others, given a store.
fn may_live_on(reason: TerminateReason) -> bool {
    match reason {
        TerminateReason::Shutdown | TerminateReason::Idle | TerminateReason::InitializeTimeout => true,
        TerminateReason::ClientDelete
        | TerminateReason::MaxAge
        | TerminateReason::Evicted
        | TerminateReason::Error => false,
    }
}

fn wake(output: Output<Arc<Waiters>>) {
    for wake in output.into_wakes() {
        match wake {
            Wake::Reader(waiters) => waiters.reader.wake(),
            Wake::Handler(waiters) => tell(&waiters.handler),
        }
    }
}

/// Notifies all listeners. Without listeners it avoids `notify`, which would allocate the event's list.
fn tell(event: &Event) {
    if event.total_listeners() > 0 {
        event.notify(usize::MAX);
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
