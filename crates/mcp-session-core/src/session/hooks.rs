//! [`Hooks`]: what the application does for a session.

use std::{borrow::Cow, pin::pin};

use futures::{
    FutureExt,
    future::{BoxFuture, select},
};
use mcp_session_proto::{Phase, TerminateReason};

use super::{Session, data::SessionData};
use crate::{
    contain::{Contained, Panicked},
    observer, trace,
};

/// The hooks of a [`Handler`](crate::Handler).
pub(crate) trait Hooks: Send + Sync {
    fn session_data(&self, session: &Session) -> SessionData;

    fn initialized(&self, session: Session) -> BoxFuture<'static, ()>;

    fn adopted(&self, session: Session) -> BoxFuture<'static, ()>;

    fn terminated(&self, session: Session, reason: TerminateReason) -> BoxFuture<'static, ()>;
}

impl Session {
    /// Logs a panic of a hook, and tells the observer.
    fn panicked(&self, what: &str) {
        trace::handler_panicked(Some(self.id()), None, what);
        observer::tell(self.0.env.config.observer.as_ref(), |it| it.panicked(what));
    }

    /// Runs a hook that nothing waits for: polls it once in place, and then as a task, which ends with the session.
    pub(crate) fn run(&self, what: Cow<'static, str>, hook: impl FnOnce() -> BoxFuture<'static, ()>) {
        let hook = Contained::new(hook);
        let session = self.clone();
        let mut work = Box::pin(async move {
            if let Err(Panicked) = hook.await {
                session.panicked(&what);
            }
        });
        if work.as_mut().now_or_never().is_none() {
            let session = self.clone();
            self.0.env.runtime.spawn(Box::pin(async move {
                let closed = pin!(session.until_ending(|machine| machine.phase() == Phase::Closed));
                select(work, closed).await;
            }));
        }
    }
}
