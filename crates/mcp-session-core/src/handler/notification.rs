//! [`NotificationContext`], which the handler gets with each notification.

use std::{fmt, mem, sync::Arc};

use http::{Extensions, HeaderMap, request::Parts};
use mcp_session_proto::SessionId;

use crate::{
    principal::Principal,
    session::{Session, manager::SessionManager},
};

/// What a handler gets with a notification of the client: the session that it belongs to, if there is one, and the
/// headers, extensions and principal of its HTTP request.
#[non_exhaustive]
pub struct NotificationContext {
    session: Option<Session>,
    headers: HeaderMap,
    extensions: Extensions,
}

impl NotificationContext {
    /// Moves the headers and extensions out of the parts of the HTTP request.
    pub(crate) fn new(session: Option<Session>, parts: &mut Parts) -> Self {
        let (headers, extensions) = (mem::take(&mut parts.headers), mem::take(&mut parts.extensions));
        Self { session, headers, extensions }
    }

    /// The session.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The id of the session.
    pub fn session_id(&self) -> Option<SessionId> {
        self.session().map(Session::id)
    }

    /// All sessions of the endpoint: see [`RequestContext::sessions`](crate::RequestContext::sessions).
    pub fn sessions(&self) -> Option<SessionManager> {
        self.session()?.registry().map(SessionManager)
    }

    /// The principal of the HTTP request, if an outer layer or [`Authenticate`](crate::Authenticate) has set one. It is
    /// also that of the session.
    pub fn principal(&self) -> Option<&Principal> {
        self.extensions.get()
    }

    /// The handler's data of the session, if it is a `T`: see [`Session::data`].
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.session()?.data()
    }

    /// The headers of the HTTP request.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The extensions of the HTTP request, as set by outer layers and [`Authenticate`](crate::Authenticate).
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

/// Omits headers and extensions: they hold the client's secrets (E-20).
impl fmt::Debug for NotificationContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotificationContext").field("session", &self.session_id()).finish_non_exhaustive()
    }
}
