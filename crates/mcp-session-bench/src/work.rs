//! Pieces of work without a socket, for timing, counting and profiling.

use std::{
    borrow::Cow,
    future::Future as _,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use mcp_session_core::{
    ClientCapabilities, Config, Endpoint, Json, ProtocolVersion, ReplyBody, ResponseMode, SessionConfig,
    proto::{self, Input, Message, Reply},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    runtime::{Inline, PollNew},
    tools::{endpoint, endpoint_with},
};

/// A call of `echo`, as a client sends it.
pub const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1000007,"method":"tools/call","params":{"name":"echo","arguments":{"message":"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"}}}"#;

/// The same call in revision 2026-07-28.
pub const MODERN_CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1000007,"method":"tools/call","params":{"name":"echo","arguments":{"message":"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"0"}}}}"#;

const LISTEN: &[u8] = br#"{"jsonrpc":"2.0","id":1000007,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"0"}}}}"#;

const RESULT: &str = r#"{"content":[{"type":"text","text":"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"}]}"#;

const INITIALIZE: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"0"}}}"#;

/// Calls of `echo` whose message has 100,000 bytes.
static LONG_CALL: LazyLock<Vec<u8>> = LazyLock::new(|| long(CALL));
static LONG_MODERN_CALL: LazyLock<Vec<u8>> = LazyLock::new(|| long(MODERN_CALL));

fn long(call: &[u8]) -> Vec<u8> {
    let call = std::str::from_utf8(call).expect("it is text");
    call.replace(&"m".repeat(64), &"m".repeat(100_000)).into_bytes()
}

const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Reads [`CALL`].
///
/// # Panics
///
/// If it is not parsed as a request.
pub fn parse() -> proto::RpcRequest {
    read(CALL)
}

fn read(text: &'static [u8]) -> proto::RpcRequest {
    match Message::parse(&Bytes::from_static(text)) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

/// The headers of [`MODERN_CALL`] that repeat a part of its body.
pub fn modern_headers() -> HeaderMap {
    let headers =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "echo")];
    headers
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect()
}

/// The floor of what a request of 2026-07-28 needs before it is admitted: reads [`MODERN_CALL`], finds the members of its
/// envelope, and compares its headers. Without what [`parse`] needs this is what its envelope costs more than no envelope.
///
/// # Panics
///
/// If a part is missing, or a header says something else.
pub fn envelope(headers: &HeaderMap) -> proto::RpcRequest {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(rename = "_meta", borrow)]
        meta: Meta<'a>,
    }
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(rename = "io.modelcontextprotocol/protocolVersion", borrow)]
        version: Cow<'a, str>,
        #[serde(rename = "io.modelcontextprotocol/clientCapabilities", borrow)]
        capabilities: &'a RawValue,
        #[serde(rename = "io.modelcontextprotocol/clientInfo", borrow)]
        client_info: &'a RawValue,
    }
    let request = read(MODERN_CALL);
    let params = request.params.as_ref().expect("a call has params");
    let Params { name, meta } = params.borrow().expect("they have an envelope");
    assert!(meta.capabilities.get().starts_with('{') && meta.client_info.get().starts_with('{'));
    for (header, part) in
        [("mcp-protocol-version", &*meta.version), ("mcp-method", &*request.method), ("mcp-name", &*name)]
    {
        assert_eq!(headers[header], *part, "{header}");
    }
    request
}

/// The machine of a session: the work of core per message, without handler, lock and HTTP.
#[derive(Debug)]
pub struct Machine {
    session: proto::Session<()>,
    now: Instant,
    answer: Result<Json, mcp_session_core::RpcError>,
}

