//! Who is served: [`AllowedHosts`], [`AllowedOrigins`], [`Authenticate`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Version,
    header::{AUTHORIZATION, HOST, ORIGIN},
    request::Parts,
    uri::Authority,
};

use crate::{error::Rejection, serve::PeerAddr};

/// The names of this machine for itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// An entry for a list of hosts or origins cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is not {expected}")]
pub struct InvalidEntry {
    entry: String,
    expected: &'static str,
}

/// A host, in lower case, or every host below it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostRule {
    host: String,
    /// `*.`: the hosts below, not the host itself.
    below: bool,
    /// `None`: any port, and none.
    port: Option<u16>,
}

impl HostRule {
    /// This host, on any port.
    fn exactly(host: &str) -> Self {
        Self { host: host.to_owned(), below: false, port: None }
    }

    /// Reads an entry of a list. `default` is the port of an entry that names none.
    fn parse(entry: &str, default: Option<u16>) -> Option<Self> {
        let (below, entry) = entry.strip_prefix("*.").map_or((false, entry), |rest| (true, rest));
        let (any, entry) = entry.strip_suffix(":*").map_or((false, entry), |rest| (true, rest));
        let (host, port) = split(entry)?;
        if (any && port.is_some()) || (below && host.starts_with('[')) {
            return None;
        }
        Some(Self { host, below, port: if any { None } else { port.or(default) } })
    }

    /// Whether `text` is this very host as it stands here, with a port it may have or none. What is not may still be a
    /// match, spelled differently.
    fn is_spelled(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(&self.host).filter(|_| !self.below) else { return false };
        match rest.strip_prefix(':') {
            None => rest.is_empty() && self.port.is_none(),
            Some(port) => parse_port(port).is_some_and(|port| self.port.is_none_or(|own| own == port)),
        }
    }

    /// Whether it names this host, in lower case, and port.
    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let named = if self.below {
            host.strip_suffix(&self.host).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
        } else {
            self.host == host
        };
        named && (self.port.is_none() || self.port == port)
    }
}

/// Which `Host` (or HTTP/2 `:authority`) values are served. Anything else gets 403 (B-07).
///
/// This is what stops a web page from reaching a server on the visitor's own machine through a name that the
/// page's owner points at 127.0.0.1 (DNS rebinding).
///
/// | entry | serves | does not serve |
/// |---|---|---|
/// | `mcp.example.com` | that name on any port, spelled out or not | names below or above it |
/// | `mcp.example.com:8443` | that name on that port, spelled out | the name without a port |
/// | `*.example.com` | every name below, however deep, on any port | `example.com` itself |
/// | `*.example.com:8443` | every name below, on that port | |
/// | `[2001:db8::1]` | that address; IPv6 stands in brackets, as in the header | |
///
/// Names are matched without regard to case, addresses as they are written: nothing is resolved. There is no `*`: whoever
/// wants any host says [`AllowedHosts::any`]. Whatever is allowed, a `Host` that comes twice or cannot be read gets 400, and
/// so does an HTTP/1.1 request without one that came over a connection ([`PeerAddr`]).
///
/// ```
/// use mcp_session_core::AllowedHosts;
///
/// let mut hosts = AllowedHosts::default(); // localhost, 127.0.0.1, [::1], on any port
/// assert!(hosts.allows("localhost:8000"));
/// assert!(!hosts.allows("mcp.example.com"));
/// hosts.allow("mcp.example.com:8443")?;
/// assert!(hosts.allows("MCP.example.com:8443"));
/// assert!(!hosts.allows("mcp.example.com:80"));
/// hosts.allow("*.preview.example.com")?;
/// assert!(hosts.allows("pr-7.preview.example.com:443"));
/// assert!(!hosts.allows("preview.example.com"));
/// assert!(hosts.allow("*").is_err());
/// # Ok::<(), mcp_session_core::InvalidEntry>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHosts {
    any: bool,
    rules: Vec<HostRule>,
}

impl Default for AllowedHosts {
    fn default() -> Self {
        Self { any: false, rules: LOOPBACK.map(HostRule::exactly).into() }
    }
}

