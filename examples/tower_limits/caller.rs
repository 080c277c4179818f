//! [`Caller`]: who is counted.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{self, StatusCode, header::AUTHORIZATION},
    middleware::Next,
    response::{IntoResponse, Response},
};
use mcp_session_core::{PeerAddr, Principal};
use tower_governor::{GovernorError, key_extractor::KeyExtractor};

/// Tokens and whose they are. Yours: verify the token, such as with `mcp-session-oauth`.
const TOKENS: [(&str, &str); 2] = [("Bearer of-alice", "alice"), ("Bearer of-bob", "bob")];

/// Who is counted: a principal, or an address. Behind a proxy, all have the address of the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Known(Principal),
    At(IpAddr),
}

/// Finds out who calls. The endpoint takes the [`Principal`] from the extensions, as from its own `authenticate`.
pub(crate) async fn identified(mut request: Request, next: Next) -> Response {
    if let Some(given) = request.headers().get(AUTHORIZATION) {
        let Some((_, name)) = TOKENS.iter().find(|(token, _)| given == token) else {
            return StatusCode::UNAUTHORIZED.into_response();
        };
        request.extensions_mut().insert(Principal::new(*name));
    }
    match Caller::of(&request) {
        Some(_) => next.run(request).await,
        None => StatusCode::UNAUTHORIZED.into_response(), // over a Unix socket, without a token
    }
}

impl Caller {
    pub(crate) fn of<T>(request: &http::Request<T>) -> Option<Self> {
        let extensions = request.extensions();
        let at = || extensions.get().map(|PeerAddr(address)| Self::At(address.ip()));
        extensions.get().cloned().map(Self::Known).or_else(at)
    }
}

/// Counts requests by [`Caller`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByCaller;

impl KeyExtractor for ByCaller {
    type Key = Caller;

    fn extract<T>(&self, request: &http::Request<T>) -> Result<Caller, GovernorError> {
        Caller::of(request).ok_or(GovernorError::UnableToExtractKey)
    }
}
