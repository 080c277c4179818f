//! [`Session`]: a cheap handle, and the one way to the machine: `enter` and `finish`.

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
    ask::ask,
    contain::{self, Contained, Panicked},
    discard::discard,
    env::{Env, Stripe},
    error::Rejection,
    initialize::Client,
    principal::Principal,
    proto::{
        self, ClientCapabilities, Effect, Json, Output, Phase, ProtocolVersion, Refusal, RequestError,
        SendError, SessionId, State, TerminateReason, Wake, after, encode_notification,
    },
    stats::SessionEvent,
    store::{Node, PeerRequest, Update, write},
    sync::lock,
    terminate::{Afterword, DrainTracker},
    trace,
};

/// The waiters of one exchange or stream: what the machine's wakes find them by.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// One reader at a time carries a stream.
    pub(crate) reader: AtomicWaker,
    /// A handler may wait in several places at once.
    pub(crate) handler: Event,
}

/// Why a session did not end cleanly whose answers or streams were cut.
const UNREAD: &str = "its client did not read to the end in time";

/// Why a session did not end cleanly whose hook took too long.
pub(crate) const LATE: &str = "the `terminated` hook did not end in time";

/// Why a session did not end cleanly whose hook panicked.
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

/// What a session is made of. Public to the crate for [`Weak`] references only.
pub(crate) struct Inner {
    id: SessionId,
    principal: Option<Principal>,
    client: Arc<Client>,
    number: u64,
    env: Arc<Env>,
    locked: Mutex<Locked>,
    /// The session has begun to end, or is closed.
    changed: Event,
    /// Notifications at work.
    notifications: AtomicUsize,
}

/// A session that was not registered after all never ends.
impl Drop for Inner {
    fn drop(&mut self) {
        contain::dispose(self.env.data.remove(self.number));
    }
}

impl Inner {
    /// Tells sessions with the same deadline apart.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

struct Locked {
    machine: Machine,
    /// The driver knows its deadline: that of the machine, since whatever changes that goes through [`Session::finish`].
    armed: bool,
    /// Announced to the application.
    established: bool,
    /// Not counted as terminated yet.
    alive: bool,
    /// Not known to be ending yet.
    undisturbed: bool,
    /// Not handled as closed yet.
    open: bool,
    /// The application has been told of its end, and has done what it wanted to.
    left: bool,
    /// The shutdown that this session takes part in.
    tracker: Option<Arc<DrainTracker>>,
    /// A task does what it asks of the store.
    writing: bool,
    fate: Fate,
}

/// What a store has said of the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing, and it has not been asked. The store may have no such session: its client does not know of it yet.
    Unkept,
    /// Nothing, and it has not been asked.
    Kept,
    /// It is being removed.
    Asked,
    /// It ended, and this node is the one that tells the application.
    Here,
    /// It ended, and another node tells the application.
    Elsewhere,
}

/// What is left of a session that is closed at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    /// It ended, and the application is told here.
    Ended,
    /// It ended, and the application is told elsewhere.
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

/// What has become of a session since the last look: each is news once.
struct News {
    /// It is ending.
    ending: bool,
    /// `initialize` was answered with a result.
    created: Option<ProtocolVersion>,
    /// Its id is dead.
    died: bool,
    /// Nothing is owed to its client any more.
    end: Option<End>,
}

/// Who polls the `terminated` hook first.
#[derive(Clone, Copy)]
enum Hook {
    /// Whoever ends the session: most hooks are ready then, and need no task.
    InPlace,
    /// A task of its own: one that takes its time, or its thread, must not hold up other sessions (S8).
    Spawned,
}

#[derive(Clone, Copy)]
struct End {
    reason: TerminateReason,
    established: bool,
    age: Duration,
}

impl Locked {
    fn news(&mut self, now: Instant) -> News {
        let Self { machine, .. } = self;
        let ending = self.undisturbed && machine.phase() != Phase::Running;
        let created = !self.established && machine.is_established();
        let died = self.alive && machine.state() == State::Terminated;
        let closed = self.open && machine.phase() == Phase::Closed;
        self.undisturbed &= !ending;
        self.established |= created;
        self.alive &= !died;
        self.open &= !closed;
        let end = closed.then(|| End {
            reason: machine.reason().unwrap_or(TerminateReason::Error),
            established: self.established,
            age: machine.age(now),
        });
        News { ending, created: created.then(|| machine.version()), died, end }
    }
}