impl Machine {
    /// Creates a session whose client has sent `notifications/initialized`.
    ///
    /// # Panics
    ///
    /// If the machine does not open the session.
    #[expect(clippy::new_without_default, reason = "a new value is not an empty one")]
    pub fn new() -> Self {
        let now = Instant::now();
        let config = Arc::new(SessionConfig::default());
        let version = ProtocolVersion::negotiate("2025-06-18");
        let (mut session, key) =
            proto::Session::new(now, config, 0.into(), (), version, ClientCapabilities::default());
        let answer = Json::from_text(RESULT.into());
        assert!(session.answer(now, key, &answer), "the answer to initialize counts");
        assert!(session.poll_reply(now, key).is_some(), "and is taken");
        assert!(session.handle_input(now, Input::Initialized).is_ok(), "it is initialized");
        drop(session.take_output());
        Self { session, now, answer }
    }

    /// Parses, admits, answers and encodes one call.
    ///
    /// # Panics
    ///
    /// If the call is not answered.
    pub fn echo(&mut self) -> Bytes {
        let Self { session, now, answer } = self;
        *now += Duration::from_micros(1);
        let Ok(key) = session.handle_request(*now, parse().id, ()) else { panic!("it is admitted") };
        drop(session.take_output());
        assert!(session.answer(*now, key, answer), "it is answered");
        drop(session.take_output());
        let Some(Reply::Json(text)) = session.poll_reply(*now, key) else { panic!("it has a reply") };
        let text = Bytes::from(text);
        drop(session.take_output());
        text
    }

    /// Sends so many events of [`KEPT_BYTES`] while the client is away: they are kept for it.
    ///
    /// # Panics
    ///
    /// If an event is refused.
    pub fn keep(&mut self, events: usize) {
        for _ in 0..events {
            self.now += Duration::from_millis(1);
            let event = Bytes::from(vec![b'e'; KEPT_BYTES]);
            self.session.notify_standalone(self.now, &event).expect("it is kept");
            drop(self.session.take_output());
        }
    }
}

/// The size of a kept event.
pub const KEPT_BYTES: usize = 200;

/// The number of events that a session keeps by default.
pub const KEPT_EVENTS: usize = 1_000;

/// An endpoint with the two tools, and an open session.
#[derive(Debug)]
pub struct Echo {
    endpoint: Endpoint,
    runtime: Arc<dyn PollNew>,
    session: HeaderValue,
}

impl Echo {
    /// Opens the session.
    #[expect(clippy::new_without_default, reason = "a new value is not an empty one")]
    pub fn new() -> Self {
        Self::with(endpoint)
    }

    /// The same on an endpoint that answers with events.
    ///
    /// # Panics
    ///
    /// If the machine's defaults are out of its own bounds.
    pub fn with_events() -> Self {
        let mut config = Config::default();
        config.session.response_mode = ResponseMode::Sse;
        Self::with(|runtime| endpoint_with(runtime, config).expect("the limits work"))
    }

    /// The same on an endpoint of the caller's.
    pub(crate) fn with(endpoint: impl FnOnce(Inline) -> Endpoint) -> Self {
        Self::on(Inline::default(), endpoint)
    }

