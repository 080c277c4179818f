//! [`Scope`], for which a server's value is created, and [`DrainExt`], by which a tool learns that the server is stopping.

use std::{future::Future, time::Duration};

use mcp_session_core::{InitializeRequest, Principal, RequestContext, Session, SessionId};
use rmcp::RoleServer;

/// For whom a value is created: a session, a request without one (2026-07-28, or a client that names no session), or nobody.
/// The one for nobody is asked what the server offers; it serves no client.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a>(pub(crate) Inner<'a>);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Inner<'a> {
    Nobody,
    Opening(&'a InitializeRequest),
    Session(&'a Session),
    Request(&'a RequestContext),
}

impl<'a> Scope<'a> {
    /// The id of the session.
    pub fn session_id(&self) -> Option<SessionId> {
        match self.0 {
            Inner::Nobody => None,
            Inner::Opening(request) => request.session_id,
            Inner::Session(session) => Some(session.id()),
            Inner::Request(cx) => cx.session_id(),
        }
    }

    /// Who the client is, if [`Authenticate`](mcp_session_core::Authenticate) or an outer layer has found out.
    pub fn principal(&self) -> Option<&'a Principal> {
        match self.0 {
            Inner::Nobody => None,
            Inner::Opening(request) => request.principal(),
            Inner::Session(session) => session.principal(),
            Inner::Request(cx) => cx.principal(),
        }
    }
}

/// What a tool can learn about a shutdown: for rmcp's `RequestContext<RoleServer>`.
///
/// ```
/// use mcp_session_rmcp::DrainExt;
/// use rmcp::{RoleServer, service::RequestContext};
///
/// /// Counts until the server wants to stop.
/// async fn count(ctx: &RequestContext<RoleServer>) -> u64 {
///     let mut count = 0;
///     while !ctx.is_draining() {
///         count += 1;
///         tokio::task::yield_now().await;
///     }
///     count
/// }
/// # let _ = count;
/// ```
pub trait DrainExt {
    /// Waits until the endpoint starts to shut down or the session starts to end: a hint to finish soon, before anything is
    /// cancelled. Never ready if the request was not served by [`RmcpHandler`](crate::RmcpHandler).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it changes nothing.
    fn draining(&self) -> impl Future<Output = ()> + Send;

    /// Returns `true` if the endpoint is shutting down or the session is ending.
    fn is_draining(&self) -> bool;

    /// How long the tool still has, if it is draining: after that its answer no longer counts, and it is dropped. `None` if
    /// there is no deadline.
    fn remaining(&self) -> Option<Duration>;
}

impl DrainExt for rmcp::service::RequestContext<RoleServer> {
    async fn draining(&self) {
        match self.extensions.get::<RequestContext>() {
            Some(cx) => cx.draining().await,
            None => std::future::pending().await,
        }
    }

    fn is_draining(&self) -> bool {
        self.extensions.get::<RequestContext>().is_some_and(RequestContext::is_draining)
    }

    fn remaining(&self) -> Option<Duration> {
        self.extensions.get::<RequestContext>()?.remaining()
    }
}
