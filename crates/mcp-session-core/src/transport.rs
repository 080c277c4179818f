//! Reads HTTP requests: [`read`] returns an [`Incoming`], or the [`Rejection`] that answers the request.

mod auth;
mod body;
mod disconnect;
mod envelope;
mod eras;
mod headers;
mod hosts;
mod level;
mod params;
mod peer;
mod rejection;
mod values;

use std::{
    future::Future,
    pin::{Pin, pin},
};

use bytes::Bytes;
use http::{Method, request::Parts};
use http_body::Body;
use mcp_session_proto::{Message, Notification, ParseError, ResponseMode, RpcRequest, RpcResponse};

use crate::{
    config::{Config, Cors, Sessions},
    contain::{Contained, Panicked},
};

pub(crate) use body::{BoxError, Limits};
pub use disconnect::DisconnectCancels;
pub(crate) use envelope::Envelope;
pub(crate) use eras::{
    RequestEra, check_batch, check_get_or_delete, check_removed, check_response, era_of_request,
    is_modern_notification, looks_modern,
};
use headers::Fields;
pub(crate) use headers::{
    Address, SESSION_ID, SessionHeader, VersionHeader, address, last_event_id, session_header, version,
};
pub use level::LogLevel;
pub(crate) use params::check_params;
pub use peer::PeerAddr;
pub(crate) use rejection::Rejection;

/// A request that has passed all checks that need no session.
pub(crate) enum Incoming {
    /// POST of a request, and what its headers say about where it belongs, unless one of them is repeated. `Some`: the
    /// client accepts the answer in this form only (B-45).
    Request(RpcRequest, Option<Address>, Option<ResponseMode>),
    /// POST of a notification.
    Notification(Notification),
    /// POST of a response to a request of the server.
    Response(RpcResponse),
    /// POST of an array. Its messages are not parsed yet: first the session must be known to accept arrays.
    Batch(Bytes, Option<ResponseMode>),
    /// GET of a stream.
    Get,
    /// DELETE of a session.
    Delete,
    /// A CORS preflight (B-40).
    Preflight,
}

/// Reads and checks a request in this order: `Host` and `Origin`, method, credential, `Accept` and `Content-Type`, size and
/// time of the body, JSON, shape of the message (B-44). The first check that fails is the answer. The later checks, from
/// the version on, need a session and are up to the caller.
///
/// # Cancel safety
///
/// If dropped, the request was not admitted.
#[expect(clippy::manual_async_fn, reason = "an async function stores its arguments twice")]
pub(crate) fn read<'a, B>(
    parts: &'a mut Parts,
    body: Pin<&'a mut B>,
    limits: Limits<'a>,
) -> impl Future<Output = Result<Incoming, Rejection>> + 'a
where
    B: Body,
    B::Error: Into<BoxError>,
{
    async move {
        let head = match check_head(parts, limits.config)? {
            Some(head) => head,
            None => {
                auth::check(parts, limits).await?;
                Head::of(parts, &Fields::of(&parts.headers))? // they may be different ones
            }
        };
        let (form, address) = match head {
            Head::Preflight => return Ok(Incoming::Preflight),
            Head::Get => return Ok(Incoming::Get),
            Head::Delete => return Ok(Incoming::Delete),
            Head::Post(form, address) => (form, address),
        };
        let body = {
            let reading = pin!(body::read(body, limits));
            let read = Contained::new(|| reading).await;
            read.map_err(|Panicked| Rejection::Internal("the body could not be read"))??
        };
        match Message::parse(&body) {
            Ok(Message::Request(request)) => Ok(Incoming::Request(request, address, form)),
            Ok(Message::Notification(notification)) => Ok(Incoming::Notification(notification)),
            Ok(Message::Response(response)) => Ok(Incoming::Response(response)),
            Err(ParseError::Batch) => Ok(Incoming::Batch(body, form)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The head of a request that may be served.
enum Head {
    Preflight,
    Get,
    Delete,
    /// POST, the only form of answer that the client accepts if there is one, and where the message belongs if no header is repeated.
    Post(Option<ResponseMode>, Option<Address>),
}

impl Head {
    /// Checks what comes behind the credential. The method is offered.
    fn of(parts: &Parts, fields: &Fields<'_>) -> Result<Self, Rejection> {
        match parts.method {
            Method::GET => headers::check_get_accept(&parts.headers).map(|()| Self::Get),
            Method::DELETE => Ok(Self::Delete),
            _ => {
                let form = headers::accepted_form(fields)?;
                headers::check_content_type(fields)?;
                headers::check_content_encoding(fields)?;
                Ok(Self::Post(form, fields.address()))
            }
        }
    }
}

/// Checks the head of a request. `None`: its credential must be checked before the rest. Not in the future, which would store the fields.
fn check_head(parts: &Parts, config: &Config) -> Result<Option<Head>, Rejection> {
    let fields = Fields::of(&parts.headers);
    hosts::check_host(&config.allowed_hosts, parts, fields.host)?;
    hosts::check_origin(&config.allowed_origins, fields.origin)?;
    if !is_offered(&parts.method, config) {
        let preflight = config.cors.is_some() && Cors::is_preflight(&parts.method, &parts.headers);
        return if preflight {
            Ok(Some(Head::Preflight))
        } else {
            Err(Rejection::MethodNotAllowed(allowed_methods(config)))
        };
    }
    auth::check_authorization(&parts.headers)?;
    if config.authenticate.is_some() { Ok(None) } else { Head::of(parts, &fields).map(Some) }
}

/// Tells the HTTP server that a disconnect cancels this request, if it wants to know.
pub(crate) fn ends_with_client(parts: &Parts) {
    if let Some(cancels) = parts.extensions.get::<DisconnectCancels>() {
        cancels.set();
    }
}

fn is_offered(method: &Method, config: &Config) -> bool {
    match *method {
        Method::POST => true,
        Method::GET => config.standalone_streams && has_sessions(config),
        Method::DELETE => config.client_delete && has_sessions(config),
        _ => false,
    }
}

/// Whether any client gets a session (E-27, G-43).
fn has_sessions(config: &Config) -> bool {
    config.eras.has_legacy() && config.sessions != Sessions::Stateless
}

/// The value of `Allow` (B-39).
pub(crate) fn allowed_methods(config: &Config) -> &'static str {
    match (is_offered(&Method::GET, config), is_offered(&Method::DELETE, config)) {
        (true, true) => "GET, POST, DELETE",
        (false, true) => "POST, DELETE",
        (true, false) => "GET, POST",
        (false, false) => "POST",
    }
}
