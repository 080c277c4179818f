//! [`Observer`]: hears what an endpoint counts or logs, but has no number for in its `Stats`.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use crate::contain;

/// Hears of refused requests, of calls of the store, and of handlers that misbehave: see [`Config::observer`](crate::Config::observer).
///
/// Every method does nothing by default. It is called in the task that it tells of, without a lock: it must not block. A panic in it
/// is contained. Nothing that a client sent is passed on but the name of a method, and no session id. Without an observer, a
/// request costs the same as before there were observers.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
/// use mcp_session_core::{Config, Endpoint, Observer, Refused, Router, Runtime};
///
/// #[derive(Default)]
/// struct Foreign(AtomicU64);
///
/// impl Observer for Foreign {
///     fn refused(&self, refused: &Refused) {
///         if refused.reason == "forbidden_host" {
///             self.0.fetch_add(1, Relaxed);
///         }
///     }
/// }
///
/// # async fn example(runtime: impl Runtime) {
/// let foreign = Arc::new(Foreign::default());
/// let mut config = Config::default();
/// config.observer = Some(foreign.clone());
/// let endpoint = Endpoint::with_config(runtime, Router::new("greeter", "0.1.0"), config).expect("it can work");
///
/// let request = http::Request::post("/mcp").header("host", "mcp.example.com").body(String::new()).unwrap();
/// assert_eq!(endpoint.handle(request).await.status(), 403);
/// assert_eq!(foreign.0.load(Relaxed), 1);
/// # }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A request was refused: as often as [`Stats::requests_refused`](crate::Stats::requests_refused) counts.
    fn refused(&self, refused: &Refused) {
        let _ = refused;
    }

    /// A call of the [store](crate::store) has ended. Waits, which take until something happens, are not reported: `watch`,
    /// `failover`, `receive` and `announced`.
    fn store_called(&self, call: &StoreCall) {
        let _ = call;
    }

    /// A handler took more than 100 ms for one poll: it blocks its thread, and whatever else would run there. `method` is that of
    /// its request.
    fn slow_poll(&self, method: &str, took: Duration) {
        let _ = (method, took);
    }

    /// A handler panicked, and its request was answered with -32603; or a hook of a session did. `method` is that of the request or
    /// notification, or the name of the hook.
    fn panicked(&self, method: &str) {
        let _ = method;
    }
}

/// A request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Why. One of a fixed set, so that it can be a label of a metric; later versions may have more:
    ///
    #[doc = include_str!("observer/reasons.md")]
    pub reason: &'static str,
    /// The status of the answer.
    pub status: StatusCode,
    /// What can be set so that such requests are admitted.
    pub setting: Option<&'static str>,
}

impl Refused {
    pub(crate) const fn new(reason: &'static str, status: StatusCode, setting: Option<&'static str>) -> Self {
        Self { reason, status, setting }
    }
}

/// A call of the store that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCall {
    /// The method of [`EventStore`](crate::store::EventStore), [`SessionStore`](crate::store::SessionStore) or
    /// [`Peers`](crate::store::Peers), such as `append`.
    pub operation: &'static str,
    /// How long it took, by [`Runtime::now`](crate::Runtime::now).
    pub took: Duration,
    /// How it ended.
    pub outcome: StoreOutcome,
}

impl StoreCall {
    pub(crate) const fn new(operation: &'static str, took: Duration, outcome: StoreOutcome) -> Self {
        Self { operation, took, outcome }
    }
}

/// How a call of the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreOutcome {
    /// The store answered, even if it said that it does not have what was asked for.
    Answered,
    /// It returned [`Unavailable`](crate::store::Unavailable).
    Unavailable,
    /// It panicked, which counts as unavailable.
    Panicked,
    /// It was dropped before it had an answer: [`Store::timeout`](crate::store::Store::timeout) was over, or nobody needs the answer any
    /// more.
    Dropped,
}

/// Tells the observer, if there is one.
pub(crate) fn tell(observer: Option<&Arc<dyn Observer>>, event: impl FnOnce(&dyn Observer)) {
    if let Some(observer) = observer {
        let _ = contain::call(|| event(&**observer)); // only it knows what it has lost
    }
}