    /// The same on a runtime of the caller's.
    pub(crate) fn on<R: PollNew + Clone>(runtime: R, endpoint: impl FnOnce(R) -> Endpoint) -> Self {
        let endpoint = endpoint(runtime.clone());
        let runtime = Arc::new(runtime);
        let mut echo = Self { endpoint, runtime, session: HeaderValue::from_static("none yet") };
        echo.session = echo.open();
        echo
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The id of the session.
    pub(crate) fn session(&self) -> &HeaderValue {
        &self.session
    }

    /// A request with [`CALL`], as hyper would pass it.
    pub fn request(&self) -> Request<Full<Bytes>> {
        self.request_in(&self.session)
    }

    /// The same in another session.
    pub(crate) fn request_in(&self, session: &HeaderValue) -> Request<Full<Bytes>> {
        call_in(session, Bytes::from_static(CALL))
    }

    /// The same with a message of 100,000 bytes.
    pub fn long_request(&self) -> Request<Full<Bytes>> {
        call_in(&self.session, Bytes::from_static(&LONG_CALL))
    }

    /// Keeps [`KEPT_EVENTS`] events for the client of the session, which has no stream. There was no request before.
    ///
    /// # Panics
    ///
    /// If an event is refused.
    pub fn keep(&self) {
        let sessions = self.endpoint.manager().sessions();
        let session = sessions.first().expect("it is open");
        let params = serde_json::json!({ "level": "info", "data": "e".repeat(KEPT_BYTES - 100) });
        for _ in 0..KEPT_EVENTS {
            session.try_notify("notifications/message", Some(&params)).expect("it is kept");
        }
    }

    /// Opens the stream of the session again from its beginning, passes the frames with the kept events to `read`, and leaves.
    ///
    /// # Panics
    ///
    /// If events are missing, by their bytes, or if the stream ends.
    pub fn replay(&self, mut read: impl FnMut(&[u8])) {
        let mut request = request(Method::GET, Some(&self.session), Bytes::new());
        // The stream of the session is the second thing in it, behind `initialize`.
        request.headers_mut().insert("last-event-id", HeaderValue::from_static("1-0"));
        let mut body = pin!(self.handle(request).into_body());
        let mut bytes = 0;
        while let Poll::Ready(frame) = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            let Some(Ok(frame)) = frame else { panic!("the stream stays open") };
            let events = frame.into_data().expect("events are data");
            bytes += events.len();
            read(&events);
        }
        assert!(bytes > KEPT_EVENTS * KEPT_BYTES, "{bytes}");
    }

    /// The same without a session: no id, and nothing was opened.
    pub fn stateless_request(&self) -> Request<Full<Bytes>> {
        stateless_call(Bytes::from_static(CALL))
    }

    /// A request with [`MODERN_CALL`].
    pub fn modern_request(&self) -> Request<Full<Bytes>> {
        modern_call(Bytes::from_static(MODERN_CALL))
    }

    /// The same with a message of 100,000 bytes.
    pub fn long_modern_request(&self) -> Request<Full<Bytes>> {
        modern_call(Bytes::from_static(&LONG_MODERN_CALL))
    }

    /// Opens a listener, which stays open as long as the response.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn listen(&self) -> Response<ReplyBody> {
        let mut request = request(Method::POST, None, Bytes::from_static(LISTEN));
        let headers = request.headers_mut();
        headers.insert("mcp-protocol-version", HeaderValue::from_static("2026-07-28"));
        headers.insert("mcp-method", HeaderValue::from_static("subscriptions/listen"));
        self.handle(request)
    }

    /// The size in bytes of the future of `Endpoint::handle`. Each HTTP/1 connection of hyper has room for one, also while it
    /// only carries a stream.
    pub fn future_size(&self) -> usize {
        size_of_val(&self.endpoint.handle(self.request()))
    }

    /// Answers a request; its body is dropped unread.
    ///
    /// # Panics
    ///
    /// If the request is not answered at once with 200.
    pub fn handle(&self, request: Request<Full<Bytes>>) -> Response<ReplyBody> {
        let response = self.respond(request);
        assert_eq!(response.status(), StatusCode::OK);
        response
    }

    /// Answers a request and reads the whole body. Returns the number of its bytes.
    ///
    /// # Panics
    ///
    /// If the body is not ready at once, or is cut.
    pub fn read(&self, request: Request<Full<Bytes>>) -> usize {
        let mut body = pin!(self.handle(request).into_body());
        let mut bytes = 0;
        loop {
            match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Ok(frame))) => bytes += frame.into_data().expect("events are data").len(),
                Poll::Ready(None) => return bytes,
                cut @ (Poll::Ready(Some(Err(_))) | Poll::Pending) => panic!("{cut:?}"),
            }
        }
    }

    /// Builds a request and answers it.
    pub fn call(&self) {
        drop(self.handle(self.request()));
    }

    /// Opens one more session, which stays open; returns its id.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn open(&self) -> HeaderValue {
        let response = self.respond(request(Method::POST, None, Bytes::from_static(INITIALIZE)));
        let id = response.headers()["mcp-session-id"].clone();
        let initialized = self.respond(request(Method::POST, Some(&id), Bytes::from_static(INITIALIZED)));
        assert_eq!(initialized.status(), StatusCode::ACCEPTED);
        id
    }

    /// Opens a session and deletes it.
    ///
    /// # Panics
    ///
    /// If either is refused.
    pub fn open_and_delete(&self) {
        let response = self.respond(request(Method::POST, None, Bytes::from_static(INITIALIZE)));
        let id = response.headers()["mcp-session-id"].clone();
        let deleted = self.respond(request(Method::DELETE, Some(&id), Bytes::new()));
        assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    }

    fn respond(&self, request: Request<Full<Bytes>>) -> Response<ReplyBody> {
        let handling = pin!(self.endpoint.handle(request));
        let Poll::Ready(response) = handling.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("the response is ready at once")
        };
        self.runtime.poll_new();
        response
    }
}

