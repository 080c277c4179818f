//! [`place`]: how many calls of one caller run at the same time, with a queue that has a deadline.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt;
use tokio::{sync::Semaphore, time::timeout};

use crate::{app::refused, caller::Caller};

/// The places of each caller.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    each: usize,
    patience: Duration,
    callers: Arc<Mutex<HashMap<Caller, Arc<Semaphore>>>>,
}

impl Places {
    pub(crate) fn new(each: usize, patience: Duration) -> Self {
        Self { each, patience, callers: Arc::default() }
    }

    fn of(&self, caller: Caller) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(callers.entry(caller).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }

    /// Forgets the callers of whom nothing runs or waits.
    pub(crate) fn sweep(&self) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|_, places| Arc::strong_count(places) > 1);
    }
}

/// Lets a call in once it has a place. Calls wait in the order in which they came.
pub(crate) async fn place(State(places): State<Places>, request: Request, next: Next) -> Response {
    // The endpoint checks that this header says what the body does.
    let calls = request.headers().get("mcp-method").is_some_and(|method| method == "tools/call");
    let caller = Caller::of(&request).filter(|_| calls);
    let Some(caller) = caller else { return next.run(request).await };
    let Ok(Ok(held)) = timeout(places.patience, places.of(caller).acquire_owned()).await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, 1, "too many calls are running");
    };
    let response = next.run(request).await;
    if response.body().is_end_stream() {
        return response;
    }
    // The call is over with its body, not with its head. Errors are passed on; the place is dropped with the body.
    response.map(|body| {
        Body::new(body.map_err(move |error| {
            let _ = &held;
            error
        }))
    })
}
