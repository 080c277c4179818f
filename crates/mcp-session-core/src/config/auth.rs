//! Authentication of requests: [`Authenticate`] and [`AuthError`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{HeaderValue, request::Parts};

/// Why the credential of a request was refused.
///
/// Returned by [`Authenticate`], it refuses the request before anything of MCP is read. A handler, which knows what a
/// tool needs, may return it too: `Err(error.into())`, or with `?`. If the HTTP response has not begun, the client gets
/// the same status and the same `WWW-Authenticate`; otherwise it gets a JSON-RPC error in the response. So a handler
/// should check before it waits for anything. At revision 2025-11-25 with [`replay`](crate::SessionConfig::replay), the
/// response begins with the first wait; see [`ResponseMode::Auto`](crate::ResponseMode::Auto). In a batch it is an error
/// in the array, because all answers share one status.
///
/// ```
/// use mcp_session_core::{AuthError, RequestContext, RpcError};
/// use serde_json::{Value, json};
///
/// struct Scopes(Vec<String>); // left in the extensions by `Authenticate`
///
/// fn require(cx: &RequestContext, scope: &str) -> Result<(), AuthError> {
///     match cx.extensions().get::<Scopes>() {
///         Some(Scopes(all)) if all.iter().any(|one| one == scope) => Ok(()),
///         _ => Err(AuthError::insufficient_scope(scope)),
///     }
/// }
///
/// async fn delete_file(cx: RequestContext) -> Result<Value, RpcError> {
///     require(&cx, "files:write")?; // 403, and the client can ask its user for more
///     Ok(json!({ "content": [] }))
/// }
/// # let _ = delete_file;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No credential, or an invalid one: 401, with this `WWW-Authenticate` challenge (B-09).
    #[error("a valid credential is required")]
    Unauthorized(HeaderValue),
    /// A valid credential that does not allow this; no other credential of this caller would either: 403.
    #[error("the credential does not allow this")]
    Forbidden,
    /// A valid credential that lacks a scope: 403, with this `WWW-Authenticate` challenge, which says what is needed, so
    /// that the client can ask for it (B-09). [`AuthError::insufficient_scope`] creates the usual one.
    #[error("the credential lacks a required scope")]
    InsufficientScope(HeaderValue),
    /// The credential cannot be read: 400.
    #[error("the credential cannot be read")]
    Malformed,
    /// The credential cannot be checked at the moment, such as when the keys of its issuer are out of reach: 503, with
    /// `Retry-After`.
    #[error("the credential cannot be checked at the moment")]
    Unavailable,
}

impl AuthError {
    /// 403 with the challenge for a bearer token that lacks these scopes, separated by spaces. Characters that are not
    /// allowed in a scope (RFC 6749, 3.3) are left out.
    ///
    /// For a challenge that says more, such as `resource_metadata`, create an [`AuthError::InsufficientScope`] yourself.
    ///
    /// ```
    /// use mcp_session_core::AuthError;
    ///
    /// let AuthError::InsufficientScope(challenge) = AuthError::insufficient_scope("files:read files:write") else {
    ///     panic!()
    /// };
    /// assert_eq!(challenge, r#"Bearer error="insufficient_scope", scope="files:read files:write""#);
    /// ```
    pub fn insufficient_scope(scope: &str) -> Self {
        let scope: String =
            scope.chars().filter(|c| matches!(c, ' '..='~') && !['"', '\\'].contains(c)).collect();
        let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scope}""#);
        HeaderValue::try_from(challenge).map_or(Self::Forbidden, Self::InsufficientScope)
    }

    /// The value of `WWW-Authenticate`, if there is one.
    pub(crate) fn challenge(&self) -> Option<&HeaderValue> {
        match self {
            Self::Unauthorized(challenge) | Self::InsufficientScope(challenge) => Some(challenge),
            Self::Forbidden | Self::Malformed | Self::Unavailable => None,
        }
    }
}

