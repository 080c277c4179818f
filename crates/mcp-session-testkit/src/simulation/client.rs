//! [`Client`]: does the steps of its plan, one after the other.

mod calls;
pub(super) mod reading;
mod streams;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::select};
use http::{HeaderMap, Method, StatusCode};
use mcp_session_core::{ProtocolVersion, Runtime, SessionId, ShutdownPhase};

use super::{
    network::{self, Line, Piece, sleep},
    plan::{Act, CallId, ClientPlan, Kind, Millis, Reader, Step, Upload},
    world::World,
};

/// The longest time that a client waits for a call before its next step.
const WAITS: Duration = Duration::from_secs(5);

/// How often a client tries again.
const TRIES: u64 = 4;

/// A client.
#[derive(Clone)]
pub(super) struct Client {
    world: Arc<World>,
    number: usize,
    /// The number of its requests so far.
    requests: u64,
    /// The id of its last call.
    last: Option<u64>,
    /// The session that it had when this part of it began.
    began_with: Option<Option<SessionId>>,
}

/// The response to a request that needs no more than its status.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) line: Line,
    node: usize,
}

impl Client {
    pub(super) fn new(world: &Arc<World>, number: usize) -> Self {
        Self { world: Arc::clone(world), number, requests: 0, last: None, began_with: None }
    }

    /// This client, as it is when no step of its plan runs, in this session.
    pub(super) fn beside(world: &Arc<World>, number: usize, session: Option<SessionId>) -> Self {
        // Its requests have other ids than those of its steps.
        Self { requests: 500, began_with: Some(session), ..Self::new(world, number) }
    }

    fn plan(&self) -> &ClientPlan {
        &self.world.plan.clients[self.number]
    }

    fn kind(&self) -> Kind {
        self.plan().kind
    }

    pub(super) fn world(&self) -> &Arc<World> {
        &self.world
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        if let Some(session) = self.began_with {
            return session;
        }
        self.world.book().session_of(self.number)
    }

    /// Does all steps.
    pub(super) async fn live(mut self) {
        sleep(&self.world.sim, self.plan().starts).await;
        if let Kind::Session { version, initialized } = self.kind() {
            if !self.plan().steps.is_empty() && !self.open(version, initialized).await {
                return;
            }
        }
        let world = Arc::clone(&self.world);
        for step in &world.plan.clients[self.number].steps {
            if world.is_over() {
                return; // its time is over
            }
            self.step(step).await;
        }
    }

