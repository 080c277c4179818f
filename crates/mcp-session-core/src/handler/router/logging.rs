//! [`RequestContext::log`], and the answer to `logging/setLevel`.

use std::borrow::Cow;

use futures::{FutureExt, future::ready};
use mcp_session_proto::{Json, RpcError, SendError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Router, tools::Answer};
use crate::{handler::context::RequestContext, session::Session, transport::LogLevel};

impl Router {
    /// Adds the capability `logging`: clients get what [`RequestContext::log`] sends, and choose a level, for their session
    /// with `logging/setLevel` or at 2026-07-28 for each request.
    #[must_use]
    pub fn logging(mut self) -> Self {
        self.catalog.logging = true;
        self
    }
}

impl RequestContext {
    /// Sends a log message to the client, before the answer, if the client wants messages of this level. A session wants
    /// all until it chooses a level; a request of 2026-07-28 wants none unless it says so (G-08). `data` is a text, or any
    /// other JSON. The capability is [`Router::logging`].
    ///
    /// ```
    /// use mcp_session_core::{LogLevel, RequestContext, SendError};
    ///
    /// async fn work(cx: &RequestContext) -> Result<(), SendError> {
    ///     cx.log(LogLevel::Info, "half of it is done").await
    /// }
    /// # let _ = work;
    /// ```
    ///
    /// # Errors
    ///
    /// As [`RequestContext::notify`].
    ///
    /// # Cancel safety
    ///
    /// If dropped while waiting, nothing was sent.
    pub async fn log<D: Serialize + ?Sized>(&self, level: LogLevel, data: &D) -> Result<(), SendError> {
        if self.session().and_then(Session::log_level).is_some_and(|least| level < least) {
            return Ok(());
        }
        let data = serde_json::to_value(data).map_err(|_| SendError::Invalid)?;
        let params = json!({ "level": level.as_str(), "data": data });
        self.notify("notifications/message", Some(&params)).await
    }
}

/// Answers `logging/setLevel`.
pub(super) fn set_level(cx: &RequestContext) -> Result<Answer, RpcError> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        level: Cow<'a, str>,
    }
    let Params { level } = cx.raw_params().unwrap_or_else(|| Json::empty()).borrow()?;
    let known = LogLevel::parse(&level);
    let level =
        known.ok_or_else(|| RpcError::invalid_params(format!("`params.level`: `{level}` is not a level")))?;
    if let Some(session) = cx.session() {
        session.set_log_level(level);
    }
    Ok(ready(Ok(json!({}).into())).boxed())
}
