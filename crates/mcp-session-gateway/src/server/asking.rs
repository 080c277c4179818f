//! Requests of a child to its client: on the stream of a call if one runs, otherwise on the standalone stream.

use std::{sync::Arc, time::Duration};

use futures::future::{AbortHandle, Abortable};
use mcp_session_core::{Json, RequestContext, RequestError, RpcError, SendError, Session};
use serde_json::json;
use tokio::{runtime::Handle, time::Instant};

use super::{
    audience::Owner,
    link::{Ask, Caller, Link, LinkInner},
};

/// How long a client may take to answer. A day: the child sets its own limit, and the end of the call or the session ends the
/// wait in any case.
const REPLY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a question outside of calls waits for a client without a stream. 30 seconds: clients open theirs right after
/// `initialized`, and those that never do should not leave the child waiting.
const STREAM: Duration = Duration::from_secs(30);

/// The pauses meanwhile: nothing tells when a client opens its stream.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// The maximum number of questions outside of calls that one child may have at a time. 64: a child that asks more is broken.
const MOST: usize = 64;

impl LinkInner {
    /// Finds the client for a request of the child.
    pub(crate) fn route_ask(self: &Arc<Self>, ask: Ask) {
        let refuse = |ask: &Ask, why: &str| self.reply(&ask.id, &Err(self.core.error(why)));
        match self.owner() {
            Owner::Session(session) => {
                let Some(ask) = self.pass_ask(ask, |caller| caller != Caller::Gateway) else { return };
                self.ask_outside(session, ask);
            }
            Owner::Everyone(_) => {
                let owner = self.only_session();
                let refused =
                    self.pass_ask(ask, |caller| owner.is_some_and(|it| caller == Caller::Session(it)));
                if let Some(ask) = refused {
                    refuse(&ask, "it is shared, and nobody knows which client to ask");
                }
            }
            Owner::Nobody => {
                if let Some(ask) = self.pass_ask(ask, |caller| caller != Caller::Gateway) {
                    refuse(&ask, "there is no client to ask");
                }
            }
        }
    }

    /// Asks the client of a session outside of a call. If a call begins while the client has no stream, the question goes
    /// there.
    fn ask_outside(self: &Arc<Self>, session: Session, ask: Ask) {
        let Ok(tokio) = Handle::try_current() else { return }; // the runtime ends
        let (abort, registration) = AbortHandle::new_pair();
        if !self.asking(&ask.id, abort) {
            return;
        }
        if self.outside.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= MOST {
            self.outside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            self.reply(&ask.id, &Err(self.core.error("too many questions outside of calls")));
            return;
        }
        let link = Arc::clone(self);
        tokio.spawn(async move {
            let _ = Abortable::new(link.ask_patiently(&session, ask), registration).await;
            link.outside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        });
    }

    async fn ask_patiently(self: &Arc<Self>, session: &Session, mut ask: Ask) {
        let give_up = Instant::now() + STREAM;
        let mut pause = PAUSES.0;
        loop {
            let reply = session.request(&ask.method, ask.params.as_ref(), REPLY).await;
            let no_stream =
                matches!(reply, Err(RequestError::Send(SendError::Closed) | RequestError::NotInitialized));
            if !no_stream || Instant::now() >= give_up {
                return self.reply(&ask.id, &reply_to_child(&ask, reply));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            match self.pass_ask(ask, |caller| caller != Caller::Gateway) {
                Some(again) => ask = again,
                None => return,
            }
        }
    }

    /// The call is over on whose stream the client was asked, and the child still waits.
    pub(crate) fn ask_again(self: &Arc<Self>, ask: Ask) {
        if self.is_asking(&ask.id) {
            match self.owner() {
                Owner::Session(session) => self.ask_outside(session, ask),
                Owner::Everyone(_) | Owner::Nobody => {
                    let over = self.core.error("the call is over that the question belonged to");
                    self.reply(&ask.id, &Err(over));
                }
            }
        }
    }
}

/// What has become of a question within a call.
pub(crate) enum Asked {
    /// The child has its reply, or does not want it any more.
    Done(Ask),
    /// The client is asked with the answer to its request, and sends that again (2026-07-28).
    InputRequired(RpcError),
}

/// Asks the client on the stream of its call. `key` names the question among those of the call, the same in each run.
pub(crate) async fn ask_within(link: &Link, cx: &RequestContext, ask: Ask, key: String) -> Asked {
    let (abort, registration) = AbortHandle::new_pair();
    if !link.asking(&ask.id, abort) {
        return Asked::Done(ask);
    }
    let Ask { method, params, .. } = &ask;
    let params = || params.clone().unwrap_or_else(|| json!({}).into());
    let asking = async {
        match method.as_str() {
            "elicitation/create" => cx.elicit(&key, &params(), REPLY).await,
            "sampling/createMessage" => cx.sample(&key, &params(), REPLY).await,
            "roots/list" => cx.roots(&key, REPLY).await,
            _ => cx.request(method, ask.params.as_ref(), REPLY).await,
        }
    };
    match Abortable::new(asking, registration).await {
        Ok(Err(error @ RequestError::InputRequired)) => Asked::InputRequired(error.into()),
        Ok(reply) => {
            let reply = reply_to_child(&ask, reply);
            link.reply(&ask.id, &reply);
            Asked::Done(ask)
        }
        Err(_) => Asked::Done(ask), // the child has cancelled it
    }
}

/// The reply as the child gets it: an error of the client is unchanged.
pub(super) fn reply_to_child(ask: &Ask, reply: Result<Json, RequestError>) -> Result<Json, RpcError> {
    reply.map_err(|error| match error {
        RequestError::Client(error) => error,
        // As a client answers that does not have it.
        RequestError::Undeclared(_) | RequestError::MissingCapability(_) => {
            RpcError::method_not_found(&ask.method)
        }
        other => RpcError::from(other),
    })
}
