//! The headers of a request: media types, session, version.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use mcp_session_proto::{ProtocolVersion, ResponseMode, SessionId};

use super::rejection::Rejection;
use crate::config::Eras;

/// The session header (E-01). Header names are case-insensitive (B-11).
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The `Accept` of a POST exactly as the SDKs send it: the only value that most servers ever see.
const JSON_AND_EVENTS: &str = "application/json, text/event-stream";

/// The first revision without sessions. Dates compare as text.
pub(super) const FIRST_MODERN: &str = "2026-07-28";

/// The headers of a request that are always looked at, found in one pass: a search for each would hash each name.
pub(crate) struct Fields<'a> {
    headers: &'a HeaderMap,
    pub(super) host: Field<'a>,
    pub(super) origin: Field<'a>,
    accept: Field<'a>,
    content_type: Field<'a>,
    content_encoding: Field<'a>,
    session: Field<'a>,
    version: Field<'a>,
}

/// A header: its first value, and whether it has more.
#[derive(Clone, Copy, Default)]
pub(super) struct Field<'a> {
    pub(super) first: Option<&'a HeaderValue>,
    pub(super) is_repeated: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let none = Field::default();
        let mut fields = Self {
            headers,
            host: none,
            origin: none,
            accept: none,
            content_type: none,
            content_encoding: none,
            session: none,
            version: none,
        };
        for (name, value) in headers {
            let field = match name {
                name if *name == header::HOST => &mut fields.host,
                name if *name == header::CONTENT_TYPE => &mut fields.content_type,
                name if *name == header::ACCEPT => &mut fields.accept,
                name if *name == header::ORIGIN => &mut fields.origin,
                name if *name == header::CONTENT_ENCODING => &mut fields.content_encoding,
                name if *name == SESSION_ID => &mut fields.session,
                name if *name == PROTOCOL_VERSION => &mut fields.version,
                _ => continue,
            };
            match field.first {
                None => field.first = Some(value),
                Some(_) => field.is_repeated = true,
            }
        }
        fields
    }

    /// What they say about where a message belongs. `None` if a header may be repeated: then [`session_header`] decides.
    pub(super) fn address(&self) -> Option<Address> {
        let single = self.headers.len() == self.headers.keys_len();
        single.then(|| Address {
            session: SessionHeader::read(self.session.first),
            version: VersionHeader::read(self.version.first),
        })
    }
}

/// What these headers say about where a message belongs: see [`Fields::address`].
pub(crate) fn address(headers: &HeaderMap) -> Option<Address> {
    Fields::of(headers).address()
}

/// What the headers of a message say about where it belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    pub(crate) session: SessionHeader,
    pub(crate) version: VersionHeader,
}

/// What the version header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionHeader {
    Absent,
    /// A version with a handshake.
    Legacy(ProtocolVersion),
    /// 2026-07-28 or later, known or not.
    Modern,
    Unknown,
}

impl VersionHeader {
    /// That of these headers; the first one if it is repeated.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self::read(headers.get(PROTOCOL_VERSION))
    }

    fn read(value: Option<&HeaderValue>) -> Self {
        let Some(value) = value.map(HeaderValue::as_bytes) else { return Self::Absent };
        let known = ProtocolVersion::ALL.iter().find(|version| version.as_str().as_bytes() == value);
        match known {
            Some(version) if version.has_handshake() => Self::Legacy(*version),
            Some(_) => Self::Modern,
            None if is_modern(value.trim_ascii()) => Self::Modern,
            None => Self::Unknown,
        }
    }
}

/// The only form of answer that the client of a POST accepts; `None` if it accepts both (B-45). Without `Accept` it accepts
/// anything (RFC 9110, 12.5.1).
pub(crate) fn accepted_form(fields: &Fields<'_>) -> Result<Option<ResponseMode>, Rejection> {
    match fields.accept.first {
        None => return Ok(None),
        // A second `Accept` cannot take back what the first one names in full.
        Some(value) if value == JSON_AND_EVENTS => return Ok(None),
        Some(_) => {}
    }
    let headers = fields.headers;
    match (accepts(headers, JSON), accepts(headers, EVENTS)) {
        (true, true) => Ok(None),
        (true, false) => Ok(Some(ResponseMode::Json)),
        (false, true) => Ok(Some(ResponseMode::Sse)),
        (false, false) => Err(Rejection::NotAcceptable("application/json or text/event-stream")),
    }
}

