//! [`Cors`]: which web pages may read the answers (B-40).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::hosts::AllowedOrigins;

/// The headers that a client sends, beyond those that every page may send: of the protocol, credential, media type.
const REQUEST_HEADERS: &str =
    "authorization, content-type, last-event-id, mcp-method, mcp-name, mcp-protocol-version, mcp-session-id";

/// The headers that a client reads, beyond those that every page may read: its session, why to log in, when to retry.
const RESPONSE_HEADERS: &str = "mcp-session-id, retry-after, www-authenticate";

/// Lets clients in web pages use the server: [`Config::cors`](crate::Config::cors), off by default.
///
/// A browser lets a page of another origin read a response only if the response allows it. Before it sends a request
/// such as those of MCP, it asks with an OPTIONS request (preflight).
/// [`Config::allowed_origins`](crate::Config::allowed_origins) lists the allowed origins, by default loopback ones; any
/// other origin gets 403, with CORS or without. The order of checks stays the same: `Host` and `Origin` are checked
/// before the preflight is answered, but no credential is, because a preflight carries none (B-44). Every other response,
/// errors included, is readable by an allowed origin, and has `Vary: origin`.
///
/// The endpoint does all of this. A CORS layer in front is not needed, and would answer a second time.
///
/// ```
/// # use mcp_session_core::{Config, Cors, Endpoint, Router, Runtime};
/// # async fn example(runtime: impl Runtime) -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.cors = Some(Cors::default());
/// config.allowed_origins.allow("https://app.example.com")?;
/// let endpoint = Endpoint::with_config(runtime, Router::new("greeter", "0.1.0"), config)?;
///
/// let asks = |origin: &str| {
///     let request = http::Request::options("/mcp").header("origin", origin);
///     request.header("access-control-request-method", "POST").body(String::new()).unwrap()
/// };
/// let told = endpoint.handle(asks("https://app.example.com")).await;
/// assert_eq!(told.status(), 204);
/// assert_eq!(told.headers()["access-control-allow-origin"], "https://app.example.com");
/// assert_eq!(endpoint.handle(asks("https://evil.example.com")).await.status(), 403);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cors {
    /// How long a browser may cache the answer to a preflight, in whole seconds. 2 hours: the maximum in Chromium.
    pub max_age: std::time::Duration,
    /// Whether a page's requests may carry cookies and client certificates. `false`: MCP has its token in a header that
    /// the page sets itself, and a cookie would act for a user who does not know it. Ignored with
    /// [`AllowedOrigins::any`], because every page could then act for its visitor.
    pub credentials: bool,
    /// Request headers that are allowed in addition to those of MCP, `Authorization` and `Content-Type`; none by default.
    pub request_headers: Vec<HeaderName>,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            max_age: std::time::Duration::from_secs(2 * 60 * 60),
            credentials: false,
            request_headers: Vec::new(),
        }
    }
}

impl Cors {
    /// Returns `true` if the request is a CORS preflight.
    pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a preflight, without the headers that [`Cors::mark`] adds.
    pub(crate) fn preflight(&self, methods: &'static str) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let names = self.request_headers.iter().map(HeaderName::as_str);
        let names: Vec<_> = [REQUEST_HEADERS].into_iter().chain(names).collect();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.as_secs().into());
        response
    }

    /// The origin of a request, if there is exactly one and it may read the response.
    pub(crate) fn origin(allowed: &AllowedOrigins, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) if origin.to_str().is_ok_and(|text| allowed.allows(text)) => {
                Some(origin.clone())
            }
            _ => None,
        }
    }

    /// Lets this origin read a response. Every response gets `Vary: origin`, even if the request has no origin: a cache in
    /// between must not give one origin a response meant for another.
    pub(crate) fn mark(
        &self,
        allowed: &AllowedOrigins,
        origin: Option<HeaderValue>,
        headers: &mut HeaderMap,
    ) {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
        if self.credentials && !allowed.is_any() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}
