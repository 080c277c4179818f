//! [`McpEndpoint`]: core's endpoint as a tide endpoint.

use mcp_session_core::Endpoint;
use tide::utils::async_trait;

use crate::convert::{to_http, to_http_types};

/// An [`Endpoint`] as a [`tide::Endpoint`], for a route of any `tide::Server`.
///
/// Route all methods to it, and pass the app to [`serve_app`](crate::serve_app), which adds graceful shutdown and notices
/// clients that leave.
///
/// A middleware can pass data to handlers: [`http::Extensions`] that it adds to the request with `tide::Request::set_ext`
/// become the extensions of core's request. They also contain the address of the client, tide's `peer_addr`, as a
/// [`PeerAddr`](mcp_session_core::PeerAddr), unless the middleware has added another one.
///
/// ```
/// # async_std::task::block_on(async {
/// use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint};
/// use mcp_session_core::{Endpoint, Router};
/// use tide::http::{Method, Request, Response, Url};
///
/// let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("greeter", "0.1.0"));
/// let mut app = tide::new();
/// app.at("/mcp").all(McpEndpoint::new(endpoint));
///
/// let request = Request::new(Method::Put, Url::parse("http://localhost/mcp")?);
/// let response: Response = app.respond(request).await?;
/// assert_eq!(response.status(), 405);
/// # tide::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct McpEndpoint(Endpoint);

impl McpEndpoint {
    /// Creates a tide endpoint for this endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }
}

#[async_trait]
impl<State: Clone + Send + Sync + 'static> tide::Endpoint<State> for McpEndpoint {
    async fn call(&self, request: tide::Request<State>) -> tide::Result {
        Ok(to_http_types(self.0.handle(to_http(request.into())?).await)?.into())
    }
}
