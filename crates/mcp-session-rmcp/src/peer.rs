//! [`Minted`], a peer of our own making, and the [`Pool`] of those that nobody uses.
//!
//! Only rmcp's service loop makes a `Peer`: a task and two channels with their blocks of messages. So a peer is made for an exchange, and used
//! again for another, of any session, if nobody has kept a clone of it. An idle session has none.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;
use mcp_session_core::Session;
use rmcp::{
    ErrorData, Peer, RoleServer, Service,
    model::{ClientNotification, ClientRequest, ServerConfig, ServerResult},
    service::{NotificationContext, RequestContext, RunningService, serve_directly},
};
use tokio::runtime::Handle;

use crate::{
    link::{Link, Shared, Target},
    look::{Look, look},
};

/// The maximum number of unused peers: 64. More requests at once make their own.
const MAX_UNUSED: usize = 64;

/// The maximum number of peers that a session's code may keep: 16, of some 25 KB each. One is enough for a server that
/// notifies in the background.
const MAX_KEPT: usize = 16;

/// What takes the next notification of the client.
pub(crate) type Delivery =
    Box<dyn FnOnce(ClientNotification, NotificationContext<RoleServer>) -> BoxFuture<'static, ()> + Send>;

/// The service of the loop. It gets notifications only; requests run in the handler's future.
#[derive(Default)]
struct Notes(Arc<Mutex<Option<Delivery>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service<RoleServer> for Notes {
    async fn handle_request(
        &self,
        _: ClientRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        Err(ErrorData::internal_error("requests do not come through the loop", None))
    }

    fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        let delivery = lock(&self.0).take();
        async move {
            if let Some(deliver) = delivery {
                deliver(notification, context).await;
            }
            Ok(())
        }
    }

    fn get_info(&self) -> ServerConfig {
        ServerConfig::default()
    }
}

/// A peer with its loop, which ends when this is dropped.
pub(crate) struct Minted {
    running: RunningService<RoleServer, Notes>,
    delivery: Arc<Mutex<Option<Delivery>>>,
    pub(crate) shared: Arc<Shared>,
}

impl Minted {
    /// The clones of the peer that the loop and its owner have.
    pub(crate) const OWN_CLONES: usize = 2;

    pub(crate) fn new(tokio: &Handle) -> Self {
        let shared = Arc::<Shared>::default();
        let notes = Notes::default();
        let delivery = Arc::clone(&notes.0);
        let _entered = tokio.enter();
        let running = serve_directly(notes, Link::new(Arc::clone(&shared)), None);
        Self { running, delivery, shared }
    }

    pub(crate) fn peer(&self) -> &Peer<RoleServer> {
        self.running.peer()
    }

    /// Delivers a notification of the client to `delivery`, with a context of this peer.
    pub(crate) fn deliver(&self, notification: ClientNotification, delivery: Delivery) {
        *lock(&self.delivery) = Some(delivery);
        self.shared.push(rmcp::model::JsonRpcMessage::notification(notification));
    }

    /// Whether somebody else has a clone of the peer. `None` if that cannot be seen.
    fn is_kept(&self) -> Option<bool> {
        Some(look(self.peer())?.clones > Self::OWN_CLONES)
    }
}

/// The peers that a session's code has kept. They end with the session.
#[derive(Default)]
pub(crate) struct Kept(Mutex<VecDeque<Minted>>);

impl Kept {
    /// Adds a peer. If there are too many, the one that was kept first ends.
    fn add(&self, minted: Minted) {
        let first = {
            let mut all = lock(&self.0);
            all.push_back(minted);
            if all.len() > MAX_KEPT { all.pop_front() } else { None }
        };
        drop(first);
    }

    /// Ends the peers that nobody has any more.
    fn prune(&self) {
        let gone: Vec<_> = {
            let mut all = lock(&self.0);
            if all.is_empty() {
                return;
            }
            let (still, gone) =
                std::mem::take(&mut *all).into_iter().partition(|one| one.is_kept() == Some(true));
            *all = still;
            gone.into()
        };
        drop(gone);
    }

    /// Sends what the peers send onto the standalone stream of this session.
    pub(crate) fn aim(&self, session: &Session) {
        for minted in &*lock(&self.0) {
            minted.shared.aim(Target::Session(session.clone()));
        }
    }
}

/// Peers that nobody uses.
#[derive(Default)]
pub(crate) struct Pool {
    unused: Mutex<Vec<Minted>>,
    /// As if the text of a peer had changed.
    #[cfg(test)]
    pub(crate) is_blind: bool,
}

impl Pool {
    /// A peer whose messages go to `target`.
    pub(crate) fn take(&self, tokio: &Handle, target: Target) -> Lease<'_> {
        let unused = loop {
            let unused = lock(&self.unused).pop();
            match unused {
                // The runtime that it was made on may have ended.
                Some(minted) if minted.peer().is_transport_closed() => drop(minted),
                unused => break unused,
            }
        };
        let minted = unused.unwrap_or_else(|| Minted::new(tokio));
        minted.shared.aim(target);
        Lease { pool: self, minted: Some(minted), keeper: None }
    }

    fn look(&self, minted: &Minted) -> Option<Look> {
        #[cfg(test)]
        if self.is_blind {
            return None;
        }
        look(minted.peer())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.unused).len()
    }
}

