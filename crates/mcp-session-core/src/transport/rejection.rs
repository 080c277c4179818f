//! [`Rejection`]: why a request was not admitted, and the one table of statuses and codes.

use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};
use mcp_session_proto::{
    ErrorCode, Json, Outgoing, ParseError, ProtocolVersion, Refusal, RequestId, RpcError,
};

use super::values::bounded;
use crate::{
    config::{AuthError, Config, Eras},
    observer::Refused,
    trace::RefusedRequest,
};

/// Why a request was not admitted. Nothing was dispatched; this is the only answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// `Host` is missing, repeated or malformed (RFC 9112, 3.2).
    BadHost,
    /// This `Host` is not on the list (B-07).
    ForbiddenHost(String),
    /// This `Origin` is not on the list (B-05).
    ForbiddenOrigin(String),
    /// The method is not offered; `Allow` lists those that are (B-39).
    MethodNotAllowed(&'static str),
    /// The credential was refused (B-09).
    Auth(AuthError),
    /// The check of the credential did not finish within [`Config::authenticate_timeout`].
    AuthTimeout,
    /// `Accept` covers no possible form of the answer (B-45, B-31).
    NotAcceptable(&'static str),
    /// `Content-Type` is not `application/json` (B-15).
    UnsupportedMediaType,
    /// `Content-Encoding` says that the body is compressed.
    UnsupportedEncoding,
    /// The body is larger than [`Config::body_limit`].
    PayloadTooLarge,
    /// The body did not arrive within [`Config::body_timeout`].
    BodyTimeout,
    /// With this body, all bodies that are arriving would exceed [`Config::bodies_in_flight`].
    TooManyBodies,
    /// The body failed before its end.
    BodyIncomplete(String),
    /// The body is neither a JSON-RPC message nor a batch that the session accepts (A-14, A-16, A.2).
    Message(ParseError),
    /// A single-valued header of the protocol is repeated (B-12).
    RepeatedHeader(&'static str),
    /// The session header is missing (E-09).
    MissingSession,
    /// There is no such session, or no longer (E-11).
    UnknownSession,
    /// The session header is missing, and no session is needed, but this method has no meaning without one (E-32).
    NeedsSession,
    /// A protocol version that is not supported (B-26), and those that are.
    UnsupportedVersion(String, Eras),
    /// A request of 2026-07-28 or later names a version that is not supported (G-18).
    UnsupportedModernVersion(String, Eras),
    /// A request of 2026-07-28 lacks a part of its envelope, or the part is invalid (G-03).
    InvalidEnvelope(Cow<'static, str>),
    /// A header of a request of 2026-07-28 is missing, malformed, or does not agree with the body (G-10 to G-14).
    HeaderMismatch(Cow<'static, str>),
    /// The request needs a capability that its client does not declare (G-05). An object of capabilities.
    MissingCapability(Json),
    /// Revision 2026-07-28 has no such method (G-21).
    UnknownMethod(String),
    /// A message that no client of 2026-07-28 sends: a response or a batch.
    NotARequest,
    /// There are [`Config::max_stateless_requests`] running requests without a session, or
    /// [`Config::max_stateless_requests_per_principal`] of this principal.
    TooManyRequests,
    /// There are [`Config::max_subscriptions`], or [`Config::max_subscriptions_per_principal`] of this principal (G-59).
    TooManySubscriptions,
    /// The params of `initialize` are invalid (C-02).
    InvalidInitialize(RpcError),
    /// The session refused the request (C.2).
    Session(Refusal),
    /// The session is in the store, but not at this node at the moment.
    Moving,
    /// The store failed or did not respond in time: it is not known whether the session exists, its events cannot be read,
    /// or a new session cannot be stored.
    StoreUnavailable,
    /// The node that has sent the request does not say that it has the client's reply.
    ReplyUnconfirmed,
    /// There are [`Config::max_sessions`] sessions, or [`Config::max_sessions_per_principal`] of this principal (E-15).
    TooManySessions,
    /// The endpoint is shutting down: it admits no new sessions (F-37), and no request whose body makes no progress while
    /// the endpoint drains, or is incomplete when everything is closed (S14).
    ShuttingDown,
    /// The server failed before the answer began (B-43).
    Internal(&'static str),
}

impl Rejection {
    /// The table: reason for metrics and logs, status, code and message of every rejection.
    #[rustfmt::skip]
    fn row(&self) -> (&'static str, StatusCode, ErrorCode, Cow<'static, str>) {
        use ErrorCode as C;
        use StatusCode as S;
        match self {
            Self::BadHost                => ("bad_host", S::BAD_REQUEST, C::INVALID_REQUEST, "there must be exactly one `Host` header, and it must be valid".into()),
            Self::ForbiddenHost(host)    => ("forbidden_host", S::FORBIDDEN, C::INVALID_REQUEST, format!("the host {host:?} is not in `Config::allowed_hosts`").into()),
            Self::ForbiddenOrigin(origin) => ("forbidden_origin", S::FORBIDDEN, C::INVALID_REQUEST, format!("the origin {origin:?} is not in `Config::allowed_origins`").into()),
            Self::MethodNotAllowed(_)    => ("method_not_allowed", S::METHOD_NOT_ALLOWED, C::INVALID_REQUEST, "the endpoint does not offer this method".into()),
            Self::Auth(e @ AuthError::Unauthorized(_)) => ("unauthorized", S::UNAUTHORIZED, C::INVALID_REQUEST, e.to_string().into()),
            Self::Auth(e @ AuthError::Forbidden) => ("forbidden", S::FORBIDDEN, C::INVALID_REQUEST, e.to_string().into()),
            Self::Auth(e @ AuthError::InsufficientScope(_)) => ("insufficient_scope", S::FORBIDDEN, C::INVALID_REQUEST, e.to_string().into()),
            Self::Auth(e @ AuthError::Malformed) => ("malformed_credential", S::BAD_REQUEST, C::INVALID_REQUEST, e.to_string().into()),
            Self::Auth(e @ AuthError::Unavailable) => ("credential_check_unavailable", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, e.to_string().into()),
            Self::AuthTimeout            => ("credential_check_timeout", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "the credential could not be checked in time".into()),
            Self::NotAcceptable(needed)  => ("not_acceptable", S::NOT_ACCEPTABLE, C::INVALID_REQUEST, format!("`Accept` must cover {needed}").into()),
            Self::UnsupportedMediaType   => ("unsupported_media_type", S::UNSUPPORTED_MEDIA_TYPE, C::INVALID_REQUEST, "`Content-Type` must be application/json".into()),
            Self::UnsupportedEncoding    => ("unsupported_encoding", S::UNSUPPORTED_MEDIA_TYPE, C::INVALID_REQUEST, "the body must not be compressed".into()),
            Self::PayloadTooLarge        => ("body_too_large", S::PAYLOAD_TOO_LARGE, C::INVALID_REQUEST, "the body is too large".into()),
            Self::BodyTimeout            => ("body_timeout", S::REQUEST_TIMEOUT, C::INVALID_REQUEST, "the body did not arrive in time".into()),
            Self::TooManyBodies          => ("too_many_bodies", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "the server is receiving too many large bodies at the moment".into()),
            Self::BodyIncomplete(why)    => ("body_incomplete", S::BAD_REQUEST, C::INVALID_REQUEST, format!("the body broke off: {why}").into()),
            Self::Message(error @ ParseError::NotJson(_)) => ("not_json", S::BAD_REQUEST, C::PARSE_ERROR, error.to_string().into()),
            Self::Message(ParseError::Batch) => ("unexpected_batch", S::BAD_REQUEST, C::INVALID_REQUEST, "the session's protocol version has no batches: send each message in its own POST".into()),
            Self::Message(error @ (ParseError::Invalid { .. } | ParseError::InvalidBatch(_))) => ("invalid_message", S::BAD_REQUEST, C::INVALID_REQUEST, error.to_string().into()),
            Self::RepeatedHeader(name)   => ("repeated_header", S::BAD_REQUEST, C::INVALID_REQUEST, format!("the header {name} must not be repeated").into()),
            Self::MissingSession         => ("missing_session", S::BAD_REQUEST, C::INVALID_REQUEST, "the header Mcp-Session-Id is missing: open a session with `initialize` (`Config::sessions` is `Stateful`; `Optional` serves requests without one)".into()),
            Self::NeedsSession           => ("needs_session", S::METHOD_NOT_ALLOWED, C::INVALID_REQUEST, "the header Mcp-Session-Id is missing: there is no stream and nothing to delete without a session".into()),
            Self::UnknownSession         => ("unknown_session", S::NOT_FOUND, C::SESSION_NOT_FOUND, "no such session: open a new one with `initialize`".into()),
            Self::UnsupportedVersion(v, _) => ("unsupported_version", S::BAD_REQUEST, C::INVALID_REQUEST, format!("protocol version {v:?} is not supported here").into()),
            Self::UnsupportedModernVersion(v, _) => ("unsupported_version", S::BAD_REQUEST, C::UNSUPPORTED_PROTOCOL_VERSION, format!("protocol version {v:?} is not supported here").into()),
            Self::InvalidEnvelope(why)   => ("invalid_envelope", S::BAD_REQUEST, C::INVALID_PARAMS, why.clone()),
            Self::HeaderMismatch(why)    => ("header_mismatch", S::BAD_REQUEST, C::HEADER_MISMATCH, why.clone()),
            Self::MissingCapability(_)   => ("missing_capability", S::BAD_REQUEST, C::MISSING_CLIENT_CAPABILITY, "the request needs a capability that its client does not declare".into()),
            Self::UnknownMethod(method)  => ("unknown_method", S::NOT_FOUND, C::METHOD_NOT_FOUND, format!("method not found: {}", bounded(method)).into()),
            Self::NotARequest            => ("not_a_request", S::BAD_REQUEST, C::INVALID_REQUEST, "a POST of this protocol version must be one request".into()),
            Self::TooManyRequests        => ("too_many_requests", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "too many requests are running".into()),
            Self::TooManySubscriptions   => ("too_many_subscriptions", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "too many subscriptions are open".into()),
            Self::InvalidInitialize(e)   => ("invalid_initialize", S::BAD_REQUEST, C::INVALID_PARAMS, e.message.clone()),
            Self::Session(Refusal::AlreadyInitialized) => ("already_initialized", S::BAD_REQUEST, C::INVALID_REQUEST, "the session is already initialized".into()),
            Self::Session(Refusal::NotInitialized) => ("not_initialized", S::BAD_REQUEST, C::INVALID_REQUEST, "the session is not initialized yet".into()),
            Self::Session(Refusal::DuplicateId) => ("duplicate_id", S::BAD_REQUEST, C::INVALID_REQUEST, "a request with this id is still running".into()),
            Self::Session(Refusal::TooManyRequests) => ("too_many_requests_in_session", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "too many requests are running in this session".into()),
            Self::Session(Refusal::StreamTaken) => ("stream_taken", S::CONFLICT, C::INVALID_REQUEST, "the session already has a standalone stream that its client is reading".into()),
            Self::Session(Refusal::StreamContested) => ("stream_contested", S::CONFLICT, C::INVALID_REQUEST, "another connection has the session's standalone stream, and its client responds: use one connection, or a separate session".into()),
            Self::Session(Refusal::UnknownEvent) => ("unknown_event", S::BAD_REQUEST, C::INVALID_REQUEST, "unknown or expired Last-Event-ID: open a stream without it".into()),
            Self::Session(Refusal::Draining) | Self::ShuttingDown => ("shutting_down", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "the server is shutting down".into()),
            Self::Session(Refusal::Gone) => Self::UnknownSession.row(),
            Self::Moving                 => ("session_moving", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "the session is moving to another server".into()),
            Self::StoreUnavailable       => ("store_unavailable", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "the session store does not respond".into()),
            Self::ReplyUnconfirmed       => ("reply_unconfirmed", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "the server that needs this message does not respond".into()),
            Self::TooManySessions        => ("too_many_sessions", S::SERVICE_UNAVAILABLE, C::CONNECTION_CLOSED, "too many sessions".into()),
            Self::Internal(what)         => ("internal", S::INTERNAL_SERVER_ERROR, C::INTERNAL_ERROR, (*what).into()),
        }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.row().1
    }

    /// The setting that an operator can change to admit the request, if there is one. Such a rejection is logged as a
    /// warning.
    fn setting(&self) -> Option<&'static str> {
        Some(match self {
            Self::ForbiddenHost(_) => "Config::allowed_hosts",
            Self::ForbiddenOrigin(_) => "Config::allowed_origins",
            Self::PayloadTooLarge => "Config::body_limit",
            Self::BodyTimeout => "Config::body_timeout",
            Self::TooManyBodies => "Config::bodies_in_flight",
            Self::AuthTimeout => "Config::authenticate_timeout",
            Self::TooManySessions => "Config::max_sessions, Config::max_sessions_per_principal",
            Self::Session(Refusal::TooManyRequests) => "SessionConfig::max_exchanges",
            Self::StoreUnavailable => "Store::timeout",
            Self::MissingSession => "Config::sessions",
            Self::UnsupportedVersion(version, _) | Self::UnsupportedModernVersion(version, _)
                if ProtocolVersion::parse(version).is_some() =>
            {
                "Config::eras"
            }
            Self::TooManyRequests => {
                "Config::max_stateless_requests, Config::max_stateless_requests_per_principal"
            }
            Self::TooManySubscriptions => {
                "Config::max_subscriptions, Config::max_subscriptions_per_principal"
            }
            Self::BadHost
            | Self::UnsupportedEncoding
            | Self::MethodNotAllowed(_)
            | Self::Auth(_)
            | Self::NotAcceptable(_)
            | Self::UnsupportedMediaType
            | Self::BodyIncomplete(_)
            | Self::Message(_)
            | Self::RepeatedHeader(_)
            | Self::NeedsSession
            | Self::UnknownSession
            | Self::UnsupportedVersion(..)
            | Self::UnsupportedModernVersion(..)
            | Self::InvalidEnvelope(_)
            | Self::HeaderMismatch(_)
            | Self::MissingCapability(_)
            | Self::UnknownMethod(_)
            | Self::NotARequest
            | Self::InvalidInitialize(_)
            | Self::Session(_)
            | Self::Moving
            | Self::ReplyUnconfirmed
            | Self::ShuttingDown
            | Self::Internal(_) => return None,
        })
    }

    /// What the observer hears.
    pub(crate) fn to_observe(&self) -> Refused {
        let (reason, status, ..) = self.row();
        Refused::new(reason, status, self.setting())
    }

    /// The entry in the log. What a client sent is in it only if an operator has to see it: a host or an origin that could be
    /// allowed, and a version.
    pub(crate) fn to_log(&self) -> RefusedRequest {
        let (reason, status, _, message) = self.row();
        let error = match self {
            Self::InvalidEnvelope(_) => "the envelope of the request is invalid".into(),
            Self::HeaderMismatch(_) => "a header is missing, or does not agree with the body".into(),
            Self::UnknownMethod(_) => "method not found".into(),
            Self::InvalidInitialize(_) => "the params of `initialize` are invalid".into(),
            Self::UnsupportedVersion(version, _) | Self::UnsupportedModernVersion(version, _)
                if !is_date(version) =>
            {
                "what it has for a protocol version is none".into()
            }
            _ => message,
        };
        RefusedRequest { reason, status: status.as_u16(), error, setting: self.setting() }
    }

    /// The JSON-RPC error in the body.
    pub(crate) fn to_error(&self) -> RpcError {
        let (_, _, code, message) = self.row();
        let error = RpcError::new(code, message);
        match self {
            Self::UnsupportedVersion(requested, eras) | Self::UnsupportedModernVersion(requested, eras) => {
                error.with_data(serde_json::json!({
                    "supported": eras.versions().iter().map(|version| version.as_str()).collect::<Vec<_>>(),
                    "requested": requested,
                }))
            }
            Self::MissingCapability(capabilities) => {
                error.with_data(serde_json::json!({ "requiredCapabilities": capabilities }))
            }
            Self::Session(Refusal::Draining) | Self::ShuttingDown => {
                error.with_data(serde_json::json!({ "reason": "shutdown", "retryable": true }))
            }
            Self::Session(Refusal::TooManyRequests)
            | Self::TooManySessions
            | Self::TooManyRequests
            | Self::TooManySubscriptions
            | Self::TooManyBodies => {
                error.with_data(serde_json::json!({ "reason": "overload", "retryable": true }))
            }
            Self::AuthTimeout => {
                error.with_data(serde_json::json!({ "reason": "authentication", "retryable": true }))
            }
            Self::Moving | Self::StoreUnavailable | Self::ReplyUnconfirmed => {
                error.with_data(serde_json::json!({ "reason": "store", "retryable": true }))
            }
            _ => error,
        }
    }

    /// The error as a JSON-RPC message with this id.
    pub(crate) fn to_json(&self, id: Option<&RequestId>) -> bytes::Bytes {
        Outgoing::Error { id, error: &self.to_error() }.to_json()
    }

    /// The HTTP response. `id` is that of the request, if it could be read.
    /// `modern`: the request is of 2026-07-28, which does not have the codes of older SDKs (A-34, G-69).
    pub(crate) fn into_response(
        self,
        id: Option<&RequestId>,
        modern: bool,
        config: &Config,
    ) -> Response<bytes::Bytes> {
        let id = match &self {
            Self::Message(ParseError::Invalid { id, .. }) => id.as_ref(),
            _ => id,
        };
        let mut error = self.to_error();
        if modern && matches!(error.code, ErrorCode::CONNECTION_CLOSED | ErrorCode::SESSION_NOT_FOUND) {
            error.code = ErrorCode::INTERNAL_ERROR;
        }
        let mut response = Response::new(Outgoing::Error { id, error: &error }.to_json());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            config.say_when(response.headers_mut());
        }
        match self {
            // RFC 9110, 15.5.16: the supported encoding.
            Self::UnsupportedEncoding => {
                response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Self::NeedsSession => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::MethodNotAllowed(allow) => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::Auth(AuthError::Unauthorized(challenge) | AuthError::InsufficientScope(challenge)) => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response
    }
}

/// Returns `true` if this can be the name of a revision.
fn is_date(version: &str) -> bool {
    version.len() == "2026-07-28".len() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Session(refusal)
    }
}

impl From<ParseError> for Rejection {
    fn from(error: ParseError) -> Self {
        Self::Message(error)
    }
}

/// The answer of a handler that refuses the credential of a request. If the HTTP response has not begun, it gets the
/// status and the `WWW-Authenticate` of the [`AuthError`], as if [`Authenticate`](crate::Authenticate) had refused the
/// request; otherwise it is an error like any other.
impl From<AuthError> for RpcError {
    fn from(error: AuthError) -> Self {
        let challenge = error.challenge().map(|value| bytes::Bytes::copy_from_slice(value.as_bytes()));
        let rejection = Rejection::Auth(error);
        rejection.to_error().with_refusal(rejection.status().as_u16(), challenge)
    }
}

impl From<AuthError> for Rejection {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

#[cfg(test)]
mod tests;
