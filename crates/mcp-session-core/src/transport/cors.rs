//! [`Cors`]: which web pages may read the answers (B-40).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::hosts::AllowedOrigins;

/// What a client sends, beside what every page may: the protocol's headers, the credential, the media type.
const REQUEST_HEADERS: &str =
    "authorization, content-type, last-event-id, mcp-method, mcp-name, mcp-protocol-version, mcp-session-id";

/// What a client has to read, beside what every page may: its session, why it has to log in, when to come again.
const RESPONSE_HEADERS: &str = "mcp-session-id, retry-after, www-authenticate";

/// Lets clients in web pages use the server: [`Config::cors`](crate::Config::cors), off by default.
///
/// A browser lets a page of another origin read an answer only if that says so, and asks first, by OPTIONS. Which
/// origins are told yes is [`Config::allowed_origins`](crate::Config::allowed_origins), loopback ones by default; any
/// other gets 403 with CORS and without. The order of checks stays what it is (B-44): `Host` and `Origin` come
/// before the browser's question, which is answered before a credential is looked for, because it carries none.
/// Every other answer, errors included, is readable to an allowed origin, and varies by it.
///
/// The endpoint does all of it: a CORS layer in front, which would answer a second time, is not needed.
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
    /// For how many whole seconds a browser may remember what it was told. 2 hours: the most that Chromium heeds.
    pub max_age: std::time::Duration,
    /// Whether cookies and client certificates may come with a page's requests. `false`: MCP has its token in a header
    /// that the page sets itself, and a cookie would act for a user who knows nothing of it. Not heeded with
    /// [`AllowedOrigins::any`], where every page there is could act for its visitor.
    pub credentials: bool,
    /// Request headers that are allowed beside those of MCP, `Authorization` and `Content-Type`; none by default.
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
    /// Whether this is a browser that asks what it may send, and not a client that sends it.
    pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// What the browser is told, beside what [`Cors::mark`] says.
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

    /// The one origin of a request that may read the answer.
    pub(crate) fn origin(allowed: &AllowedOrigins, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) if origin.to_str().is_ok_and(|text| allowed.allows(text)) => {
                Some(origin.clone())
            }
            _ => None,
        }
    }

    /// Lets this origin read a response. Every response varies by the origin, also for those who sent none: a cache in
    /// between must not give one what was meant for another.
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
