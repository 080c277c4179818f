//! GET, DELETE and OPTIONS: the streams of a session, its end, and the CORS preflight.

use http::{Response, StatusCode, request::Parts};
use mcp_session_proto as proto;

use super::{Endpoint, Scope, response::events};
use crate::{
    cluster::attach,
    session::{Session, cell::SharedWaiters},
    stream::{EventStream, ReplyBody},
    transport::{self, Rejection},
};

impl Endpoint {
    pub(super) async fn get(&self, parts: &Parts) -> Result<Response<ReplyBody>, Rejection> {
        let session = self.own_session(parts).await?;
        let waiters = SharedWaiters::default();
        let env = &self.0.registry.env;
        let replays = env.session_config.replay.is_some(); // otherwise the header is ignored (D-35)
        let key = match (transport::last_event_id(&parts.headers).filter(|_| replays), &env.node) {
            (None, None) => session.listen(&waiters).await?.0,
            (Some(event), None) => session.resume(event, &waiters).await?,
            (None, Some(node)) => attach::listen(node, &session, &waiters).await?,
            (Some(event), Some(node)) => {
                let (key, numbered) = attach::resume(node, &session, event, &waiters).await?;
                let stream = EventStream::new(session, key, waiters);
                numbered.wait(node).await;
                return Ok(events(ReplyBody::events(stream)));
            }
        };
        Ok(events(ReplyBody::events(EventStream::new(session, key, waiters))))
    }

    pub(super) async fn delete(&self, parts: &Parts) -> Result<Response<ReplyBody>, Rejection> {
        let session = self.own_session(parts).await?;
        session.with_client(proto::Session::handle_delete)?;
        // Before the client gets the answer: after it, the session is unknown at every node (E-11).
        session.removed().await;
        if session.is_parked() {
            return Err(Rejection::Moving); // it was parked at the last moment: only another node can end it
        }
        let mut response = Response::new(ReplyBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT; // B-36
        Ok(response)
    }

    /// The session that a GET or DELETE names. Without one, there is no stream and nothing to delete (E-32, G-44).
    async fn own_session(&self, parts: &Parts) -> Result<Session, Rejection> {
        transport::check_get_or_delete(self.0.registry.env.config.eras, &parts.headers)?;
        match self.scope(parts, transport::address(&parts.headers)).await? {
            Scope::Session(session) => Ok(session),
            Scope::Stateless(_) => Err(Rejection::NeedsSession),
        }
    }

    /// Answers a CORS preflight (B-40).
    pub(super) fn preflight(&self) -> Response<ReplyBody> {
        let config = &self.0.registry.env.config;
        let told = config.cors.as_ref().map(|cors| cors.preflight(transport::allowed_methods(config)));
        told.unwrap_or_default().map(|()| ReplyBody::empty())
    }
}
