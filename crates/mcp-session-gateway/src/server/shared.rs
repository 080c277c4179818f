//! [`Shared`]: one child for all clients. If it dies, the next one gets the same `initialize`.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::join_all;
use mcp_session_core::{Json, RequestContext, RpcError, Session, SessionId};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::{
    audience::{Audience, Owner},
    config::Restart,
    core::{Core, Opening, lock},
    link::Link,
    per_session::Seat,
};

/// One child for all clients.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Arc<Core>,
    pub(crate) audience: Arc<Audience>,
    child: watch::Sender<Child>,
    replayed: Mutex<Replayed>,
}

/// What there is of the child.
#[derive(Debug, Clone)]
enum Child {
    /// [`Shared::start`] has not been called, or has failed.
    None,
    /// It is about to start again.
    Waiting,
    Ready(Link),
    /// It has ended, and is not started again.
    Stopped,
}

/// What the next child is told again.
#[derive(Debug, Default)]
struct Replayed {
    level: Option<Json>,
    resources: BTreeSet<String>,
}

/// A session of a shared child, in its data.
#[derive(Debug)]
pub(crate) struct Member {
    shared: Arc<Shared>,
    session: SessionId,
    _seat: Seat,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.audience.leave(self.session);
        self.shared.forget_resources();
    }
}

#[derive(Deserialize)]
struct Resource {
    uri: String,
}

