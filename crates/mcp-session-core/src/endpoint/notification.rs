//! POST of a notification.

use http::{Response, request::Parts};
use mcp_session_proto::{self as proto, Input, Notification, Refusal, Verdict};

use super::{Endpoint, Scope, response::accepted};
use crate::{
    cluster::forward,
    handler::notification::NotificationContext,
    session::{NotificationPermit, Session},
    stream::ReplyBody,
    trace,
    transport::{self, Rejection},
};

impl Endpoint {
    pub(super) async fn notification(
        &self,
        parts: &mut Parts,
        notification: Notification,
    ) -> Result<Response<ReplyBody>, Rejection> {
        if transport::is_modern_notification(self.0.registry.env.config.eras, &parts.headers)? {
            return Ok(accepted()); // 2026-07-28 has no notification of a client (G-16)
        }
        let session = match self.scope(parts, None).await? {
            Scope::Session(session) => session,
            Scope::Stateless(_) => return Ok(accepted()), // it concerns a session, and there is none (E-27, E-30)
        };
        let accept = || {
            let permit = session.notification_permit()?;
            Ok((permit, NotificationContext::new(Some(session.clone()), parts)))
        };
        self.notified(&session, notification, accept).await?;
        Ok(accepted())
    }

    /// Processes a notification. One for the handler needs what `accept` returns.
    pub(super) async fn notified(
        &self,
        session: &Session,
        notification: Notification,
        accept: impl FnOnce() -> Result<(NotificationPermit, NotificationContext), Refusal>,
    ) -> Result<(), Rejection> {
        match &*notification.method {
            "notifications/initialized" => {
                let verdict = session.with(|machine, now| machine.handle_input(now, Input::Initialized))?;
                if verdict == Verdict::Operate {
                    session.initialized().await;
                } else if let Some(node) = &self.0.registry.env.node {
                    // A session that drains here goes on elsewhere.
                    if session.with(proto::Session::handle_initialized) {
                        session.tell_initialized(node).await;
                    }
                }
            }
            "notifications/cancelled" => {
                let (request_id, reason) = notification.cancelled();
                trace::exchange_cancelled(&session.id(), request_id.as_ref(), reason.as_deref());
                let here = session.with(|machine, now| {
                    let here = request_id.as_ref().is_none_or(|id| machine.runs(id));
                    machine.handle_cancelled(now, request_id.as_ref(), reason).map(|()| here)
                })?;
                if let Some(node) = self.0.registry.env.node.as_ref().filter(|_| !here) {
                    forward::cancel(node, session, notification);
                }
            }
            _ => {
                let verdict = session.with(|machine, now| machine.handle_input(now, Input::Notification))?;
                if verdict == Verdict::Accept {
                    let ((permit, cx), method) = (accept()?, notification.method.clone());
                    session.run(method, || {
                        let done = self.0.handler.notification(notification, cx);
                        Box::pin(async move {
                            done.await;
                            drop(permit);
                        })
                    });
                }
            }
        }
        Ok(())
    }
}
