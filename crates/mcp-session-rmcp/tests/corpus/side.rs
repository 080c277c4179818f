//! [`Side`]: one of the two that serve, and [`Seen`]: what a client sees of an answer.

use std::{collections::BTreeMap, fmt::Display, future::poll_fn};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use mcp_session_core::Endpoint;
use mcp_session_rmcp::RmcpHandler;
use mcp_session_tokio::TokioRuntime;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use serde_json::{Value, json};

use crate::{corpus::Message, server::Server};

/// Serves the server.
pub(crate) enum Side {
    Ours(Endpoint),
    Rmcp(StreamableHttpService<Server, LocalSessionManager>),
}

/// The answer to a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    /// The JSON-RPC messages of the body. Other bodies have none.
    pub(crate) messages: Vec<Value>,
}

impl Side {
    pub(crate) fn ours() -> Self {
        let handler = RmcpHandler::new(|_| Server::new());
        Self::Ours(Endpoint::new(TokioRuntime::current(), handler))
    }

    pub(crate) fn rmcp() -> Self {
        let config = StreamableHttpServerConfig::default();
        Self::Rmcp(StreamableHttpService::new(|| Ok(Server::new()), Default::default(), config))
    }

    async fn send(&self, request: Request<String>) -> (Seen, Option<String>) {
        match self {
            Self::Ours(endpoint) => read(endpoint.handle(request).await).await,
            Self::Rmcp(service) => {
                let request = request.map(Full::<Bytes>::from);
                read(service.handle(request).await).await
            }
        }
    }

    /// Opens a session, if the message is one of a session, and sends the message.
    pub(crate) async fn answer(&self, message: &Message) -> Seen {
        let mut headers = message.headers.clone();
        if message.in_session {
            let mut all = in_session(self.open().await);
            all.append(&mut headers); // its own take precedence
            headers = all;
        }
        self.send(post(&headers, message.body.clone())).await.0
    }

    async fn open(&self) -> String {
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "corpus", "version": "1" },
        });
        let body = json!({ "jsonrpc": "2.0", "id": "open", "method": "initialize", "params": params });
        let (seen, session) = self.send(post(&BTreeMap::new(), body.to_string())).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        let session = session.expect("a session");
        let headers = in_session(session.clone());
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.send(post(&headers, initialized.to_string())).await.0.status, 202);
        session
    }
}

fn in_session(session: String) -> BTreeMap<String, String> {
    let version = ("mcp-protocol-version".to_owned(), "2025-11-25".to_owned());
    BTreeMap::from([("mcp-session-id".to_owned(), session), version])
}

fn post(headers: &BTreeMap<String, String>, body: String) -> Request<String> {
    let mut request = Request::post("/mcp")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(body).expect("a request")
}

async fn read<B: Body<Data = Bytes, Error: Display>>(response: Response<B>) -> (Seen, Option<String>) {
    let (head, body) = response.into_parts();
    let text_of = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let is_stream = text_of("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let (mut body, mut text) = (Box::pin(body), String::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.unwrap_or_else(|error| panic!("a frame: {error}"));
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap_or_default()).expect("text"));
    }
    let messages = if is_stream {
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    } else {
        serde_json::from_str(&text).into_iter().collect()
    };
    (Seen { status: head.status.as_u16(), messages }, text_of("mcp-session-id"))
}