impl Shared {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            audience: Arc::default(),
            child: watch::Sender::new(Child::None),
            replayed: Mutex::default(),
        }
    }

    /// Starts the child, and from now on the next one whenever one dies. Returns what it is.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Json, RpcError> {
        let (told, first) = oneshot::channel();
        tokio::spawn(Arc::clone(self).run(told));
        first.await.unwrap_or_else(|_| Err(self.core.error("it is closed")))
    }

    async fn run(self: Arc<Self>, told: oneshot::Sender<Result<Json, RpcError>>) {
        let mut told = Some(told);
        loop {
            let opened = self.core.open("shared".to_owned(), &[], &Opening::of_the_gateway()).await;
            let delay = match (opened, told.take()) {
                (Ok((link, info)), first) => {
                    if let Some(told) = first {
                        let _ = told.send(Ok(info));
                    }
                    let started = Instant::now();
                    let again = self.serve(link).await;
                    if self.core.is_closing() || !again {
                        self.child.send_replace(Child::Stopped);
                        return;
                    }
                    let now = Instant::now();
                    lock(&self.core.health).died(now, now - started)
                }
                (Err(error), Some(told)) => {
                    let _ = told.send(Err(error));
                    return;
                }
                (Err(_), None) if self.core.is_closing() => return,
                (Err(_), None) => lock(&self.core.health).delay(Instant::now()),
            };
            self.child.send_replace(Child::Waiting);
            tracing::info!(server = self.core.config.name, ?delay, "the shared child starts again");
            tokio::time::sleep(delay).await;
        }
    }

    /// Lets the clients have the child until it dies. Returns whether the next one is to be started.
    async fn serve(&self, link: Link) -> bool {
        link.set_owner(Owner::Everyone(Arc::clone(&self.audience)));
        link.tell_initialized();
        link.inner().listen_to_changes();
        self.replay(&link).await;
        self.child.send_replace(Child::Ready(link.clone()));
        link.until_dead().await;
        self.child.send_replace(Child::Waiting);
        match self.core.config.restart.restart {
            Restart::Never => false,
            Restart::OnFailure => !link.has_succeeded().await,
            Restart::Always => true,
        }
    }

    /// Tells a new child what clients have told the one before.
    async fn replay(&self, link: &Link) {
        if link.is_modern() {
            return lock(&self.replayed)
                .resources
                .iter()
                .for_each(|uri| drop(link.inner().listen_to_resource(uri)));
        }
        let requests: Vec<_> = {
            let replayed = lock(&self.replayed);
            let level = replayed.level.iter().map(|level| ("logging/setLevel", level.clone()));
            let subscribe = |uri| ("resources/subscribe", json!({ "uri": uri }).into());
            level.chain(replayed.resources.iter().map(subscribe)).collect()
        };
        let all = join_all(requests.iter().map(|(method, params)| link.ask(method, Some(params.as_str()))));
        let _ = tokio::time::timeout(self.core.config.limits.init_timeout, all).await;
    }

    /// The child, once there is one.
    async fn link(&self) -> Result<Link, RpcError> {
        let mut child = self.child.subscribe();
        let limit = match self.is_in_crash_loop() {
            true => Duration::ZERO,
            false => self.core.config.limits.init_timeout,
        };
        let settled = async {
            // One that has just died is about to be replaced.
            let settled = |child: &Child| match child {
                Child::Ready(link) => link.is_alive(),
                Child::Stopped => true,
                Child::None | Child::Waiting => false,
            };
            child.wait_for(settled).await.map_or(Child::Stopped, |child| child.clone())
        };
        match tokio::time::timeout(limit, settled).await {
            Ok(Child::Ready(link)) => Ok(link),
            Ok(_) => Err(self.core.error("its process has ended, and is not started again")),
            Err(_) => Err(self.core.unavailable("its process has ended, and the next one does not start")),
        }
    }

    fn is_in_crash_loop(&self) -> bool {
        lock(&self.core.health).crash_loop(Instant::now()).is_some()
    }

    /// Whether there is a child.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(&*self.child.borrow(), Child::Ready(link) if link.is_alive())
    }

    /// A session begins.
    pub(crate) fn join(self: &Arc<Self>, session: &Session) -> Member {
        self.audience.join(session);
        Member { shared: Arc::clone(self), session: session.id(), _seat: Seat::new(&self.core) }
    }

    /// A client's request.
    pub(crate) async fn request(&self, cx: &RequestContext) -> Result<Json, RpcError> {
        self.audience.learn(|| cx.sessions());
        let link = self.link().await?;
        match cx.method() {
            "resources/subscribe" => {
                let answer = link.call(cx).await?;
                if let Some(session) = cx.session() {
                    let Resource { uri } = cx.params()?;
                    session.subscribe(&uri)?;
                    lock(&self.replayed).resources.insert(uri);
                }
                Ok(answer)
            }
            "resources/unsubscribe" => {
                let Resource { uri } = cx.params()?;
                cx.session().map(|session| session.unsubscribe(&uri));
                if self.audience.subscribed(&uri) > 0 {
                    return Ok(json!({}).into()); // others still want it
                }
                lock(&self.replayed).resources.remove(&uri);
                link.call(cx).await
            }
            "logging/setLevel" => {
                let answer = link.call(cx).await?;
                lock(&self.replayed).level = cx.raw_params().cloned();
                Ok(answer)
            }
            _ => link.call(cx).await,
        }
    }

    /// Ends the subscriptions that no session has any more.
    fn forget_resources(&self) {
        let gone: Vec<String> = {
            let resources = &mut lock(&self.replayed).resources;
            let gone = resources.iter().filter(|uri| self.audience.subscribed(uri) == 0).cloned().collect();
            resources.retain(|uri| self.audience.subscribed(uri) > 0);
            gone
        };
        let Child::Ready(link) = self.child.borrow().clone() else { return };
        if gone.is_empty() {
            return;
        }
        if let Ok(tokio) = tokio::runtime::Handle::try_current() {
            tokio.spawn(async move {
                for uri in gone {
                    if link.is_modern() {
                        link.ignore_resource(&uri);
                        continue;
                    }
                    let params = json!({ "uri": uri }).to_string();
                    let _ = link.ask("resources/unsubscribe", Some(&params)).await;
                }
            });
        }
    }

    /// Lets go of the child.
    pub(crate) fn clear(&self) {
        self.child.send_replace(Child::Stopped);
    }
}
