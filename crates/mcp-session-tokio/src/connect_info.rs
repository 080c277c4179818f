//! [`WithConnectInfo`]: provides axum's `ConnectInfo`.

use std::{
    net::SocketAddr,
    task::{Context, Poll},
};

use axum::extract::ConnectInfo;
use http::Request;
use mcp_session_core::PeerAddr;
use tower_service::Service;

/// An app whose requests carry their client's address also as `ConnectInfo<SocketAddr>`, in addition to [`PeerAddr`].
#[derive(Debug, Clone)]
pub(crate) struct WithConnectInfo<S>(pub(crate) S);

impl<S: Service<Request<B>>, B> Service<Request<B>> for WithConnectInfo<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let peer = request.extensions().get::<PeerAddr>().copied();
        if let Some(PeerAddr(addr)) = peer {
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(addr));
        }
        self.0.call(request)
    }
}
