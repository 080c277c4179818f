//! [`Server`]: an endpoint behind the adapter under test, on a loopback socket.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::channel::oneshot;
use mcp_session_core::{
    Config, Endpoint, PeerAddr, RequestContext, Router, RpcError, Runtime, Serve, Session, ShutdownPhase,
    ShutdownPolicy, ShutdownReport,
};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::sync::Semaphore;

use super::{Client, LONG, ServeHarness, until, within};

/// What a scenario configures before its server starts.
#[derive(Debug)]
pub struct Setup {
    /// The limits.
    pub config: Config,
    /// How long the phases of the shutdown may take: [`LONG`] each, and no lame duck.
    pub policy: ShutdownPolicy,
    /// [`LONG`].
    pub header_timeout: Duration,
    /// [`LONG`].
    pub idle_timeout: Duration,
    /// Further settings of the server.
    pub serve: fn(Serve) -> Serve,
}

/// A server on a loopback socket. Its methods:
///
/// | method | what it does |
/// |---|---|
/// | `echo` | answers with its params at once |
/// | `whence` | answers with the address of its client |
/// | `gated` | sends a notification, then answers when the gate opens |
/// | `quiet` | answers with its params when the gate opens |
/// | `ask` | asks the client for its roots and answers with them |
/// | `hang` | sends a notification, and ignores everything from then on |
/// | `flood` | sends large notifications for as long as they are taken |
#[derive(Debug)]
pub struct Server {
    /// Its address.
    pub addr: SocketAddr,
    /// The endpoint that it serves.
    pub endpoint: Endpoint,
    policy: ShutdownPolicy,
    gate: Arc<Semaphore>,
    signal: Arc<Semaphore>,
    report: oneshot::Receiver<io::Result<ShutdownReport>>,
}

impl Server {
    /// Starts a server with long limits.
    pub fn start(harness: &impl ServeHarness) -> Self {
        Self::with(harness, |_| {})
    }

    /// Starts a server with its own limits.
    pub fn with<H: ServeHarness>(harness: &H, set: impl FnOnce(&mut Setup)) -> Self {
        Self::on(harness, &harness.runtime(), set)
    }

    /// The same, on the scenario's own runtime, which runs tasks as the adapter's does.
    pub(super) fn on<H: ServeHarness>(
        _: &H,
        runtime: &Arc<dyn Runtime>,
        set: impl FnOnce(&mut Setup),
    ) -> Self {
        let policy = ShutdownPolicy { lame_duck: Duration::ZERO, drain: LONG, cancel: LONG, finish: LONG };
        let mut setup = Setup {
            config: Config::default(),
            policy,
            header_timeout: LONG,
            idle_timeout: LONG,
            serve: |serve| serve,
        };
        set(&mut setup);
        let Setup { config, policy, header_timeout, idle_timeout, serve } = setup;

        let gate = Arc::new(Semaphore::new(0));
        let endpoint = Endpoint::with_config(Arc::clone(runtime), router(&gate), config);
        let endpoint = endpoint.expect("limits that work");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("an option");
        let addr = listener.local_addr().expect("an address");
        let signal = Arc::new(Semaphore::new(0));
        let (next, served) = (Arc::clone(&signal), endpoint.clone());
        let (ended, report) = oneshot::channel();
        runtime.spawn(Box::pin(async move {
            let server = serve(H::serve(listener, served))
                .with_policy(policy)
                .with_header_timeout(header_timeout)
                .with_signal_window(Duration::ZERO) // so that a scenario need not wait
                .with_idle_timeout(idle_timeout)
                .with_graceful_shutdown(move || {
                    let next = Arc::clone(&next);
                    async move { next.acquire().await.expect("never closed").forget() }
                });
            let _ = ended.send(server.await); // fails if the scenario is over
        }));
        Self { addr, endpoint, policy, gate, signal, report }
    }

    /// Opens a client with a session.
    pub async fn client(&self) -> Client {
        Client::open(self.addr).await
    }

    /// Opens a client of an older version: its late answers are JSON, because that version has no priming events.
    pub async fn json_client(&self) -> Client {
        Client::with_version(self.addr, "2025-06-18").await
    }