/// Checks the `Accept` of a GET: it must cover events. The specification requires it, and a GET without it comes from a
/// browser or a probe (B-31).
pub(crate) fn check_get_accept(headers: &HeaderMap) -> Result<(), Rejection> {
    let usual = headers.get(header::ACCEPT).is_some_and(|value| value == EVENTS);
    if usual || accepts(headers, EVENTS) {
        Ok(())
    } else {
        Err(Rejection::NotAcceptable("text/event-stream"))
    }
}

/// Checks the `Content-Type` of a POST: exactly JSON, apart from parameters (B-15).
pub(crate) fn check_content_type(fields: &Fields<'_>) -> Result<(), Rejection> {
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(JSON)
    };
    match fields.content_type {
        Field { first: Some(value), is_repeated: false } if value == JSON || is_json(value) => Ok(()),
        _ => Err(Rejection::UnsupportedMediaType),
    }
}

/// Checks the `Content-Encoding` of a POST: the body must not be compressed.
pub(crate) fn check_content_encoding(fields: &Fields<'_>) -> Result<(), Rejection> {
    if fields.content_encoding.first.is_none() {
        return Ok(());
    }
    let encodings = fields.headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.all(|name| name.is_empty() || name.eq_ignore_ascii_case(b"identity"))
    };
    if encodings.into_iter().all(plain) { Ok(()) } else { Err(Rejection::UnsupportedEncoding) }
}

/// Returns `true` if `Accept` covers a media type. The most specific matching range decides (`type/subtype` before
/// `type/*` before `*/*`); with `q=0` it excludes the type.
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
    // Media types are ASCII; anything else in a parameter does not matter here.
    let ranges = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let ranges = ranges.map(|range| std::str::from_utf8(range).unwrap_or_default());
    ranges.filter_map(matches).max().is_some_and(|(_, accepted)| accepted)
}

/// The session header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionHeader {
    Absent,
    /// Not an id of this server: handled like an id that was never issued (E-12).
    Foreign,
    Id(SessionId),
}

/// Reads the session header, and checks that no header of the protocol is repeated (B-12).
pub(crate) fn session_header(headers: &HeaderMap) -> Result<SessionHeader, Rejection> {
    // Most requests repeat no header at all.
    if headers.len() > headers.keys_len() {
        single(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?;
        single(headers, &LAST_EVENT_ID, "Last-Event-ID")?;
        single(headers, &METHOD, "Mcp-Method")?;
        single(headers, &NAME, "Mcp-Name")?;
        single(headers, &SESSION_ID, "Mcp-Session-Id")?;
    }
    Ok(SessionHeader::read(headers.get(SESSION_ID)))
}

impl SessionHeader {
    fn read(value: Option<&HeaderValue>) -> Self {
        // An empty header counts as absent: clients and proxies send it to mean none (E-32).
        match value.filter(|id| !is_blank(id)) {
            None => Self::Absent,
            Some(id) => SessionId::from_digits(id.as_bytes()).map_or(Self::Foreign, Self::Id),
        }
    }
}

/// The event after which a client wants to resume (D-29). A value that is not text matches no event of this server; an
/// empty header counts as absent (E-32).
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

/// The version of a message of a legacy revision without a session: that of the header, or 2025-03-26, which has no such
/// header (B-26, B-27). The header never changes the version of a session (B-29).
pub(crate) fn version(headers: &HeaderMap, eras: Eras) -> Result<ProtocolVersion, Rejection> {
    let Some(value) = headers.get(PROTOCOL_VERSION) else { return Ok(ProtocolVersion::V2025_03_26) };
    let name = value.to_str().unwrap_or_default();
    let version = ProtocolVersion::parse(name).filter(|version| version.has_handshake());
    version.ok_or_else(|| Rejection::UnsupportedVersion(name.to_owned(), eras))
}

/// Refuses a request whose version header names a modern revision, where none is served: the error makes the client fall
/// back to `initialize` (G-40, G-49).
pub(crate) fn check_era(headers: &HeaderMap, eras: Eras) -> Result<(), Rejection> {
    let modern = headers.get(PROTOCOL_VERSION).filter(|version| is_modern(version.as_bytes()));
    match modern.and_then(|version| version.to_str().ok()) {
        Some(version) => Err(Rejection::UnsupportedVersion(version.to_owned(), eras)),
        None => Ok(()),
    }
}

/// Returns `true` if the version is 2026-07-28 or later.
pub(crate) fn is_modern(version: &[u8]) -> bool {
    version.len() == FIRST_MODERN.len() && version.starts_with(b"20") && version >= FIRST_MODERN.as_bytes()
}

#[cfg(test)]
mod tests;
