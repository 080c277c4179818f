//! [`Actor`]: the handler, which does what the plan says.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::pending;
use mcp_session_core::{
    CancelReason, ErrorCode, Handler, InitializeRequest, InitializeResult, Json, Notification,
    NotificationContext, RequestContext, RpcError, Runtime, SendError, Session, SessionData, TerminateReason,
};
use serde_json::{Value, json};

use super::{
    network::sleep,
    plan::{End, Hook, Hooks, Op, Script},
    world::World,
};
use crate::behaviour::fixture::planted;

/// How long a handler waits for the reply to a question.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// The code of an error that a script asks for.
pub(super) const FAILS: i64 = -31_000;

/// The handler of one node.
pub(super) struct Actor {
    pub(super) world: Weak<World>,
    pub(super) node: usize,
    /// Which process of the node.
    pub(super) generation: usize,
}

impl Actor {
    fn world(&self) -> Result<Arc<World>, RpcError> {
        self.world.upgrade().ok_or_else(|| RpcError::internal("the run is over"))
    }

    /// What the hooks of a session do: its client says so in its name.
    fn hooks(&self, client_info: &Json) -> Hooks {
        let name = client_info.parse::<Value>().unwrap_or_default()["name"].as_str().map(str::to_owned);
        let number = name.and_then(|name| name.parse::<usize>().ok());
        let client = self.world.upgrade().zip(number);
        client.and_then(|(world, n)| world.plan.clients.get(n).map(|client| client.hooks)).unwrap_or_default()
    }

    async fn hook(&self, hook: Hook) {
        let Some(world) = self.world.upgrade() else { return };
        match hook {
            Hook::Returns | Hook::Refuses => {}
            Hook::Sleeps(time) => sleep(&world.sim, time).await,
            Hook::Panics => planted("a hook panics"),
            Hook::Hangs => {
                drop(world);
                pending::<()>().await;
            }
        }
    }
}

impl Handler for Actor {
    fn info(&self) -> InitializeResult {
        InitializeResult::new("simulation", "1.0.0").with_capabilities(json!({
            "tools": { "listChanged": true }, "resources": { "listChanged": true }, "logging": {},
        }))
    }

    async fn initialize(&self, request: InitializeRequest) -> Result<InitializeResult, RpcError> {
        let hook = self.hooks(&request.client_info).initialize;
        if hook == Hook::Refuses {
            return Err(RpcError::new(ErrorCode(FAILS), "refused"));
        }
        self.hook(hook).await;
        Ok(self.info())
    }

    fn session_data(&self, session: &Session) -> SessionData {
        if self.hooks(session.client_info()).session_data == Hook::Panics {
            planted("a hook panics");
        }
        SessionData::none()
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        let world = self.world()?;
        if cx.method() == "tools/list" {
            return Ok(json!({ "tools": [] }).into());
        }
        let token = cx.params::<Value>()?["arguments"]["token"].as_u64().unwrap_or(u64::MAX) as usize;
        let Some(script) = world.begins(token, self.node, self.generation, &cx) else {
            return Err(RpcError::internal("no such call"));
        };
        let running = Running { world: Arc::downgrade(&world), token };
        let result = self.play(&world, token, &script, &cx).await;
        world.returns(token, &result);
        drop(running);
        result
    }

    async fn notification(&self, notification: Notification, _: NotificationContext) {
        let Some(world) = self.world.upgrade() else { return };
        let params = notification.params.and_then(|params| params.parse::<Value>().ok()).unwrap_or_default();
        let time = params["time"].as_u64().unwrap_or(0);
        world.book().notifications += 1;
        let handled = Handled(Weak::clone(&self.world));
        sleep(&world.sim, time).await;
        drop(handled);
    }

    async fn initialized(&self, session: Session) {
        self.hook(self.hooks(session.client_info()).initialized).await;
    }

    async fn adopted(&self, session: Session) {
        self.hook(self.hooks(session.client_info()).adopted).await;
    }