/// A peer in use. If this is dropped before its release, the call was dropped: the peer ends, unless somebody has kept it.
pub(crate) struct Lease<'a> {
    pool: &'a Pool,
    /// `None` only when it is given back.
    minted: Option<Minted>,
    keeper: Option<(Arc<Kept>, Target)>,
}

impl Lease<'_> {
    /// A peer that is kept belongs to a session from now on: where, and where its messages go then. Without one, it ends.
    pub(crate) fn keep_in(&mut self, kept: &Arc<Kept>, target: Target) {
        self.keeper = Some((Arc::clone(kept), target));
    }

    /// Waits until all that was sent with the peer is in its stream. Then the peer is used again, or kept.
    pub(crate) async fn release(mut self) {
        let Some(minted) = &self.minted else { return };
        match self.pool.look(minted) {
            Some(seen) => minted.shared.until_sent(seen.pushed).await,
            None => {
                // What was not awaited is in front of this message, which goes nowhere.
                let marker = rmcp::model::CancelledNotificationParam::new(None, None);
                let _ = minted.peer().notify_cancelled(marker).await;
                minted.shared.until_sent(minted.shared.handled()).await;
            }
        }
        if let Some((kept, _)) = &self.keeper {
            kept.prune();
        }
        let seen = self.pool.look(minted);
        let is_unused = seen
            .is_some_and(|seen| seen.clones == Minted::OWN_CLONES && seen.pushed == minted.shared.handled());
        if is_unused {
            minted.shared.aim(Target::Nothing);
            let mut unused = lock(&self.pool.unused);
            if unused.len() < MAX_UNUSED {
                unused.extend(self.minted.take());
            }
        }
    }
}

impl std::ops::Deref for Lease<'_> {
    type Target = Minted;

    fn deref(&self) -> &Minted {
        self.minted.as_ref().expect("only `release` takes it")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(minted) = self.minted.take() else { return };
        let is_kept = self.pool.look(&minted).is_some_and(|seen| seen.clones > Minted::OWN_CLONES);
        if let (true, Some((kept, target))) = (is_kept, self.keeper.take()) {
            minted.shared.aim(target);
            kept.add(minted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn release(pool: &Pool, kept: &Arc<Kept>) -> Peer<RoleServer> {
        let mut lease = pool.take(&Handle::current(), Target::Nothing);
        lease.keep_in(kept, Target::Nothing);
        let clone = lease.peer().clone();
        lease.release().await;
        clone
    }

    #[tokio::test]
    async fn a_peer_is_used_again_unless_somebody_has_kept_it() {
        let (pool, kept) = (Pool::default(), Arc::<Kept>::default());
        pool.take(&Handle::current(), Target::Nothing).release().await;
        assert_eq!(pool.len(), 1);

        let clone = release(&pool, &kept).await;
        assert_eq!((pool.len(), lock(&kept.0).len()), (0, 1));
        assert!(!clone.is_transport_closed());
        drop(clone);
        let mut lease = pool.take(&Handle::current(), Target::Nothing);
        lease.keep_in(&kept, Target::Nothing);
        lease.release().await;
        assert_eq!((pool.len(), lock(&kept.0).len()), (1, 0), "the one that nobody has any more is dropped");
    }

    #[tokio::test]
    async fn a_session_keeps_a_bounded_number_of_peers() {
        let (pool, kept) = (Pool::default(), Arc::<Kept>::default());
        let mut clones = Vec::new();
        for _ in 0..=MAX_KEPT {
            clones.push(release(&pool, &kept).await);
        }
        assert_eq!(lock(&kept.0).len(), MAX_KEPT);
        assert!(clones[0].notify_tool_list_changed().await.is_err(), "the first one has ended");
        assert!(clones[1..].iter().all(|clone| !clone.is_transport_closed()));
    }

    #[tokio::test]
    async fn a_peer_that_is_kept_without_a_session_ends() {
        let pool = Pool::default();
        let lease = pool.take(&Handle::current(), Target::Nothing);
        let clone = lease.peer().clone();
        lease.release().await;
        assert!(clone.notify_tool_list_changed().await.is_err());
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_leaves_the_peer_to_who_has_kept_it() {
        let (pool, kept) = (Pool::default(), Arc::<Kept>::default());
        let mut lease = pool.take(&Handle::current(), Target::Nothing);
        lease.keep_in(&kept, Target::Nothing);
        let clone = lease.peer().clone();
        drop(lease);
        assert_eq!(lock(&kept.0).len(), 1);
        assert!(!clone.is_transport_closed());

        drop(pool.take(&Handle::current(), Target::Nothing));
        assert_eq!((pool.len(), lock(&kept.0).len()), (0, 1), "nobody has kept this one");
    }

    #[tokio::test]
    async fn without_a_look_no_peer_is_used_again_or_kept() {
        let pool = Pool { is_blind: true, ..Pool::default() };
        let kept = Arc::<Kept>::default();
        let clone = release(&pool, &kept).await;
        assert_eq!((pool.len(), lock(&kept.0).len()), (0, 0));
        assert!(clone.notify_tool_list_changed().await.is_err());
    }
}
