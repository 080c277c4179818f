//! [`Registry`]: the requests without a session that are running, and their admission.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use mcp_session_proto::{Era, Json, RequestId, ResponseMode, RpcError, SendError};
use serde_json::Value;

use super::{
    call::{Call, Inner, Machine},
    server::Server,
    shares::Shares,
    subscription::{Notice, Subscription},
};
use crate::{
    principal::Principal,
    session::{
        broadcast::{Broadcast, Subscribers},
        env::Env,
        timers::Timers,
    },
    shutdown::ShutdownPhase,
    sync::{
        CachePadded, Mutex, acquire,
        atomic::{AtomicUsize, Ordering::Relaxed},
        lock, shards,
    },
    transport::Rejection,
};

/// The number of shards: about as many threads can admit requests without contention.
const SHARDS: usize = shards(16);

/// Aligned to its own cache lines, so that threads that use different shards do not share a line.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<BTreeMap<u64, Call>>);

/// The running requests without a session. Dropping it cuts them.
pub(crate) struct Registry(Arc<Shared>);

/// What the running requests share.
pub(crate) struct Shared {
    pub(crate) env: Arc<Env>,
    pub(crate) server: Server,
    pub(super) timers: Timers<Inner>,
    shards: [Shard; SHARDS],
    /// The number of calls in the shards.
    requests: CachePadded<AtomicUsize>,
    /// The same for each principal.
    shares: Shares,
    subscriptions: Mutex<Subscriptions>,
}

#[derive(Default)]
struct Subscriptions {
    open: BTreeMap<u64, Call>,
    /// The number of those of each principal.
    by_principal: HashMap<Principal, usize>,
}

impl Registry {
    /// Creates an empty registry, and spawns the task that waits for the deadlines of its requests.
    pub(crate) fn new(env: Arc<Env>, server: Server) -> Arc<Self> {
        let shared = Arc::new(Shared {
            timers: Timers::new(env.runtime.now()),
            server,
            shards: std::array::from_fn(|_| Shard::default()),
            requests: CachePadded(AtomicUsize::new(0)),
            shares: Shares::default(),
            subscriptions: Mutex::default(),
            env,
        });
        let driven = Arc::clone(&shared);
        let runtime = Arc::clone(&shared.env.runtime);
        shared.env.runtime.spawn_keeper(Box::pin(async move { driven.timers.drive(&*runtime).await }));
        Arc::new(Self(shared))
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    pub(crate) fn server(&self) -> &Server {
        &self.0.server
    }

    /// Fails while the endpoint shuts down.
    pub(crate) fn admits(&self) -> Result<(), Rejection> {
        let phase = self.0.env.phases.get();
        if phase >= ShutdownPhase::Draining { Err(Rejection::ShuttingDown) } else { Ok(()) }
    }

    /// Admits a request of this principal: from now on it is owed exactly one answer.
    ///
    /// The shard's lock orders admission and shutdown: a shutdown first sets the phase and then visits every shard. So
    /// either the phase is seen here, or the request is in its shard when that is visited (S1).
    pub(crate) fn admit(
        &self,
        id: RequestId,
        era: Era,
        mode: ResponseMode,
        principal: Option<Principal>,
    ) -> Result<Call, Rejection> {
        if !self.0.acquire(principal.as_ref()) {
            return Err(Rejection::TooManyRequests);
        }
        let call = Call::new(id, era, mode, Arc::clone(&self.0), principal, None);
        let mut shard = lock(&self.0.shards[shard(call.number())].0);
        if let Err(refused) = self.admits() {
            drop(shard);
            self.0.release(call.principal());
            return Err(refused);
        }
        shard.insert(call.number(), call.clone());
        drop(shard);
        call.count();
        Ok(call)
    }

    /// Admits all of these requests of one principal, or none.
    pub(crate) fn admit_all(
        &self,
        ids: impl IntoIterator<Item = RequestId>,
        era: Era,
        mode: ResponseMode,
        principal: Option<&Principal>,
    ) -> Result<Vec<Call>, Rejection> {
        let mut admitted = Vec::new();
        for id in ids {
            match self.admit(id, era, mode, principal.cloned()) {
                Ok(call) => admitted.push(call),
                Err(refused) => {
                    admitted.iter().for_each(|call: &Call| self.0.withdraw(call));
                    return Err(refused);
                }
            }
        }
        Ok(admitted)
    }

    /// Admits a `subscriptions/listen`, and acknowledges it.
    pub(crate) fn subscribe(&self, id: RequestId, subscription: Subscription) -> Result<Call, Rejection> {
        let config = &self.0.env.config;
        let (principal, acknowledgement) = (subscription.principal.clone(), subscription.acknowledgement());
        let subscription = Some(subscription);
        let call = Call::new(id, Era::Modern, ResponseMode::Sse, Arc::clone(&self.0), None, subscription);
        {
            let mut subscriptions = lock(&self.0.subscriptions);
            self.admits()?;
            let Subscriptions { open, by_principal } = &mut *subscriptions;
            let of_principal = principal.as_ref().and_then(|principal| by_principal.get(principal));
            let full = open.len() >= config.max_subscriptions
                || of_principal.is_some_and(|count| *count >= config.max_subscriptions_per_principal);
            if full {
                return Err(Rejection::TooManySubscriptions);
            }
            if let Some(principal) = principal {
                *by_principal.entry(principal).or_default() += 1;
            }
            open.insert(call.number(), call.clone());
            // Under the lock, so that no notification overtakes it (G-52). An empty queue takes any event.
            call.with(|machine, now| {
                machine.handle_released(); // it has no handler
                machine.handle_suspended(now);
                let _ = machine.notify(now, &acknowledgement);
            });
        }
        Ok(call)
    }

    /// Ends a subscription in band: its result, then the end of the stream (G-55).
    pub(crate) fn end(&self, call: &Call) {
        if let Some(result) = self.last_result(call) {
            call.with(|machine, now| machine.answer(now, &result));
        }
    }

    /// The result with which the server ends a subscription. `None`: the call is none.
    pub(crate) fn last_result(&self, call: &Call) -> Option<Result<Json, RpcError>> {
        call.subscription()
            .map(|subscription| self.0.server.complete(None, Ok(subscription.end())).into_answer())
    }

    /// All that are running, in the order in which they were admitted, so that a simulation takes the same one in each run.
    /// No lock is held between items.
    pub(crate) fn calls(&self) -> impl Iterator<Item = Call> {
        let mut calls: Vec<_> = lock(&self.0.subscriptions).open.values().cloned().collect();
        for shard in &self.0.shards {
            calls.extend(lock(&shard.0).values().cloned());
        }
        calls.sort_unstable_by_key(Call::number);
        calls.into_iter()
    }

    /// The number of open subscriptions.
    pub(crate) fn subscriptions(&self) -> usize {
        lock(&self.0.subscriptions).open.len()
    }
}

impl Shared {
    /// Takes a place for a request of this principal. Returns `false` if there is none.
    fn acquire(&self, principal: Option<&Principal>) -> bool {
        let config = &self.env.config;
        let place = || acquire(&self.requests.0, 1, config.max_stateless_requests);
        match principal {
            None => place(),
            Some(principal) => {
                self.shares.acquire(principal, config.max_stateless_requests_per_principal, place)
            }
        }
    }

