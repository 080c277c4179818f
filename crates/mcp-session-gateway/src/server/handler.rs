//! [`ServerHandler`]: core's handler on top of the children, by mode.

use mcp_session_core::{
    Handler, InitializeRequest, InitializeResult, Json, Notification, NotificationContext, RequestContext,
    RpcError, Session, SessionData, TerminateReason,
};

use super::{
    Server,
    config::Mode,
    per_session::{self, Seat, SessionChild},
};

/// The [`Handler`] of a [`Server`].
///
/// A request of a session goes to the child that its mode says; a request without a session (2026-07-28, or a client that
/// names none) to the shared child, or to a child for itself.
#[derive(Debug, Clone)]
pub struct ServerHandler(pub(super) Server);

impl ServerHandler {
    fn mode(&self) -> Mode {
        self.0.config().mode
    }
}

impl Handler for ServerHandler {
    /// What the first child has said, or only the configured name if [`Server::start`] has not succeeded.
    fn info(&self) -> InitializeResult {
        let server = &self.0;
        let info = server.info().and_then(|info| InitializeResult::try_from(info).ok());
        info.unwrap_or_else(|| InitializeResult::new(&server.config().name, env!("CARGO_PKG_VERSION")))
    }

    async fn initialize(&self, request: InitializeRequest) -> Result<InitializeResult, RpcError> {
        match self.mode() {
            Mode::Session if request.session_id.is_some() => {
                per_session::initialize(&self.0.0.core, &request).await
            }
            Mode::Session | Mode::Shared | Mode::Request => match self.0.info() {
                Some(info) => InitializeResult::try_from(info),
                None => Err(self.0.0.core.unavailable("it has not started")),
            },
        }
    }

    fn session_data(&self, session: &Session) -> SessionData {
        match self.mode() {
            Mode::Session => {
                if let Some(child) = session.data::<SessionChild>() {
                    per_session::bind(&child, session);
                }
                SessionData::none()
            }
            Mode::Shared => SessionData::new(self.0.0.shared.join(session)),
            Mode::Request => SessionData::new(Seat::new(&self.0.0.core)),
        }
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        let parts = &self.0.0;
        let _admitted = parts.core.admit()?;
        match (self.mode(), cx.session()) {
            (Mode::Session, Some(_)) => match cx.data::<SessionChild>() {
                Some(child) => per_session::request(&child, &cx).await,
                None => Err(parts.core.error("the session has ended")),
            },
            (Mode::Shared, _) => parts.shared.request(&cx).await,
            (Mode::Session, None) | (Mode::Request, _) => parts.pool.request(&cx).await,
        }
    }

    /// In [`Mode::Session`] the child gets it. A child of several clients does not: it could not know whose it is.
    async fn notification(&self, notification: Notification, cx: NotificationContext) {
        // At 2026-07-28 a child hears none but `cancelled`.
        if let Some(child) = cx.data::<SessionChild>().filter(|child| !child.link.is_modern()) {
            child.link.tell_initialized();
            let params = notification.params.as_ref().map(Json::as_str);
            child.link.notify(&notification.method, params);
        }
    }

    async fn initialized(&self, session: Session) {
        if let Some(child) = session.data::<SessionChild>() {
            child.link.tell_initialized();
        }
    }

    async fn terminated(&self, session: Session, _: TerminateReason) {
        if let Some(child) = session.data::<SessionChild>() {
            child.link.close();
        }
    }
}
