use std::{
    collections::VecDeque,
    future::IntoFuture,
    io,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Instant,
};

use futures::{FutureExt, stream};
use hyper::rt::ReadBufCursor;
use mcp_session_core::{BoxFuture, Endpoint, Router, Runtime, Serve, ServeConnection};
use mcp_session_testkit::SimRuntime;

use super::*;
use crate::McpService;
use crate::drive::{GOODBYE, PAUSE};

/// The most bytes of a connection's future that are not hyper's: the socket, the context, a deadline and a few flags.
const OURS: usize = 360;

/// A runtime whose clock can jump ahead of its timers, as in a process that was stopped.
#[derive(Debug, Clone)]
struct Stoppable(Arc<SimRuntime>, Arc<AtomicU64>);

impl Stoppable {
    fn ahead(&self) -> Duration {
        Duration::from_secs(self.1.load(SeqCst))
    }
}

impl Runtime for Stoppable {
    fn now(&self) -> Instant {
        self.0.now() + self.ahead()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline - self.ahead())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.0.random()
    }
}

/// A socket without a network.
#[derive(Debug, Clone, Default)]
struct Socket(Arc<Mutex<Wire>>);

#[derive(Debug, Default)]
struct Wire {
    sent: VecDeque<u8>,
    received: Vec<u8>,
    reader: Option<Waker>,
    closed: bool,
}

impl Socket {
    fn with<R>(&self, f: impl FnOnce(&mut Wire) -> R) -> R {
        f(&mut self.0.lock().expect("no panic"))
    }

    fn send(&self, bytes: &str) {
        let reader = self.with(|wire| {
            wire.sent.extend(bytes.as_bytes());
            wire.reader.take()
        });
        reader.expect("somebody reads").wake();
    }

    /// The statuses that were received since the last call.
    fn statuses(&self) -> Vec<String> {
        let received = self.with(|wire| mem::take(&mut wire.received));
        let text = String::from_utf8(received).expect("text");
        text.split("HTTP/1.1 ").skip(1).map(|reply| reply[..3].to_owned()).collect()
    }

    fn is_closed(&self) -> bool {
        self.with(|wire| wire.closed)
    }
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|wire| {
            if wire.sent.is_empty() {
                wire.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let length = wire.sent.len().min(buffer.remaining());
            buffer.put_slice(&wire.sent.drain(..length).collect::<Vec<_>>());
            Poll::Ready(Ok(()))
        })
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|wire| wire.received.extend_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|wire| wire.closed = true);
        Poll::Ready(Ok(()))
    }
}

/// Marks a socket as closed when the connection is dropped.
struct Hold(Socket);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.with(|wire| wire.closed = true);
    }
}

fn connected() -> (Arc<SimRuntime>, Stoppable, Socket) {
    let sim = Arc::new(SimRuntime::new(0));
    let runtime = Stoppable(sim.clone(), Arc::default());
    let endpoint = Endpoint::new(runtime.clone(), Router::new("stopped", "0.1.0"));
    let (socket, service) = (Socket::default(), McpService::new(endpoint.clone()));
    let connection = socket.clone();
    let connect: ServeConnection = Box::new(move |context| {
        Box::pin(async move {
            let _hold = Hold(connection.clone());
            serve_connection(connection, service, context).await;
        })
    });
    let server = Serve::new(endpoint, stream::iter([Ok(connect)]));
    sim.spawn(Box::pin(server.into_future().map(drop)));
    sim.run_until_stalled();
    (sim, runtime, socket)
}

#[test]
fn what_was_sent_in_time_is_read_after_a_pause_of_this_process() {
    let (sim, runtime, socket) = connected();
    let stop_for = |pause: u64, until_the_deadline: u64| {
        runtime.1.fetch_add(pause, SeqCst);
        sim.advance(Duration::from_secs(until_the_deadline));
    };
    // The reactor reports timers first: received bytes are seen after the deadline.
    stop_for(60, 30);
    assert!(!socket.is_closed());
    socket.send("PUT /mcp HTTP/1.1\r\nhost: localhost\r\n");
    sim.run_until_stalled();
    socket.send("\r\n");
    sim.run_until_stalled();
    assert_eq!(socket.statuses(), ["405"]);
    sim.advance(PAUSE);

    stop_for(200, 30);
    assert!(!socket.is_closed());
    socket.send("PUT /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n");
    sim.run_until_stalled();
    assert_eq!(socket.statuses(), ["405"]);

    sim.advance(PAUSE);
    // Nothing was received: the connection was idle for too long.
    stop_for(200, 30);
    assert!(!socket.is_closed());
    sim.advance(PAUSE);
    assert!(socket.is_closed());
}

#[test]
fn an_idle_connection_and_a_head_have_deadlines_of_their_own() {
    let (sim, _, socket) = connected();
    socket.send("PUT /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n");
    sim.advance(Duration::from_secs(70));
    assert_eq!(socket.statuses(), ["405"]);
    assert!(!socket.is_closed());
    socket.send("PUT");
    sim.advance(Duration::from_secs(29));
    assert!(!socket.is_closed());
    sim.advance(Duration::from_secs(1) + GOODBYE);
    assert!(socket.is_closed());

    let (sim, _, socket) = connected();
    socket.send("PUT /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n");
    sim.advance(Duration::from_secs(74));
    assert!(!socket.is_closed());
    sim.advance(Duration::from_secs(1) + GOODBYE);
    assert!(socket.is_closed());

    let (sim, _, socket) = connected();
    sim.advance(Duration::from_secs(29));
    assert!(!socket.is_closed());
    sim.advance(Duration::from_secs(1));
    assert!(socket.is_closed());
}

/// Every open stream has this future. Most of it is hyper's connection.
#[test]
fn the_future_of_a_connection_has_nothing_twice() {
    let sim = Arc::new(SimRuntime::new(0));
    let endpoint = Endpoint::new(sim.clone(), Router::new("small", "0.1.0"));
    let service = McpService::new(endpoint.clone());
    let (sizes, size) = std::sync::mpsc::channel();
    let connect: ServeConnection = Box::new(move |context| {
        let socket = Socket::default();
        let hypers = {
            let activity = Activity::new(context.runtime(), context.work().clone());
            let mut io = Io::new(socket.clone(), &activity);
            let service = one_at_a_time(service.clone(), &activity, None);
            size_of_val(&http1_builder(&context).serve_connection(&mut io, service))
        };
        let connection = serve_connection(socket, service, context);
        sizes.send((hypers, size_of_val(&connection))).expect("the test waits");
        Box::pin(connection)
    });
    let server = Serve::new(endpoint, stream::iter([Ok(connect)]));
    sim.spawn(Box::pin(server.into_future().map(drop)));
    sim.run_until_stalled();
    let (hypers, whole) = size.recv().expect("it is connected");
    assert!(whole <= hypers + OURS, "{whole} bytes, {hypers} of them hyper's");
}