    /// Gives a place back.
    fn release(&self, principal: Option<&Principal>) {
        if let Some(principal) = principal {
            self.shares.release(principal);
        }
        self.requests.0.fetch_sub(1, Relaxed);
    }

    /// Undoes an admission whose request is refused after all.
    fn withdraw(&self, call: &Call) {
        call.withdraw();
        self.remove(call);
    }

    /// Removes a call of which nothing is left.
    pub(super) fn remove(&self, call: &Call) {
        let Some(subscription) = call.subscription() else {
            let removed = lock(&self.shards[shard(call.number())].0).remove(&call.number());
            if removed.is_some() {
                self.release(call.principal());
            }
            return;
        };
        let mut subscriptions = lock(&self.subscriptions);
        let removed = subscriptions.open.remove(&call.number());
        if let Some(principal) = subscription.principal.as_ref().filter(|_| removed.is_some()) {
            if let Some(count) = subscriptions.by_principal.get_mut(principal) {
                *count -= 1;
                if *count == 0 {
                    subscriptions.by_principal.remove(principal);
                }
            }
        }
        drop(subscriptions);
        drop(removed); // outside the lock
    }
}

fn shard(number: u64) -> usize {
    (number % SHARDS as u64) as usize
}

impl Subscribers for Registry {
    fn notify(&self, method: &str, params: Option<&Json>, told: &mut Broadcast) {
        let subscriptions: Vec<_> = lock(&self.0.subscriptions).open.values().cloned().collect();
        if subscriptions.is_empty() {
            return;
        }
        let params = params.and_then(|params| match params.parse() {
            Ok(Value::Object(params)) => Some(params),
            Ok(_) | Err(_) => None,
        });
        let notice = Notice::new(method, params);
        for call in subscriptions {
            let Some(event) = call.subscription().and_then(|subscription| subscription.event(&notice)) else {
                continue;
            };
            match call.with(|machine, now| machine.notify_once(now, &event)) {
                Ok(()) => told.subscriptions += 1,
                // It has not read for so long that its queue is full of different events.
                Err(SendError::Full) => {
                    told.subscriptions_ended += 1;
                    self.end(&call);
                }
                Err(_) => {} // it is ending
            }
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.0.timers.close();
        Call::each(self.calls(), |call| call.with(Machine::close));
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("requests", &self.0.requests.0).finish_non_exhaustive()
    }
}
