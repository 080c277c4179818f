//! The server of the scenarios, with rmcp's macros.
#![allow(deprecated, reason = "what clients of older revisions use")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use futures::FutureExt;
use mcp_session_rmcp::DrainExt;
use rmcp::{
    ErrorData, Peer, RoleServer, ServerHandler,
    handler::server::wrapper::Parameters,
    model::*,
    schemars,
    service::{NotificationContext, RequestContext, SubscriptionContext},
    tool, tool_handler, tool_router,
};
use serde_json::json;
use tokio::sync::watch;

/// What the server says to the test.
#[derive(Default)]
pub(crate) struct Log {
    lines: watch::Sender<Vec<String>>,
    /// A peer that is shared by all values of the server.
    kept: Mutex<Option<Peer<RoleServer>>>,
}

impl Log {
    pub(crate) fn say(&self, line: impl Into<String>) {
        self.lines.send_modify(|lines| lines.push(line.into()));
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines.borrow().iter().filter(|said| *said == line).count()
    }

    pub(crate) async fn until(&self, line: &str) {
        self.until_count(line, 1).await;
    }

    pub(crate) async fn until_count(&self, line: &str, count: usize) {
        let said = |lines: &Vec<String>| lines.iter().filter(|said| *said == line).count() >= count;
        self.lines.subscribe().wait_for(said).await.expect("the log lives");
    }
}

struct CleansUp(Arc<Log>);

impl Drop for CleansUp {
    fn drop(&mut self) {
        self.0.say("cleaned up");
    }
}

