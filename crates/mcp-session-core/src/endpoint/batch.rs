//! An array of messages in one POST (A.2).

use std::{future::poll_fn, pin::pin, task::Poll};

use bytes::Bytes;
use futures::future::join_all;
use http::{Response, StatusCode, request::Parts};
use mcp_session_proto::{
    Batch, Era, Input, Message, ParseError, ProtocolVersion, Refusal, ResponseMode, State,
};

use super::{
    Endpoint, Scope,
    response::{accepted, event, events, json, pong},
};
use crate::{
    contain::{self, Panicked},
    handler::{
        exchange::{ExchangeHandle, ReplyHead},
        notification::NotificationContext,
        run::FirstPoll,
    },
    principal::Principal,
    stream::ReplyBody,
    transport::{self, PeerAddr, Rejection},
};

impl Endpoint {
    /// Checks and admits a batch as a whole: if it is refused, nothing of it was dispatched. Otherwise each of its requests
    /// gets its own answer, all in this one response, which ends after the last.
    pub(super) async fn batch(
        &self,
        parts: &Parts,
        body: Bytes,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let env = &self.0.registry.env;
        transport::check_batch(env.config.eras, &parts.headers)?;
        let session = match self.scope(parts, None).await? {
            Scope::Session(session) => session,
            Scope::Stateless(version) => return self.stateless_batch(version, parts, &body, form).await,
        };
        if session.state() == State::Terminated {
            return Err(Rejection::UnknownSession); // even if something else is wrong with the request (E-11)
        }
        if !session.version().has_batches() {
            return Err(ParseError::Batch.into());
        }
        let batch = Batch::parse(&body, env.config.batch_limit)?;

        let inputs: Vec<Input> = batch.inputs().collect();
        let mut places = Vec::new();
        for _ in inputs.iter().filter(|input| **input == Input::Notification) {
            places.push(session.notification_permit()?);
        }
        let (mut ready, mut requests, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for element in batch {
            match element {
                // Without an id: a sibling, which gets exactly one answer, may have the same id.
                Err(error) => ready.push(Rejection::Message(error).to_json(None)),
                Ok(Message::Request(request)) if request.method == "ping" => ready.push(pong(&request.id)),
                Ok(Message::Request(request)) => requests.push(request),
                Ok(other) => others.push(other),
            }
        }
        let ids = requests.iter().map(|request| request.id.clone()).collect();
        let peer = parts.extensions.get();
        // Cloning runs code of the layers in front, for their extensions: so it comes before any answer is due.
        let mut parts = contain::call(|| vec![parts.clone(); requests.len() + places.len()])
            .map_err(|Panicked| Rejection::Internal("an extension of the request could not be cloned"))?;
        let mut notified = parts.split_off(requests.len());
        let keys = session.with(|machine, now| {
            let keys = machine.handle_batch(now, inputs.iter().copied(), ids)?;
            if let Some(form) = form {
                keys.iter().for_each(|key| machine.restrict(*key, form));
            }
            Ok::<_, Refusal>(keys)
        })?;
        if inputs.is_empty() {
            return Ok(self.without_a_message(&ready, peer));
        }

        // From here on, its requests must get answers: a session that ends meanwhile no longer refuses anything. This future
        // must not be dropped before they have started, so whatever waits for the store is awaited after that.
        let mut rest = pin!(async {
            let mut replies = Vec::new();
            for other in others {
                match other {
                    Message::Notification(notification) => {
                        let accept = || {
                            let (permit, mut parts) =
                                places.pop().zip(notified.pop()).ok_or(Refusal::TooManyRequests)?;
                            Ok((permit, NotificationContext::new(Some(session.clone()), &mut parts)))
                        };
                        let _ = self.notified(&session, notification, accept).await;
                    }
                    Message::Response(response) => replies.push(self.replied(&session, response)),
                    Message::Request(_) => {}
                }
            }
            join_all(replies).await; // each may wait for another node
        });
        let is_through = poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx))).await.is_ready();
        let mut calls = Vec::with_capacity(keys.len());
        for ((request, key), mut parts) in requests.into_iter().zip(keys).zip(parts) {
            let (call, version) = (ExchangeHandle::Session(session.clone(), key), session.version());
            let now = session.now();
            calls.push(self.start(call, now, version, None, &mut parts, request).await); // ready at its first poll
        }
        if !is_through {
            rest.await;
        }
        Self::answers(ready, calls, form).await
    }

    /// Serves a batch without a session: each of its requests by itself. If one is refused, nothing of it is dispatched.
    async fn stateless_batch(
        &self,
        version: ProtocolVersion,
        parts: &Parts,
        body: &Bytes,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let env = &self.0.registry.env;
        if !version.has_batches() {
            return Err(ParseError::Batch.into());
        }
        let batch = Batch::parse(body, env.config.batch_limit)?;
        let has_message = batch.inputs().next().is_some();
        let (mut ready, mut requests) = (Vec::new(), Vec::new());
        for element in batch {
            match element {
                Err(error) => ready.push(Rejection::Message(error).to_json(None)),
                Ok(Message::Request(request)) if request.method == "ping" => ready.push(pong(&request.id)),
                Ok(Message::Request(request)) => requests.push(request),
                Ok(Message::Notification(_) | Message::Response(_)) => {} // they concern a session
            }
        }
        let peer = parts.extensions.get();
        let parts = contain::call(|| vec![parts.clone(); requests.len()])
            .map_err(|Panicked| Rejection::Internal("an extension of the request could not be cloned"))?;
        let mode = form.unwrap_or(env.session_config.response_mode);
        let ids = requests.iter().map(|request| request.id.clone());
        let principal: Option<Principal> = parts.first().and_then(|parts| parts.extensions.get().cloned());
        let admitted = self.0.stateless.admit_all(ids, Era::Stateless, mode, principal.as_ref())?;
        if !has_message {
            return Ok(self.without_a_message(&ready, peer));
        }
        parts.first().into_iter().for_each(transport::ends_with_client);
        let mut calls = Vec::with_capacity(admitted.len());
        for ((request, call), mut parts) in requests.into_iter().zip(admitted).zip(parts) {
            let (now, call) = (call.now(), ExchangeHandle::Stateless(call));
            calls.push(self.start(call, now, version, None, &mut parts, request).await); // ready at its first poll
        }
        Self::answers(ready, calls, form).await
    }

    /// Refuses a batch in which no message is valid, with an error for each.
    fn without_a_message(&self, errors: &[Bytes], peer: Option<&PeerAddr>) -> Response<ReplyBody> {
        self.refused(&ParseError::InvalidBatch("none of its messages is valid").into(), peer);
        let mut refused = json(array(errors));
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        refused
    }

    /// The response to a batch, with these answers and those of `calls`.
    async fn answers(
        mut ready: Vec<Bytes>,
        calls: Vec<FirstPoll>,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        if calls.is_empty() && ready.is_empty() {
            return Ok(accepted());
        }
        let mut streams = Vec::new();
        for head in join_all(calls).await {
            match head {
                // All answers share one status.
                ReplyHead::Json(answer) | ReplyHead::Refused(answer, _) => ready.push(answer.into()),
                ReplyHead::Events(stream) => streams.push(stream),
                ReplyHead::Lost => return Err(Rejection::Internal("the reply was lost")),
            }
        }
        Ok(if streams.is_empty() && form != Some(ResponseMode::Sse) {
            json(array(&ready))
        } else {
            events(ReplyBody::batch(ready.iter().map(|answer| event(answer)).collect(), streams))
        })
    }
}

/// Joins JSON answers into an array.
fn array(answers: &[Bytes]) -> Bytes {
    let mut out = vec![b'['];
    out.extend_from_slice(&answers.join(&b","[..]));
    out.push(b']');
    out.into()
}