impl From<Arc<Inner>> for Session {
    fn from(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

impl Session {
    /// A session of this machine, not yet registered.
    pub(crate) fn new(
        id: SessionId,
        principal: Option<Principal>,
        client: Arc<Client>,
        env: Arc<Env>,
        machine: Machine,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let locked = Locked {
            armed: false,
            established: machine.is_established(), // at another node, then
            machine,
            alive: true,
            undisturbed: true,
            open: true,
            left: false,
            tracker: None,
            writing: false,
            fate: Fate::Unkept,
        };
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

    /// Its id. A secret: log [`SessionId::prefix`].
    pub fn id(&self) -> SessionId {
        self.0.id
    }

    /// Whose session it is: that of the request which opened it (E-06). Every request that reaches it has the same.
    pub fn principal(&self) -> Option<&Principal> {
        self.0.principal.as_ref()
    }

    /// What the handler has attached to it, if it is a `T`: see [`Handler::session_data`](crate::Handler::session_data). `None`
    /// if there is nothing, if it is of another type, and once the session has ended here.
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

    /// What the client declared at `initialize`, as far as the session has to know of it.
    pub fn capabilities(&self) -> ClientCapabilities {
        self.peek(Machine::capabilities)
    }

    /// Whether its client has not used it yet.
    pub(crate) fn is_half_open(&self) -> bool {
        self.peek(Machine::is_half_open)
    }

    /// Ends it to make room for another one, if its client has not used it yet. Returns whether it did.
    pub(crate) fn evict(&self) -> bool {
        // Where there is a store, its client may use it at another node: then only this one lets go of it.
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

    /// The client's `clientInfo`, as it came with `initialize`, at whichever node that was: an object with `name` and
    /// `version`. What a client says of itself is no proof of anything.
    ///
    /// Of params longer than 4 KiB, only its `name`, `version` and `title` are kept, 256 characters of each.
    pub fn client_info(&self) -> &Json {
        &self.0.client.info
    }

    /// The client's `capabilities`, as they came with `initialize`, at whichever node that was: an object.
    /// [`Session::capabilities`] says what the session makes of them (C-12). Longer than 4 KiB, they are not kept: `{}`.
    pub fn client_capabilities(&self) -> &Json {
        &self.0.client.capabilities
    }

    /// All params of `initialize`, as they came, at whichever node that was. Longer than 4 KiB, they are reduced to what
    /// [`Session::client_info`] and [`Session::client_capabilities`] say, and the version that the client has asked for.
    pub fn initialize_params(&self) -> &Json {
        &self.0.client.params
    }

    /// Where it stands, as its client sees it.
    pub fn state(&self) -> State {
        self.peek(Machine::state)
    }

    /// Sends a notification that belongs to no request, on the GET stream. Waits while that stream's queue is
    /// full. Without a GET stream the notification is kept for the next one, within the bounds of
    /// [`replay`](crate::SessionConfig::replay); without replay it is dropped (D-17, D-24).
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if the session is ending, [`SendError::Invalid`] if the params are no JSON object.
    ///
    /// # Cancel safety
    ///
    /// Dropped while waiting, nothing was sent.
    pub async fn notify<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
    ) -> Result<(), SendError> {
        let event = notification(method, params)?;
        self.send_with(|machine, now| match machine.notify_standalone(now, &event) {
            Err(SendError::Full) if machine.member().is_some() => Err(None), // its store is behind
            Err(SendError::Full) => Err(machine.standalone_tag().cloned()),
            sent => Ok(sent),
        })
        .await
    }

    /// As [`Session::notify`], without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] if the queue is full; else as [`Session::notify`].
    pub fn try_notify<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
    ) -> Result<(), SendError> {
        let event = notification(method, params)?;
        self.with(|machine, now| machine.notify_standalone(now, &event))
    }

    /// Asks the client, on the GET stream, whether it is there, and waits for its answer, `timeout` at the most (C-14). The
    /// only request that need not belong to one of the client's (F-22): for any other, see
    /// [`RequestContext::request`](crate::RequestContext::request). Sessions do it by themselves, after
    /// [`ping_interval`](crate::SessionConfig::ping_interval) of silence.
    ///
    /// # Errors
    ///
    /// [`RequestError::Send`] if there is no GET stream (D-24), [`RequestError::TimedOut`], [`RequestError::Client`] if
    /// the client answers with an error, which is a sign of life too, [`RequestError::Terminated`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the client is told to stop.
    pub async fn ping(&self, timeout: Duration) -> Result<(), RequestError> {
        let waiters = Arc::new(Waiters::default());
        let send = |machine: &mut Machine, now, left| machine.ping(now, Arc::clone(&waiters), left);
        ask(self, &waiters, timeout, send, |machine| machine.standalone_tag().cloned()).await.map(drop)
    }

    /// Terminates the session. From this moment its id answers 404; what runs in it is told to stop, answered in
    /// any case (S5), and every stream gets its end. The first reason stands (S12).
    ///
    /// Await the [`Termination`] to know when nothing of the session is left, or drop it: that changes nothing (S10).
    pub fn terminate(&self, reason: TerminateReason) -> Termination {
        self.with(|machine, now| machine.terminate(now, reason));
        Termination { session: self.clone(), reason }
    }

    /// Asks the handler for what belongs to it, before anybody can know of it.
    pub(crate) fn attach(&self) -> Result<(), Rejection> {
        let Inner { env, number, .. } = &*self.0;
        let data = contain::call(|| env.handler.session_data(self))
            .map_err(|Panicked| Rejection::Internal("the data of the session could not be made"))?;
        let locked = lock(&self.0.locked);
        if locked.left {
            drop(locked);
            contain::dispose(data); // it has ended meanwhile
        } else {
            env.data.insert(*number, data);
        }
        Ok(())
    }

    /// `notifications/initialized` has arrived.
    pub(crate) async fn initialized(&self) {
        let Inner { id, env, .. } = &*self.0;
        env.publish(&SessionEvent::Initialized(*id));
        trace::session_initialized(id);
        if let Some(node) = &env.node {
            node.update(*id, Update::Initialized).await; // before the client hears of it, and goes elsewhere
            let (id, teller) = (*id, node.clone());
            node.spawn(async move { teller.tell_member(id, None, PeerRequest::Initialized).await });
        }
    }

    /// The store has it from now on, and other nodes may serve it.
    pub(crate) fn kept(&self) {
        lock(&self.0.locked).fate = Fate::Kept;
    }

    /// Whether it has to be looked at before a request may have it, where there is a store: it is on its way out here and
    /// lives on elsewhere, or what this node knows of it may be old.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.peek(|machine| match machine.state() {
            State::AwaitingInitialized => true,
            State::Terminated => machine.reason().is_some_and(may_live_on),
            State::Initializing | State::Operating | State::Draining => false,
        })
    }

    /// Whether it is closed here, or about to be, and lives on in the store.
    pub(crate) fn is_parting(&self) -> bool {
        self.peek(|machine| machine.state() == State::Terminated && machine.reason().is_some_and(may_live_on))
    }

    /// Waits until the store has removed it, if it was asked to.
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

    /// It is dead, everywhere: the store is told so, before anybody is told anything else.
    async fn remove(self, node: Node, reason: TerminateReason) {
        // A store that cannot be reached forgets it by and by. Its end is here, then.
        let here = node.remove(self.0.id, reason).await.unwrap_or(true);
        lock(&self.0.locked).fate = if here { Fate::Here } else { Fate::Elsewhere };
        tell(&self.0.changed);
    }

    /// Whether both are handles of one session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What the store is asked to do next. Nothing: then whoever asks is through.
    pub(crate) fn next_effect(&self) -> Option<Effect> {
        let mut guard = self.enter();
        let effect = guard.locked.machine.poll_effect(guard.now);
        guard.locked.writing = effect.is_some();
        self.finish(guard);
        effect
    }

    /// The store has answered a publication, or not.
    pub(crate) fn published(&self, done: bool) {
        self.with(|machine, now| machine.handle_published(now, done));
        tell(&self.0.changed); // there is space
    }

    /// Lock, call, unlock, notify.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        self.act(Hook::Spawned, act)
    }

    /// As [`Session::with`], for a task that serves the session's client: should the session end by it, its hook is
    /// polled once in place.
    pub(crate) fn with_client<R>(&self, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        self.act(Hook::InPlace, act)
    }

    /// Does something with each of these sessions. One that cannot, because something in it panics, is ended, and harms no other
    /// (S8).
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

    /// The deadline that the driver kept for this session has come.
    pub(crate) fn fire(&self) {
        let mut guard = self.enter();
        guard.armed = None;
        guard.locked.machine.handle_timeout(guard.now);
        self.finish(guard);
    }

    /// Takes part in a shutdown from now on, if anything of it is left.
    pub(crate) fn enroll<R>(
        &self,
        tracker: &Arc<DrainTracker>,
        act: impl FnOnce(&mut Machine, Instant) -> R,
    ) -> R {
        let mut guard = self.enter();
        let Guard { locked, now, .. } = &mut guard;
        if locked.tracker.is_none() && !locked.left {
            // A session that is being born has not been counted by anybody: what it has done so far is in the
            // machine, and must not be booked a second time.
            self.stripe().add(&locked.machine.take_output().tally);
            tracker.enter(
                self.0.number,
                self.0.id,
                &locked.machine,
                locked.alive,
                (!locked.open).then_some(*now),
            );
            locked.tracker = Some(Arc::clone(tracker));
        }
        let result = act(&mut locked.machine, *now);
        self.finish(guard);
        result
    }

    /// Waits until the session is ending, and in this state.
    pub(crate) async fn until_ending(&self, state: impl Fn(&Machine) -> bool) {
        loop {
            // The listener is made under the lock: what changes afterwards finds it.
            let (reached, changed) = self.with(|machine, _| (state(machine), self.0.changed.listen()));
            if reached {
                return;
            }
            changed.await;
        }
    }

    /// A place for one more notification at work, unless there are as many as there may be requests.
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

    /// Where it counts.
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

    /// Locks the machine. The clock is read under the lock, so that for the machine time never goes backwards.
    fn enter(&self) -> Guard<'_> {
        let locked = lock(&self.0.locked);
        let armed = locked.machine.next_timeout().filter(|_| locked.armed);
        Guard { locked, now: self.now(), armed, hook: Hook::Spawned }
    }

    /// After every call on the machine: counts under the lock, then releases it, then tells whoever has to know.
    fn finish(&self, guard: Guard<'_>) {
        let Guard { mut locked, now, armed, hook } = guard;
        let env = &self.0.env;
        let mut output = locked.machine.take_output();
        let news = locked.news(now);
        // A session that is closed has nothing to wait for; one that is not may have something sooner than known.
        let deadline = if locked.open { locked.machine.next_timeout() } else { None };
        let sooner = deadline != armed && env.timers.set(&self.0, armed, deadline);
        locked.armed = deadline.is_some();
        let gone = locked.left && locked.machine.state() == State::Terminated;
        let tracker = locked.tracker.clone();
        let writer = env.node.as_ref().filter(|_| !locked.writing && locked.machine.has_effect());
        locked.writing |= writer.is_some();
        let ends =
            news.died.then(|| locked.machine.reason()).flatten().filter(|reason| !may_live_on(*reason));
        let ends = ends.filter(|_| env.node.is_some() && locked.fate == Fate::Kept);
        if ends.is_some() {
            locked.fate = Fate::Asked;
        }
        let unread = output.tally.streams_cut + output.tally.forced > 0;

        // Under the lock: whoever sees what happened, sees it counted.
        let stripe = self.stripe();
        if news.created.is_some() {
            stripe.sessions_created.fetch_add(1, Relaxed);
        }
        if news.died {
            stripe.sessions.fetch_sub(1, Relaxed);
            // With a store, that is not known yet.
            let terminated = locked.established && env.node.is_none();
            stripe.sessions_terminated.fetch_add(u64::from(terminated), Relaxed);
        }
        stripe.add(&output.tally);
        let quiet = tracker.as_ref().is_some_and(|tracker| tracker.track(&output.tally));
        if let Some(tracker) = tracker.as_ref().filter(|_| unread) {
            tracker.fail(self.0.id, UNREAD);
        }
        drop(locked);

        if sooner {
            env.timers.notify();
        }
        let discarded = output.take_discarded();
        if !discarded.is_empty() {
            discard(&env.runtime, discarded);
        }
        if news.ending || news.end.is_some() {
            tell(&self.0.changed);
        }
        if news.created.is_some() {
            env.publish(&SessionEvent::Created(self.0.id));
            if let Some(registry) = env.registry.get().and_then(Weak::upgrade) {
                registry.note_half_open(self);
            }
        }
        let (unanswered, orphaned) = (output.tally.pings_unanswered > 0, output.tally.orphaned);
        if let Some(tracker) = tracker.as_ref().filter(|_| quiet) {
            tracker.notify();
        }
        if let Some(node) = writer {
            node.spawn(write(self.clone(), node.clone()));
        }
        if let Some((node, reason)) = env.node.as_ref().zip(ends) {
            node.spawn(self.clone().remove(node.clone(), reason));
        }
        wake(output);
        if gone {
            self.unregister();
        }
        // Last: a subscriber may take its time, and nobody has to wait for that.
        if let Some(version) = news.created {
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
        if let Some(end) = news.end {
            self.ended(end, tracker.as_deref(), hook);
        }
    }

    fn unregister(&self) {
        if let Some(registry) = self.0.env.registry.get().and_then(Weak::upgrade) {
            registry.remove(self);
        }
    }

    /// Nothing is owed to the client any more: tells the application, once, and gives it time.
    fn ended(&self, end: End, tracker: Option<&DrainTracker>, hook: Hook) {
        let env = &self.0.env;
        if !end.established {
            return self.leave(None); // to the application it never existed (C-20)
        }
        let begins =
            |tracker: &DrainTracker, afterword| tracker.begin_afterword(self.now(), self.0.number, afterword);
        let first = if env.node.is_some() { Afterword::Store } else { Afterword::Hook };
        tracker.into_iter().for_each(|tracker| begins(tracker, first));
        if let Some(node) = &env.node {
            // In a box: not the size of every such task.
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

    /// Gives the hook the time that it may take. One that takes longer is dropped.
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

    /// Tells the application of the end. The hook is to be polled, and says what went wrong in it.
    fn terminated(&self, end: End) -> impl Future<Output = Option<&'static str>> + Send + Unpin + use<> {
        let Inner { id, env, .. } = &*self.0;
        env.publish(&SessionEvent::Terminated(*id, end.reason));
        trace::session_terminated(id, end.reason, end.age);
        let hooked = Contained::new(|| env.handler.terminated(self.clone(), end.reason));
        hooked.map(|done| done.err().map(|Panicked| PANICKED))
    }

    /// A session that a store has is closed here. Where it lives on, it is parked, and the application learns of that; where it
    /// has ended, one node calls the hook.
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

    /// For how long nobody may have used a session elsewhere that ends here for this reason, for it to end everywhere.
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

    /// The application is through with the session as well.
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

    /// Tries until there is space. `attempt` gives the result, or the waiters to wait with, or none: then it waits for the
    /// store.
    pub(crate) async fn send_with<R>(
        &self,
        mut attempt: impl FnMut(&mut Machine, Instant) -> Result<R, Option<Arc<Waiters>>>,
    ) -> R {
        loop {
            let space: EventListener = match self.with(|machine, now| {
                // The listener is made under the lock: what frees space afterwards finds it.
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

/// Whether a session that ends at a node for this reason may live on at others, where there is a store.
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

/// Notifies who listens. An event makes its list for the first listener, or for the first notification: that would be
/// for nobody.
fn tell(event: &Event) {
    if event.total_listeners() > 0 {
        event.notify(usize::MAX);
    }
}

/// A session on its way out: see [`Session::terminate`]. Await it, or drop it.
#[derive(Debug)]
pub struct Termination {
    session: Session,
    reason: TerminateReason,
}

impl IntoFuture for Termination {
    /// The reason that stands: that of whoever was first.
    type Output = TerminateReason;
    type IntoFuture = BoxFuture<'static, TerminateReason>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.session.until_ending(|machine| machine.phase() == Phase::Closed).await;
            self.session.peek(Machine::reason).unwrap_or(self.reason)
        })
    }
}

/// Counts a notification at work for as long as it lives.
#[derive(Debug)]
pub(crate) struct NotificationPermit(Session);

impl Drop for NotificationPermit {
    fn drop(&mut self) {
        self.0.0.notifications.fetch_sub(1, Relaxed);
    }
}

/// A whole notification, as an event.
pub(crate) fn notification<P: Serialize + ?Sized>(
    method: &str,
    params: Option<&P>,
) -> Result<bytes::Bytes, SendError> {
    encode_notification(method, params).ok_or(SendError::Invalid)
}

/// Params have to be an object (A-03).
pub(crate) fn object<P: Serialize + ?Sized>(params: Option<&P>) -> Result<Option<Json>, SendError> {
    match params.map(Json::new).transpose() {
        Ok(params) if params.as_ref().is_none_or(Json::is_object) => Ok(params),
        Ok(_) | Err(_) => Err(SendError::Invalid),
    }
}

#[cfg(test)]
mod tests;
