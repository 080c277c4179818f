//! [`Principal`]: the owner of a session.

use std::{fmt, sync::Arc};

/// The authenticated identity of a caller: what a credential proves, not the credential itself.
///
/// A session belongs to the principal whose request opened it. The endpoint reads the `Principal` from the
/// [extensions](http::Extensions) of every request. If it differs from the session's, or only one of them is present, the
/// response is the same as for an id that was never issued: 404 with the same bytes, on POST, GET and DELETE (E-06, E-07).
/// So a stolen session id is useless, and cannot even be recognized as one.
///
/// The name must be the same in every request of a caller, and unique to that caller: with several token issuers, include
/// the issuer. It must come from verified data, never from what the client says about itself.
///
/// # Setting it
///
/// [`Config::authenticate`](crate::Config::authenticate) can insert it:
///
/// ```
/// use futures::FutureExt;
/// use http::{HeaderValue, header::AUTHORIZATION, request::Parts};
/// use mcp_session_core::{AuthError, Authenticate, Principal};
///
/// fn subject(token: &[u8]) -> Option<&'static str> {
///     (token == b"Bearer of-alice").then_some("https://issuer.example#alice") // yours: verify the token
/// }
///
/// let authenticate = |parts: &mut Parts| {
///     let token = parts.headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
///     let challenge = || AuthError::Unauthorized(HeaderValue::from_static("Bearer"));
///     let subject = subject(token).ok_or_else(challenge)?;
///     parts.extensions.insert(Principal::new(subject));
///     Ok(())
/// };
/// let (mut parts, ()) = http::Request::new(()).into_parts();
/// assert!(authenticate.authenticate(&mut parts).now_or_never().unwrap().is_err());
/// parts.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer of-alice"));
/// assert_eq!(authenticate.authenticate(&mut parts).now_or_never(), Some(Ok(())));
/// assert_eq!(parts.extensions.get::<Principal>().map(Principal::as_str), Some("https://issuer.example#alice"));
/// ```
///
/// A check that waits for another service is an [`authenticate_fn`](crate::authenticate_fn), or an outer layer that inserts
/// the `Principal`. In axum and tower, which share the request type of this crate, that is one line:
///
/// ```text
/// async fn authenticated(mut request: axum::extract::Request, next: Next) -> Response {
///     match verify(request.headers()).await {
///         Ok(subject) => request.extensions_mut().insert(Principal::new(subject)),
///         Err(_) => return StatusCode::UNAUTHORIZED.into_response(),
///     };
///     next.run(request).await
/// }
/// app.route_service("/mcp", McpService::new(endpoint)).layer(middleware::from_fn(authenticated))
/// ```
///
/// In tide, whose requests have a different kind of extensions, a middleware creates an `http::Extensions` with the
/// `Principal` and passes it on with `request.set_ext(extensions)`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Principal(
    // Two, because a thin pointer takes eight bytes less in each session, and most have no principal.
    Arc<Arc<str>>,
);

impl Principal {
    /// Creates a principal with this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Principal").field(&self.0).finish()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
