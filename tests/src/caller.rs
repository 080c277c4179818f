//! [`Caller`]: the three ways to use the protocol, and the requests of each as text.

use std::{fmt::Write as _, net::SocketAddr};

use serde_json::{Value, json};

const MODERN: &str = "2026-07-28";

/// How a client uses the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// With the id of its session; empty before it has one.
    Session(String),
    /// Of a legacy revision, without an id.
    Stateless,
    /// Of revision 2026-07-28.
    Modern,
}

impl Caller {
    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Stateless => "stateless",
            Self::Modern => "modern",
        }
    }

    /// A call of a tool.
    pub fn tool(
        &self,
        address: SocketAddr,
        id: u64,
        name: &str,
        arguments: &Value,
        progress: bool,
    ) -> String {
        let mut params = json!({ "name": name, "arguments": arguments });
        if progress {
            params["_meta"] = json!({ "progressToken": id });
        }
        self.request(address, id, "tools/call", params)
    }

    /// A request.
    pub fn request(&self, address: SocketAddr, id: u64, method: &str, mut params: Value) -> String {
        if *self == Self::Modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        let name = params["name"].as_str().filter(|_| method == "tools/call").map(str::to_owned);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.post(address, method, name.as_deref(), &body)
    }

    /// `initialize`, with these capabilities.
    pub fn initialize(&self, address: SocketAddr, id: u64, capabilities: &Value) -> String {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": { "name": "tests", "version": "0" },
        });
        self.request(address, id, "initialize", params)
    }

    /// `notifications/initialized`.
    pub fn initialized(&self, address: SocketAddr) -> String {
        let body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.post(address, "notifications/initialized", None, &body)
    }

    /// A notification.
    pub fn notification(&self, address: SocketAddr, method: &str, params: &Value) -> String {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.post(address, method, None, &body)
    }

    /// The reply to a request of the server.
    pub fn reply(&self, address: SocketAddr, id: &Value, result: &Value) -> String {
        self.post(address, "", None, &json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }

    /// A request without a body.
    pub fn bare(&self, address: SocketAddr, method: &str) -> String {
        self.head(address, method, "")
    }

    /// GET: the standalone stream from its beginning, or a stream after this event.
    pub fn get(&self, address: SocketAddr, last_event_id: Option<&str>) -> String {
        let after = last_event_id.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        self.head(address, "GET", &after)
    }

    fn post(&self, address: SocketAddr, method: &str, name: Option<&str>, body: &Value) -> String {
        let body = body.to_string();
        let mut fields = format!("content-length: {}\r\n", body.len());
        if *self == Self::Modern {
            let _ = write!(fields, "mcp-method: {method}\r\n");
            if let Some(name) = name {
                let _ = write!(fields, "mcp-name: {name}\r\n");
            }
        }
        self.head(address, "POST", &fields) + &body
    }

    fn head(&self, address: SocketAddr, method: &str, fields: &str) -> String {
        let own = match self {
            Self::Session(id) if id.is_empty() => String::new(),
            Self::Session(id) => format!("mcp-session-id: {id}\r\nmcp-protocol-version: 2025-11-25\r\n"),
            Self::Stateless => "mcp-protocol-version: 2025-11-25\r\n".to_owned(),
            Self::Modern => format!("mcp-protocol-version: {MODERN}\r\n"),
        };
        format!(
            "{method} /mcp HTTP/1.1\r\nhost: {address}\r\naccept: application/json, text/event-stream\r\n\
             content-type: application/json\r\n{own}{fields}\r\n"
        )
    }
}