pub(crate) struct Server {
    log: Arc<Log>,
    count: AtomicU64,
    kept: Mutex<Option<Peer<RoleServer>>>,
    all_kept: Mutex<Vec<Peer<RoleServer>>>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Echo {
    message: String,
}

fn say(text: impl Into<String>) -> Result<CallToolResult, ErrorData> {
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
}

async fn ask(
    peer: &Peer<RoleServer>,
    method: &str,
    params: serde_json::Value,
) -> Result<ClientResult, String> {
    let request = json!({ "method": method, "params": params });
    let request: ServerRequest = serde_json::from_value(request).map_err(|error| error.to_string())?;
    peer.send_request(request).await.map_err(|error| error.to_string())
}

async fn use_peer(peer: Option<Peer<RoleServer>>) -> Result<CallToolResult, ErrorData> {
    match peer {
        Some(peer) if peer.notify_tool_list_changed().await.is_ok() => say("sent"),
        Some(_) => say("failed"),
        None => say("nothing kept"),
    }
}

#[tool_router]
impl Server {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log, count: AtomicU64::new(0), kept: Mutex::default(), all_kept: Mutex::default() }
    }

    #[tool(description = "Says the same")]
    async fn echo(
        &self,
        Parameters(Echo { message }): Parameters<Echo>,
    ) -> Result<CallToolResult, ErrorData> {
        say(message)
    }

    #[tool(description = "Reports ten steps")]
    async fn steps(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let token =
            ctx.meta.get_progress_token().ok_or_else(|| ErrorData::invalid_params("no token", None))?;
        for step in 1..=10 {
            let progress = ProgressNotificationParam::new(token.clone(), f64::from(step));
            ctx.peer
                .notify_progress(progress)
                .await
                .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        }
        say("done")
    }

    #[tool(description = "Asks the user")]
    async fn ask(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
        let params = json!({ "mode": "form", "message": "Your name?", "requestedSchema": schema });
        match ask(&ctx.peer, "elicitation/create", params).await {
            Ok(ClientResult::ElicitResult(ElicitResult { action: ElicitationAction::Accept, .. })) => {
                say("accept")
            }
            Ok(other) => say(format!("{other:?}")),
            Err(error) => say(error),
        }
    }

    #[tool(description = "Asks the user, in either era, with core's context")]
    async fn asks_everybody(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let core = ctx.extensions.get::<mcp_session_core::RequestContext>().expect("it is there");
        let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
        let params = json!({ "mode": "form", "message": "Your name?", "requestedSchema": schema });
        match core.elicit("name", &params, std::time::Duration::from_secs(60)).await {
            Ok(answer) => say(answer.as_str()),
            Err(error) => {
                let error = mcp_session_core::RpcError::from(error);
                let code = i32::try_from(error.code.0).expect("rmcp has codes of 32 bits");
                Err(ErrorData::new(ErrorCode(code), error.message, None))
            }
        }
    }

    #[tool(description = "Asks the model")]
    async fn sample(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let message = json!({ "role": "user", "content": { "type": "text", "text": "think" } });
        match ask(&ctx.peer, "sampling/createMessage", json!({ "messages": [message], "maxTokens": 9 })).await
        {
            Ok(ClientResult::CreateMessageResult(result)) => say(result.model),
            Ok(other) => say(format!("{other:?}")),
            Err(error) => say(error),
        }
    }

    #[tool(description = "Says who asks")]
    async fn whoami(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let client = ctx.client_info().map(|info| info.name).unwrap_or_default();
        let version = ctx.protocol_version().map(|version| version.to_string()).unwrap_or_default();
        say(format!("{} {client} {version}", authorization(&ctx.extensions)))
    }

    #[tool(description = "Waits for its cancel")]
    async fn wait(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let _clean = CleansUp(Arc::clone(&self.log));
        self.log.say("waits");
        ctx.ct.cancelled().await;
        say("cancelled")
    }

    #[tool(description = "Panics")]
    async fn panics(&self) -> Result<CallToolResult, ErrorData> {
        panic!("planted")
    }

    #[tool(description = "Logs")]
    async fn logs(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let note =
            json!({ "method": "notifications/message", "params": { "level": "info", "data": "working" } });
        let note: ServerNotification = serde_json::from_value(note).expect("a notification");
        ctx.peer.send_notification(note).await.expect("sent");
        say("logged")
    }

    #[tool(description = "Spawns and sleeps")]
    async fn sleeps(&self) -> Result<CallToolResult, ErrorData> {
        let slept = tokio::spawn(tokio::time::sleep(std::time::Duration::from_millis(1))).await;
        say(if slept.is_ok() { "slept" } else { "failed" })
    }

    #[tool(description = "Waits for the drain")]
    async fn drains(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        assert!(!ctx.is_draining() && ctx.remaining().is_none());
        self.log.say("waits for the drain");
        ctx.draining().await;
        say(if ctx.remaining().is_some_and(|left| !left.is_zero()) {
            "drained, with time left"
        } else {
            "too late"
        })
    }

    #[tool(description = "Drops a send after its first poll")]
    async fn half(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let _ = Box::pin(ctx.peer.notify_tool_list_changed()).now_or_never();
        say("half")
    }

    #[tool(description = "Drops ten sends after their first polls")]
    async fn halves(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        for _ in 0..10 {
            let _ = Box::pin(ctx.peer.notify_tool_list_changed()).now_or_never();
        }
        self.log.say("has sent halves");
        say("halves")
    }

    #[tool(description = "Does not stop, but what it has spawned does")]
    async fn stubborn(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let (log, ct) = (Arc::clone(&self.log), ctx.ct.clone());
        tokio::spawn(async move {
            ct.cancelled().await;
            log.say("the spawned part ends");
        });
        self.log.say("is stubborn");
        std::future::pending().await
    }

    #[tool(description = "Counts its calls")]
    async fn count(&self) -> Result<CallToolResult, ErrorData> {
        say((self.count.fetch_add(1, Relaxed) + 1).to_string())
    }

    #[tool(description = "Keeps the peer")]
    async fn keep(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        *self.kept.lock().expect("a lock") = Some(ctx.peer.clone());
        say("kept")
    }

    #[tool(description = "Sends with the peer that was kept")]
    async fn use_kept(&self) -> Result<CallToolResult, ErrorData> {
        let kept = self.kept.lock().expect("a lock").clone();
        use_peer(kept).await
    }

    #[tool(description = "Keeps the peer, beside those that it has kept")]
    async fn keep_another(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        self.all_kept.lock().expect("a lock").push(ctx.peer.clone());
        say("kept")
    }

    #[tool(description = "Sends with each peer that was kept")]
    async fn use_all_kept(&self) -> Result<CallToolResult, ErrorData> {
        let kept = self.all_kept.lock().expect("a lock").clone();
        let mut sent = 0;
        for peer in &kept {
            sent += u32::from(peer.notify_tool_list_changed().await.is_ok());
        }
        say(format!("{sent} of {}", kept.len()))
    }

    #[tool(description = "Keeps the peer and never ends")]
    async fn keep_and_hang(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        *self.kept.lock().expect("a lock") = Some(ctx.peer.clone());
        let _dropped = CleansUp(Arc::clone(&self.log));
        self.log.say("hangs");
        std::future::pending().await
    }

    #[tool(description = "Names the thread that what it spawns runs on")]
    async fn thread(&self) -> Result<CallToolResult, ErrorData> {
        let name = tokio::spawn(async { std::thread::current().name().map(str::to_owned) }).await;
        say(name.ok().flatten().unwrap_or_default())
    }

    #[tool(description = "Keeps the peer for all clients")]
    async fn keep_for_all(&self, ctx: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        *self.log.kept.lock().expect("a lock") = Some(ctx.peer.clone());
        say("kept")
    }

    #[tool(description = "Sends with the peer that was kept for all clients")]
    async fn use_kept_for_all(&self) -> Result<CallToolResult, ErrorData> {
        let kept = self.log.kept.lock().expect("a lock").clone();
        use_peer(kept).await
    }

    #[tool(description = "Ends when it is told to")]
    async fn slow(&self) -> Result<CallToolResult, ErrorData> {
        self.log.say("runs");
        self.log.until("finish").await;
        say("finished")
    }
}

