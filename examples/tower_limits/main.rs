//! Run with `cargo run --example tower_limits -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
//!
//! What one caller may do, by layers in front of the endpoint and by the endpoint itself:
//!
//! | limit | by | refusal |
//! |---|---|---|
//! | requests per second | `tower_governor` | 429 and `Retry-After` |
//! | calls of 2026-07-28 at the same time; the next ones wait for a place, but not for long | [`places`] | 503 and `Retry-After` |
//! | requests without a session, sessions, calls in a session, subscriptions | [`Config`] | 503 and `Retry-After` |
//!
//! A layer cannot count the calls of a session: a reply to a question of the server is a POST too, and must not wait for the
//! call that has asked. For calls of 2026-07-28 it can, because their headers say what they are; but not with tower's
//! `ConcurrencyLimit`, for which a request is over when its stream begins.

mod app;
mod caller;
mod places;
#[cfg(test)]
mod tests;

use std::{process, time::Duration};

use mcp_session_core::{Config, Endpoint, RequestContext, Router};
use mcp_session_tokio::{TokioRuntime, bind, serve_app, terminate_signal};

use app::{Limits, app};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::new("tower-limits", "0.1.0").tool(
        "slow",
        "Takes a second",
        async |_: RequestContext, (): ()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok("done".to_owned())
        },
    );
    let mut config = Config::default();
    config.max_sessions_per_principal = 100;
    config.max_stateless_requests_per_principal = 100;
    config.max_subscriptions_per_principal = 10;
    config.session.max_exchanges = 20;
    let at = std::env::args().skip_while(|arg| arg != "--bind").nth(1);
    let listener = bind(at.as_deref().unwrap_or("127.0.0.1:8000"))?;
    let address = listener.local_addr()?;
    let endpoint = Endpoint::with_config(TokioRuntime::current(), router, config)?;
    let app = app(&endpoint, Limits::default());
    let server = serve_app(listener, endpoint, app).with_graceful_shutdown(terminate_signal);
    println!("http://{address}/mcp");
    let report = server.await?;
    println!("{report}");
    process::exit(i32::from(!report.is_clean())) // at once, even if a handler blocks its thread
}
