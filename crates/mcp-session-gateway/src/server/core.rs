//! [`Core`]: what all parts of one server share: its configuration, its counts, its children.

use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use mcp_session_core::{Json, ProtocolVersion, RpcError};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    config::{Mode, ServerConfig},
    link::{Link, LinkInner},
    restart::Health,
    state::ChildrenReport,
};
use crate::child::{
    ladder::Outcome,
    spawn::{Spawned, spawn},
};

/// How long a client waits for a place for its child, if as many run as may. 1 second: a child that is ending has made room by
/// then.
const PLACE: Duration = Duration::from_secs(1);

/// What all parts of one server share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: ServerConfig,
    pub(crate) counts: Counts,
    pub(crate) health: Mutex<Health>,
    places: Arc<Semaphore>,
    /// The children that run or are ending, by their numbers. Their number is also sent to who waits for the last.
    children: Mutex<HashMap<u64, Arc<LinkInner>>>,
    running: watch::Sender<usize>,
    closing: AtomicBool,
    draining: AtomicBool,
    pub(crate) hurry: watch::Sender<bool>,
    report: Mutex<ChildrenReport>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sessions: AtomicUsize,
    pub(crate) calls: AtomicUsize,
    pub(crate) spawned: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) died: AtomicU64,
    pub(crate) terminated: AtomicU64,
    pub(crate) killed: AtomicU64,
    pub(crate) calls_total: AtomicU64,
    pub(crate) calls_lost: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) lines_dropped: AtomicU64,
    pub(crate) notifications_dropped: AtomicU64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a child is told with `initialize`.
pub(crate) struct Opening {
    pub(crate) version: ProtocolVersion,
    pub(crate) capabilities: Json,
    pub(crate) client_info: Json,
}

impl Opening {
    /// For a child that serves clients of which nothing is known when it starts. It may ask whatever a client may be asked; a
    /// client that cannot be asked is answered for.
    pub(crate) fn of_the_gateway() -> Self {
        Self {
            version: ProtocolVersion::V2025_11_25,
            capabilities: json!({ "elicitation": {}, "sampling": {}, "roots": {} }).into(),
            client_info: json!({ "name": "mcp-session-gateway", "version": env!("CARGO_PKG_VERSION") })
                .into(),
        }
    }
}

/// Why there is no child.
struct NotOpened {
    error: RpcError,
    /// The child runs, and has answered that it does not serve this client.
    refused: bool,
}

impl From<RpcError> for NotOpened {
    fn from(error: RpcError) -> Self {
        Self { error, refused: false }
    }
}

impl Core {
    pub(crate) fn new(config: ServerConfig) -> Self {
        Self {
            counts: Counts::default(),
            health: Mutex::new(Health::new(config.restart)),
            places: Arc::new(Semaphore::new(config.limits.children)),
            children: Mutex::default(),
            running: watch::Sender::new(0),
            closing: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            hurry: watch::Sender::new(false),
            report: Mutex::default(),
            config,
        }
    }

    /// An error for a client, which names the server.
    pub(crate) fn error(&self, why: impl std::fmt::Display) -> RpcError {
        RpcError::internal(format!("server {}: {why}", self.config.name))
    }

    /// An error for a client that may try again soon.
    pub(crate) fn unavailable(&self, why: impl std::fmt::Display) -> RpcError {
        self.counts.refused.fetch_add(1, SeqCst);
        RpcError::unavailable(format!("server {}: {why}", self.config.name))
    }

