//! The server around the endpoint: accepting connections, signals, and how connections end.

use std::{
    future::IntoFuture,
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::pending,
    stream,
};
use mcp_session_core::{
    BoxFuture, ConnectionContext, Endpoints, Serve, ServeConnection, ShutdownPhase, ShutdownPolicy,
    ShutdownReport,
};

use super::fixture::{Fixture, NEVER, PATIENT, SOON, initialize, planted, request};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_7_connections_close_after_the_endpoint,
    s_3_a_connection_that_stays_is_cut,
    s_8_a_connection_that_panics_harms_nobody,
    accepting_goes_on_after_an_error,
    s_8_a_listener_and_a_signal_that_panic,
    servers_that_cannot_work_are_refused,
    s_10_signals_begin_and_escalate,
    s_10_a_signal_repeated_at_once_does_not_escalate,
    s_7_several_endpoints_stop_together,
    s_10_signals_escalate_several_endpoints,
    a_connection_at_work_has_the_whole_budget,
    dropping_the_server_cuts_its_connections,
}

/// A server that runs as a task, and the connections that it accepts.
struct Server {
    clients: mpsc::UnboundedSender<io::Result<ServeConnection>>,
    signals: Arc<event_listener::Event>,
    /// How often the server started to listen for a signal.
    listens: Arc<AtomicUsize>,
    report: oneshot::Receiver<ShutdownReport>,
}

impl Server {
    /// A server for which every signal escalates, however soon it comes.
    fn start(fixture: &Fixture, policy: ShutdownPolicy) -> Self {
        Self::with(fixture, &fixture.endpoint, policy, Duration::ZERO)
    }

    fn with(
        fixture: &Fixture,
        endpoints: impl Into<Endpoints>,
        policy: ShutdownPolicy,
        window: Duration,
    ) -> Self {
        let (clients, incoming) = mpsc::unbounded();
        let (signals, listens) = (Arc::new(event_listener::Event::new()), Arc::new(AtomicUsize::new(0)));
        let (signal, listening) = (Arc::clone(&signals), Arc::clone(&listens));
        let server = Serve::new(endpoints, incoming)
            .with_policy(policy)
            .with_signal_window(window)
            .with_graceful_shutdown(move || {
                let next = signal.listen();
                listening.fetch_add(1, SeqCst);
                next
            });
        let (sender, report) = oneshot::channel();
        fixture.runtime.spawn(Box::pin(async move {
            let report = server.await.expect("a report");
            let _ = sender.send(report); // fails if the scenario does not need it
        }));
        Self { clients, signals, listens, report }
    }

    /// Adds a client that is served by `connection`, and waits until it is.
    async fn accept<F>(&self, connection: impl FnOnce(ConnectionContext) -> F + Send + 'static) -> Connection
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, served) = oneshot::channel();
        let (held, dropped) = oneshot::channel::<()>();
        let connect: ServeConnection = Box::new(move |context| -> BoxFuture<'static, ()> {
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
    /// Waits until nothing of the connection is left.
    async fn gone(self) {
        assert!(self.dropped.await.is_err());
    }

    fn is_gone(&mut self) -> bool {
        (&mut self.dropped).now_or_never().is_some()
    }
}

/// S7, F-40: connections are told to end once the endpoint is closed, not before, and the server waits for them. New
/// ones are accepted while the endpoint drains.
fn s_7_connections_close_after_the_endpoint(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&fixture, PATIENT);
        let client = fixture.client().await;
        let call = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let (phase, at_closing) = oneshot::channel();
        let (open, gate) = oneshot::channel::<()>();
        let endpoint = fixture.endpoint.clone();
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
        fixture.elapse(SOON * 5).await; // it has `finish`, not only the minimum time
        let mut report = server.report;
        fixture.elapse(4 * SOON).await; // more than the minimum time of a connection
        assert!((&mut report).now_or_never().is_none(), "one connection has not ended");
        open.send(()).expect("the connection waits");
        let report = report.await.expect("the server ends");
        assert!(report.is_clean() && report.exchanges.answered == 1, "{report}");
        early.gone().await;
    });
}

/// S3: a connection that does not end in time is cut, and the report counts it.
fn s_3_a_connection_that_stays_is_cut(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&fixture, ShutdownPolicy { finish: SOON, ..PATIENT });
        let stays = server.accept(async |_| pending().await).await;
        let ends = server.accept(async |context: ConnectionContext| context.closing().await).await;
        fixture.endpoint.shutdown(PATIENT); // ends the server too, whoever calls it
        ends.gone().await;
        let report = server.ended().await;
        // On a slow machine, the other connection may not end in time.
        let most = if bed.name() == "sim" { 1 } else { 2 };
        assert!((1..=most).contains(&report.connections_cut) && !report.is_clean(), "{report}");
        stays.gone().await;
    });
}

