//! [`Minted`], a peer of our own making, and the [`Pool`] of those that nobody uses.
//!
//! Only rmcp's service loop makes a `Peer`: a task and two channels with their blocks of messages. So a peer is made for an exchange, and used
//! again for another, of any session, if nobody has kept a clone of it. An idle session has none.

use std::{
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
    look::look,
};

/// The maximum number of unused peers: 64. More requests at once make their own.
const MAX_UNUSED: usize = 64;

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
pub(crate) struct Kept(Mutex<Vec<Minted>>);

impl Kept {
    fn add(&self, minted: Minted) {
        let gone: Vec<_> = {
            let mut all = lock(&self.0);
            let (still, gone) =
                std::mem::take(&mut *all).into_iter().partition(|one| one.is_kept() == Some(true));
            *all = still;
            all.push(minted);
            gone
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
pub(crate) struct Pool(Mutex<Vec<Minted>>);

impl Pool {
    /// A peer whose messages go to `target`.
    pub(crate) fn take(&self, tokio: &Handle, target: Target) -> Minted {
        let unused = loop {
            let unused = lock(&self.0).pop();
            match unused {
                // The runtime that it was made on may have ended.
                Some(minted) if minted.peer().is_transport_closed() => drop(minted),
                unused => break unused,
            }
        };
        let minted = unused.unwrap_or_else(|| Minted::new(tokio));
        minted.shared.aim(target);
        minted
    }

    /// Waits until all that was sent with the peer is in its stream. Then the peer is used again, or, if somebody has kept
    /// it, belongs to the session; without one, it ends.
    pub(crate) async fn release(&self, minted: Minted, kept: Option<(&Kept, Target)>) {
        let Some(seen) = look(minted.peer()) else {
            // What was not awaited is in front of this message, which goes nowhere.
            let marker = rmcp::model::CancelledNotificationParam::new(None, None);
            let _ = minted.peer().notify_cancelled(marker).await;
            return;
        };
        if seen.pushed > minted.shared.handled() {
            minted.shared.until_handled(seen.pushed).await;
        }
        let seen_again = look(minted.peer());
        let is_unused = seen_again
            .is_some_and(|seen| seen.clones == Minted::OWN_CLONES && seen.pushed == minted.shared.handled());
        if is_unused {
            minted.shared.aim(Target::Nothing);
            let mut unused = lock(&self.0);
            if unused.len() < MAX_UNUSED {
                unused.push(minted);
            }
        } else if let Some((kept, target)) = kept {
            minted.shared.aim(target);
            kept.add(minted);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_is_used_again_unless_somebody_has_kept_it() {
        let pool = Pool::default();
        let kept = Kept::default();
        let minted = pool.take(&Handle::current(), Target::Nothing);
        pool.release(minted, Some((&kept, Target::Nothing))).await;
        assert_eq!(pool.len(), 1);

        let minted = pool.take(&Handle::current(), Target::Nothing);
        let clone = minted.peer().clone();
        pool.release(minted, Some((&kept, Target::Nothing))).await;
        assert_eq!((pool.len(), lock(&kept.0).len()), (0, 1));
        assert!(!clone.is_transport_closed());
        drop(clone);
        let minted = pool.take(&Handle::current(), Target::Nothing);
        kept.add(minted);
        assert_eq!(lock(&kept.0).len(), 1, "the one that nobody has any more is dropped");
    }

    #[tokio::test]
    async fn a_peer_that_is_kept_without_a_session_ends() {
        let pool = Pool::default();
        let minted = pool.take(&Handle::current(), Target::Nothing);
        let clone = minted.peer().clone();
        pool.release(minted, None).await;
        assert!(clone.notify_tool_list_changed().await.is_err());
    }
}
