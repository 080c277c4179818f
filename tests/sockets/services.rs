//! The endpoint as a service in another server.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    Extension,
    body::Body,
    extract::{ConnectInfo, Request},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, channel::oneshot, stream};
use http_body_util::{BodyExt, Limited};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use mcp_session_core::{Endpoint, PeerAddr, Principal, RequestContext, Router, ShutdownPolicy};
use mcp_session_testkit::wire::{Client, End, Http2, LONG, SHORT, call, initialize, initialized, within};
use mcp_session_tokio::{McpService, TokioRuntime, serve_app};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_service::Service;

fn endpoint() -> Endpoint {
    let router = Router::new("wire", "0.0.0")
        .request("echo", |cx: RequestContext| async move { cx.params::<Value>() })
        .request("steps", |cx: RequestContext| async move {
            let params = json!({ "level": "info", "data": "started" });
            cx.notify("notifications/message", Some(&params)).await?;
            Ok(json!({ "done": true }))
        });
    Endpoint::new(TokioRuntime::current(), router)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    (listener, addr)
}

/// Uses a session: an answer in JSON, an answer as events with its end, and a GET stream with its end.
async fn is_served(addr: SocketAddr, endpoint: &Endpoint) {
    let client = Client::open(addr).await;
    let reply = client.ask(&call(1, "echo", json!({ "a": [1, "2"] }))).await;
    assert_eq!((reply.json()["result"].clone(), reply.end), (json!({ "a": [1, "2"] }), End::Complete));
    let reply = client.ask(&call(2, "steps", json!({}))).await;
    let messages = reply.messages();
    assert_eq!(
        (messages.len(), &messages[1]["result"], reply.end),
        (2, &json!({ "done": true }), End::LastChunk)
    );
    let mut listening = client.listen().await;
    let report = within("the shutdown", endpoint.shutdown(ShutdownPolicy::default()).wait()).await;
    assert!(report.is_clean() && report.sessions == 1, "{report}");
    assert_eq!(listening.rest().await.1, End::LastChunk);
    assert_eq!(client.ask(&call(3, "ping", json!({}))).await.head.status, 404, "after Closed (S2)");
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_service_serves_a_plain_hyper_connection() {
    let (endpoint, (listener, addr)) = (endpoint(), listener().await);
    let service = McpService::new(endpoint.clone());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()));
        }
    });
    is_served(addr, &endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_serves_in_a_service_fn() {
    let (endpoint, (listener, addr)) = (endpoint(), listener().await);
    let shared = endpoint.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let endpoint = shared.clone();
            let service = service_fn(move |request| {
                let endpoint = endpoint.clone();
                async move { Ok::<_, Infallible>(endpoint.handle(request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    is_served(addr, &endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_service_serves_nested_in_axum() {
    let (endpoint, (listener, addr)) = (endpoint(), listener().await);
    let app = axum::Router::new().nest_service("/mcp", McpService::new(endpoint.clone()));
    tokio::spawn(axum::serve(listener, app).into_future());
    is_served(addr, &endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_7_serve_ends_the_streams_of_an_axum_app() {
    let (endpoint, (listener, addr)) = (endpoint(), listener().await);
    let app = axum::Router::new()
        .nest_service("/mcp", McpService::new(endpoint.clone()))
        .route("/healthz", get(|| async { "ok" }));
    let server = tokio::spawn(serve_app(listener, endpoint.clone(), app).into_future());

    let client = Client::open(addr).await;
    let health = client.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.reply().await;
    assert_eq!((health.head.status, &health.body[..]), (200, &b"ok"[..]));
    let mut http = Http2::open(&client).await;
    let listening = http.send("GET").await;
    let mut second = Client::open(addr).await.listen().await;
    endpoint.shutdown(ShutdownPolicy::default());
    listening.into_body().collect().await.expect("the end of the stream");
    assert_eq!(second.rest().await.1, End::LastChunk);
    let report = within("the end of the server", server).await.expect("no panic").expect("a report");
    assert!(report.is_clean() && report.streams.ended == 2, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_info_of_an_axum_app_is_the_address_of_its_client() {
    let (endpoint, (listener, addr)) = (endpoint(), listener().await);
    let who = async |ConnectInfo(addr): ConnectInfo<SocketAddr>,
                     Extension(PeerAddr(peer)): Extension<PeerAddr>| {
        assert_eq!(addr, peer);
        addr.to_string()
    };
    let app = axum::Router::new().route("/who", get(who));
    let server = tokio::spawn(serve_app(listener, endpoint.clone(), app).into_future());
    let client = Client { addr, session: String::new() };
    let mut connection = client.send("GET /who HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let (own, reply) = (connection.local_addr().to_string(), connection.reply().await);
    assert_eq!((reply.head.status, String::from_utf8_lossy(&reply.body).into_owned()), (200, own));
    endpoint.shutdown(ShutdownPolicy::default());
    within("the end of the server", server).await.expect("no panic").expect("a report");
}

/// An ordinary route of the app that is still working when the endpoint is done has the rest of the whole budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_beside_the_endpoint_is_not_cut() {
    let (endpoint, (listener, addr)) = (endpoint(), listener().await);
    let (open, gate) = oneshot::channel::<()>();
    let gate = Arc::new(Mutex::new(Some(gate)));
    let download = move || {
        let gate = gate.lock().unwrap().take().expect("one download");
        let rest = stream::once(async move {
            gate.await.expect("the test opens the gate");
            Ok::<_, Infallible>("and the rest")
        });
        async move { Body::from_stream(stream::iter([Ok("the beginning, ")]).chain(rest)) }
    };
    let app = axum::Router::new()
        .route_service("/mcp", McpService::new(endpoint.clone()))
        .route("/download", get(download));
    let policy = ShutdownPolicy { finish: SHORT, drain: LONG, ..ShutdownPolicy::default() };
    let server = serve_app(listener, endpoint.clone(), app).with_policy(policy);
    let server = tokio::spawn(server.into_future());

    let client = Client { addr, session: String::new() };
    let mut download = client.send("GET /download HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(download.head().await.expect("it begins").status, 200);
    endpoint.shutdown(policy).await;
    tokio::time::sleep(SHORT * 2).await;
    open.send(()).expect("the download waits");
    let (rest, end) = download.rest().await;
    assert_eq!((String::from_utf8_lossy(&rest), end), ("the beginning, and the rest".into(), End::LastChunk));
    let report = within("the end of the server", server).await.expect("no panic").expect("a report");
    assert!(report.is_clean(), "{report}");
}

/// A layer that limits bodies refuses with its own error. This is a client error: 413.
#[tokio::test(flavor = "multi_thread")]
async fn a_19_a_body_that_a_layer_refuses_gets_413() {
    let (endpoint, (listener, addr)) = (endpoint(), listener().await);
    let limit = async |request: Request, next: Next| {
        next.run(request.map(|body| Body::new(Limited::new(body, 1_000)))).await
    };
    let app = axum::Router::new().route_service("/mcp", McpService::new(endpoint.clone()));
    let app = app.layer(middleware::from_fn(limit));
    let server = tokio::spawn(serve_app(listener, endpoint.clone(), app).into_future());
    let client = Client::open(addr).await;
    for (length, status) in [(10, 200), (1_000, 413)] {
        let reply = client.ask(&call(1, "echo", json!({ "a": "x".repeat(length) }))).await;
        assert_eq!(reply.head.status, status, "{length}");
    }
    endpoint.shutdown(ShutdownPolicy::default());
    within("the end of the server", server).await.expect("no panic").expect("a report");
}

/// A service whose `poll_ready` must be called twice, like one behind a limit of requests.
#[derive(Clone)]
struct Coy {
    inner: McpService,
    asked: u32,
}

impl<B> Service<Request<B>> for Coy
where
    McpService: Service<Request<B>>,
{
    type Response = <McpService as Service<Request<B>>>::Response;
    type Error = <McpService as Service<Request<B>>>::Error;
    type Future = <McpService as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.asked += 1;
        if self.asked < 3 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(self.asked >= 3, "it was not ready");
        self.asked = 0;
        self.inner.call(request)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_called_when_it_is_ready() {
    let (endpoint, (listener, addr)) = (endpoint(), listener().await);
    let app = Coy { inner: McpService::new(endpoint.clone()), asked: 0 };
    let server = tokio::spawn(serve_app(listener, endpoint.clone(), app).into_future());
    let client = Client::open(addr).await;
    for id in [1, 2] {
        let reply = client.ask(&call(id, "echo", json!({ "a": id }))).await;
        assert_eq!((reply.json()["result"].clone(), reply.end), (json!({ "a": id }), End::Complete));
    }
    endpoint.shutdown(ShutdownPolicy::default());
    let report = within("the end of the server", server).await.expect("no panic").expect("a report");
    assert!(report.is_clean() && report.exchanges.answered == 0, "{report}");
}

/// A layer as a deployer writes it: verifies the credential and stores its name as an extension.
async fn authenticated(mut request: Request, next: Next) -> Response {
    let credential = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match credential.and_then(|value| value.strip_prefix("Bearer of-")).map(Principal::new) {
        Some(principal) => request.extensions_mut().insert(principal),
        None => return StatusCode::UNAUTHORIZED.into_response(),
    };
    next.run(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn e_06_e_07_e_19_a_principal_from_an_axum_layer_owns_its_session() {
    let router = Router::new("wire", "0.0.0").request("whoami", |cx: RequestContext| async move {
        Ok(json!({ "principal": cx.principal().map(Principal::as_str) }))
    });
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    let (listener, addr) = listener().await;
    let app = axum::Router::new().route_service("/mcp", McpService::new(endpoint.clone()));
    let app = app.layer(middleware::from_fn(authenticated));
    let server = tokio::spawn(serve_app(listener, endpoint.clone(), app).into_future());

    let mut client = Client { addr, session: String::new() };
    let send = |client: Client, method: &'static str, name: &'static str, message: Value| async move {
        let body = message.to_string();
        let token =
            if name.is_empty() { String::new() } else { format!("authorization: Bearer of-{name}\r\n") };
        let head = client.head_with(method, &format!("{token}content-length: {}\r\n", body.len()));
        client.send(&(head + &body)).await.reply().await
    };
    let opened = send(client.clone(), "POST", "alice", initialize()).await;
    client.session = opened.head.get("mcp-session-id").expect("a session id").to_owned();
    assert_eq!(send(client.clone(), "POST", "alice", initialized()).await.head.status, 202);
    let whoami = call(1, "whoami", json!({}));
    let own = send(client.clone(), "POST", "alice", whoami.clone()).await;
    assert_eq!(own.json()["result"], json!({ "principal": "alice" }));

    let unknown = Client { addr, session: "0".repeat(32) };
    for method in ["POST", "GET", "DELETE"] {
        let foreign = send(client.clone(), method, "bob", whoami.clone()).await;
        let never_issued = send(unknown.clone(), method, "bob", whoami.clone()).await;
        assert_eq!((foreign.head.status, never_issued.head.status), (404, 404), "{method}");
        assert_eq!(foreign.body, never_issued.body, "{method}");
        assert_eq!(send(client.clone(), method, "", whoami.clone()).await.head.status, 401, "{method}");
    }
    assert_eq!(send(client.clone(), "DELETE", "alice", json!({})).await.head.status, 204);
    endpoint.shutdown(ShutdownPolicy::default());
    within("the end of the server", server).await.expect("no panic").expect("a report");
}