    /// Lets all `gated` and `quiet` calls answer.
    pub fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// The only session.
    pub fn session(&self) -> Session {
        let mut sessions = self.endpoint.manager().sessions();
        assert_eq!(sessions.len(), 1);
        sessions.remove(0)
    }

    /// Sends the server a signal: the first one starts the shutdown, further ones escalate.
    pub fn signal(&self) {
        self.signal.add_permits(1);
    }

    /// Waits for this phase of the shutdown, or a later one.
    pub async fn reach(&self, phase: ShutdownPhase) {
        until(&format!("reaching {phase}"), || self.endpoint.stats().phase >= phase).await;
    }

    /// Starts the shutdown and waits until requests are refused.
    pub async fn drain(&self) {
        self.signal();
        self.reach(ShutdownPhase::Draining).await;
    }

    /// Waits until there are this many requests and streams.
    pub async fn reach_counts(&self, exchanges: u64, streams: u64) {
        until(&format!("{exchanges} exchanges and {streams} streams"), || {
            let stats = self.endpoint.stats();
            (stats.exchanges, stats.streams) == (exchanges, streams)
        })
        .await;
    }

    /// Waits for the server to end.
    pub async fn ended(self) -> ShutdownReport {
        let report = within("the end of the server", self.report).await;
        let report = report.expect("the server does not panic").expect("a report");
        // S3. The machine may be busy.
        assert!(
            report.took <= self.policy.ceiling() + Duration::from_secs(5),
            "within the ceiling: {report}"
        );
        report
    }

    /// Shuts the server down and waits for its end.
    pub async fn stop(self) -> ShutdownReport {
        self.signal();
        self.ended().await
    }
}

fn router(gate: &Arc<Semaphore>) -> Router {
    let wait = |gate: &Arc<Semaphore>| {
        let gate = Arc::clone(gate);
        async move { gate.acquire_owned().await.expect("never closed").forget() }
    };
    let (gated, quiet) = (Arc::clone(gate), Arc::clone(gate));
    Router::new("wire", "0.0.0")
        .capabilities(json!({ "tools": { "listChanged": true } }))
        .request("echo", |cx: RequestContext| async move { cx.params::<Value>() })
        .request("whence", |cx: RequestContext| async move {
            let peer = cx.extensions().get::<PeerAddr>().map(|PeerAddr(addr)| addr.to_string());
            Ok(json!({ "address": peer }))
        })
        .request("gated", move |cx: RequestContext| {
            let wait = wait(&gated);
            async move {
                started(&cx).await?;
                wait.await;
                Ok(json!({ "done": true }))
            }
        })
        .request("quiet", move |cx: RequestContext| {
            let wait = wait(&quiet);
            async move {
                wait.await;
                cx.params::<Value>()
            }
        })
        .request("ask", |cx: RequestContext| async move {
            let roots = cx.request::<Value>("roots/list", None, LONG).await;
            roots.map_err(|error| RpcError::internal(error.to_string()))?.parse::<Value>()
        })
        .request("hang", |cx: RequestContext| async move {
            started(&cx).await?;
            std::future::pending::<Result<Value, RpcError>>().await
        })
        .request("flood", |cx: RequestContext| async move {
            loop {
                cx.notify("notifications/message", Some(large())).await?;
            }
            #[allow(unreachable_code, reason = "gives the block its type")]
            Ok(json!({}))
        })
}

/// The params of a notification that is larger than what an HTTP server and the kernel together should buffer of a
/// stream, which is slightly more than half a megabyte. It is never sent completely if its client has stopped reading.
pub fn large() -> &'static RawValue {
    static LARGE: OnceLock<Box<RawValue>> = OnceLock::new();
    LARGE.get_or_init(|| {
        let text = "x".repeat(2 * 1024 * 1024);
        to_raw_value(&json!({ "level": "info", "data": text })).expect("JSON")
    })
}

async fn started(cx: &RequestContext) -> Result<(), RpcError> {
    let params = json!({ "level": "info", "data": "started" });
    Ok(cx.notify("notifications/message", Some(&params)).await?)
}
