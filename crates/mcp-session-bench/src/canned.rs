//! [`Canned`]: the answers of the protocol without a session layer. This is the floor: the work that any HTTP server has
//! to do.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use event_listener::Event;
use futures::{
    StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use memchr::{memchr, memmem};

use crate::parsing;

const SESSION_ID: &str = "mcp-session-id";

const VERSION: &str = "mcp-protocol-version";

/// The revision whose results say what they are, and which has listeners.
const MODERN: &str = "2026-07-28";

/// How a server waits, on its runtime.
pub type Sleep = fn(Duration) -> BoxFuture<'static, ()>;

/// The body type for hyper.
pub type CannedBody = Either<Full<Bytes>, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// The ids of the sessions, and nothing else. Requests with an unknown id are answered too: the floor checks nothing that
/// it does not have to.
#[derive(Debug)]
pub struct Canned {
    sessions: Mutex<HashSet<String>>,
    next: AtomicU64,
    stopping: AtomicBool,
    stop: Event,
    sleep: Sleep,
    /// Whether calls of `echo` are decoded.
    parses: bool,
}

/// A request, independent of the HTTP stack.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The method of HTTP.
    pub method: &'a Method,
    /// The value of `Mcp-Session-Id`.
    pub session: Option<&'a str>,
    /// The value of `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
}

/// An answer, independent of the HTTP stack.
pub enum Reply {
    /// A status only.
    Status(StatusCode),
    /// One JSON text, and the id of a session that it opens.
    Json(Bytes, Option<String>),
    /// Events.
    Events(BoxStream<'static, Bytes>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => f.debug_tuple("Status").field(status).finish(),
            Self::Json(text, session) => f.debug_tuple("Json").field(text).field(session).finish(),
            Self::Events(_) => f.debug_tuple("Events").finish_non_exhaustive(),
        }
    }
}

impl Canned {
    /// Creates a server without sessions.
    pub fn new(sleep: Sleep) -> Self {
        Self {
            sessions: Mutex::default(),
            next: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            stop: Event::new(),
            sleep,
            parses: false,
        }
    }

    /// Decodes calls of `echo`, and encodes their answers, if `parses`.
    #[must_use]
    pub fn parsing(self, parses: bool) -> Self {
        Self { parses, ..self }
    }

