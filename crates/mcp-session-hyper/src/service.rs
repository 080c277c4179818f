//! [`McpService`]: an endpoint as a hyper and a tower service.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::FutureExt;
use http::{Request, Response};
use http_body::Body;
use mcp_session_core::{BoxFuture, Endpoint, ReplyBody};

use crate::BoxError;

/// An [`Endpoint`] as a [`hyper::service::Service`] and a [`tower_service::Service`]. It never fails: every
/// error is a response.
///
/// It serves every path, so route only the paths of the endpoint to it. Pass the app to an adapter's `serve_app`, which
/// adds graceful shutdown.
///
/// ```
/// # use mcp_session_core::{Endpoint, Router, Runtime};
/// # use mcp_session_hyper::McpService;
/// # use hyper::service::Service;
/// # async fn example(runtime: impl Runtime) {
/// let endpoint = Endpoint::new(runtime, Router::new("greeter", "0.1.0"));
/// let service = McpService::new(endpoint);
/// let request = http::Request::put("/mcp").body(String::new()).unwrap();
/// let Ok(response) = service.call(request).await; // its error is `Infallible`
/// assert_eq!(response.status(), 405);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct McpService(Endpoint);

impl McpService {
    /// Creates a service for this endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }
}

impl<B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static> hyper::service::Service<Request<B>>
    for McpService
{
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        Box::pin(self.0.handle(request).map(Ok))
    }
}

impl<B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static> tower_service::Service<Request<B>>
    for McpService
{
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        hyper::service::Service::call(self, request)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_fn;
    use mcp_session_core::Router;
    use mcp_session_testkit::SimRuntime;

    use super::*;

    #[test]
    fn hyper_and_tower_get_the_same_answer() {
        let sim = SimRuntime::new(0);
        let mut service = McpService::new(Endpoint::new(sim.clone(), Router::new("service", "0.1.0")));
        let request = || Request::put("/mcp").body(String::new()).expect("a request");
        sim.block_on(async {
            poll_fn(|cx| tower_service::Service::<Request<String>>::poll_ready(&mut service, cx))
                .await
                .expect("ready");
            let Ok(tower) = tower_service::Service::call(&mut service, request()).await;
            let Ok(hyper) = hyper::service::Service::call(&service, request()).await;
            assert_eq!((tower.status().as_u16(), hyper.status().as_u16()), (405, 405));
        });
    }
}
