//! A client without sockets: it hands requests to the endpoint, and reads the bodies of the responses.

use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use futures::future::poll_fn;
use http::{Request, Response};
use http_body::Body;
use mcp_session_core::{Endpoint, ReplyBody};
use serde_json::{Value, json};

pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
}

static ID: AtomicU64 = AtomicU64::new(1000);

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    async fn send(&self, request: http::request::Builder, body: String) -> Response<ReplyBody> {
        let request = request
            .header("accept", "application/json, text/event-stream")
            .header("authorization", "Bearer secret");
        self.endpoint.handle(request.body(body).expect("a request")).await
    }

    pub(crate) async fn open_with_answer(&self) -> (Session<'_>, Value) {
        let params = json!({
            "protocolVersion": "2025-11-25", "clientInfo": { "name": "tester", "version": "1" },
            "capabilities": { "elicitation": {}, "sampling": {}, "roots": {} },
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let request = Request::post("/mcp").header("content-type", "application/json");
        let response = self.send(request, body.to_string()).await;
        let id = response.headers().get("mcp-session-id").expect("a session");
        let id = id.to_str().expect("text").to_owned();
        let answer = Reply::new(response).all().await.pop().expect("an answer");
        let session = Session { client: self, id };
        session.notify("notifications/initialized", json!({})).await;
        (session, answer)
    }

    pub(crate) async fn open(&self) -> Session<'_> {
        self.open_with_answer().await.0
    }

    /// A request of 2026-07-28.
    pub(crate) async fn modern(&self, method: &str, mut params: Value) -> Reply {
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "modern", "version": "1" });
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
        let id = ID.fetch_add(1, Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let mut request = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        Reply::new(self.send(request, body.to_string()).await)
    }
}

pub(crate) struct Session<'a> {
    client: &'a Client,
    id: String,
}

impl Session<'_> {
    async fn post(&self, body: &Value) -> Response<ReplyBody> {
        let request = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", "2025-11-25");
        self.client.send(request, body.to_string()).await
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Reply {
        self.call_with_id(ID.fetch_add(1, Relaxed), method, params).await
    }

    pub(crate) async fn call_with_id(&self, id: u64, method: &str, params: Value) -> Reply {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        // Starts the stream: a call that waits sends a head only once it has something to say.
        Reply::new(self.post(&body).await)
    }

    /// The answer to a request, without what comes before it.
    pub(crate) async fn request(&self, method: &str, params: Value) -> Value {
        self.call(method, params).await.all().await.pop().expect("an answer")
    }

    pub(crate) async fn tool(&self, name: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": name, "arguments": arguments })).await
    }

    pub(crate) async fn notify(&self, method: &str, params: Value) {
        let response = self.post(&json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
        assert_eq!(response.status(), 202);
    }

    pub(crate) async fn respond(&self, asked: &Value, result: Value) {
        let response = self.post(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result })).await;
        assert_eq!(response.status(), 202);
    }

    pub(crate) async fn listen(&self) -> Reply {
        let request = Request::get("/mcp")
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", "2025-11-25");
        let response = self.client.send(request, String::new()).await;
        assert_eq!(response.status(), 200);
        Reply::new(response)
    }
}

/// The messages of a response, as they come.
pub(crate) struct Reply {
    body: Pin<Box<ReplyBody>>,
    is_stream: bool,
    read: String,
}

impl Reply {
    fn new(response: Response<ReplyBody>) -> Self {
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        Self { body: Box::pin(response.into_body()), is_stream, read: String::new() }
    }

    /// The next message. `None`: the response has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if self.is_stream {
                while let Some((event, rest)) = self.read.split_once("\n\n") {
                    let data = event.lines().find_map(|line| line.strip_prefix("data:"));
                    let message = data.and_then(|data| serde_json::from_str(data).ok());
                    self.read = rest.to_owned();
                    if message.is_some() {
                        return message;
                    }
                }
            }
            match poll_fn(|cx| self.body.as_mut().poll_frame(cx)).await {
                Some(frame) => {
                    let data = frame.expect("a frame").into_data().unwrap_or_default();
                    self.read.push_str(std::str::from_utf8(&data).expect("text"));
                }
                None if self.is_stream || self.read.is_empty() => return None,
                None => return serde_json::from_str(&std::mem::take(&mut self.read)).ok(),
            }
        }
    }

    pub(crate) async fn all(mut self) -> Vec<Value> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            messages.push(message);
        }
        messages
    }
}