/// Checks the credential of every request, after `Host` and `Origin` and before anything of MCP (B-44).
///
/// It can store what it learns, such as who is calling, in `parts.extensions`. The handler finds it in
/// [`RequestContext::extensions`](crate::RequestContext::extensions).
///
/// A function of the parts implements it. Such a check decides at once and costs no allocation:
///
/// ```
/// use futures::FutureExt;
/// use http::{HeaderValue, header::AUTHORIZATION, request::Parts};
/// use mcp_session_core::{AuthError, Authenticate};
///
/// let token = |parts: &mut Parts| match parts.headers.get(AUTHORIZATION) {
///     Some(value) if value == "Bearer secret" => Ok(()),
///     _ => Err(AuthError::Unauthorized(HeaderValue::from_static("Bearer"))),
/// };
/// let (mut parts, ()) = http::Request::new(()).into_parts();
/// assert!(token.authenticate(&mut parts).now_or_never().unwrap().is_err());
/// parts.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
/// assert!(token.authenticate(&mut parts).now_or_never().unwrap().is_ok());
/// ```
///
/// For a check that waits, such as the introspection of a token, use an async function with [`authenticate_fn`], or
/// implement the trait:
///
/// ```
/// use http::request::Parts;
/// use mcp_session_core::{AuthFuture, Authenticate, Principal};
///
/// struct Introspection { /* a client of the authorization server */ }
///
/// impl Introspection {
///     async fn subject(&self, parts: &Parts) -> Result<String, mcp_session_core::AuthError> {
///         Ok("alice".into()) // ask the authorization server here
///     }
/// }
///
/// impl Authenticate for Introspection {
///     fn authenticate<'a>(&'a self, parts: &'a mut Parts) -> AuthFuture<'a> {
///         AuthFuture::new(async move {
///             let subject = self.subject(parts).await?;
///             parts.extensions.insert(Principal::new(subject));
///             Ok(())
///         })
///     }
/// }
/// # let _ = |config: &mut mcp_session_core::Config, check: Introspection| {
/// config.authenticate = Some(std::sync::Arc::new(check));
/// # };
/// ```
///
/// If a check takes longer than [`Config::authenticate_timeout`](crate::Config::authenticate_timeout), the request gets
/// 503. If it panics, the request gets 500, and the panic is logged.
pub trait Authenticate: Send + Sync + 'static {
    /// Checks a request. An [`AuthError`] becomes the HTTP response.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped if the client disconnects, and at the timeout.
    fn authenticate<'a>(&'a self, parts: &'a mut Parts) -> AuthFuture<'a>;
}

impl<F: Fn(&mut Parts) -> Result<(), AuthError> + Send + Sync + 'static> Authenticate for F {
    fn authenticate<'a>(&'a self, parts: &'a mut Parts) -> AuthFuture<'a> {
        self(parts).into()
    }
}

/// The future result of a check, which may be ready at once.
#[must_use = "a future does nothing unless it is awaited"]
pub struct AuthFuture<'a>(Checking<'a>);

enum Checking<'a> {
    /// `None`: it was already returned.
    Done(Option<Result<(), AuthError>>),
    Waiting(BoxFuture<'a, Result<(), AuthError>>),
}

impl<'a> AuthFuture<'a> {
    /// A check that may wait. Boxes the future.
    pub fn new(check: impl Future<Output = Result<(), AuthError>> + Send + 'a) -> Self {
        Self(Checking::Waiting(Box::pin(check)))
    }
}

/// A check that has already finished.
impl From<Result<(), AuthError>> for AuthFuture<'_> {
    fn from(result: Result<(), AuthError>) -> Self {
        Self(Checking::Done(Some(result)))
    }
}

impl Future for AuthFuture<'_> {
    type Output = Result<(), AuthError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Checking::Done(result) => Poll::Ready(result.take().unwrap_or(Err(AuthError::Malformed))),
            Checking::Waiting(check) => check.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for AuthFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Checking::Done(result) => f.debug_tuple("Done").field(result).finish(),
            Checking::Waiting(_) => f.write_str("Waiting"),
        }
    }
}

/// Creates an [`Authenticate`] from an async function. The function takes the parts of a request and returns them, with
/// whatever it has stored in them.
///
/// ```
/// use std::sync::Arc;
/// use http::{HeaderValue, header::AUTHORIZATION, request::Parts};
/// use mcp_session_core::{AuthError, Config, Principal, authenticate_fn};
///
/// /// Asks the authorization server about a token.
/// async fn introspect(token: &str) -> Option<String> {
///     (token == "Bearer of-alice").then(|| "alice".into())
/// }
///
/// async fn check(mut parts: Parts) -> Result<Parts, AuthError> {
///     let token = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
///     let subject = introspect(token).await;
///     let subject = subject.ok_or_else(|| AuthError::Unauthorized(HeaderValue::from_static("Bearer")))?;
///     parts.extensions.insert(Principal::new(subject));
///     Ok(parts)
/// }
///
/// let mut config = Config::default();
/// config.authenticate = Some(Arc::new(authenticate_fn(check)));
/// ```
pub fn authenticate_fn<F, Fut>(check: F) -> AuthenticateFn<F>
where
    F: Fn(Parts) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Parts, AuthError>> + Send + 'static,
{
    AuthenticateFn(check)
}

/// An async function that checks credentials: see [`authenticate_fn`].
#[derive(Clone, Copy)]
pub struct AuthenticateFn<F>(F);

impl<F, Fut> Authenticate for AuthenticateFn<F>
where
    F: Fn(Parts) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Parts, AuthError>> + Send + 'static,
{
    fn authenticate<'a>(&'a self, parts: &'a mut Parts) -> AuthFuture<'a> {
        let (empty, ()) = http::Request::new(()).into_parts();
        let check = self.0(std::mem::replace(parts, empty));
        AuthFuture::new(async move {
            *parts = check.await?;
            Ok(())
        })
    }
}

impl<F> fmt::Debug for AuthenticateFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthenticateFn").field(&std::any::type_name::<F>()).finish()
    }
}

impl fmt::Debug for dyn Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Authenticate")
    }
}