fn authorization(extensions: &Extensions) -> String {
    let parts = extensions.get::<http::request::Parts>();
    let header = parts.and_then(|parts| parts.headers.get("authorization"));
    header.and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned()
}

#[tool_handler]
#[allow(deprecated, reason = "what clients of older revisions use")]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities =
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().enable_logging().build();
        let mut info = ServerConfig::new(capabilities);
        info.server_info = Implementation::new("bridged", "1.0.0");
        info
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let name = context.peer.peer_info().map(|info| info.client_info.name.clone()).unwrap_or_default();
        self.log.say(format!("opened by {name}"));
        self.negotiate_initialize(&request)
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        ctx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *self.kept.lock().expect("a lock") = Some(ctx.peer);
        Ok(())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let name = context.peer.peer_info().map(|info| info.client_info.name.clone()).unwrap_or_default();
        *self.kept.lock().expect("a lock") = Some(context.peer);
        self.log.say(format!("initialized by {name}"));
        self.log.say("kept");
    }

    async fn on_cancelled(&self, note: CancelledNotificationParam, _: NotificationContext<RoleServer>) {
        let id = note.request_id.map(|id| id.to_string()).unwrap_or_default();
        self.log.say(format!("{id} was cancelled: {}", note.reason.unwrap_or_default()));
    }

    async fn on_roots_list_changed(&self, context: NotificationContext<RoleServer>) {
        self.log.say(format!("roots changed, {}", authorization(&context.extensions)));
    }

    async fn on_custom_notification(&self, note: CustomNotification, _: NotificationContext<RoleServer>) {
        self.log.say(format!("custom {}", note.method));
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.log.say("listens");
        let _ = context.sink().notify_tool_list_changed().await;
        context.cancelled().await;
        Ok(())
    }
}
