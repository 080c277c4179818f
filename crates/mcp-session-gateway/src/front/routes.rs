//! The paths: `/mcp` and `/NAME/mcp`, the probes, and the metrics.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use mcp_session_tokio::McpService;

use super::{Served, access::Doorkeeper};
use crate::metrics;

/// All routes. A single server is at `/mcp` too.
pub(crate) fn routes(served: &Arc<[Served]>) -> Router {
    let mut mcp = Router::new();
    for one in served.iter() {
        let service = McpService::new(one.endpoint.clone());
        let mut own = Router::new().route_service(&format!("/{}/mcp", one.name()), service.clone());
        if served.len() == 1 {
            own = own.route_service("/mcp", service);
        }
        mcp = mcp.merge(own.layer(middleware::from_fn_with_state(Arc::clone(&one.doorkeeper), check)));
    }
    let mut app = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scraped))
        .with_state(Arc::clone(served));
    for (index, one) in served.iter().enumerate() {
        let all = Arc::clone(served);
        let ready = move || std::future::ready(readiness(&all[index..=index]));
        app = app.route(&format!("/{}/readyz", one.name()), get(ready));
    }
    app.merge(mcp)
}

async fn check(State(doorkeeper): State<Arc<Doorkeeper>>, request: Request, next: Next) -> Response {
    match doorkeeper.refusal(&request) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

async fn ready(State(served): State<Arc<[Served]>>) -> (StatusCode, String) {
    readiness(&served)
}

/// Ready while one of these servers is: one in a crash loop must not take the others out of a load balancer. Each has a
/// line, whatever the status is.
fn readiness(served: &[Served]) -> (StatusCode, String) {
    let is_ready = served.iter().any(Served::is_ready);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, served.iter().map(|one| format!("{}: {}\n", one.name(), one.condition())).collect())
}

async fn scraped(State(served): State<Arc<[Served]>>) -> Response {
    match metrics::text(&served) {
        Ok(text) => {
            let mut response = text.into_response();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
            response
        }
        Err(error) => {
            tracing::error!("the metrics cannot be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
