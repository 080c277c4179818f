//! A child for each session: it is started with `initialize`, and ends with the session.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use http::HeaderMap;
use mcp_session_core::{
    InitializeRequest, InitializeResult, Json, RequestContext, RpcError, Session, SessionData,
    TerminateReason,
};

use super::{
    audience::Owner,
    config::HeaderEnv,
    core::{Core, Opening},
    link::Link,
};

/// How long a client may take from the answer to `initialize` until it uses the session, if the idle timeout is not shorter.
/// 30 seconds, as core's limit.
const HALF_OPEN: Duration = Duration::from_secs(30);

/// Counts a session as long as it lives.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Core>);

impl Seat {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        core.counts.sessions.fetch_add(1, SeqCst);
        Self(Arc::clone(core))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.counts.sessions.fetch_sub(1, SeqCst);
    }
}

/// The child of a session, in its data. It ends with it at the latest.
#[derive(Debug)]
pub(crate) struct SessionChild {
    pub(crate) link: Link,
    _seat: Seat,
}

/// Starts the child of a session.
pub(crate) async fn initialize(
    core: &Arc<Core>,
    request: &InitializeRequest,
) -> Result<InitializeResult, RpcError> {
    let label = request.session_id.map_or_else(|| "no session".to_owned(), |id| id.prefix());
    let extra = variables(&core.config.header_env, &request.headers);
    let opening = Opening {
        version: request.protocol_version,
        capabilities: request.capabilities.clone(),
        client_info: request.client_info.clone(),
    };
    let (link, info) = core.open(label, &extra, &opening).await?;
    request.set_session_data(SessionData::new(SessionChild { link, _seat: Seat::new(core) }));
    InitializeResult::try_from(info)
}

/// The session is there: it hears what its child says, and ends if the child dies.
pub(crate) fn bind(child: &SessionChild, session: &Session) {
    if !child.link.set_owner(Owner::Session(session.clone())) {
        drop(session.terminate(TerminateReason::Error)); // it died meanwhile
    }
    child.link.inner().listen_to_changes();
    let (session, first_use) = (session.clone(), child.link.first_use());
    let limit = HALF_OPEN.min(child.link.core.config.limits.idle);
    tokio::spawn(async move {
        // Core's own limit has the time in it that a child may take to start.
        let unused = tokio::time::timeout(limit, first_use).await.is_err();
        if unused && session.is_half_open() {
            drop(session.terminate(TerminateReason::InitializeTimeout));
        }
    });
}

/// A request of the session.
pub(crate) async fn request(child: &SessionChild, cx: &RequestContext) -> Result<Json, RpcError> {
    child.link.call(cx).await
}

/// The variables that headers become. A header that is not there sets none; one that comes twice counts once.
fn variables(header_env: &[HeaderEnv], headers: &HeaderMap) -> Vec<(OsString, OsString)> {
    let value = |it: &HeaderEnv| Some(OsStr::from_bytes(headers.get(&it.header)?.as_bytes()).to_owned());
    header_env.iter().filter_map(|it| Some((it.variable.clone().into(), value(it)?))).collect()
}
