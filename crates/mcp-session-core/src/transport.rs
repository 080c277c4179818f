//! What a request says beside its body: media types, the session, the version. And the body, bounded.

use std::{
    error::Error,
    iter::successors,
    mem,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{Either, poll_fn, select};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Body;

use crate::{
    config::Config,
    env::Env,
    error::Rejection,
    manager::Registry,
    proto::{ProtocolVersion, ResponseMode, SessionId, after},
    terminate::ShutdownPhase,
};

/// The session header (E-01). Names of headers are matched without regard to case (B-11).
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The `Accept` of a POST that the SDKs send, byte for byte: the only one that most servers ever see.
const JSON_AND_EVENTS: &str = "application/json, text/event-stream";

/// The first revision without sessions. Dates compare as text.
const FIRST_MODERN: &str = "2026-07-28";

/// In which form a client takes the answer to its POST: in the one that it accepts, or, if that is `None`, in either (B-45).
/// Without `Accept` it takes anything (RFC 9110, 12.5.1).
pub(crate) fn accepted_form(headers: &HeaderMap) -> Result<Option<ResponseMode>, Rejection> {
    match headers.get(header::ACCEPT) {
        None => return Ok(None),
        // Nothing in a second `Accept` can take back what the first one names in full.
        Some(value) if value == JSON_AND_EVENTS => return Ok(None),
        Some(_) => {}
    }
    match (accepts(headers, JSON), accepts(headers, EVENTS)) {
        (true, true) => Ok(None),
        (true, false) => Ok(Some(ResponseMode::Json)),
        (false, true) => Ok(Some(ResponseMode::Sse)),
        (false, false) => Err(Rejection::NotAcceptable("application/json or text/event-stream")),
    }
}

/// `Accept` of a GET: it has to name events, because the specification asks for it there, and a GET without it is a
/// browser's or a probe's (B-31).
pub(crate) fn check_get_accept(headers: &HeaderMap) -> Result<(), Rejection> {
    let usual = headers.get(header::ACCEPT).is_some_and(|value| value == EVENTS);
    if usual || accepts(headers, EVENTS) {
        Ok(())
    } else {
        Err(Rejection::NotAcceptable("text/event-stream"))
    }
}

/// `Content-Type` of a POST: exactly JSON, parameters aside (B-15).
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(JSON)
    };
    match (types.next(), types.next()) {
        (Some(value), None) if value == JSON || is_json(value) => Ok(()),
        _ => Err(Rejection::UnsupportedMediaType),
    }
}

/// `Content-Encoding` of a POST: not compressed.
pub(crate) fn check_content_encoding(headers: &HeaderMap) -> Result<(), Rejection> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.all(|name| name.is_empty() || name.eq_ignore_ascii_case(b"identity"))
    };
    if encodings.into_iter().all(plain) { Ok(()) } else { Err(Rejection::UnsupportedEncoding) }
}

/// Whether `Accept` covers a media type. The most specific range that matches decides (`type/subtype` before `type/*`
/// before `*/*`), and says no with `q=0`.
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let family = wanted.split('/').next().unwrap_or_default();
    let matches = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let specificity = if essence.eq_ignore_ascii_case(wanted) {
            2
        } else if essence.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(family)) {
            1
        } else if essence == "*/*" {
            0
        } else {
            return None;
        };
        let refused = parts.any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0_f32)
        });
        Some((specificity, !refused))
    };
    let values = headers.get_all(header::ACCEPT).iter();
    // Media types are ASCII; what else may stand in a parameter is nobody's business here.
    let ranges = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let ranges = ranges.map(|range| std::str::from_utf8(range).unwrap_or_default());
    ranges.filter_map(matches).max().is_some_and(|(_, accepted)| accepted)
}

/// The session that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionHeader {
    Absent,
    /// Not an id of this server: as unknown as one that was never issued (E-12).
    Foreign,
    Id(SessionId),
}

