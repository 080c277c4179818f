//! [`app`]: the endpoint behind its layers.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{Method, StatusCode, header::RETRY_AFTER},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use mcp_session_core::Endpoint;
use mcp_session_tokio::McpService;
use tower_governor::{GovernorError, GovernorLayer, governor::GovernorConfigBuilder};

use crate::{
    caller::{ByCaller, identified},
    places::{Places, place},
};

/// How often what is kept of callers who are gone is dropped.
const SWEEP: Duration = Duration::from_secs(60);

/// What one caller may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// In this time, one request more.
    pub(crate) period: Duration,
    /// So many at once after a pause. Enough for a client that starts, which sends some five.
    pub(crate) burst: u32,
    /// Calls at the same time.
    pub(crate) places: usize,
    /// How long a call waits for a place.
    pub(crate) patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (period, patience) = (Duration::from_millis(100), Duration::from_secs(2));
        Self { period, burst: 50, places: 4, patience }
    }
}

/// The routes. Layers that are added later come first: the caller is known before anything is counted.
pub(crate) fn app(endpoint: &Endpoint, limits: Limits) -> Router {
    let mut rate = GovernorConfigBuilder::default();
    // Not DELETE: who ends a session asks for less.
    rate.period(limits.period).burst_size(limits.burst).methods(vec![Method::POST, Method::GET]);
    let rate = Arc::new(rate.key_extractor(ByCaller).finish().expect("neither is zero"));
    let places = Places::new(limits.places, limits.patience);
    let (limiter, swept) = (Arc::clone(rate.limiter()), places.clone());
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            limiter.retain_recent();
            swept.sweep();
        }
    });
    Router::new()
        .route_service("/mcp", McpService::new(endpoint.clone()))
        .layer(from_fn_with_state(places, place))
        .layer(GovernorLayer::new(rate).error_handler(|error| too_fast(&error)))
        .layer(from_fn(identified))
}

fn too_fast(error: &GovernorError) -> Response {
    match error {
        // Whole seconds, rounded up: at 0, a client would come back at once.
        GovernorError::TooManyRequests { wait_time, .. } => {
            refused(StatusCode::TOO_MANY_REQUESTS, *wait_time + 1, "too many requests")
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A refusal, after which the client may try again in so many seconds.
pub(crate) fn refused(status: StatusCode, seconds: u64, why: &'static str) -> Response {
    (status, [(RETRY_AFTER, seconds.to_string())], why).into_response()
}
