//! [`Client`]: how spans and metrics reach the collector.

use std::{future::Future, pin::Pin, time::Duration};

use http::{Request, Response};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use ureq::Agent;

/// How long the collector may take for one request.
const LIMIT: Duration = Duration::from_secs(5);

/// HTTP by ureq, which blocks: the SDK sends in threads of its own.
#[derive(Debug, Clone)]
pub(super) struct Client(Agent);

impl Client {
    pub(super) fn new() -> Self {
        // Without a proxy: a collector is near.
        Self(Agent::config_builder().timeout_global(Some(LIMIT)).proxy(None).build().into())
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let response = self.0.run(Request::from_parts(parts, &body[..]))?;
            let (parts, mut body) = response.into_parts();
            Ok(Response::from_parts(parts, body.read_to_vec()?.into()))
        })
    }
}
