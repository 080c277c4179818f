//! A client on one blocking connection, which reads whole replies: cheap, so that the gateway is what is measured.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// Revision of the protocol.
const REVISION: &str = "2025-11-25";

/// A connection, and a session on it.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    path: &'static str,
    session: Option<String>,
}

/// A reply as far as it came.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    session: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Result,
    Error,
    /// The reply or the connection ended without one.
    Nothing,
}

impl Client {
    /// Connects and opens a session. Fails with `WouldBlock` if the server has no place for it now (503).
    pub(super) fn open(address: SocketAddr, path: &'static str) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Client { stream: BufReader::new(stream), address, path, session: None };
        let params = json!({
            "protocolVersion": REVISION, "capabilities": {}, "clientInfo": { "name": "xtask", "version": "0" },
        });
        let reply = client.request(&request(0, "initialize", &params))?;
        if reply.status == 503 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if reply.status != 200 || reply.outcome(0) != Outcome::Result {
            let body = String::from_utf8_lossy(&reply.body);
            return Err(io::Error::other(format!("initialize: {} {body}", reply.status)));
        }
        client.session = reply.session;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        client.request(&initialized.to_string())?;
        Ok(client)
    }

    /// Sends a message.
    pub(super) fn send(&mut self, message: &str) -> io::Result<()> {
        let Client { address, path, .. } = self;
        let mut text = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\ncontent-length: {}\r\n",
            message.len()
        );
        if let Some(session) = &self.session {
            text += &format!("mcp-session-id: {session}\r\nmcp-protocol-version: {REVISION}\r\n");
        }
        text += "\r\n";
        text += message;
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// Sends a message and reads the whole reply.
    pub(super) fn request(&mut self, message: &str) -> io::Result<Reply> {
        self.send(message)?;
        let mut reply = Reply::default();
        self.read(&mut reply)?;
        Ok(reply)
    }

    /// Reads a reply to its end; or, with an error, as far as it came.
    pub(super) fn read(&mut self, reply: &mut Reply) -> io::Result<()> {
        let (mut line, mut length, mut chunked) = (String::new(), 0, false);
        self.line(&mut line)?;
        reply.status = line.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
        loop {
            self.line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = true;
            } else if name.eq_ignore_ascii_case("mcp-session-id") {
                reply.session = Some(value.to_owned());
            }
        }
        if !chunked {
            return self.bytes(length, &mut reply.body);
        }
        loop {
            self.line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            self.bytes(length, &mut reply.body)?;
            self.line(&mut line)?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self, line: &mut String) -> io::Result<()> {
        line.clear();
        if self.stream.read_line(line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(())
    }

    fn bytes(&mut self, count: usize, to: &mut Vec<u8>) -> io::Result<()> {
        let read = (&mut self.stream).take(count as u64).read_to_end(to)?;
        if read < count { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl Reply {
    /// What the reply says about the request with this id. More than one answer is no answer.
    pub(super) fn outcome(&self, id: u64) -> Outcome {
        let text = String::from_utf8_lossy(&self.body);
        let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
        let messages = events.chain([&*text]).filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let mut answers = messages.filter(|message| message["id"] == id && message.get("method").is_none());
        match (answers.next(), answers.next()) {
            (Some(answer), None) if answer.get("result").is_some() => Outcome::Result,
            (Some(answer), None) if answer.get("error").is_some() => Outcome::Error,
            _ => Outcome::Nothing,
        }
    }
}

fn request(id: u64, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

/// A call of a tool.
pub(super) fn call(id: u64, tool: &str, arguments: &Value) -> String {
    request(id, "tools/call", &json!({ "name": tool, "arguments": arguments }))
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Reply};

    #[test]
    fn one_answer_counts_in_json_and_in_an_event_and_two_are_none() {
        let outcome = |body: &str| Reply { body: body.into(), ..Reply::default() }.outcome(1);
        assert_eq!(outcome(r#"{"id":1,"result":{}}"#), Outcome::Result);
        let error = "event: message\ndata: {\"id\":1,\"error\":{}}\n\n";
        assert_eq!(outcome(error), Outcome::Error);
        assert_eq!(outcome(&error.repeat(2)), Outcome::Nothing);
        for other in ["", r#"{"id":2,"result":{}}"#, r#"{"id":1,"method":"ping"}"#, "data: {\"id\":1"] {
            assert_eq!(outcome(other), Outcome::Nothing, "{other}");
        }
    }
}
