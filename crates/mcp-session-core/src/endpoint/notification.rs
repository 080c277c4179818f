//! POST of a notification.

use std::pin::pin;

use futures::{FutureExt, future::select};
use http::{Response, request::Parts};
use mcp_session_proto::{Input, Message, Notification, Phase, Refusal, Verdict};

use super::{Endpoint, response::accepted};
use crate::{
    cluster::forward,
    contain::{Contained, Panicked},
    session::{NotificationPermit, Session},
    stream::ReplyBody,
    trace,
    transport::{self, Rejection},
};

impl Endpoint {
    pub(super) async fn notification(
        &self,
        parts: &Parts,
        notification: Notification,
    ) -> Result<Response<ReplyBody>, Rejection> {
        transport::check_era(&parts.headers)?;
        let session = self.session(parts).await?;
        self.notified(&session, notification, || session.notification_permit()).await?;
        Ok(accepted())
    }

    /// Processes a notification. One for the handler needs a permit from `place`.
    pub(super) async fn notified(
        &self,
        session: &Session,
        notification: Notification,
        place: impl FnOnce() -> Result<NotificationPermit, Refusal>,
    ) -> Result<(), Rejection> {
        match &*notification.method {
            "notifications/initialized" => {
                let verdict = session.with(|machine, now| machine.handle_input(now, Input::Initialized))?;
                if verdict == Verdict::Operate {
                    session.initialized().await;
                }
            }
            "notifications/cancelled" => {
                let (request_id, reason) = notification.cancelled();
                trace::exchange_cancelled(&session.id(), request_id.as_ref(), reason.as_deref());
                let here = session.with(|machine, now| {
                    let here = request_id.as_ref().is_none_or(|id| machine.runs(id));
                    machine.handle_cancelled(now, request_id.as_ref(), reason).map(|()| here)
                })?;
                if let Some(node) = self.registry.env.node.as_ref().filter(|_| !here) {
                    forward::pass_on(node, session, None, &Message::Notification(notification));
                }
            }
            _ => {
                let verdict = session.with(|machine, now| machine.handle_input(now, Input::Notification))?;
                if verdict == Verdict::Accept {
                    self.notify_handler(session.clone(), notification, place()?);
                }
            }
        }
        Ok(())
    }

    /// Calls the handler with a notification. If its future is not ready at the first poll, it becomes a task, which ends
    /// with the session.
    fn notify_handler(&self, session: Session, notification: Notification, place: NotificationPermit) {
        let env = &self.registry.env;
        let method = notification.method.clone();
        let work = Contained::new(|| self.handler.notification(notification, session.clone()));
        let mut work = Box::pin(async move {
            let done = work.await;
            drop(place);
            if done == Err(Panicked) {
                trace::handler_panicked(&method);
            }
        });
        if work.as_mut().now_or_never().is_none() {
            env.runtime.spawn(Box::pin(async move {
                let closed = pin!(session.until_ending(|machine| machine.phase() == Phase::Closed));
                select(work, closed).await;
            }));
        }
    }
}