impl AllowedHosts {
    /// Any host. For a server behind a proxy that checks.
    pub fn any() -> Self {
        Self { any: true, rules: Vec::new() }
    }

    /// No host, not even loopback: a list to begin from.
    pub fn none() -> Self {
        Self { any: false, rules: Vec::new() }
    }

    /// Adds an entry of the table above.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] if that is not a host.
    pub fn allow(&mut self, host: &str) -> Result<&mut Self, InvalidEntry> {
        let invalid = || InvalidEntry {
            entry: host.to_owned(),
            expected: "a host such as mcp.example.com, mcp.example.com:8443 or *.example.com",
        };
        self.rules.push(HostRule::parse(host, None).ok_or_else(invalid)?);
        Ok(self)
    }

    /// Whether a request for this host is served.
    pub fn allows(&self, host: &str) -> bool {
        self.any
            || self.rules.iter().any(|rule| rule.is_spelled(host))
            || split(host).is_some_and(|(host, port)| self.rules.iter().any(|rule| rule.matches(&host, port)))
    }
}

/// Which `Origin` values are served. Anything else gets 403 (B-05).
///
/// | entry | serves | does not serve |
/// |---|---|---|
/// | `https://app.example.com` | that origin on its default port, 443 | other ports, `http` |
/// | `http://localhost:5173` | that origin on that port | |
/// | `http://localhost:*` | that origin on any port | `https` |
/// | `https://*.example.com` | every name below, however deep, on 443 | `https://example.com` itself |
/// | `https://*.example.com:*` | the same on any port | |
/// | `null` | sandboxed and local pages | |
///
/// Scheme and name are matched without regard to case. A request without `Origin` is no browser's and passes; one
/// with two of them never does (B-06). There is no `*`: whoever wants any origin says [`AllowedOrigins::any`].
///
/// ```
/// use mcp_session_core::AllowedOrigins;
///
/// let mut origins = AllowedOrigins::default(); // http and https on loopback names, any port
/// assert!(origins.allows("http://localhost:5173"));
/// assert!(!origins.allows("https://app.example.com"));
/// assert!(!origins.allows("null"));
/// origins.allow("https://app.example.com")?;
/// assert!(origins.allows("https://app.example.com:443")); // the default port, spelled out
/// assert!(!origins.allows("http://app.example.com"));
/// origins.allow("https://*.preview.example.com")?;
/// assert!(origins.allows("https://pr-7.preview.example.com"));
/// assert!(!origins.allows("https://preview.example.com.evil.com"));
/// # Ok::<(), mcp_session_core::InvalidEntry>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigins {
    any: bool,
    null: bool,
    rules: Vec<(String, HostRule)>,
}

impl Default for AllowedOrigins {
    fn default() -> Self {
        let rule = |scheme: &str, host: &str| (scheme.to_owned(), HostRule::exactly(host));
        let rules = LOOPBACK.iter().flat_map(|host| [rule("http", host), rule("https", host)]);
        Self { any: false, null: false, rules: rules.collect() }
    }
}

impl AllowedOrigins {
    /// Any origin: every web page may talk to this server.
    pub fn any() -> Self {
        Self { any: true, null: true, rules: Vec::new() }
    }

    /// No origin, not even loopback: a list to begin from.
    pub fn none() -> Self {
        Self { any: false, null: false, rules: Vec::new() }
    }

    pub(crate) fn is_any(&self) -> bool {
        self.any
    }

    /// Adds an entry of the table above.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] if that is not an origin.
    pub fn allow(&mut self, origin: &str) -> Result<&mut Self, InvalidEntry> {
        if origin == "null" {
            self.null = true;
            return Ok(self);
        }
        let rule = origin.split_once("://").and_then(|(scheme, host)| {
            let scheme = scheme.to_ascii_lowercase();
            let rule = HostRule::parse(host, default_port(&scheme))?;
            let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            (!scheme.is_empty() && scheme.bytes().all(valid)).then_some((scheme, rule))
        });
        self.rules.push(rule.ok_or_else(|| InvalidEntry {
            entry: origin.to_owned(),
            expected: "an origin such as https://app.example.com or https://*.example.com",
        })?);
        Ok(self)
    }

