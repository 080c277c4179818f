//! [`RequestContext`], which the handler gets with each request.

use std::{fmt, mem, sync::Arc, time::Duration};

use futures::FutureExt;
use http::{Extensions, HeaderMap, request::Parts};
use mcp_session_proto::{
    CancelReason, Json, Part, ProtocolVersion, RequestError, RequestId, RpcError, RpcRequest, SendError,
    SessionId, Status,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{exchange::ExchangeHandle, modern::Modern};
use crate::{
    principal::Principal,
    session::{
        Session,
        ask::ask,
        cell::{Machine, SharedWaiters},
        env::Env,
        manager::SessionManager,
        notification, object,
    },
    transport::LogLevel,
};

/// A running request: its params, its session and client, and the means to notify and ask that client. Cheap to
/// clone, for parts of the work that run concurrently.
///
/// ```
/// use std::time::Duration;
/// use futures::{FutureExt, select_biased};
/// use mcp_session_core::{RequestContext, RpcError};
/// use serde_json::{Value, json};
///
/// async fn work(cx: RequestContext) -> Result<Value, RpcError> {
///     let params: Value = cx.params()?; // -32602 if they do not decode
///     cx.progress(0.5, Some(1.0), Some("asking")).await?;
///     let mut asked = Box::pin(cx.request("roots/list", None::<&()>, Duration::from_secs(60))).fuse();
///     let mut cancelled = Box::pin(cx.cancelled()).fuse();
///     select_biased! {
///         roots = asked => Ok(json!({ "of": params, "roots": roots? })),
///         why = cancelled => Err(why.into()),
///     }
/// }
/// # let _ = work;
/// ```
#[derive(Clone)]
pub struct RequestContext(Arc<Inner>);

struct Inner {
    call: ExchangeHandle,
    version: ProtocolVersion,
    /// If the request is of 2026-07-28.
    modern: Option<Arc<Modern>>,
    request: RpcRequest,
    headers: HeaderMap,
    extensions: Extensions,
}

#[derive(Serialize)]
struct Progress<'a> {
    #[serde(rename = "progressToken")]
    progress_token: &'a RawValue,
    progress: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl RequestContext {
    /// Moves the headers and extensions out of the parts of the HTTP request.
    pub(crate) fn new(
        call: ExchangeHandle,
        version: ProtocolVersion,
        modern: Option<Arc<Modern>>,
        request: RpcRequest,
        parts: &mut Parts,
    ) -> Self {
        let (headers, extensions) = (mem::take(&mut parts.headers), mem::take(&mut parts.extensions));
        Self(Arc::new(Inner { call, version, modern, request, headers, extensions }))
    }

    pub(super) fn modern(&self) -> Option<&Modern> {
        self.0.modern.as_deref()
    }

    fn env(&self) -> &Arc<Env> {
        match &self.0.call {
            ExchangeHandle::Session(session, _) => session.env(),
            ExchangeHandle::Stateless(call) => call.env(),
        }
    }

    /// The version of the request: the session's negotiated one, or the one that the request names. A request without a
    /// session that names none is of 2025-03-26 (B-27).
    pub fn protocol_version(&self) -> ProtocolVersion {
        self.0.version
    }

    /// The client's `clientInfo`: that of `initialize` ([`Session::client_info`]), or at 2026-07-28 that of this request. An
    /// empty object if the client did not say.
    ///
    /// ```
    /// # use mcp_session_core::{RequestContext, RpcError};
    /// # use serde_json::Value;
    /// async fn whoami(cx: RequestContext) -> Result<Value, RpcError> {
    ///     let info: Value = cx.client_info().parse()?;
    ///     Ok(serde_json::json!({ "name": info["name"] }))
    /// }
    /// # let _ = whoami;
    /// ```
    pub fn client_info(&self) -> &Json {
        match (self.session(), self.modern()) {
            (Some(session), _) => session.client_info(),
            (None, Some(modern)) => modern.envelope.client_info.as_ref().unwrap_or_else(|| Json::empty()),
            (None, None) => Json::empty(),
        }
    }

    /// The client's `capabilities`, as it declared them with `initialize` ([`Session::client_capabilities`]), or at
    /// 2026-07-28 with this request. An empty object for a client of an older revision without a session (E-29).
    pub fn client_capabilities(&self) -> &Json {
        match (self.session(), self.modern()) {
            (Some(session), _) => session.client_capabilities(),
            (None, Some(modern)) => &modern.envelope.capabilities,
            (None, None) => Json::empty(),
        }
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.0.request.method
    }

    /// The request's id.
    pub fn id(&self) -> &RequestId {
        &self.0.request.id
    }

    /// The params as the client sent them (A-17).
    pub fn raw_params(&self) -> Option<&Json> {
        self.0.request.params.as_ref()
    }

    /// The text of a member of the params that the protocol reads.
    pub(crate) fn part(&self, part: Part) -> Result<Option<&str>, RpcError> {
        self.0.request.part(part)
    }

    /// Decodes the params. Absent params count as an empty object.
    ///
    /// # Errors
    ///
    /// -32602 with the reason, ready to be returned.
    pub fn params<P: DeserializeOwned>(&self) -> Result<P, RpcError> {
        match self.raw_params() {
            Some(params) => params.parse(),
            None => serde_json::from_str("{}").map_err(|error| RpcError::invalid_params(error.to_string())),
        }
    }

    /// The session that the request belongs to. `None` at 2026-07-28, and for a client that names no session (E-31).
    pub fn session(&self) -> Option<&Session> {
        self.0.call.session()
    }

    /// All sessions of the endpoint, for example to broadcast. `None` if the endpoint has been dropped. Do not keep the
    /// manager in the handler: keep its [`downgrade`](SessionManager::downgrade).
    pub fn sessions(&self) -> Option<SessionManager> {
        self.env().registry().map(SessionManager)
    }

    /// The id of the session, if there is one.
    pub fn session_id(&self) -> Option<SessionId> {
        self.session().map(Session::id)
    }

    /// The principal of the request, which is also that of its session. Key state that outlives the request by this name, not by the session id (E-19).
    pub fn principal(&self) -> Option<&Principal> {
        match self.session() {
            Some(session) => session.principal(),
            None => self.extensions().get(),
        }
    }

    /// The handler's data of the session, if it is a `T`: see [`Session::data`].
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.session()?.data()
    }

    /// The extensions of the HTTP request, as set by outer layers and [`Authenticate`](crate::Authenticate).
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The headers of the HTTP request.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Sends a notification before the answer, on the stream of this request (D-04). Waits while the queue of the
    /// stream is full; this delays no other stream. If the client has disconnected, the notification is kept for
    /// replay, otherwise dropped (D-12). At 2026-07-28, a `notifications/message` is sent only if the request asked for
    /// messages of its level, and dropped otherwise (G-08).
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if the request has been answered, [`SendError::Invalid`] if the params are not a JSON
    /// object.
    ///
    /// # Cancel safety
    ///
    /// If dropped while waiting, nothing was sent.
    pub async fn notify<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
    ) -> Result<(), SendError> {
        if let Some(modern) = self.modern().filter(|_| method == "notifications/message") {
            if !modern.wants_log(LogLevel::of(object(params)?.as_ref())) {
                return Ok(());
            }
        }
        let event = notification(method, params)?;
        self.0.call.notify(&event).await
    }

    /// Reports progress, if the client asked for it with a token (F-13). A value that is not finite, or does not
    /// exceed the last one, is not reported (F-14). A `total` that is not finite is left out (D-45).
    ///
    /// # Errors
    ///
    /// As [`RequestContext::notify`].
    ///
    /// # Cancel safety
    ///
    /// If dropped while waiting, nothing was sent.
    pub async fn progress(
        &self,
        progress: f64,
        total: Option<f64>,
        message: Option<&str>,
    ) -> Result<(), SendError> {
        let Some(progress_token) = self.progress_token() else { return Ok(()) };
        let total = total.filter(|total| total.is_finite());
        let params = Progress { progress_token, progress, total, message };
        let event = notification("notifications/progress", Some(&params))?;
        self.0.call.progress(progress, &event).await
    }

    /// Returns `true` if the client asked for progress.
    pub fn wants_progress(&self) -> bool {
        self.progress_token().is_some()
    }

    /// Sends a request to the client, on the stream of this request, and waits at most `timeout` for its reply (F-22).
    /// If it is dropped or times out, the client is told to cancel (F-24).
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the client's own error, an undeclared capability, no stream, a timeout, or the end of the
    /// session. Without a session, always [`RequestError::NoSession`] (E-29), at 2026-07-28 [`RequestError::NoRequests`]
    /// (G-28): [`RequestContext::elicit`], [`sample`](RequestContext::sample) and [`roots`](RequestContext::roots) ask
    /// clients of both eras.
    pub async fn request<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
        timeout: Duration,
    ) -> Result<Json, RequestError> {
        let params = object(params)?;
        let ExchangeHandle::Session(session, key) = &self.0.call else {
            return Err(if self.0.modern.is_some() {
                RequestError::NoRequests
            } else {
                RequestError::NoSession
            });
        };
        // If the exchange is over, nothing is sent.
        let signal =
            session.with(|machine, _| machine.tag_or(*key, SharedWaiters::default)).unwrap_or_default();
        let send = |machine: &mut Machine, now, left| {
            machine.request(now, *key, SharedWaiters::clone(&signal), method, params.as_ref(), left)
        };
        ask(session, &signal, timeout, send, |_| Some(SharedWaiters::clone(&signal))).await
    }

    /// Closes the connection of this request while the handler keeps running, so that a long call holds no connection
    /// (SEP-1699). The stream sends `retry` and ends after the events sent so far. The client reconnects after `retry`
    /// and gets what the handler has sent meanwhile (D-06, D-07). A shutdown waits for such a client.
    ///
    /// Returns `true` if the connection closes. Otherwise it stays open and nothing is lost: there is no session, replay is
    /// off, the session's version is older than 2025-11-25, the reply is JSON, the client is already disconnected, or the
    /// endpoint is shutting down and the client could not come back (D-05, S6). If the answer is ready before the
    /// connection has closed, it is sent on it, and the client need not reconnect.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mcp_session_core::{RequestContext, RpcError};
    /// use serde_json::{Value, json};
    ///
    /// async fn report(cx: RequestContext) -> Result<Value, RpcError> {
    ///     cx.progress(0.0, None, Some("this takes some minutes")).await?;
    ///     if !cx.close_stream(Duration::from_secs(5)) {
    ///         cx.progress(0.1, None, Some("stay on the line")).await?;
    ///     }
    ///     Ok(json!({ "pages": 400 })) // after some minutes
    /// }
    /// # let _ = report;
    /// ```
    pub fn close_stream(&self, retry: Duration) -> bool {
        let ExchangeHandle::Session(session, key) = &self.0.call else { return false };
        session.with(|machine, now| machine.close_connection(now, *key, retry))
    }

    /// Waits until the handler should stop, and returns the reason. A handler that stops answers `Err(reason.into())`.
    /// After [`CancelReason::Terminated`] there is a little time left to answer; otherwise the answer is discarded.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it changes nothing.
    pub async fn cancelled(&self) -> CancelReason {
        self.0.call.until(reason_to_stop).await
    }

    /// The reason why the handler should stop, if it should: [`RequestContext::cancelled`] without waiting.
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        reason_to_stop(self.0.call.status())
    }

    /// Waits until the endpoint starts to shut down or the session starts to end: a hint to finish soon, before
    /// anything is cancelled. Without a session, also until the request is over, after which a shutdown no longer waits for
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it changes nothing.
    pub async fn draining(&self) {
        self.0.call.draining().await;
    }

    /// Returns `true` if the endpoint is shutting down or the session is ending.
    pub fn is_draining(&self) -> bool {
        self.draining().now_or_never().is_some()
    }

    /// How long the handler may still take to answer, if the endpoint is shutting down or the session is ending: until its
    /// answer no longer counts and it is dropped. Zero if that is so already. `None` before: there is no deadline.
    pub fn remaining(&self) -> Option<Duration> {
        let (deadline, now) = self.0.call.answer_by();
        deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// A string or an integer (F-12).
    fn progress_token(&self) -> Option<&RawValue> {
        let token = self.part(Part::ProgressToken).ok()??;
        RequestId::from_json(token).and_then(|_| serde_json::from_str(token).ok())
    }
}

fn reason_to_stop(status: Status) -> Option<CancelReason> {
    let Status { cancelled, abandoned } = status;
    cancelled.or_else(|| abandoned.then_some(CancelReason::Answered))
}

/// Omits headers and params: they hold the client's secrets (E-20).
impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("session", &self.session_id())
            .field("id", self.id())
            .field("method", &self.method())
            .field("client", &self.client_info().as_str()) // escaped: the client controls it
            .finish_non_exhaustive()
    }
}