    /// Ends every GET stream and every listener.
    pub fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.stop.notify(usize::MAX);
    }

    /// Serves one request of hyper.
    ///
    /// # Errors
    ///
    /// If the body did not arrive completely.
    pub async fn respond(&self, request: Request<Incoming>) -> Result<Response<CannedBody>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let header = |name| text_of(&head.headers, name);
        let (session, version) = (header(SESSION_ID), header(VERSION));
        let asked = Asked { method: &head.method, session, version, body: &body };
        Ok(match self.answer(asked) {
            Reply::Status(status) => with_status(status, Either::Left(Full::default())),
            Reply::Json(text, session) => {
                let mut response = with_type("application/json", Either::Left(text.into()));
                if let Some(id) = session.and_then(|id| HeaderValue::try_from(id).ok()) {
                    response.headers_mut().insert(SESSION_ID, id);
                }
                response
            }
            Reply::Events(events) => {
                let frames = events.map(|event| Ok(Frame::data(event))).boxed();
                with_type("text/event-stream", Either::Right(StreamBody::new(frames)))
            }
        })
    }

    /// The answer to a request. The id and the message are copied from the places where the load generator writes them.
    pub fn answer(&self, asked: Asked<'_>) -> Reply {
        let Asked { method, session, version, body } = asked;
        let modern = version == Some(MODERN);
        let sessions = || self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        match (method, method_of(body)) {
            (&Method::GET, _) => Reply::Events(self.idle(Bytes::from_static(b":\n\n"), None)),
            (&Method::DELETE, _) => {
                let known = session.is_some_and(|id| sessions().remove(id));
                Reply::Status(if known { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
            }
            (&Method::POST, b"initialize") => {
                let id = format!("{:032x}", self.next.fetch_add(1, SeqCst));
                sessions().insert(id.clone());
                Reply::Json(result(body, INITIALIZED), Some(id))
            }
            (&Method::POST, b"tools/call") if self.parses && text(body, b"\"name\":\"") == b"echo" => {
                parsing::echo(body)
                    .map_or(Reply::Status(StatusCode::BAD_REQUEST), |answer| Reply::Json(answer, None))
            }
            (&Method::POST, b"tools/call") => match text(body, b"\"name\":\"") {
                b"echo" => Reply::Json(called(body, text(body, b"\"message\":\""), modern), None),
                _ => Reply::Events(self.slow(body, modern)),
            },
            (&Method::POST, b"subscriptions/listen") if modern => {
                let id = number(body, b"\"id\":");
                Reply::Events(self.idle(acknowledged(id), Some(id)))
            }
            (&Method::POST, _) => Reply::Status(StatusCode::ACCEPTED),
            _ => Reply::Status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    /// A stream that sends `first` and is then silent until the server stops. A listener ends with the result of its request.
    fn idle(&self, first: Bytes, listener: Option<u64>) -> BoxStream<'static, Bytes> {
        let stopped = self.stop.listen();
        let last = move || listener.map(ended);
        if self.stopping.load(SeqCst) {
            return stream::iter(last()).boxed();
        }
        let end = stream::once(stopped).filter_map(move |()| future::ready(last()));
        stream::once(future::ready(first)).chain(end).boxed()
    }

    fn slow(&self, body: &[u8], modern: bool) -> BoxStream<'static, Bytes> {
        let (steps, interval) = (number(body, b"\"steps\":"), number(body, b"\"interval_ms\":"));
        let (token, sleep) = (number(body, b"\"progressToken\":"), self.sleep);
        let answer = event(&called(body, b"done", modern));
        let steps = stream::iter(1..=steps).then(move |step| async move {
            if interval > 0 {
                sleep(Duration::from_millis(interval)).await;
            }
            let params = format!(r#"{{"progressToken":{token},"progress":{step}.0}}"#);
            let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#);
            event(text.as_bytes())
        });
        steps.chain(stream::once(future::ready(answer))).boxed()
    }
}

/// The result of `initialize`.
const INITIALIZED: &[u8] = br#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"raw","version":"0"}}"#;

/// What a result of 2026-07-28 has besides that of a legacy revision.
const MODERN_RESULT: &[u8] = br#","resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"raw","version":"0"}}"#;

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn with_status(status: StatusCode, body: CannedBody) -> Response<CannedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn with_type(content_type: &'static str, body: CannedBody) -> Response<CannedBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn method_of(body: &[u8]) -> &[u8] {
    text(body, b"\"method\":\"")
}

/// The text after `key`, up to the next quote.
fn text<'a>(body: &'a [u8], key: &[u8]) -> &'a [u8] {
    let rest = memmem::find(body, key).map_or(&body[..0], |at| &body[at + key.len()..]);
    &rest[..memchr(b'"', rest).unwrap_or(rest.len())]
}

/// The digits after `key`, as text.
fn digits<'a>(body: &'a [u8], key: &[u8]) -> &'a [u8] {
    let rest = memmem::find(body, key).map_or(&body[..0], |at| &body[at + key.len()..]);
    &rest[..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()]
}

