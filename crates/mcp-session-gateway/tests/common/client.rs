//! A client without sockets that does what `TestClient` does not: cancel, leave, answer late, send headers.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use mcp_session_core::{Config, Endpoint, ReplyBody};
use mcp_session_gateway::server::{
    Server,
    config::{Mode, ServerConfig},
};
use mcp_session_tokio::TokioRuntime;
use serde_json::{Value, json};

use super::stdio_child;

/// A server of the test child with these switches, started, and its endpoint.
pub async fn gateway(
    mode: Mode,
    switches: &[&str],
    change: impl FnOnce(&mut ServerConfig),
) -> (Server, Endpoint) {
    let mut config = ServerConfig::new("test", stdio_child(switches));
    config.mode = mode;
    change(&mut config);
    let server = Server::new(config);
    server.start().await.expect("it starts");
    let endpoint = endpoint(&server, |_| {});
    server.attach(&endpoint.manager());
    (server, endpoint)
}

/// The endpoint of a server.
pub fn endpoint(server: &Server, change: impl FnOnce(&mut Config)) -> Endpoint {
    let mut config = Config::default();
    server.configure(&mut config);
    change(&mut config);
    Endpoint::with_config(TokioRuntime::current(), server.handler(), config).expect("a valid configuration")
}

/// A client of revision 2025-11-25, or one that names no session.
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    session: Option<String>,
}

impl Client {
    /// Opens a session with these capabilities, and says that it is ready.
    pub async fn open(endpoint: &Endpoint, capabilities: Value) -> Self {
        Self::open_with(endpoint, capabilities, &[]).await.expect("a session")
    }

    /// Opens a session with further headers.
    pub async fn open_with(
        endpoint: &Endpoint,
        capabilities: Value,
        headers: &[(&str, &str)],
    ) -> Result<Self, (StatusCode, Value)> {
        let client = Self::half_open(endpoint, capabilities, headers).await?;
        client.notify("notifications/initialized", json!({})).await;
        Ok(client)
    }

    /// Opens a session, and does not use it.
    pub async fn half_open(
        endpoint: &Endpoint,
        capabilities: Value,
        headers: &[(&str, &str)],
    ) -> Result<Self, (StatusCode, Value)> {
        let mut client = Self { endpoint: endpoint.clone(), session: None };
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": { "name": "raw", "version": "1" },
        });
        let mut reply = client.send(&request(0, "initialize", params), headers).await;
        let answer = reply.message().await.expect("an answer");
        if answer.get("result").is_none() {
            return Err((reply.status, answer["error"].clone()));
        }
        client.session = reply.session.clone();
        assert!(client.session.is_some(), "{answer}");
        Ok(client)
    }

    /// A client that names no session.
    pub fn without_session(endpoint: &Endpoint) -> Self {
        Self { endpoint: endpoint.clone(), session: None }
    }

    async fn send(&self, message: &Value, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::post("/mcp")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(message.to_string()).expect("a request");
        Reply::new(self.endpoint.handle(request).await)
    }

    /// Sends a message, and returns the head of the reply.
    pub async fn post(&self, message: &Value) -> Reply {
        self.send(message, &[]).await
    }

    pub async fn notify(&self, method: &str, params: Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        assert_eq!(self.post(&message).await.status, StatusCode::ACCEPTED);
    }

    /// Calls a tool, and returns the answer: the whole message.
    pub async fn call(&self, id: u64, tool: &str, arguments: Value) -> Value {
        let mut reply = self.post(&call(id, tool, arguments)).await;
        loop {
            let message = reply.message().await.expect("an answer");
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Calls a tool, and returns the text of its result.
    pub async fn text(&self, id: u64, tool: &str, arguments: Value) -> String {
        let answer = self.call(id, tool, arguments).await;
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub async fn get(&self) -> Reply {
        let request = Request::get("/mcp")
            .header("host", "localhost")
            .header("accept", "text/event-stream")
            .header("mcp-session-id", self.session.as_deref().expect("a session"))
            .header("mcp-protocol-version", "2025-11-25");
        let reply = Reply::new(self.endpoint.handle(request.body(String::new()).expect("a request")).await);
        assert_eq!(reply.status, StatusCode::OK);
        reply
    }

    pub async fn delete(&self) -> StatusCode {
        let request = Request::delete("/mcp")
            .header("host", "localhost")
            .header("mcp-session-id", self.session.as_deref().expect("a session"));
        self.endpoint.handle(request.body(String::new()).expect("a request")).await.status()
    }

    /// Answers a request of the server.
    pub async fn reply(&self, asked: &Value, result: Value) {
        let reply = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
        assert_eq!(self.post(&reply).await.status, StatusCode::ACCEPTED);
    }
}

pub fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A call of a tool that asks for progress.
pub fn call(id: u64, tool: &str, arguments: Value) -> Value {
    let meta = json!({ "progressToken": format!("token-{id}") });
    request(id, "tools/call", json!({ "name": tool, "arguments": arguments, "_meta": meta }))
}

/// A reply, of which the messages are read one by one.
pub struct Reply {
    pub status: StatusCode,
    pub session: Option<String>,
    stream: bool,
    body: ReplyBody,
    buffer: Vec<u8>,
    ended: bool,
}

impl Reply {
    fn new(response: http::Response<ReplyBody>) -> Self {
        let (parts, body) = response.into_parts();
        let header =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let stream = header("content-type").is_some_and(|it| it.starts_with("text/event-stream"));
        Self {
            status: parts.status,
            session: header("mcp-session-id"),
            stream,
            body,
            buffer: Vec::new(),
            ended: false,
        }
    }

    /// The next message. `None` at the end.
    ///
    /// # Panics
    ///
    /// If there is none for 20 seconds.
    pub async fn message(&mut self) -> Option<Value> {
        tokio::time::timeout(Duration::from_secs(20), self.read()).await.expect("a message in 20 seconds")
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            if self.stream {
                while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                    let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                    let event = String::from_utf8(event).expect("UTF-8");
                    let data: String = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
                    if !data.trim().is_empty() {
                        return Some(serde_json::from_str(&data).expect("JSON"));
                    }
                }
            }
            if self.ended {
                let rest = std::mem::take(&mut self.buffer);
                return if rest.is_empty() {
                    None
                } else {
                    Some(serde_json::from_slice(&rest).expect("JSON"))
                };
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.expect("no error").into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => self.ended = true,
            }
        }
    }
}