    async fn step(&mut self, step: &Step) {
        self.world.book().note(|| format!("client {}: {:?}", self.number, step.act));
        match &step.act {
            Act::Call { script, reader, waits, id, upload } => {
                let session = self.session();
                let again = self.last.filter(|_| *id == CallId::Again);
                let id = again.unwrap_or_else(|| self.next_id());
                let token = self.world.book().calls(self.number, id, session, script, *reader, *upload);
                self.last = Some(id);
                let call = calls::Call { client: self.part(), token, id, luck: step.luck, reader: *reader };
                let upload = *upload;
                let done = self.background(async move { call.run(upload).await });
                if *waits {
                    let sim = self.world.sim.clone();
                    select(done, sim.sleep_until(sim.now() + WAITS)).await;
                }
            }
            Act::List => {
                let list = self.list();
                self.simple(step.luck, list, "list", "tools/list").await;
            }
            Act::Ping => {
                let ping = self.ping();
                self.simple(step.luck, ping, "ping", "ping").await;
            }
            Act::Notify(time) => {
                if *time > 0 {
                    // Two at the same time.
                    self.simple(step.luck, notification(*time), "notification", "").await;
                }
                self.simple(step.luck, notification(*time), "notification", "").await;
            }
            Act::Cancel => {
                if let Some(id) = self.last {
                    // A modern client cancels by going away: its plan has cuts for that.
                    if matches!(self.kind(), Kind::Session { .. }) {
                        let session = self.session();
                        self.world.book().cancels(session, id);
                        let cancel = format!(
                            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"enough"}}}}"#
                        );
                        let running = self.world.book().running(session, id);
                        if self.simple(step.luck, cancel, "cancel", "").await == Some(202) {
                            // It may have to find its node first.
                            let one = if self.world.plan.nodes > 1 { 1_000 } else { 0 };
                            if let Some(token) = running {
                                self.world.book().is_cancelled_in_time(token);
                                self.stops(token, one);
                            }
                        }
                    }
                }
            }
            Act::Get(reader) => {
                let stream = streams::Get { client: self.part(), luck: step.luck, reader: *reader };
                let opened = self.background(stream.run());
                drop(opened);
            }
            Act::Listen(reader) => {
                let id = self.next_id();
                let stream = streams::Listen { client: self.part(), luck: step.luck, reader: *reader, id };
                drop(self.background(stream.run()));
            }
            Act::Delete => self.delete(step.luck).await,
            Act::Reinitialize => {
                let again = initialize(ProtocolVersion::LATEST_WITH_HANDSHAKE, self.number);
                self.simple(step.luck, again, "initialize", "").await;
            }
            Act::Sleep(time) => sleep(&self.world.sim, *time).await,
            Act::Join(other) => {
                let session = self.world.book().session_of(*other);
                if let Some(session) = session.filter(|_| *other != self.number) {
                    self.world.book().joins(self.number, session);
                }
            }
        }
    }

    /// This client, for a part of it that keeps its session.
    fn part(&self) -> Self {
        Self { began_with: Some(self.session()), ..self.clone() }
    }

    /// From now on the handler of a call has `cancel_grace` to stop, and so many milliseconds more.
    fn stops(&self, token: usize, more: u64) {
        let grace = self.world.plan.limits.config.session.cancel_grace;
        let (world, sim) = (self.world.weak(), self.world.sim.clone());
        self.world.sim.spawn(Box::pin(async move {
            sim.sleep_until(sim.now() + grace).await;
            sleep(&sim, more + 1).await;
            if let Some(world) = world.upgrade() {
                world.book().must_be_gone(token);
            }
        }));
    }

    pub(super) fn ping(&mut self) -> String {
        let id = self.next_id();
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)
    }

    pub(super) fn list(&mut self) -> String {
        let id = self.next_id();
        let params = if self.kind() == Kind::Modern { envelope("") } else { "{}".to_owned() };
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{params}}}"#)
    }

    fn next_id(&mut self) -> u64 {
        self.requests += 1;
        // No two clients of a session use the same ids.
        self.number as u64 * 1_000 + self.requests
    }

    /// Runs a part of this client beside its steps. The run waits for it.
    fn background(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> futures::future::BoxFuture<'static, ()> {
        let (done, finished) = futures::channel::oneshot::channel();
        let world = Arc::clone(&self.world);
        world.clients.fetch_add(1, Relaxed);
        self.world.sim.spawn(
            async move {
                work.await;
                world.clients.fetch_sub(1, Relaxed);
                let _ = done.send(()); // nobody waits for it
            }
            .boxed(),
        );
        finished.map(drop).boxed()
    }

    /// Opens a session. Returns `false` if it could not.
    async fn open(&mut self, version: ProtocolVersion, initialized: bool) -> bool {
        for attempt in 0..TRIES {
            let node = self.world.balance(self.number as u64 + attempt * 7919);
            let phase = self.world.phase(node);
            let sent = self.world.sim.now();
            let line = self.post(node, initialize(version, self.number), Upload::Whole, "");
            let Some(head) = self.head(line, node).await else { continue };
            self.world
                .book()
                .note(|| format!("client {}: initialize at node {node}: {}", self.number, head.status));
            self.world.book().coverage.reach("initialize", phase_name(phase), status_name(head.status));
            let id = head.headers.get("mcp-session-id").and_then(|id| id.to_str().ok()?.parse().ok());
            match (head.status, id, phase) {
                (StatusCode::OK, Some(session), Some((phase, generation))) => {
                    self.world.book().opened(self.number, session, (node, generation), (sent, phase));
                    self.drain(head).await;
                    if initialized {
                        let message = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned();
                        self.simple(attempt, message, "initialized", "").await;
                    }
                    return true;
                }
                (StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR, ..) => {
                    self.drain(head).await; // its handler refused
                    return false;
                }
                (StatusCode::SERVICE_UNAVAILABLE, ..) => sleep(&self.world.sim, 100).await,
                (status, ..) => {
                    self.world.book().violation("status", || format!("`initialize` got {status}"));
                    return false;
                }
            }
        }
        false
    }

    async fn delete(&mut self, luck: u64) {
        let Some(session) = self.session() else { return };
        self.world.book().session_ends(session);
        let node = self.world.balance(luck);
        let request = self.request(Method::DELETE, Some(session));
        let line = network::send(&self.world, node, request, Bytes::new(), Upload::Whole);
        let Some(head) = self.head(line, node).await else { return };
        self.world.book().coverage.reach(
            "delete",
            phase_name(self.world.phase(node)),
            status_name(head.status),
        );
        match head.status.as_u16() {
            204 => {
                self.world.book().deleted(session);
                self.uses_a_dead_session(luck).await;
            }
            404 | 503 => {}
            status => self.world.book().violation("status", || format!("DELETE got {status}")),
        }
    }

    /// Sends one message of each kind to a session that was deleted: each gets 404 (E-11).
    async fn uses_a_dead_session(&mut self, luck: u64) {
        let mut luck = fastrand::Rng::with_seed(luck);
        for later in [0, 1, 500] {
            sleep(&self.world.sim, later).await;
            self.simple(luck.u64(..), notification(0), "notification", "").await;
            let ping = self.ping();
            self.simple(luck.u64(..), ping, "ping", "ping").await;
            let stream = streams::Get { client: self.part(), luck: luck.u64(..), reader: Reader::default() };
            drop(self.background(stream.run())); // it may live, if the store has failed
        }
    }

    /// POSTs a message, and checks the status, which it returns. `name` is that of a request, for its headers.
    async fn simple(&self, luck: u64, message: String, what: &'static str, name: &str) -> Option<u16> {
        let session = self.session();
        let sent = self.world.book().moment();
        let node = self.world.balance(luck);
        let phase = self.world.phase(node);
        let line = self.post(node, message, Upload::Whole, name);
        let head = self.head(line, node).await?;
        self.world.book().coverage.reach(what, phase_name(phase), status_name(head.status));
        let status = head.status.as_u16();
        self.world.book().note(|| format!("client {}: {what} at node {node}: {status}", self.number));
        if let Some(session) =
            session.filter(|_| status > 299 && what != "initialize" && self.runs(node, phase))
        {
            self.world.book().refused(session, sent, status);
        }
        match (status, session) {
            (202, Some(session)) if what == "initialized" => {
                self.world.book().is_initialized(session);
                self.world.book().used(session, sent);
            }
            // It is a new session: an id that is dead may be the platform's own (E-28).
            (200, Some(_)) if what == "initialize" => {}
            // A node that drains has parked its sessions: what it still answers is no use that others know of.
            (200 | 202, Some(_)) if phase.is_some_and(|(phase, _)| phase >= ShutdownPhase::Draining) => {}
            (200 | 202, Some(session)) => self.world.book().used(session, sent),
            (200 | 202, None) => {}
            (404, Some(session)) => self.world.book().unknown(session, head.node),
            (503, _) => self.check_unavailable(head.node, phase, what),
            (400, Some(_)) if what == "initialize" => {}
            // It never got a session.
            (400 | 404 | 405, None) if matches!(self.kind(), Kind::Session { .. }) => {}
            _ => self.world.book().violation("status", || format!("{what} got {status}")),
        }
        if what == "ping" || what == "list" {
            self.drain(head).await;
        }
        Some(status)
    }

    /// Reads a response to its end.
    pub(super) async fn drain(&self, mut head: Head) {
        loop {
            match head.line.next().await {
                Some(Piece::Data(_) | Piece::Head(..)) => {}
                Some(Piece::End) | None => return,
                Some(Piece::Cut) => {
                    return self.world.book().cut(head.node, || "a short response".to_owned());
                }
            }
        }
    }

    /// Returns `true` if the same process runs since `sent`, and does not shut down.
    fn runs(&self, node: usize, sent: Option<(ShutdownPhase, usize)>) -> bool {
        sent.is_some_and(|(phase, _)| phase == ShutdownPhase::Running) && sent == self.world.phase(node)
    }

    /// 503 needs a reason.
    fn check_unavailable(&self, node: usize, sent: Option<(ShutdownPhase, usize)>, what: &str) {
        let config = &self.world.plan.limits.config;
        let limited = config.session.max_exchanges < 1_000 || config.max_stateless_requests < 100;
        let full = config.max_sessions < 100 || config.max_subscriptions < 100;
        if self.runs(node, sent) && !limited && !full && self.world.plan.store.is_none() {
            self.world
                .book()
                .violation("status", || format!("{what} got 503 at node {node}, which is ready"));
        }
    }

    pub(super) fn post(&self, node: usize, message: String, upload: Upload, name: &str) -> Line {
        let mut request = self.request(Method::POST, self.session());
        if self.kind() == Kind::Modern {
            request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", name);
            if name == "tools/call" {
                request = request.header("mcp-name", "act");
            }
        }
        network::send(&self.world, node, request, message.into(), upload)
    }

    pub(super) fn request(&self, method: Method, session: Option<SessionId>) -> http::request::Builder {
        let accept = match (&method, self.kind()) {
            (&Method::GET, _) => "text/event-stream",
            _ => "application/json, text/event-stream",
        };
        let builder = http::Request::builder().method(method).uri("/mcp").header("host", "localhost:8000");
        let builder = builder.header("content-type", "application/json").header("accept", accept);
        let builder = match self.kind() {
            Kind::Stateless(version) => builder.header("mcp-protocol-version", version.as_str()),
            Kind::Session { .. } | Kind::Modern => builder,
        };
        match session {
            Some(id) => builder.header("mcp-session-id", id.to_string()),
            None => builder,
        }
    }

    /// Waits for the head of a response. `None` if the connection broke.
    pub(super) async fn head(&self, mut line: Line, node: usize) -> Option<Head> {
        match line.next().await {
            Some(Piece::Head(status, headers)) => Some(Head { status, headers, line, node }),
            None => {
                self.world.book().broken(node);
                None
            }
            Some(other) => {
                self.world.book().violation("status", || format!("a response begins with {other:?}"));
                None
            }
        }
    }
}

/// A notification whose handler takes so long.
pub(super) fn notification(time: Millis) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{{"time":{time}}}}}"#)
}

/// The `initialize` of a client, which says its number.
pub(super) fn initialize(version: ProtocolVersion, number: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{}","capabilities":{{"sampling":{{}}}},"clientInfo":{{"name":"{number}","version":"1"}}}}}}"#,
        version.as_str()
    )
}

/// The params of a modern request, with these members first.
fn envelope(members: &str) -> String {
    let meta = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}"#;
    format!("{{{members}\"_meta\":{{{meta}}}}}")
}

fn phase_name(phase: Option<(ShutdownPhase, usize)>) -> &'static str {
    use ShutdownPhase as P;
    match phase.map(|(phase, _)| phase) {
        None => "gone",
        Some(P::Running) => "running",
        Some(P::LameDuck) => "lame duck",
        Some(P::Draining) => "draining",
        Some(P::Cancelling) => "cancelling",
        Some(P::Finishing) => "finishing",
        Some(_) => "closed",
    }
}

fn status_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 | 202 | 204 => "accepted",
        400 => "400",
        404 => "404",
        405 => "405",
        408 => "408",
        409 => "409",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}