fn number(body: &[u8], key: &[u8]) -> u64 {
    std::str::from_utf8(digits(body, key)).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn result(body: &[u8], result: &[u8]) -> Bytes {
    let id = digits(body, b"\"id\":");
    [br#"{"jsonrpc":"2.0","id":"#, id, br#","result":"#, result, b"}"].concat().into()
}

fn called(body: &[u8], text: &[u8], modern: bool) -> Bytes {
    let id = digits(body, b"\"id\":");
    let parts: [&[u8]; 7] = [
        br#"{"jsonrpc":"2.0","id":"#,
        id,
        br#","result":{"content":[{"type":"text","text":""#,
        text,
        br#""}]"#,
        if modern { MODERN_RESULT } else { b"" },
        b"}}",
    ];
    parts.concat().into()
}

/// The first message of a listener with this id.
fn acknowledged(id: u64) -> Bytes {
    let params = format!(
        r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{{"toolsListChanged":true}}}}"#
    );
    let method = "notifications/subscriptions/acknowledged";
    event(format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#).as_bytes())
}

/// The last message of a listener with this id.
fn ended(id: u64) -> Bytes {
    let meta = format!(r#"{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
    let result = format!(r#"{{"resultType":"complete","_meta":{meta}}}"#);
    event(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).as_bytes())
}

fn event(message: &[u8]) -> Bytes {
    [b"data: ", message, b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post<'a>(version: Option<&'a str>, body: &'a [u8]) -> Asked<'a> {
        Asked { method: &Method::POST, session: None, version, body }
    }

    #[test]
    fn the_answer_has_the_id_and_the_message_of_the_request() {
        let canned = Canned::new(|_| Box::pin(future::ready(())));
        let call = br#"{"jsonrpc":"2.0","id":1000007,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"}}}"#;
        let Reply::Json(text, None) = canned.answer(post(None, call)) else { panic!() };
        let answer = r#"{"jsonrpc":"2.0","id":1000007,"result":{"content":[{"type":"text","text":"hi"}]}}"#;
        assert_eq!(text, answer);
        let parsing = Canned::new(|_| Box::pin(future::ready(()))).parsing(true);
        let Reply::Json(parsed, None) = parsing.answer(post(None, call)) else { panic!() };
        assert_eq!(parsed, answer);
        let Reply::Json(text, None) = canned.answer(post(Some(MODERN), call)) else { panic!() };
        let modern: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(modern["result"]["resultType"], "complete");
        assert_eq!(modern["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "raw");
        assert_eq!(modern["result"]["content"][0]["text"], "hi");
    }

    #[test]
    fn a_session_is_deleted_once() {
        let canned = Canned::new(|_| Box::pin(future::ready(())));
        let initialize = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        let Reply::Json(_, Some(id)) = canned.answer(post(None, initialize)) else { panic!() };
        let delete =
            || canned.answer(Asked { method: &Method::DELETE, session: Some(&id), version: None, body: b"" });
        assert!(matches!(delete(), Reply::Status(StatusCode::NO_CONTENT)));
        assert!(matches!(delete(), Reply::Status(StatusCode::NOT_FOUND)));
    }

    #[test]
    fn slow_reports_progress_and_then_answers() {
        let canned = Canned::new(|_| Box::pin(future::ready(())));
        let call = br#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"slow","arguments":{"steps":2,"interval_ms":0},"_meta":{"progressToken":9}}}"#;
        let Reply::Events(events) = canned.answer(post(None, call)) else { panic!() };
        let events: Vec<Bytes> = smol::block_on(events.collect());
        assert_eq!(events.len(), 3);
        assert!(events[1].ends_with(b"\"params\":{\"progressToken\":9,\"progress\":2.0}}\n\n"));
        assert!(events[2].starts_with(b"data: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":"));
    }

    #[test]
    fn a_listener_is_acknowledged_and_ends_with_its_result() {
        let canned = Canned::new(|_| Box::pin(future::ready(())));
        let listen = br#"{"jsonrpc":"2.0","id":1000003,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}"#;
        let Reply::Events(events) = canned.answer(post(Some(MODERN), listen)) else { panic!() };
        canned.stop();
        let messages: Vec<serde_json::Value> = smol::block_on(events.collect::<Vec<_>>())
            .iter()
            .map(|event| serde_json::from_slice(event.strip_prefix(b"data: ").unwrap()).unwrap())
            .collect();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0]["method"], "notifications/subscriptions/acknowledged");
        let meta = &messages[0]["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], 1_000_003);
        assert_eq!(
            (&messages[1]["id"], &messages[1]["result"]["resultType"]),
            (&1_000_003.into(), &"complete".into())
        );
        assert!(matches!(canned.answer(post(None, listen)), Reply::Status(StatusCode::ACCEPTED)));
    }
}