    async fn terminated(&self, session: Session, reason: TerminateReason) {
        if let Some(world) = self.world.upgrade() {
            world.book().hook_called(session.id(), (self.node, self.generation), reason);
        }
        self.hook(self.hooks(session.client_info()).terminated).await;
    }
}

impl Actor {
    async fn play(
        &self,
        world: &World,
        token: usize,
        script: &Script,
        cx: &RequestContext,
    ) -> Result<Json, RpcError> {
        for op in &script.ops {
            self.act(world, token, *op, cx).await?;
        }
        match script.end {
            End::Answer => Ok(json!({ "token": token, "notes": world.book().notes_accepted(token) }).into()),
            End::Fail => Err(RpcError::new(ErrorCode(FAILS), "as the plan wants it")),
            End::Panic => planted("the handler panics"),
            End::Never => pending().await,
            End::WhenCancelled(time) => {
                world.book().obeys(token, Duration::from_millis(time));
                let reason = cx.cancelled().await;
                if !matches!(reason, CancelReason::Terminated(_)) {
                    world.book().is_cancelled_in_time(token);
                }
                sleep(&world.sim, time).await;
                Err(reason.into())
            }
        }
    }

    async fn act(&self, world: &World, token: usize, op: Op, cx: &RequestContext) -> Result<(), RpcError> {
        match op {
            Op::Notify => {
                let n = world.book().next_note(token);
                let sent = cx.notify("notifications/note", Some(&json!({ "token": token, "n": n }))).await;
                world.book().noted(token, n, sent);
            }
            Op::Progress => {
                let n = world.book().next_progress(token);
                let _ = cx.progress(n as f64, None, None).await; // fails if the call is over
            }
            Op::Sleep(time) => sleep(&world.sim, time).await,
            Op::Ask(reply) => {
                let number = world.book().asks(token, reply);
                let params = json!({ "token": token, "ask": number });
                let got = cx.request("sampling/createMessage", Some(&params), PATIENCE).await;
                world.book().answered(number, got.map(|value| value.parse::<Value>().unwrap_or_default()));
            }
            Op::CloseStream(time) => _ = cx.close_stream(Duration::from_millis(time)),
            Op::Tell => {
                if let Some(session) = cx.session() {
                    let n = world.book().next_tell(session.id());
                    let params = json!({ "session": session.id().to_string(), "n": n });
                    let told = session.notify("notifications/tell", Some(&params)).await;
                    world.book().told(session.id(), n, told);
                }
            }
            Op::Broadcast => {
                if let Some(sessions) = cx.sessions() {
                    let params = json!({ "broadcast": world.book().broadcasts(self.node) });
                    let sent = sessions.broadcast("notifications/tools/list_changed", Some(&params));
                    debug_assert!(sent.is_ok());
                }
            }
            Op::Outlive(time) => {
                let (late, weak, sim) = (cx.clone(), self.world.clone(), world.sim.clone());
                world.sim.spawn(Box::pin(async move {
                    sleep(&sim, time).await;
                    let returned = weak.upgrade().is_none_or(|world| world.book().has_returned(token));
                    let sent = late.notify("notifications/late", None::<&()>).await;
                    if let Some(world) = weak.upgrade() {
                        if returned && sent != Err(SendError::Closed) {
                            world.book().violation("after-end", || {
                                format!("call {token} sent {sent:?} after its handler had returned")
                            });
                        }
                    }
                }));
            }
            Op::EndSession => {
                if let Some(session) = cx.session() {
                    world.book().session_ends(session.id());
                    drop(session.terminate(TerminateReason::Evicted));
                }
            }
        }
        Ok(())
    }
}

/// Counts a notification as being handled.
struct Handled(Weak<World>);

impl Drop for Handled {
    fn drop(&mut self) {
        if let Some(world) = self.0.upgrade() {
            world.book().notifications -= 1;
        }
    }
}

/// Counts a handler as running.
struct Running {
    world: Weak<World>,
    token: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(world) = self.world.upgrade() {
            world.book().handler_is_gone(self.token);
        }
    }
}