    /// Starts a child and opens it with `initialize`. Returns it with the result.
    ///
    /// `label` names it in the log, `extra` are its further variables. A child that fails is ended.
    pub(crate) async fn open(
        self: &Arc<Self>,
        label: String,
        extra: &[(OsString, OsString)],
        opening: &Opening,
    ) -> Result<(Link, Json), RpcError> {
        if let Some(wait) = lock(&self.health).crash_loop(Instant::now()).filter(|wait| !wait.is_zero()) {
            return Err(
                self.unavailable(format_args!("its processes fail at once; next attempt in {wait:.0?}"))
            );
        }
        let place = self.place().await?;
        let opened = self.open_in(place, label, extra, opening).await;
        match &opened {
            // A shared child has to live for a while first.
            Ok(_) if self.config.mode == Mode::Shared => {}
            Ok(_) => lock(&self.health).succeeded(),
            Err(NotOpened { error, refused }) => {
                self.counts.failed.fetch_add(1, SeqCst);
                // What depends on the client says nothing about the next: no client brings about a crash loop for all.
                if !refused && self.config.header_env.is_empty() {
                    lock(&self.health).failed(Instant::now());
                }
                match refused {
                    // The text is of the child, and may repeat the client's.
                    true => tracing::warn!(
                        server = self.config.name,
                        code = error.code.0,
                        "a child refuses a client"
                    ),
                    false => tracing::warn!(server = self.config.name, "no child: {}", error.message),
                }
            }
        }
        opened.map_err(|it| it.error)
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, RpcError> {
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(PLACE, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(self.error("it is closed")),
            Err(_) => {
                Err(self.unavailable(format_args!("all {} processes run", self.config.limits.children)))
            }
        }
    }

    async fn open_in(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        label: String,
        extra: &[(OsString, OsString)],
        opening: &Opening,
    ) -> Result<(Link, Json), NotOpened> {
        let limits = &self.config.limits;
        let variables = extra.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let spawned = spawn(&self.config.command, variables, limits.line);
        let spawned =
            spawned.map_err(|error| self.error(format_args!("its process does not start: {error}")))?;
        let number = self.counts.spawned.fetch_add(1, SeqCst);
        tracing::debug!(server = self.config.name, child = label, pid = spawned.process.id(), "started");
        let link = self.adopt(number, label, spawned, place)?;
        let Opening { version, capabilities, client_info } = opening;
        let params = format!(
            r#"{{"protocolVersion":"{}","capabilities":{},"clientInfo":{}}}"#,
            version.as_str(),
            capabilities.as_str(),
            client_info.as_str()
        );
        let opening = async {
            match link.ask("initialize", Some(&params)).await {
                // It may be of 2026-07-28. If it is not, its first error is the one that counts.
                Err(error) if link.is_alive() => {
                    let discovered = link.discover().await;
                    discovered.map_err(|_| NotOpened { error, refused: link.is_alive() })
                }
                answer => Ok(answer?),
            }
        };
        let timed_out = || self.error(format_args!("no answer to `initialize` in {:?}", limits.init_timeout));
        let info = tokio::time::timeout(limits.init_timeout, opening).await.map_err(|_| timed_out())??;
        Ok((link, info))
    }

    fn adopt(
        self: &Arc<Self>,
        number: u64,
        label: String,
        spawned: Spawned,
        place: OwnedSemaphorePermit,
    ) -> Result<Link, RpcError> {
        let mut children = lock(&self.children);
        if self.closing.load(SeqCst) {
            return Err(self.error("it is closed")); // dropped, the process is killed
        }
        let link = Link::start(Arc::clone(self), number, label, spawned, place);
        children.insert(number, link.inner());
        self.running.send_replace(children.len());
        Ok(link)
    }

    /// A child has ended.
    pub(crate) fn ended(&self, number: u64, outcome: Outcome) {
        let mut report = lock(&self.report);
        report.children += 1;
        match outcome {
            Outcome::Gone => {}
            Outcome::Closed => report.closed += 1,
            Outcome::Terminated => {
                report.terminated += 1;
                self.counts.terminated.fetch_add(1, SeqCst);
            }
            Outcome::Killed => {
                report.killed += 1;
                self.counts.killed.fetch_add(1, SeqCst);
            }
            Outcome::Left => {
                report.left += 1;
                self.counts.killed.fetch_add(1, SeqCst);
                tracing::error!(server = self.config.name, "SIGKILL does not end a child");
            }
        }
        drop(report);
        let mut children = lock(&self.children);
        children.remove(&number);
        self.running.send_replace(children.len());
    }

    /// The number of children that run or are ending.
    pub(crate) fn children(&self) -> usize {
        *self.running.borrow()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(SeqCst)
    }

    /// From now on, what ends is a part of the report.
    pub(crate) fn drain(&self) {
        let mut report = lock(&self.report);
        if !self.draining.swap(true, SeqCst) {
            *report = ChildrenReport::default();
        }
    }

    /// Ends all children, and starts no more.
    pub(crate) async fn close(&self) -> ChildrenReport {
        let running: Vec<_> = {
            let children = lock(&self.children);
            self.closing.store(true, SeqCst);
            self.places.close();
            children.values().cloned().collect()
        };
        if !self.draining.load(SeqCst) {
            self.drain();
        }
        for child in &running {
            child.close();
        }
        let mut left = self.running.subscribe();
        // Every ladder ends by itself within this time, and a moment is for a busy machine.
        let bound = self.config.budgets.total() + Duration::from_secs(1);
        let ended = tokio::time::timeout(bound, left.wait_for(|children| *children == 0)).await;
        let mut report = *lock(&self.report);
        if ended.is_err() {
            let left = self.children();
            report.children += left;
            report.left += left;
        }
        report
    }
}
