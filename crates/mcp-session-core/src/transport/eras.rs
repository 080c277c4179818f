//! The era of a message: with or without a handshake (G-40).

use http::HeaderMap;
use mcp_session_proto::{Part, RpcRequest};

use super::{
    envelope::{Envelope, Unchecked, no_envelope, no_version_header, supported},
    headers::{FIRST_MODERN, PROTOCOL_VERSION, VersionHeader, check_era, is_modern},
    rejection::Rejection,
    values::{bounded, header},
};
use crate::config::Eras;

/// The era of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestEra {
    /// Of a revision with a handshake. Nothing about it was checked.
    Legacy,
    /// Of 2026-07-28. Envelope and headers are valid; whether there is such a method was not checked.
    Modern(Envelope),
}

/// Finds the era of a request, and checks a modern one up to its method and name (G-40). `version` is what its version header
/// says.
///
/// The body decides first: a version in `params._meta` makes the request modern, unless it is an older version. Then
/// `initialize` is legacy, and a request whose version header names 2026-07-28 or later is modern without an envelope. All
/// others are legacy. An older version in `params._meta` does not make a request legacy whose header says otherwise.
///
/// A request that names no version in its body is refused in this way by an endpoint that serves [`Eras::Modern`] only:
///
/// | request | rejection |
/// |---|---|
/// | `initialize` | -32022, with the served versions (G-43) |
/// | header of 2026-07-28 or later | -32602: there is no envelope (G-03, G-20) |
/// | any other header | -32022: this version is not served (G-18) |
/// | no header, or a malformed one | -32020 (G-45, G-13) |
///
/// An endpoint that serves [`Eras::Legacy`] only refuses modern requests in a way that makes their clients use `initialize`,
/// without a code of 2026-07-28 (G-49).
///
/// # Errors
///
/// Those above, and those of [`Unchecked::check`].
pub(crate) fn era_of_request(
    eras: Eras,
    headers: &HeaderMap,
    version: VersionHeader,
    request: &RpcRequest,
) -> Result<RequestEra, Rejection> {
    let is_initialize = request.method == "initialize";
    if !eras.has_modern() {
        if !is_initialize {
            refuse_modern(eras, headers, request)?;
        }
        return Ok(RequestEra::Legacy);
    }
    let has_header = version == VersionHeader::Modern;
    if eras.has_legacy() && (is_initialize || !has_header) && !has_version(request) {
        return Ok(RequestEra::Legacy); // the usual request pays no more than this
    }

    let unchecked = Unchecked::read(request)?;
    match unchecked.version()? {
        Some(version) if eras.has_legacy() && !has_header && is_older(&version) => Ok(RequestEra::Legacy),
        Some(version) => unchecked.check(&version, &request.method, headers, eras).map(RequestEra::Modern),
        None if eras.has_legacy() && (is_initialize || !has_header) => Ok(RequestEra::Legacy),
        None if is_initialize => {
            let version = unchecked.handshake().unwrap_or_default();
            Err(Rejection::UnsupportedModernVersion(bounded(&version).into_owned(), eras))
        }
        None if has_header => Err(no_envelope()),
        None => {
            let version = header(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?;
            let version = version.filter(|version| !version.is_empty()).ok_or_else(no_version_header)?;
            Err(Rejection::UnsupportedModernVersion(bounded(version).into_owned(), eras))
        }
    }
}

/// Checks a notification by its version header, and returns `true` if it is modern: revision 2026-07-28 has none over HTTP,
/// so it is accepted and dropped (G-16).
///
/// # Errors
///
/// [`Rejection::UnsupportedModernVersion`] if the header names a version that is not served (G-18); where no legacy version
/// is served, [`Rejection::HeaderMismatch`] if the header is missing (G-45). [`Rejection::UnsupportedVersion`] for a modern
/// one if none is served (G-49).
pub(crate) fn is_modern_notification(eras: Eras, headers: &HeaderMap) -> Result<bool, Rejection> {
    if !eras.has_modern() {
        return check_era(headers, eras).map(|()| false);
    }
    if eras.has_legacy() && !names_modern(headers) {
        return Ok(false);
    }
    let version = header(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?;
    let version = version.filter(|version| !version.is_empty()).ok_or_else(no_version_header)?;
    supported(version, eras).map(|_| true)
}

/// Refuses a response, by its version header: no client of 2026-07-28 sends one. Where no modern version is served,
/// the version is left to the session that the response names (B-26, E-11).
///
/// # Errors
///
/// [`Rejection::NotARequest`].
pub(crate) fn check_response(eras: Eras, headers: &HeaderMap) -> Result<(), Rejection> {
    let is_modern = eras.has_modern() && (!eras.has_legacy() || names_modern(headers));
    if is_modern { Err(Rejection::NotARequest) } else { Ok(()) }
}

/// Refuses a batch, by its version header: revision 2026-07-28 has none.
///
/// # Errors
///
/// [`Rejection::NotARequest`]; [`Rejection::UnsupportedVersion`] for a modern one if none is served (G-49).
pub(crate) fn check_batch(eras: Eras, headers: &HeaderMap) -> Result<(), Rejection> {
    check_response(eras, headers)?;
    if eras.has_modern() { Ok(()) } else { check_era(headers, eras) }
}

/// Refuses GET and DELETE, by their version header: revision 2026-07-28 has neither (G-44). Where no modern version is
/// served, the version is left to the session that the request names (B-26, E-11); where only modern ones are served,
/// neither method is offered (G-43).
///
/// # Errors
///
/// [`Rejection::MethodNotAllowed`].
pub(crate) fn check_get_or_delete(eras: Eras, headers: &HeaderMap) -> Result<(), Rejection> {
    if eras.has_modern() && names_modern(headers) { Err(Rejection::MethodNotAllowed("POST")) } else { Ok(()) }
}

/// Refuses the methods that revision 2026-07-28 has removed, of which the handler might have some (G-21).
///
/// # Errors
///
/// [`Rejection::UnknownMethod`].
pub(crate) fn check_removed(method: &str) -> Result<(), Rejection> {
    match method {
        "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
            Err(Rejection::UnknownMethod(method.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Refuses a request of a modern version, by its envelope or its header (G-49).
fn refuse_modern(eras: Eras, headers: &HeaderMap, request: &RpcRequest) -> Result<(), Rejection> {
    if has_version(request) {
        let version = Unchecked::read(request).and_then(|unchecked| unchecked.version());
        if let Some(version) = version.ok().flatten().filter(|version| is_modern(version.as_bytes())) {
            return Err(Rejection::UnsupportedVersion(version.into_owned(), eras));
        }
    }
    check_era(headers, eras)
}

/// Whether a request that is refused before its body could be read is of 2026-07-28, as far as its header says.
pub(crate) fn looks_modern(eras: Eras, headers: &HeaderMap) -> bool {
    eras.has_modern() && names_modern(headers)
}

/// Whether the version header names 2026-07-28 or later.
fn names_modern(headers: &HeaderMap) -> bool {
    VersionHeader::of(headers) == VersionHeader::Modern
}

/// Whether a request has a version in its `_meta`. One whose params are ambiguous counts as having none, unless they have the key
/// somewhere.
fn has_version(request: &RpcRequest) -> bool {
    match request.part(Part::Version) {
        Ok(version) => version.is_some(),
        Err(_) => {
            request.params.as_ref().is_some_and(|params| params.as_str().contains("modelcontextprotocol"))
        }
    }
}

/// Whether a version is a date before the first revision without a handshake. Anything else is a version of the future.
fn is_older(version: &str) -> bool {
    let is_date = version.len() == FIRST_MODERN.len()
        && version.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && version < FIRST_MODERN
}

#[cfg(test)]
mod tests;
