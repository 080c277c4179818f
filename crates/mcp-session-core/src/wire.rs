//! What a request says beside its body: media types, the session, the version. And the body, bounded.

use std::{
    fmt::Display,
    pin::{Pin, pin},
    task::Poll,
};

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{Either, poll_fn, select};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Body;

use crate::{Config, ProtocolVersion, ResponseMode, Runtime, SessionId, error::Rejection, proto::after};

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

/// `Content-Type` of a POST: exactly JSON, parameters aside (B-15), and not compressed.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(JSON)
    };
    match (types.next(), types.next()) {
        (Some(value), None) if value == JSON || is_json(value) => {}
        _ => return Err(Rejection::UnsupportedMediaType),
    }
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

/// Reads a body, bounded in bytes and time. A body in one piece, which is the common case, is not copied.
pub(crate) async fn read_body<B>(
    body: Pin<&mut B>,
    config: &Config,
    runtime: &dyn Runtime,
) -> Result<Bytes, Rejection>
where
    B: Body,
    B::Error: Display,
{
    if body.size_hint().lower() > config.body_limit as u64 {
        return Err(Rejection::PayloadTooLarge);
    }
    let mut collect = pin!(collect(body, config.body_limit));
    // Most bodies are there already: a timer is made only for one that is not.
    if let Poll::Ready(collected) = poll_fn(|cx| Poll::Ready(collect.as_mut().poll(cx))).await {
        return collected;
    }
    let deadline = runtime.sleep_until(after(runtime.now(), config.body_timeout));
    match select(collect, deadline).await {
        Either::Left((collected, _)) => collected,
        Either::Right(((), _)) => Err(Rejection::BodyTimeout),
    }
}

async fn collect<B>(mut body: Pin<&mut B>, limit: usize) -> Result<Bytes, Rejection>
where
    B: Body,
    B::Error: Display,
{
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| Rejection::BodyIncomplete(error.to_string()))?;
        let Ok(mut data) = frame.into_data() else { continue };
        let length = data.remaining();
        let data = data.copy_to_bytes(length);
        let so_far = first.as_ref().map_or(all.len(), Bytes::len);
        if so_far + data.len() > limit {
            return Err(Rejection::PayloadTooLarge);
        }
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(begin) => {
                // For the rest as well, where the length was told.
                let rest = body.size_hint().lower().min(limit as u64) as usize;
                all.reserve(so_far + data.len() + rest);
                all.extend_from_slice(&begin);
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn b_45_accept_of_a_post() {
        use ResponseMode::{Json, Sse};
        for (value, form) in [
            ("application/json, text/event-stream", None),
            ("text/event-stream;q=0.5,application/json;q=0.9", None),
            ("*/*", None),
            ("*/*;q=0.1", None),
            ("application/*, text/*", None),
            ("APPLICATION/JSON , Text/Event-Stream; charset=utf-8", None),
            ("application/json", Some(Json)),
            ("application/json; q=1.0, */*; q=0", Some(Json)),
            ("text/html, application/*", Some(Json)),
            ("application/json, text/event-stream;q=0", Some(Json)),
            ("*/*, text/event-stream; q=0.000", Some(Json)),
            ("application/json, text/event-streams", Some(Json)),
            ("text/event-stream", Some(Sse)),
            ("text/*", Some(Sse)),
            ("application/jsonx, text/event-stream", Some(Sse)),
            ("application/json;q=0, */*", Some(Sse)),
        ] {
            assert_eq!(accepted_form(&accept(value)), Ok(form), "{value}");
        }
        for bad in ["", "text/html", "application/json;q=0", "*/*;q=0", "application/xml, image/*", "json"] {
            assert!(matches!(accepted_form(&accept(bad)), Err(Rejection::NotAcceptable(_))), "{bad}");
        }
        assert_eq!(accepted_form(&HeaderMap::new()), Ok(None)); // anything
        let mut twice = accept("application/json, text/event-stream");
        twice.append(header::ACCEPT, HeaderValue::from_static("*/*;q=0, text/event-stream;q=0"));
        assert_eq!(accepted_form(&twice), Ok(None));
        let mut lines = accept("application/json");
        lines.append(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        assert_eq!(accepted_form(&lines), Ok(None));
        let mut odd = HeaderMap::new();
        let value = HeaderValue::from_bytes(b"application/json, x/\xe9").unwrap();
        odd.insert(header::ACCEPT, value);
        assert_eq!(accepted_form(&odd), Ok(Some(Json)));
        // B-31
        for (value, ok) in
            [("text/event-stream", true), ("*/*", true), ("application/json", false), ("", false)]
        {
            assert_eq!(check_get_accept(&accept(value)).is_ok(), ok, "{value}");
        }
        assert!(check_get_accept(&accept("*/*, text/event-stream;q=0")).is_err());
        assert!(check_get_accept(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_body_that_is_compressed_is_refused_and_one_that_says_it_is_not_is_read() {
        for (value, plain) in [
            ("identity", true),
            ("Identity", true),
            ("", true),
            ("identity, identity", true),
            ("gzip", false),
            ("identity, br", false),
            ("deflate, identity", false),
            ("x", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            let expected = if plain { Ok(()) } else { Err(Rejection::UnsupportedEncoding) };
            assert_eq!(check_content_type(&headers), expected, "{value}");
        }
    }

    #[test]
    fn e_32_an_empty_header_counts_as_absent() {
        for (value, absent) in [("", true), (" ", true), ("x", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(SESSION_ID, HeaderValue::from_static(value));
            headers.insert(LAST_EVENT_ID, HeaderValue::from_static(value));
            let session = if absent { SessionHeader::Absent } else { SessionHeader::Foreign };
            assert_eq!(session_header(&headers), Ok(session), "{value:?}");
            assert_eq!(last_event_id(&headers).is_none(), absent, "{value:?}");
        }
    }

    #[test]
    fn b_15_content_type_is_matched_whole() {
        for (value, ok) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json-patch+json", false),
            ("text/plain", false),
            ("text/plain; application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(check_content_type(&headers).is_ok(), ok, "{value}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }

    #[test]
    fn b_12_repeated_protocol_headers() {
        for name in [SESSION_ID, PROTOCOL_VERSION, LAST_EVENT_ID, METHOD, NAME] {
            let mut headers = HeaderMap::new();
            headers.append(&name, HeaderValue::from_static("x"));
            assert!(session_header(&headers).is_ok());
            headers.append(&name, HeaderValue::from_static("x"));
            assert!(matches!(session_header(&headers), Err(Rejection::RepeatedHeader(_))), "{name}");
        }
    }

    #[test]
    fn g_40_which_versions_are_modern() {
        assert!(is_modern(b"2026-07-28"));
        assert!(is_modern(b"2027-01-01"));
        for legacy in ["2025-11-25", "2024-11-05", "garbage", "", "DRAFT-2026"] {
            assert!(!is_modern(legacy.as_bytes()), "{legacy}");
        }
    }
}
