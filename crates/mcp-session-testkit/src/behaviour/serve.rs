//! The server around the endpoint: accepting, signals, and how connections end.

use std::{future::IntoFuture, io, sync::Arc, time::Duration};

use futures::{
    FutureExt,
    channel::{mpsc, oneshot},
    future::pending,
};
use mcp_session_core::{
    BoxFuture, Connect, ConnectionContext, Serve, ShutdownPhase, ShutdownPolicy, ShutdownReport,
};

use super::world::{NEVER, SOON, World, request};
use crate::TestBed;

/// Nothing of it elapses.
const PATIENT: ShutdownPolicy =
    ShutdownPolicy { lame_duck: Duration::ZERO, drain: NEVER, cancel: NEVER, finish: NEVER };

/// A server that runs as a task, and the clients that it accepts.
struct Server {
    clients: mpsc::UnboundedSender<io::Result<Connect>>,
    signals: Arc<event_listener::Event>,
    report: oneshot::Receiver<ShutdownReport>,
}

impl Server {
    fn start(world: &World, policy: ShutdownPolicy) -> Self {
        let (clients, incoming) = mpsc::unbounded();
        let signals = Arc::new(event_listener::Event::new());
        let signal = Arc::clone(&signals);
        let server = Serve::new(world.endpoint.clone(), incoming)
            .with_policy(policy)
            .with_shutdown(move || signal.listen());
        let (sender, report) = oneshot::channel();
        world.runtime.spawn(Box::pin(async move {
            let report = server.await.expect("a report");
            let _ = sender.send(report); // the scenario may not want it
        }));
        Self { clients, signals, report }
    }

    /// A client that is served by `connection`. Waits until it is.
    async fn accept<F>(&self, connection: impl FnOnce(ConnectionContext) -> F + Send + 'static) -> Connection
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, served) = oneshot::channel();
        let (held, dropped) = oneshot::channel::<()>();
        let connect: Connect = Box::new(move |context| -> BoxFuture<'static, ()> {
            let connection = connection(context);
            Box::pin(async move {
                let _held = held;
                sender.send(()).expect("the scenario waits");
                connection.await;
            })
        });
        self.clients.unbounded_send(Ok(connect)).expect("the server accepts");
        served.await.expect("the connection is served");
        Connection { dropped }
    }

    async fn ended(self) -> ShutdownReport {
        self.report.await.expect("the server ends")
    }
}

/// A connection that is being served.
struct Connection {
    dropped: oneshot::Receiver<()>,
}

impl Connection {
    /// Waits until nothing of it is left.
    async fn gone(self) {
        assert!(self.dropped.await.is_err());
    }

    fn is_gone(&mut self) -> bool {
        (&mut self.dropped).now_or_never().is_some()
    }
}

/// S7, F-40: connections are told to end once the endpoint is closed, not before, and the server waits for them. New ones
/// are accepted for as long as it drains.
pub fn s_7_connections_close_after_the_endpoint(bed: &impl TestBed) {
    let mut world = World::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&world, PATIENT);
        let client = world.client().await;
        let call = client.start(&request(1, "work"));
        let work = world.work().await;
        let (phase, at_closing) = oneshot::channel();
        let (open, gate) = oneshot::channel::<()>();
        let endpoint = world.endpoint.clone();
        let mut early = server
            .accept(async move |context: ConnectionContext| {
                context.closing().await;
                phase.send(endpoint.stats().phase).expect("the scenario waits");
                gate.await.expect("the scenario opens the gate");
            })
            .await;
        server.signals.notify(1);
        work.cx.draining().await;
        let late = server.accept(async |context: ConnectionContext| context.closing().await).await;
        assert!(!early.is_gone());
        work.finish(serde_json::json!({}));
        assert_eq!(call.head().await.answer().await["id"], 1);
        assert_eq!(at_closing.await, Ok(ShutdownPhase::Closed));
        late.gone().await;
        world.elapse(SOON * 5).await; // it has `finish`, not only the least time
        let mut report = server.report;
        world.elapse(4 * SOON).await; // more than the least that a connection gets
        assert!((&mut report).now_or_never().is_none(), "one connection has not ended");
        open.send(()).expect("the connection waits");
        let report = report.await.expect("the server ends");
        assert!(report.is_clean() && report.exchanges.answered == 1, "{report}");
        early.gone().await;
    });
}