/// Reads the session header, and makes sure that no header of the protocol comes twice (B-12).
pub(crate) fn session_header(headers: &HeaderMap) -> Result<SessionHeader, Rejection> {
    // Most requests have no header at all that comes twice.
    if headers.len() > headers.keys_len() {
        single(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?;
        single(headers, &LAST_EVENT_ID, "Last-Event-ID")?;
        single(headers, &METHOD, "Mcp-Method")?;
        single(headers, &NAME, "Mcp-Name")?;
        single(headers, &SESSION_ID, "Mcp-Session-Id")?;
    }
    // An empty one counts as absent: clients and proxies write it for none (E-32).
    Ok(match headers.get(SESSION_ID).filter(|id| !is_blank(id)) {
        None => SessionHeader::Absent,
        Some(id) => match id.to_str().unwrap_or_default().parse() {
            Ok(id) => SessionHeader::Id(id),
            Err(_) => SessionHeader::Foreign,
        },
    })
}

/// The event after which a client wants to go on (D-29). Bytes that are not text name no event of this server; an empty
/// header names none (E-32).
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID).filter(|id| !is_blank(id)).map(|id| id.to_str().unwrap_or_default())
}

fn is_blank(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().is_empty()
}

fn single(headers: &HeaderMap, name: &HeaderName, spelled: &'static str) -> Result<(), Rejection> {
    match headers.get_all(name).iter().nth(1) {
        None => Ok(()),
        Some(_) => Err(Rejection::RepeatedHeader(spelled)),
    }
}

/// The version header, where present, names a supported version (B-26). It never changes that of a session (B-29).
pub(crate) fn check_version(headers: &HeaderMap) -> Result<(), Rejection> {
    match headers.get(PROTOCOL_VERSION).map(|value| value.to_str().unwrap_or_default()) {
        None => Ok(()),
        Some(version) if ProtocolVersion::parse(version).is_some() => Ok(()),
        Some(version) => Err(Rejection::UnsupportedVersion(version.to_owned())),
    }
}

/// A request of a revision without sessions, by its version header, cannot be served yet: a clear error tells its
/// client to fall back to `initialize` (G-40, G-49).
pub(crate) fn check_era(headers: &HeaderMap) -> Result<(), Rejection> {
    let modern = headers.get(PROTOCOL_VERSION).filter(|version| is_modern(version.as_bytes()));
    match modern.and_then(|version| version.to_str().ok()) {
        Some(version) => Err(Rejection::UnsupportedVersion(version.to_owned())),
        None => Ok(()),
    }
}

/// Whether a version is of a revision without sessions.
pub(crate) fn is_modern(version: &[u8]) -> bool {
    version.len() == FIRST_MODERN.len() && version.starts_with(b"20") && version >= FIRST_MODERN.as_bytes()
}

/// Any error.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// What of each body does not count in [`Config::bodies_in_flight`]. Most messages fit in it, so that whoever takes the whole
/// total with large bodies keeps nobody's small ones out. An HTTP server holds as much for each connection anyway.
const SMALL: usize = 64 * 1024;

/// While the endpoint drains: how long a body may stand still. What still arrives then, such as replies and cancels, is short.
const STANDSTILL: Duration = Duration::from_millis(250);

/// A deadline that comes so much too late was missed by this process and not by the client: it was stopped, or had no
/// processor. Nobody's clock is off by a second otherwise.
const OWN_PAUSE: Duration = Duration::from_secs(1);

/// Reads a body, bounded in bytes and time. A body in one piece, which is the common case, is not copied.
pub(crate) async fn read_body<B>(body: Pin<&mut B>, registry: &Registry) -> Result<Bytes, Rejection>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let Env { config, bodies, .. } = &*registry.env;
    if body.size_hint().lower() > config.body_limit as u64 {
        return Err(Rejection::PayloadTooLarge);
    }
    let mut reading = Reading { body, config, first: None, all: BytesMut::new(), held: bodies, counted: 0 };
    // Most bodies are there already: a timer is made only for one that is not.
    if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(reading.poll(cx))).await {
        return read;
    }
    Box::pin(reading.wait(registry)).await // not the size of every request
}

/// A body that is being read.
struct Reading<'a, B> {
    body: Pin<&'a mut B>,
    config: &'a Config,
    /// The first piece, while there is no other.
    first: Option<Bytes>,
    all: BytesMut,
    /// Bytes of all bodies that are being read.
    held: &'a AtomicUsize,
    /// Those of them that are this one's.
    counted: usize,
}

