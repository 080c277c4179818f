//! An HTTP request is read here: [`read`] turns it into an [`Incoming`], or into a [`Rejection`] that says why not.

mod auth;
mod body;
mod cors;
mod headers;
mod hosts;
mod rejection;

use std::pin::{Pin, pin};

use bytes::Bytes;
use http::{Method, header, request::Parts};
use http_body::Body;

use crate::{
    config::Config,
    contain::{Contained, Panicked},
    proto::{Message, Notification, ParseError, ResponseMode, RpcRequest, RpcResponse},
};

pub use auth::{AuthError, AuthFuture, Authenticate, AuthenticateFn, authenticate_fn};
pub(crate) use body::{BoxError, Limits};
pub use cors::Cors;
pub(crate) use headers::{
    SESSION_ID, SessionHeader, check_era, check_version, is_modern, last_event_id, session_header,
};
pub use hosts::{AllowedHosts, AllowedOrigins, InvalidEntry};
pub(crate) use rejection::Rejection;

/// What a client asks for, once everything that needs no session has been checked.
pub(crate) enum Incoming {
    /// POST of a request. With a form, its client takes the answer in that form only (B-45).
    Request(RpcRequest, Option<ResponseMode>),
    /// POST of a notification.
    Notification(Notification),
    /// POST of the answer to a request of the server.
    Response(RpcResponse),
    /// POST of an array. Its messages have not been looked at yet: whether the session takes arrays comes first.
    Batch(Bytes, Option<ResponseMode>),
    /// GET of a stream.
    Get,
    /// DELETE of a session.
    Delete,
    /// A browser asks what it may send (B-40).
    Preflight,
}

/// Reads a request, in the order of B-44: `Host` and `Origin`, method, credential, `Accept` and `Content-Type`, the size
/// and the time of the body, JSON, the shape of the message. The first check that fails is the answer. What needs a
/// session, from the version on, is checked by whoever looks the session up.
///
/// # Cancel safety
///
/// Dropped, nothing was admitted.
pub(crate) async fn read<B>(
    parts: &mut Parts,
    body: Pin<&mut B>,
    limits: Limits<'_>,
) -> Result<Incoming, Rejection>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let config = limits.config;
    hosts::check_host(&config.allowed_hosts, parts)?;
    // One look for two headers that most requests do not have.
    let rare = parts.headers.keys().any(|name| *name == header::ORIGIN || *name == header::CONTENT_ENCODING);
    if rare {
        hosts::check_origin(&config.allowed_origins, &parts.headers)?;
    }
    if !is_offered(&parts.method, config) {
        let preflight = config.cors.is_some() && Cors::is_preflight(&parts.method, &parts.headers);
        return if preflight {
            Ok(Incoming::Preflight)
        } else {
            Err(Rejection::MethodNotAllowed(allowed_methods(config)))
        };
    }
    auth::check_authorization(&parts.headers)?;
    if let Some(check) = &config.authenticate {
        auth::check(&**check, parts, limits).await?;
    }
    match parts.method {
        Method::GET => return headers::check_get_accept(&parts.headers).map(|()| Incoming::Get),
        Method::DELETE => return Ok(Incoming::Delete),
        _ => {}
    }
    let form = headers::accepted_form(&parts.headers)?;
    headers::check_content_type(&parts.headers)?;
    if rare {
        headers::check_content_encoding(&parts.headers)?;
    }
    let body = {
        let reading = pin!(body::read(body, limits));
        let read = Contained::new(|| reading).await;
        read.map_err(|Panicked| Rejection::Internal("the body could not be read"))??
    };
    match Message::parse(&body) {
        Ok(Message::Request(request)) => Ok(Incoming::Request(request, form)),
        Ok(Message::Notification(notification)) => Ok(Incoming::Notification(notification)),
        Ok(Message::Response(response)) => Ok(Incoming::Response(response)),
        Err(ParseError::Batch) => Ok(Incoming::Batch(body, form)),
        Err(error) => Err(error.into()),
    }
}

fn is_offered(method: &Method, config: &Config) -> bool {
    match *method {
        Method::POST => true,
        Method::GET => config.standalone_streams,
        Method::DELETE => config.client_delete,
        _ => false,
    }
}

/// The value of `Allow` (B-39).
pub(crate) fn allowed_methods(config: &Config) -> &'static str {
    match (config.standalone_streams, config.client_delete) {
        (true, true) => "GET, POST, DELETE",
        (false, true) => "POST, DELETE",
        (true, false) => "GET, POST",
        (false, false) => "POST",
    }
}