/// S8: a connection that panics affects no other, and the server does not wait for it.
fn s_8_a_connection_that_panics_harms_nobody(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&fixture, PATIENT);
        let panics = server.accept(async |_| planted("the connection panics")).await;
        panics.gone().await;
        let lives_on = server.accept(async |context: ConnectionContext| context.closing().await).await;
        server.signals.notify(1);
        assert!(server.ended().await.is_clean());
        lives_on.gone().await;
    });
}

/// Accepting continues after errors of one client and of the whole server.
fn accepting_goes_on_after_an_error(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&fixture, PATIENT);
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::Other] {
            server.clients.unbounded_send(Err(kind.into())).expect("the server accepts");
            let accepted = server.accept(async |_| {}).await;
            accepted.gone().await;
        }
        server.signals.notify(1);
        assert!(server.ended().await.is_clean());
    });
}

/// S8: a server keeps accepting after its listener panics, and keeps serving until its endpoint closes after its wait
/// for a signal panics.
fn s_8_a_listener_and_a_signal_that_panic(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (clients, mut accepted) = mpsc::unbounded();
        let mut first = true;
        let incoming = stream::poll_fn(move |cx| {
            if mem::take(&mut first) {
                planted("the listener panics");
            }
            accepted.poll_next_unpin(cx)
        });
        let server = Serve::new(&fixture.endpoint, incoming)
            .with_policy(PATIENT)
            .with_graceful_shutdown(|| async { planted("the wait for a signal panics") });
        let (sender, report) = oneshot::channel();
        fixture.runtime.spawn(Box::pin(async move {
            let _ = sender.send(server.await); // fails if the scenario does not need it
        }));
        let (served, is_served) = oneshot::channel();
        let connect: ServeConnection = Box::new(|_| {
            let _ = served.send(()); // fails if the scenario does not need it
            async {}.boxed()
        });
        clients.unbounded_send(Ok(connect)).expect("the server accepts");
        is_served.await.expect("it is served");
        fixture.endpoint.shutdown(PATIENT).await;
        assert!(report.await.expect("the server goes on").expect("a report").is_clean());
    });
}

/// A server with limits that cannot work does not start, and names the limit.
fn servers_that_cannot_work_are_refused(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = || Serve::new(&fixture.endpoint, stream::pending());
        for (server, field) in [
            (server().with_header_timeout(Duration::ZERO), "with_header_timeout"),
            (server().with_idle_timeout(Duration::ZERO), "with_idle_timeout"),
            (server().with_stall_timeout(Duration::ZERO), "with_stall_timeout"),
            (server().with_send_backlog(0), "with_send_backlog"),
        ] {
            let error = server.await.expect_err("it would serve nobody");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(field), "{error}");
        }
    });
}

/// S10: the first signal starts the shutdown; each further signal ends the current phase.
fn s_10_signals_begin_and_escalate(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&fixture, ShutdownPolicy { lame_duck: NEVER, ..PATIENT });
        let client = fixture.json_client().await;
        let call = client.start(&request(1, "work"));
        drop(fixture.work().await); // it hangs
        let stays = server.accept(async |_| pending().await).await;
        for phase in [
            ShutdownPhase::LameDuck,
            ShutdownPhase::Draining,
            ShutdownPhase::Cancelling,
            ShutdownPhase::Finishing,
        ] {
            server.signals.notify(1);
            fixture.until(|fixture| fixture.endpoint.stats().phase >= phase).await;
        }
        assert_eq!(call.head().await.answer().await["error"]["code"], -32000);
        fixture.endpoint.closed().await;
        server.signals.notify(1); // the endpoint is closed, but a connection is not
        assert_eq!(server.ended().await.connections_cut, 1);
        stays.gone().await;
    });
}

/// S10: signals within the window of the first count as the same stop, as when a wrapper and its process group both
/// send one. A later signal escalates.
fn s_10_a_signal_repeated_at_once_does_not_escalate(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::with(&fixture, &fixture.endpoint, PATIENT, NEVER);
        let client = fixture.client().await;
        let call = client.start(&request(1, "work"));
        let work = fixture.work().await;
        for listens in 2..=4 {
            server.signals.notify(1);
            fixture.until(|_| server.listens.load(SeqCst) == listens).await;
        }
        work.cx.draining().await;
        assert_eq!(fixture.endpoint.stats().phase, ShutdownPhase::Draining);
        assert_eq!(work.cx.cancel_reason(), None);
        work.finish(serde_json::json!({ "whole": true }));
        assert_eq!(call.head().await.answer().await["result"]["whole"], true);
        let report = server.ended().await;
        assert_eq!((report.exchanges.answered, report.exchanges.synthesized), (1, 0), "{report}");
    });
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::with(&fixture, &fixture.endpoint, PATIENT, SOON);
        let client = fixture.json_client().await;
        let call = client.start(&request(1, "work"));
        let work = fixture.work().await;
        server.signals.notify(1);
        work.cx.draining().await;
        fixture.elapse(SOON * 2).await;
        // On a slow machine, the window may have begun late.
        while work.cx.cancel_reason().is_none() {
            server.signals.notify(1);
            fixture.elapse(SOON).await;
        }
        work.finish(serde_json::json!({}));
        call.head().await.answer().await;
        server.ended().await;
    });
}

