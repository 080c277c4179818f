//! The responses of an endpoint.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mcp_session_proto::{self as proto, HttpRefusal, Json, Outgoing, RequestId, ResponseMode, Text};

use crate::{handler::exchange::ReplyHead, stream::ReplyBody, transport::Rejection};

pub(super) fn respond(head: ReplyHead) -> Result<Response<ReplyBody>, Rejection> {
    match head {
        ReplyHead::Json(answer) => Ok(json(answer)),
        ReplyHead::Refused(answer, refusal) => Ok(refused(answer, *refusal)),
        ReplyHead::Events(stream) => Ok(events(ReplyBody::events(stream))),
        ReplyHead::Lost => Err(Rejection::Internal("the reply was lost")),
    }
}

/// The answer of a handler that refuses the credential (B-09).
#[cold]
fn refused(answer: Text, refusal: HttpRefusal) -> Response<ReplyBody> {
    let mut response = json(answer);
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
    if let Some(challenge) = refusal.challenge.and_then(|text| HeaderValue::from_maybe_shared(text).ok()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The response with this answer, in the only form that the client accepts, if there is one (B-45).
pub(super) fn answer(answer: bytes::Bytes, form: Option<ResponseMode>) -> Response<ReplyBody> {
    match form {
        Some(ResponseMode::Sse) => events(ReplyBody::batch([event(&answer)].into(), Vec::new())),
        Some(_) | None => json(answer),
    }
}

/// The answer to `ping` (C-14).
pub(super) fn pong(id: &RequestId) -> bytes::Bytes {
    Outgoing::Result { id, result: &Json::from(serde_json::json!({})) }.to_json()
}

/// Formats a one-line answer as an event.
pub(super) fn event(answer: &[u8]) -> bytes::Bytes {
    [proto::MESSAGE, answer, b"\n\n"].concat().into()
}

pub(super) fn accepted() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::ACCEPTED; // B-17
    response
}

pub(super) fn json(answer: impl Into<Text>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::text(answer.into()));
    // hyper reads the next request of the connection into this map: with room for its headers, it need not grow.
    *response.headers_mut() = HeaderMap::with_capacity(6);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn events(body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    *headers = HeaderMap::with_capacity(3); // hyper keeps it for as long as the stream is open
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // D-41: no cache and no proxy may hold events back.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