    /// Whether a request from this origin is served.
    pub fn allows(&self, origin: &str) -> bool {
        if self.any || (self.null && origin == "null") {
            return true;
        }
        split_origin(origin).is_some_and(|(scheme, host, port)| {
            self.rules.iter().any(|(allowed, rule)| *allowed == scheme && rule.matches(&host, port))
        })
    }
}

/// Why a request is not let in.
///
/// From [`Authenticate`] it refuses the request before anything of it was looked at. A handler may answer with it as well,
/// because it knows what a tool needs: `Err(error.into())`, or with `?`. The client then gets the same status and the same
/// `WWW-Authenticate` as long as the HTTP response has not begun, and a JSON-RPC error in it after that: so a handler
/// checks before it waits for anything. At revision 2025-11-25 with [`replay`](crate::SessionConfig::replay), the response
/// begins with the first wait; see [`ResponseMode::Auto`](crate::ResponseMode::Auto). In a batch it is an error in the
/// array, because one status is for all.
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
    /// No credential, or not a valid one: 401, with this `WWW-Authenticate` challenge (B-09).
    #[error("a valid credential is required")]
    Unauthorized(HeaderValue),
    /// A valid credential that does not allow this, and no other of this caller would: 403.
    #[error("the credential does not allow this")]
    Forbidden,
    /// A valid credential that lacks a scope: 403, with this `WWW-Authenticate` challenge, which says what is needed, so that
    /// the client can ask for it (B-09). [`AuthError::insufficient_scope`] writes the usual one.
    #[error("the credential lacks a scope that this needs")]
    InsufficientScope(HeaderValue),
    /// The credential cannot be read: 400.
    #[error("the credential cannot be read")]
    Malformed,
}

impl AuthError {
    /// 403 with the challenge of a bearer token that lacks these scopes, separated by spaces. Characters that no scope may
    /// have (RFC 6749, 3.3) are left out.
    ///
    /// A challenge that says more, such as `resource_metadata`, is an [`AuthError::InsufficientScope`] of your own.
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

    /// What `WWW-Authenticate` says.
    pub(crate) fn challenge(&self) -> Option<&HeaderValue> {
        match self {
            Self::Unauthorized(challenge) | Self::InsufficientScope(challenge) => Some(challenge),
            Self::Forbidden | Self::Malformed => None,
        }
    }
}

/// Looks at the credential of every request, after `Host` and `Origin` and before anything of MCP (B-44).
///
/// What it learns, such as who is calling, it can leave in `parts.extensions` for the handler to find in
/// [`RequestContext::extensions`](crate::RequestContext::extensions).
///
/// A function of the parts is one. It decides at once, and costs no allocation:
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
/// A check that waits for somebody, such as the introspection of a token, is an async function behind [`authenticate_fn`],
/// or a type of your own:
///
/// ```
/// use http::request::Parts;
/// use mcp_session_core::{AuthFuture, Authenticate, Principal};
///
/// struct Introspection { /* a client of the authorization server */ }
///
/// impl Introspection {
///     async fn subject(&self, parts: &Parts) -> Result<String, mcp_session_core::AuthError> {
///         Ok("alice".into()) // yours: ask
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
/// It has [`Config::authenticate_timeout`](crate::Config::authenticate_timeout), then the request gets 503. A check
/// that panics refuses its request with 500, and is logged.
pub trait Authenticate: Send + Sync + 'static {
    /// Lets a request in or not: [`AuthError`] becomes the HTTP response.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped if the client leaves, and when its time is up.
    fn authenticate<'a>(&'a self, parts: &'a mut Parts) -> AuthFuture<'a>;
}

impl<F: Fn(&mut Parts) -> Result<(), AuthError> + Send + Sync + 'static> Authenticate for F {
    fn authenticate<'a>(&'a self, parts: &'a mut Parts) -> AuthFuture<'a> {
        self(parts).into()
    }
}

