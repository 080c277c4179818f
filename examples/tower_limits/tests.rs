//! The layers, in process: who is refused, how, and who is not.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router as App,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode},
};
use futures::FutureExt;
use mcp_session_core::{Endpoint, PeerAddr, RequestContext, Router};
use mcp_session_tokio::TokioRuntime;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::app::{Limits, app};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3_600);

struct World {
    app: App,
    /// The calls that have begun, and wait.
    begun: Arc<Semaphore>,
    /// The calls that may end.
    end: Arc<Semaphore>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let (begun, end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (begins, ends) = (Arc::clone(&begun), Arc::clone(&end));
        let router = Router::new("limited", "0").tool("work", "Works", move |cx: RequestContext, (): ()| {
            let (begins, ends) = (Arc::clone(&begins), Arc::clone(&ends));
            async move {
                begins.add_permits(1);
                cx.progress(1.0, None, None).await?; // its response begins, if the client asks for progress
                ends.acquire().await.expect("it stays open").forget();
                Ok("done".to_owned())
            }
        });
        let endpoint = Endpoint::new(TokioRuntime::current(), router);
        Self { app: app(&endpoint, limits), begun, end }
    }

    /// Sends a request of 2026-07-28 with this token, from this address.
    async fn post(&self, token: &str, peer: &str, method: &str) -> Response<Body> {
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}, "progressToken": 1 });
        let mut params = json!({ "_meta": meta });
        let mut request = Request::post("/mcp").header("host", "localhost").header("mcp-method", method);
        if method == "tools/call" {
            params["name"] = json!("work");
            request = request.header("mcp-name", "work");
        }
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = request
            .header("mcp-protocol-version", "2026-07-28")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .extension(PeerAddr(SocketAddr::new(peer.parse().expect("an address"), 1)))
            .body(Body::from(message.to_string()))
            .expect("a request");
        self.app.clone().call(request).await.expect("it cannot fail")
    }

    /// Waits until one more call has begun.
    async fn begun(&self) {
        self.begun.acquire().await.expect("it stays open").forget();
    }

    async fn discover(&self, token: &str, peer: &str) -> Response<Body> {
        self.post(token, peer, "server/discover").await
    }

    async fn call(&self, token: &str) -> Response<Body> {
        self.post(token, "192.0.2.1", "tools/call").await
    }
}

fn is_refused(response: &Response<Body>, status: StatusCode) {
    assert_eq!(response.status(), status);
    let seconds = response.headers()["retry-after"].to_str().expect("a number").parse::<u64>();
    assert!(seconds.expect("a number") > 0);
}

/// Reads a stream to its end; returns its last message.
async fn last(response: Response<Body>) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("it is not cut");
    let text = String::from_utf8(body.to_vec()).expect("text");
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
    serde_json::from_str(data.expect("a message")).expect("JSON")
}

#[tokio::test]
async fn each_caller_has_a_rate_and_is_told_when_to_come_back() {
    let world = World::new(Limits { period: NEVER, burst: 2, ..Limits::default() });
    for (token, peer) in [("of-alice", "192.0.2.1"), ("of-bob", "192.0.2.1"), ("", "192.0.2.1")] {
        for _ in 0..2 {
            assert_eq!(world.discover(token, peer).await.status(), StatusCode::OK, "{token}");
        }
        is_refused(&world.discover(token, peer).await, StatusCode::TOO_MANY_REQUESTS);
    }
    // A caller is who it is, wherever it is; without a token, it is where it is.
    is_refused(&world.discover("of-alice", "192.0.2.2").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.discover("", "192.0.2.2").await.status(), StatusCode::OK);
    assert_eq!(world.discover("of-nobody", "192.0.2.3").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_call_has_its_place_until_its_stream_ends() {
    let limits = Limits { places: 1, patience: Duration::from_millis(20), ..Limits::default() };
    let world = World::new(limits);
    let running = world.call("of-alice").await; // its stream has begun
    world.begun().await;
    for _ in 0..3 {
        is_refused(&world.call("of-alice").await, StatusCode::SERVICE_UNAVAILABLE);
    }
    // Neither who else calls, nor what else this caller asks.
    let other = world.call("of-bob").await;
    assert_eq!(world.discover("of-alice", "192.0.2.1").await.status(), StatusCode::OK);
    world.begun().await;
    world.end.add_permits(2);
    for stream in [running, other] {
        assert_eq!(last(stream).await["result"]["content"][0]["text"], "done");
    }
    let again = world.call("of-alice").await;
    assert_eq!(again.status(), StatusCode::OK);
    drop(again); // a client that leaves
    assert_eq!(world.call("of-alice").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_call_waits_for_a_place() {
    let world = World::new(Limits { places: 1, patience: NEVER, ..Limits::default() });
    let running = world.call("of-alice").await;
    world.begun().await;
    let mut waiting = pin!(world.call("of-alice"));
    assert!(waiting.as_mut().now_or_never().is_none());
    world.end.add_permits(2);
    assert_eq!(last(running).await["result"]["content"][0]["text"], "done");
    assert_eq!(last(waiting.await).await["result"]["content"][0]["text"], "done");
}
