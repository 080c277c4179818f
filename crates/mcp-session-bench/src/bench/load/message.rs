//! The clients' messages, as the bytes of whole requests.

use memchr::memmem;

use super::{
    Target,
    connection::{Connection, Head},
    era::Caller,
};
use anyhow::{Context as _, Result, ensure};

/// The first id of a call. All ids have seven digits, so that the next id can overwrite the last one in the request.
const FIRST_ID: u64 = 1_000_000;

/// A call that is sent repeatedly, each time with a new id.
#[derive(Debug)]
pub(crate) struct Call {
    bytes: Vec<u8>,
    session_at: usize,
    /// Positions of the id, and of the progress token if there is one: tokens also differ among the calls of a session.
    ids_at: Vec<usize>,
    id: u64,
    /// What an answer must have besides the id.
    result: &'static [u8],
}

impl Call {
    /// `echo` with a message of this many bytes.
    pub(super) fn echo(target: &Target, caller: &Caller, size: usize) -> Self {
        let arguments = format!(r#"{{"message":"{}"}}"#, "m".repeat(size));
        let meta =
            caller.envelope().map_or_else(String::new, |envelope| format!(r#","_meta":{{{envelope}}}"#));
        let params = format!(r#"{{"name":"echo","arguments":{arguments}{meta}}}"#);
        Self::new(target, caller, ("tools/call", Some("echo")), &params)
    }

    /// `tasks`.
    pub(super) fn tasks(target: &Target, caller: &Caller) -> Self {
        Self::new(target, caller, ("tools/call", Some("tasks")), r#"{"name":"tasks","arguments":{}}"#)
    }

    /// `slow` with this many steps and a progress token.
    pub(super) fn slow(target: &Target, caller: &Caller, steps: u32, interval_ms: u64) -> Self {
        let arguments = format!(r#"{{"steps":{steps},"interval_ms":{interval_ms}}}"#);
        let envelope = caller.envelope().map_or_else(String::new, |envelope| format!(",{envelope}"));
        let meta = format!(r#"{{"progressToken":{FIRST_ID}{envelope}}}"#);
        let params = format!(r#"{{"name":"slow","arguments":{arguments},"_meta":{meta}}}"#);
        Self::new(target, caller, ("tools/call", Some("slow")), &params)
    }

    /// `stamped` with a progress token: this many events, one in `interval_us`. The answer comes `hold_ms` after the last.
    pub(super) fn stamped(
        target: &Target,
        caller: &Caller,
        steps: u32,
        interval_us: u64,
        hold_ms: u64,
    ) -> Self {
        let arguments = format!(r#"{{"steps":{steps},"interval_us":{interval_us},"hold_ms":{hold_ms}}}"#);
        let meta = format!(r#"{{"progressToken":{FIRST_ID}}}"#);
        let params = format!(r#"{{"name":"stamped","arguments":{arguments},"_meta":{meta}}}"#);
        Self::new(target, caller, ("tools/call", Some("stamped")), &params)
    }

    /// `ask`.
    pub(super) fn ask(target: &Target, caller: &Caller) -> Self {
        Self::new(target, caller, ("tools/call", Some("ask")), r#"{"name":"ask","arguments":{}}"#)
    }

    /// `subscriptions/listen` for changes of the list of tools.
    pub(super) fn listen(target: &Target) -> Self {
        let caller = Caller::Modern;
        let envelope = caller.envelope().unwrap_or_default();
        let params = format!(r#"{{"notifications":{{"toolsListChanged":true}},"_meta":{{{envelope}}}}}"#);
        Self::new(target, &caller, ("subscriptions/listen", None), &params)
    }

    fn new(target: &Target, caller: &Caller, (method, name): (&str, Option<&str>), params: &str) -> Self {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{FIRST_ID},"method":"{method}","params":{params}}}"#);
        let bytes = post(target, &caller.headers(target, method, name), &body);
        let at = |what: &str| memmem::find(&bytes, what.as_bytes()).map(|at| at + what.len());
        let session_at = at("mcp-session-id: ").unwrap_or_default();
        let ids_at = ["\"id\":", "\"progressToken\":"].into_iter().filter_map(at).collect();
        // 2026-07-28 says of each result what it is.
        let result: &[u8] = match caller {
            Caller::Session(_) | Caller::Stateless => b"\"result\":",
            Caller::Modern => b"\"resultType\":\"complete\"",
        };
        Self { bytes, session_at, ids_at, id: FIRST_ID, result }
    }

    /// The next call, with the next id.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.id = if self.id == 9_999_999 { FIRST_ID } else { self.id + 1 };
        for &at in &self.ids_at {
            let mut rest = self.id;
            for digit in self.bytes[at..at + 7].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        &self.bytes
    }

    /// Continues from this id, which has seven digits.
    pub(crate) fn begin_at(&mut self, id: u64) {
        self.id = id;
    }

    /// Switches to another session, whose id has the same length.
    pub(crate) fn move_to(&mut self, session: &str) {
        self.bytes[self.session_at..self.session_at + session.len()].copy_from_slice(session.as_bytes());
    }

    /// Returns `true` if this body has a result for the last call.
    pub(crate) fn is_answered_by(&self, body: &[u8]) -> bool {
        let id = &self.bytes[self.ids_at[0] - 5..self.ids_at[0] + 7]; // with its key
        memmem::find(body, id).is_some() && memmem::find(body, self.result).is_some()
    }

    /// The id of the last call.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// Opens a session; returns its id.
pub(crate) async fn initialize(target: &Target, connection: &mut Connection) -> Result<String> {
    initialize_with(target, connection, "{}").await
}

async fn initialize_with(target: &Target, connection: &mut Connection, capabilities: &str) -> Result<String> {
    let params = format!(
        r#"{{"protocolVersion":"{}","capabilities":{capabilities},"clientInfo":{{"name":"bench","version":"0"}}}}"#,
        target.version
    );
    let body = format!(r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{params}}}"#);
    let (Head { session, .. }, body) = connection.exchange(&post(target, "", &body)).await?;
    ensure!(memmem::find(body, b"\"result\":").is_some(), "no result: {}", String::from_utf8_lossy(body));
    session.context("the answer to initialize has no mcp-session-id")
}

/// Opens a session and sends `notifications/initialized`.
pub(crate) async fn open_session(target: &Target, connection: &mut Connection) -> Result<String> {
    let session = initialize(target, connection).await?;
    confirm(target, connection, &session).await?;
    Ok(session)
}

/// Opens a session whose client can be asked.
pub(super) async fn open_answering_session(target: &Target, connection: &mut Connection) -> Result<String> {
    let session = initialize_with(target, connection, r#"{"elicitation":{}}"#).await?;
    confirm(target, connection, &session).await?;
    Ok(session)
}

async fn confirm(target: &Target, connection: &mut Connection, session: &str) -> Result<()> {
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let headers = Caller::Session(session.to_owned()).headers(target, "notifications/initialized", None);
    connection.exchange(&post(target, &headers, initialized)).await?;
    Ok(())
}

/// The reply to the request of the server with this id, which is JSON.
pub(super) fn reply(target: &Target, session: &str, id: &str) -> Vec<u8> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept","content":{{}}}}}}"#);
    post(target, &Caller::Session(session.to_owned()).headers(target, "", None), &body)
}

/// The request that ends a session.
pub(crate) fn delete(target: &Target, session: &str) -> Vec<u8> {
    without_body(target, "DELETE", session, "")
}

/// The request that opens the GET stream of the session.
pub(crate) fn get(target: &Target, session: &str) -> Vec<u8> {
    without_body(target, "GET", session, "")
}

/// The request that resumes the stream of this event after it.
pub(super) fn resume(target: &Target, session: &str, event: &str) -> Vec<u8> {
    without_body(target, "GET", session, &format!("last-event-id: {event}\r\n"))
}

/// `more` are complete lines.
fn without_body(target: &Target, method: &str, session: &str, more: &str) -> Vec<u8> {
    let Target { address, path, version, .. } = target;
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\
         mcp-protocol-version: {version}\r\nmcp-session-id: {session}\r\n{more}\r\n"
    )
    .into()
}

/// `headers` are complete lines.
fn post(target: &Target, headers: &str, body: &str) -> Vec<u8> {
    let Target { address, path, .. } = target;
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_own_id_and_accepts_only_its_answer() {
        let target = Target::new("http://127.0.0.1:80/mcp", "2025-06-18", vec![None]).unwrap();
        let mut call = Call::echo(&target, &Caller::Session("0123".to_owned()), 3);
        let first = String::from_utf8(call.next().to_vec()).unwrap();
        assert!(first.contains("\"id\":1000001,"), "{first}");
        assert!(call.is_answered_by(br#"{"jsonrpc":"2.0","id":1000001,"result":{}}"#));
        call.move_to("4567");
        let second = String::from_utf8(call.next().to_vec()).unwrap();
        assert!(second.contains("\"id\":1000002,") && second.contains("mcp-session-id: 4567\r\n"));
        assert!(!call.is_answered_by(br#"{"jsonrpc":"2.0","id":1000001,"result":{}}"#));
        assert!(!call.is_answered_by(br#"{"jsonrpc":"2.0","id":1000002,"error":{}}"#));
        let (head, body) = second.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
    }
    #[test]
    fn clients_without_a_session_send_no_id_and_modern_ones_describe_each_request() {
        let target = Target::new("http://127.0.0.1:80/mcp", "2025-06-18", vec![None]).unwrap();
        let text = |mut call: Call| String::from_utf8(call.next().to_vec()).unwrap();
        let stateless = text(Call::echo(&target, &Caller::Stateless, 3));
        assert!(stateless.contains("mcp-protocol-version: 2025-11-25\r\n"));
        assert!(!stateless.contains("mcp-session-id") && !stateless.contains("_meta"));
        for (call, headers) in [
            (Call::echo(&target, &Caller::Modern, 3), "mcp-method: tools/call\r\nmcp-name: echo\r\n"),
            (Call::slow(&target, &Caller::Modern, 1, 2), "mcp-method: tools/call\r\nmcp-name: slow\r\n"),
            (Call::listen(&target), "mcp-method: subscriptions/listen\r\ncontent-length"),
        ] {
            let complete = br#"{"jsonrpc":"2.0","id":1000001,"result":{"resultType":"complete"}}"#;
            let mut sent = call;
            let request = String::from_utf8(sent.next().to_vec()).unwrap();
            assert!(sent.is_answered_by(complete));
            assert!(!sent.is_answered_by(br#"{"jsonrpc":"2.0","id":1000001,"result":{}}"#));
            assert!(request.contains("mcp-protocol-version: 2026-07-28\r\n") && request.contains(headers));
            let (_, body) = request.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            let meta = &body["params"]["_meta"];
            assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
            assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
            assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "bench");
        }
    }
}