/// S7, S9: a server with several endpoints stops them together, whichever begins, with one ceiling and one report.
fn s_7_several_endpoints_stop_together(bed: &impl TestBed) {
    for begins in 0..3 {
        let (first, mut second) = (Fixture::new(bed, |_| {}), Fixture::new(bed, |_| {}));
        bed.block_on(async {
            let both = [first.endpoint.clone(), second.endpoint.clone()];
            let server = Server::with(&first, both.clone(), PATIENT, Duration::ZERO);
            let (_idle, client) = (first.client().await, second.client().await);
            let call = client.start(&request(1, "work"));
            let work = second.work().await;
            match both.get(begins) {
                Some(endpoint) => drop(endpoint.shutdown(PATIENT)),
                None => drop(server.signals.notify(1)),
            }
            for fixture in [&first, &second] {
                fixture.until(|fixture| !fixture.endpoint.is_ready()).await;
                fixture.until(|fixture| fixture.endpoint.stats().phase >= ShutdownPhase::Draining).await;
                let refused = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
                assert_eq!(refused.status.as_u16(), 503, "neither opens sessions any more");
            }
            work.cx.draining().await;
            // The server keeps accepting although one endpoint has nothing left to do.
            let late = server.accept(async |context: ConnectionContext| context.closing().await).await;
            work.finish(serde_json::json!({}));
            assert_eq!(call.head().await.answer().await["id"], 1);
            late.gone().await;
            let report = server.ended().await;
            assert!(report.is_clean(), "{report}");
            assert_eq!((report.sessions, report.exchanges.answered), (2, 1), "{report}");
        });
    }
}

/// S10: with several endpoints, a second signal ends the current phase of the endpoint that is behind.
fn s_10_signals_escalate_several_endpoints(bed: &impl TestBed) {
    let (first, mut second) = (Fixture::new(bed, |_| {}), Fixture::new(bed, |_| {}));
    bed.block_on(async {
        let both = [first.endpoint.clone(), second.endpoint.clone()];
        let server = Server::with(&first, both.clone(), PATIENT, Duration::ZERO);
        let client = second.json_client().await;
        let call = client.start(&request(1, "work"));
        drop(second.work().await); // it hangs
        for phase in [ShutdownPhase::Draining, ShutdownPhase::Cancelling, ShutdownPhase::Finishing] {
            server.signals.notify(1);
            // Both: a signal that finds the other one still in the phase before would be for that one.
            second.until(|_| both.iter().all(|endpoint| endpoint.stats().phase >= phase)).await;
        }
        assert_eq!(call.head().await.answer().await["error"]["code"], -32000);
        assert_eq!(server.ended().await.exchanges.synthesized, 1);
    });
}

/// A connection on which the application is working, for example an ordinary route beside the endpoint, has the rest
/// of the whole budget. One whose client does not read has `finish` (S3, S11).
fn a_connection_at_work_has_the_whole_budget(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let server = Server::start(&fixture, ShutdownPolicy { finish: SOON, ..PATIENT });
        let (open, gate) = oneshot::channel::<()>();
        let mut download = server
            .accept(async move |context: ConnectionContext| {
                context.work().during(gate).await.expect("the scenario opens the gate");
            })
            .await;
        let stalled = server
            .accept(async |context: ConnectionContext| {
                context.work().during(async {}).await; // that was the last of its response
                pending::<()>().await;
            })
            .await;
        fixture.endpoint.shutdown(ShutdownPolicy { finish: SOON, ..PATIENT });
        stalled.gone().await;
        fixture.elapse(SOON * 10).await; // more than the minimum time of a connection
        assert!(!download.is_gone());
        open.send(()).expect("the connection waits");
        download.gone().await;
        let report = server.ended().await;
        assert_eq!(report.connections_cut, 1, "{report}");
    });
    // The whole budget is the ceiling for such a connection too, and if it is cut, it is counted.
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let policy = ShutdownPolicy { drain: SOON * 5, cancel: SOON, finish: SOON, ..PATIENT };
        let server = Server::start(&fixture, policy);
        let at_work = async |context: ConnectionContext| context.work().during(pending()).await;
        let endless = server.accept(at_work).await;
        let begin = fixture.runtime.now();
        fixture.endpoint.shutdown(policy);
        endless.gone().await;
        assert!(fixture.runtime.now() >= begin + policy.ceiling());
        assert_eq!(server.ended().await.connections_cut, 1);
    });
}

/// Dropping a server cuts its connections, and the endpoint lives on.
fn dropping_the_server_cuts_its_connections(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (clients, incoming) = mpsc::unbounded();
        let mut server = Serve::new(fixture.endpoint.clone(), incoming).into_future();
        let (held, dropped) = oneshot::channel::<()>();
        let (sender, served) = oneshot::channel();
        let connect: ServeConnection = Box::new(move |_| {
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
        assert_eq!(fixture.client().await.delete().await.status.as_u16(), 204);
    });
}
