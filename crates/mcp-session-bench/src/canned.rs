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

const SESSION_ID: &str = "mcp-session-id";

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
        }
    }

    /// Ends every GET stream.
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
        let session = session_of(&head.headers);
        Ok(match self.answer(&head.method, session, &body) {
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

    /// The answer to a request with this method, session and body. The id and the message are copied from the places where
    /// the load generator writes them.
    pub fn answer(&self, method: &Method, session: Option<&str>, body: &[u8]) -> Reply {
        let sessions = || self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        match (method, method_of(body)) {
            (&Method::GET, _) => Reply::Events(self.idle()),
            (&Method::DELETE, _) => {
                let known = session.is_some_and(|id| sessions().remove(id));
                Reply::Status(if known { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
            }
            (&Method::POST, b"initialize") => {
                let id = format!("{:032x}", self.next.fetch_add(1, SeqCst));
                sessions().insert(id.clone());
                Reply::Json(result(body, INITIALIZED), Some(id))
            }
            (&Method::POST, b"tools/call") => match text(body, b"\"name\":\"") {
                b"echo" => Reply::Json(called(body, text(body, b"\"message\":\"")), None),
                _ => Reply::Events(self.slow(body)),
            },
            (&Method::POST, _) => Reply::Status(StatusCode::ACCEPTED),
            _ => Reply::Status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn idle(&self) -> BoxStream<'static, Bytes> {
        let stopped = self.stop.listen();
        if self.stopping.load(SeqCst) {
            return stream::empty().boxed();
        }
        let end = stream::once(stopped).filter_map(|()| future::ready(None));
        stream::once(future::ready(Bytes::from_static(b":\n\n"))).chain(end).boxed()
    }

    fn slow(&self, body: &[u8]) -> BoxStream<'static, Bytes> {
        let (steps, interval) = (number(body, b"\"steps\":"), number(body, b"\"interval_ms\":"));
        let (token, sleep) = (number(body, b"\"progressToken\":"), self.sleep);
        let answer = event(&called(body, b"done"));
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

fn session_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_ID)?.to_str().ok()
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

fn called(body: &[u8], text: &[u8]) -> Bytes {
    let id = digits(body, b"\"id\":");
    let parts: [&[u8]; 5] = [
        br#"{"jsonrpc":"2.0","id":"#,
        id,
        br#","result":{"content":[{"type":"text","text":""#,
        text,
        br#""}]}}"#,
    ];
    parts.concat().into()
}

fn event(message: &[u8]) -> Bytes {
    [b"data: ", message, b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_id_and_the_message_of_the_request() {
        let canned = Canned::new(|_| Box::pin(future::ready(())));
        let call = br#"{"jsonrpc":"2.0","id":1000007,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"}}}"#;
        let Reply::Json(text, None) = canned.answer(&Method::POST, None, call) else { panic!() };
        let answer = r#"{"jsonrpc":"2.0","id":1000007,"result":{"content":[{"type":"text","text":"hi"}]}}"#;
        assert_eq!(text, answer);
    }

    #[test]
    fn a_session_is_deleted_once() {
        let canned = Canned::new(|_| Box::pin(future::ready(())));
        let initialize = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        let Reply::Json(_, Some(id)) = canned.answer(&Method::POST, None, initialize) else { panic!() };
        let delete = || canned.answer(&Method::DELETE, Some(&id), b"");
        assert!(matches!(delete(), Reply::Status(StatusCode::NO_CONTENT)));
        assert!(matches!(delete(), Reply::Status(StatusCode::NOT_FOUND)));
    }

    #[test]
    fn slow_reports_progress_and_then_answers() {
        let canned = Canned::new(|_| Box::pin(future::ready(())));
        let call = br#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"slow","arguments":{"steps":2,"interval_ms":0},"_meta":{"progressToken":9}}}"#;
        let Reply::Events(events) = canned.answer(&Method::POST, None, call) else { panic!() };
        let events: Vec<Bytes> = smol::block_on(events.collect());
        assert_eq!(events.len(), 3);
        assert!(events[1].ends_with(b"\"params\":{\"progressToken\":9,\"progress\":2.0}}\n\n"));
        assert!(events[2].starts_with(b"data: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":"));
    }
}
