//! [`Pool`]: a child for each request. Those of [`Mode::Request`](super::config::Mode) are started before they are needed.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use mcp_session_core::{Json, RequestContext, RpcError};

use super::{
    core::{Core, Opening, lock},
    link::Link,
};

/// Children that were opened and have served nobody.
#[derive(Debug)]
pub(crate) struct Pool {
    core: Arc<Core>,
    warm: usize,
    ready: Mutex<Vec<Link>>,
    filling: AtomicBool,
}

impl Pool {
    /// Creates a pool that keeps this many children ready.
    pub(crate) fn new(core: Arc<Core>, warm: usize) -> Self {
        Self { core, warm, ready: Mutex::default(), filling: AtomicBool::new(false) }
    }

    /// Starts a child, to learn what the server is. It is kept if it is to be ready.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Json, RpcError> {
        let (link, info) = self.open().await?;
        if self.warm > 0 {
            lock(&self.ready).push(link);
            self.fill();
        }
        Ok(info)
    }

    /// Serves a request with a child of its own.
    pub(crate) async fn request(self: &Arc<Self>, cx: &RequestContext) -> Result<Json, RpcError> {
        let link = match self.take() {
            Some(link) => link,
            None => self.open().await?.0,
        };
        self.fill();
        link.call(cx).await // then it ends
    }

    /// A child that is ready, if there is one.
    fn take(&self) -> Option<Link> {
        let mut ready = lock(&self.ready);
        std::iter::from_fn(|| ready.pop()).find(|link| link.is_alive())
    }

    async fn open(&self) -> Result<(Link, Json), RpcError> {
        let (link, info) = self.core.open("request".to_owned(), &[], &Opening::of_the_gateway()).await?;
        link.tell_initialized();
        Ok((link, info))
    }

    /// Starts a task that starts children until enough are ready, unless it runs. After a failure, the next request tries
    /// again.
    fn fill(self: &Arc<Self>) {
        if self.is_filled() || self.filling.swap(true, SeqCst) {
            return;
        }
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                while !pool.is_filled() {
                    match pool.open().await {
                        Ok((link, _)) => lock(&pool.ready).push(link),
                        Err(_) => return pool.filling.store(false, SeqCst), // it is in the log
                    }
                }
                pool.filling.store(false, SeqCst);
                // One may have been taken just before.
                if pool.is_filled() || pool.filling.swap(true, SeqCst) {
                    return;
                }
            }
        });
    }

    fn is_filled(&self) -> bool {
        self.core.is_closing() || lock(&self.ready).len() >= self.warm
    }

    /// The number of children that are ready.
    pub(crate) fn ready(&self) -> usize {
        lock(&self.ready).len()
    }

    /// Ends those that are ready.
    pub(crate) fn clear(&self) {
        drop(std::mem::take(&mut *lock(&self.ready)));
    }
}