impl<B> Reading<'_, B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Waits for the rest: until its deadline, and in a shutdown for as long as it moves and the endpoint is not closed.
    async fn wait(mut self, registry: &Registry) -> Result<Bytes, Rejection> {
        let Env { runtime, config, .. } = &*registry.env;
        let mut deadline = after(runtime.now(), config.body_timeout);
        loop {
            // The phase is looked at after somebody listens for the next one.
            let (next_phase, phase) = (registry.phase_changed(), registry.phase());
            if phase == ShutdownPhase::Closed {
                return Err(Rejection::ShuttingDown); // nothing is admitted any more
            }
            let now = runtime.now();
            let stands_still =
                (phase >= ShutdownPhase::Draining).then(|| now + STANDSTILL).filter(|at| *at < deadline);
            let (before, until) = (self.length(), stands_still.unwrap_or(deadline));
            let enough = select(runtime.sleep_until(until), next_phase);
            match select(poll_fn(|cx| self.poll(cx)), enough).await {
                Either::Left((read, _)) => return read,
                Either::Right((Either::Right(_), _)) => {} // another phase
                Either::Right((Either::Left(_), _)) => {
                    let now = runtime.now();
                    let own_pause = now.saturating_duration_since(until) > OWN_PAUSE;
                    match stands_still {
                        // What came meanwhile is looked at first, and has a moment to get here.
                        _ if own_pause => deadline = deadline.max(now + OWN_PAUSE),
                        Some(_) if self.length() > before => {}
                        Some(_) => return Err(Rejection::ShuttingDown),
                        None => return Err(Rejection::BodyTimeout),
                    }
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Rejection>> {
        while let Some(frame) = ready!(self.body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(|error| broken_off(&*error.into()))?;
            let Ok(mut data) = frame.into_data() else { continue };
            let length = data.remaining();
            let data = data.copy_to_bytes(length);
            let so_far = self.length();
            if so_far + data.len() > self.config.body_limit {
                return Poll::Ready(Err(Rejection::PayloadTooLarge));
            }
            self.count(so_far + data.len())?;
            match self.first.take() {
                None if self.all.is_empty() => self.first = Some(data),
                None => self.all.extend_from_slice(&data),
                Some(begin) => {
                    // For the rest as well, where the length was told; but a length alone gets no memory for a long body.
                    let rest = self.body.size_hint().lower().min(SMALL as u64) as usize;
                    self.all.reserve(so_far + data.len() + rest);
                    self.all.extend_from_slice(&begin);
                    self.all.extend_from_slice(&data);
                }
            }
        }
        let all = mem::take(&mut self.all);
        Poll::Ready(Ok(self.first.take().unwrap_or_else(|| all.freeze())))
    }

    fn length(&self) -> usize {
        self.first.as_ref().map_or(self.all.len(), Bytes::len)
    }

    /// Counts it as this long among the bodies that are being read.
    fn count(&mut self, length: usize) -> Result<(), Rejection> {
        let more = length.saturating_sub(SMALL).saturating_sub(self.counted);
        if more > 0 {
            let others = self.held.fetch_add(more, Relaxed);
            self.counted += more; // given back when it is dropped
            if others + more > self.config.bodies_in_flight {
                return Err(Rejection::TooManyBodies);
            }
        }
        Ok(())
    }
}

impl<B> Drop for Reading<'_, B> {
    fn drop(&mut self) {
        if self.counted > 0 {
            self.held.fetch_sub(self.counted, Relaxed);
        }
    }
}

/// Why a body has no end: with every cause, because the outermost error often says no more than that there is one.
///
/// A layer in front that limits bodies says so with an error of its own, most often `http_body_util`'s
/// `LengthLimitError`, which `tower-http` and `axum` use. It is known by its text, whatever is around it: naming its type
/// would take the crate, in the version that the layer has.
fn broken_off(error: &(dyn Error + 'static)) -> Rejection {
    let mut why = String::new();
    for error in successors(Some(error), |error| <dyn Error>::source(*error)) {
        let text = error.to_string();
        if text == "length limit exceeded" {
            return Rejection::PayloadTooLarge;
        }
        // Many repeat their cause in their own text.
        if !why.ends_with(&text) {
            let separator = if why.is_empty() { "" } else { ": " };
            why.push_str(separator);
            why.push_str(&text);
        }
    }
    Rejection::BodyIncomplete(why)
}

#[cfg(test)]
mod tests;