/// A request with a call in this session.
pub(crate) fn call_in(session: &HeaderValue, call: Bytes) -> Request<Full<Bytes>> {
    request(Method::POST, Some(session), call)
}

/// The same without a session.
pub(crate) fn stateless_call(call: Bytes) -> Request<Full<Bytes>> {
    let mut request = request(Method::POST, None, call);
    request.headers_mut().insert("mcp-protocol-version", HeaderValue::from_static("2025-11-25"));
    request
}

/// The same of 2026-07-28, with the envelope in its text.
pub(crate) fn modern_call(call: Bytes) -> Request<Full<Bytes>> {
    let mut request = request(Method::POST, None, call);
    request.headers_mut().extend(modern_headers());
    request
}

fn request(method: Method, session: Option<&HeaderValue>, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri("/mcp")
        .header("host", "127.0.0.1:8000")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("content-length", body.len());
    if let Some(session) = session {
        request = request.header("mcp-protocol-version", "2025-06-18").header("mcp-session-id", session);
    }
    request.body(Full::new(body)).expect("every part is legal")
}

#[cfg(test)]
mod tests {
    use memchr::memmem;

    use super::*;

    #[test]
    fn each_piece_of_work_does_what_its_name_says() {
        assert_eq!(envelope(&modern_headers()).id, parse().id);
        let text = Machine::new().echo();
        assert_eq!(text, format!(r#"{{"jsonrpc":"2.0","id":1000007,"result":{RESULT}}}"#));
        let runtime = Inline::default();
        let echo = Echo::on(runtime.clone(), endpoint);
        for _ in 0..3 {
            for request in [echo.request(), echo.stateless_request(), echo.modern_request()] {
                let response = echo.handle(request);
                assert_eq!(response.headers()["content-type"], "application/json");
            }
            echo.open_and_delete();
        }
        for request in [echo.long_request(), echo.long_modern_request()] {
            assert!(echo.read(request) > 100_000);
        }
        let with_events = Echo::with_events();
        let response = with_events.handle(with_events.request());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(with_events.read(with_events.long_request()) > 100_000);
        let keeping = Echo::new();
        keeping.keep();
        for _ in 0..3 {
            let mut text = Vec::new();
            keeping.replay(|events| text.extend_from_slice(events));
            assert_eq!(memmem::find_iter(&text, b"\nevent: message\n").count(), KEPT_EVENTS);
        }
        let listener = echo.listen();
        assert_eq!(listener.headers()["content-type"], "text/event-stream");
        let stats = echo.endpoint.stats();
        assert_eq!((stats.sessions, stats.subscriptions), (1, 1));
        assert_eq!(runtime.pending(), 2, "the drivers of sessions and of requests without one");
    }
}