/// What becomes of a credential, at once or later: await it.
#[must_use = "a future does nothing unless it is awaited"]
pub struct AuthFuture<'a>(Checking<'a>);

enum Checking<'a> {
    /// `None`: it was taken.
    Done(Option<Result<(), AuthError>>),
    Waiting(BoxFuture<'a, Result<(), AuthError>>),
}

impl<'a> AuthFuture<'a> {
    /// A check that may have to wait. The future is put in a box.
    pub fn new(check: impl Future<Output = Result<(), AuthError>> + Send + 'a) -> Self {
        Self(Checking::Waiting(Box::pin(check)))
    }
}

/// A check that is through.
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

/// Makes an [`Authenticate`] of an async function, which takes the parts of a request and gives them back with what it has
/// left in them.
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

/// Checks the `Host` of a request (B-07; RFC 9112, 3.2): one that comes twice or cannot be read gets 400 whatever is
/// allowed, and so does HTTP/1.1 without any, where the request came over a connection: what was made inside this
/// process may leave it out, as HTTP/2 does, which has `:authority`.
pub(crate) fn check_host(allowed: &AllowedHosts, parts: &Parts) -> Result<(), Rejection> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        let required = parts.version == Version::HTTP_11 && parts.extensions.get::<PeerAddr>().is_some();
        return match parts.uri.authority() {
            _ if required => Err(Rejection::BadHost),
            None => Ok(()),
            Some(authority) if allowed.allows(authority.as_str()) => Ok(()),
            Some(authority) => Err(Rejection::ForbiddenHost(named(authority.as_str()))),
        };
    };
    let (Ok(host), None) = (host.to_str(), hosts.next()) else { return Err(Rejection::BadHost) };
    // A host that is on the list is one that can be read; an empty one is that of a target without authority.
    let on_the_list = !allowed.any && allowed.allows(host);
    if !on_the_list && !host.is_empty() && split(host).is_none() {
        return Err(Rejection::BadHost);
    }
    let authority = parts.uri.authority().map(Authority::as_str);
    match authority.filter(|authority| !allowed.allows(authority)) {
        Some(authority) => Err(Rejection::ForbiddenHost(named(authority))),
        None if on_the_list || allowed.any => Ok(()),
        None => Err(Rejection::ForbiddenHost(named(host))),
    }
}

/// Checks the `Origin` of a request (B-04 to B-06).
pub(crate) fn check_origin(allowed: &AllowedOrigins, headers: &HeaderMap) -> Result<(), Rejection> {
    let mut origins = headers.get_all(ORIGIN).iter().map(|value| value.to_str().unwrap_or_default());
    match (origins.next(), origins.next()) {
        (None, _) => Ok(()),
        (Some(origin), None) if allowed.allows(origin) => Ok(()),
        (Some(origin), _) => Err(Rejection::ForbiddenOrigin(named(origin))),
    }
}

/// What is refused, as the refusal names it: no name of a host is longer than 253 characters.
fn named(text: &str) -> String {
    text.chars().take(256).collect()
}

/// A credential that comes twice cannot be read: whoever checks one of them may have another in mind (B-12).
pub(crate) fn check_authorization(headers: &HeaderMap) -> Result<(), Rejection> {
    // Most requests have no header at all that comes twice.
    let repeats = headers.len() > headers.keys_len();
    if repeats && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(AuthError::Malformed.into());
    }
    Ok(())
}

fn split(host: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = host.parse().ok()?;
    // A request's host has no wildcard, and an entry's was taken off before.
    let plain = !authority.as_str().contains(['@', '*']) && !authority.host().is_empty();
    let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
        Some(port) => Some(parse_port(port)?),
        None => None,
    };
    plain.then(|| (authority.host().to_ascii_lowercase(), port))
}

/// Digits and nothing else: `+80` is a number to `parse` as well.
fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn split_origin(origin: &str) -> Option<(String, String, Option<u16>)> {
    let (scheme, rest) = origin.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = split(rest)?;
    let port = port.or(default_port(&scheme));
    Some((scheme, host, port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