/// S3: a connection that does not end in time is cut, and the report counts it.
pub fn s_3_a_connection_that_stays_is_cut(bed: &impl TestBed) {
    let world = World::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&world, ShutdownPolicy { finish: SOON, ..PATIENT });
        let stays = server.accept(async |_| pending().await).await;
        let ends = server.accept(async |context: ConnectionContext| context.closing().await).await;
        world.endpoint.shutdown(PATIENT); // it ends the server too, whoever begins it
        ends.gone().await;
        let report = server.ended().await;
        // A slow machine may not let the other one end in time.
        let most = if bed.name() == "sim" { 1 } else { 2 };
        assert!((1..=most).contains(&report.connections_cut) && !report.is_clean(), "{report}");
        stays.gone().await;
    });
}

/// S8: a connection that panics ends alone, and is not waited for.
pub fn s_8_a_connection_that_panics_harms_nobody(bed: &impl TestBed) {
    let world = World::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&world, PATIENT);
        let panics = server.accept(async |_| panic!("planted: the connection panics")).await;
        panics.gone().await;
        let lives_on = server.accept(async |context: ConnectionContext| context.closing().await).await;
        server.signals.notify(1);
        assert!(server.ended().await.is_clean());
        lives_on.gone().await;
    });
}

/// Accepting goes on after errors, whether they are of one client or of the whole server.
pub fn accepting_goes_on_after_an_error(bed: &impl TestBed) {
    let world = World::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&world, PATIENT);
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::Other] {
            server.clients.unbounded_send(Err(kind.into())).expect("the server accepts");
            let accepted = server.accept(async |_| {}).await;
            accepted.gone().await;
        }
        server.signals.notify(1);
        assert!(server.ended().await.is_clean());
    });
}

/// S10: the first signal begins the shutdown, each further one ends the present phase.
pub fn s_10_signals_begin_and_escalate(bed: &impl TestBed) {
    let mut world = World::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&world, ShutdownPolicy { lame_duck: NEVER, ..PATIENT });
        let client = world.json_client().await;
        let call = client.start(&request(1, "work"));
        drop(world.work().await); // it hangs
        let stays = server.accept(async |_| pending().await).await;
        for phase in [
            ShutdownPhase::LameDuck,
            ShutdownPhase::Draining,
            ShutdownPhase::Cancelling,
            ShutdownPhase::Finishing,
        ] {
            server.signals.notify(1);
            world.until(|world| world.endpoint.stats().phase >= phase).await;
        }
        assert_eq!(call.head().await.answer().await["error"]["code"], -32000);
        world.endpoint.closed().await;
        server.signals.notify(1); // the endpoint is closed, a connection is not
        assert_eq!(server.ended().await.connections_cut, 1);
        stays.gone().await;
    });
}

/// A server that is dropped cuts its connections, and the endpoint lives on.
pub fn dropping_the_server_cuts_its_connections(bed: &impl TestBed) {
    let world = World::new(bed, |_| {});
    bed.block_on(async {
        let (clients, incoming) = mpsc::unbounded();
        let mut server = Serve::new(world.endpoint.clone(), incoming).into_future();
        let (held, dropped) = oneshot::channel::<()>();
        let (sender, served) = oneshot::channel();
        let connect: Connect = Box::new(move |_| {
            Box::pin(async move {
                let _held = held;
                sender.send(()).expect("the scenario waits");
                pending::<()>().await;
            })
        });
        clients.unbounded_send(Ok(connect)).expect("the server accepts");
        assert!((&mut server).now_or_never().is_none());
        served.await.expect("the connection is served");
        drop(server);
        assert!(dropped.await.is_err());
        assert!(clients.is_closed(), "the listener is closed");
        assert_eq!(world.client().await.delete().await.status.as_u16(), 204);
    });
}
