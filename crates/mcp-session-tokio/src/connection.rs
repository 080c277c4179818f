//! One connection: its socket's options, its deadlines, its end.

use std::{
    error::Error,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::watch, time};

/// After how much silence an HTTP/2 client is asked whether it is there, and how long it has to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What [`Serve`](crate::Serve) lets its user set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) header_timeout: Duration,
    pub(crate) send_buffer: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(30), send_buffer: 256 * 1024 }
    }
}

impl Options {
    /// Both protocols get a timer: without one hyper has no deadline for heads and no pings.
    pub(crate) fn configure(&self, http: &mut auto::Builder<TokioExecutor>) {
        http.http1().timer(TokioTimer::new()).header_read_timeout(self.header_timeout);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
    }
}

/// Serves one connection until it ends, or gracefully ends it once `closing` changes.
pub(crate) async fn serve<S, B>(
    http: auto::Builder<TokioExecutor>,
    socket: TcpStream,
    service: S,
    options: Options,
    mut closing: watch::Receiver<()>,
) where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Without it, a small answer waits for the client's delayed acknowledgement: 44 ms instead of none.
    let _ = socket.set_nodelay(true);
    let _ = socket2::SockRef::from(&socket).set_send_buffer_size(options.send_buffer);

    let begun = Arc::new(AtomicBool::new(false));
    let service = {
        let begun = Arc::clone(&begun);
        service_fn(move |request| {
            begun.store(true, Relaxed);
            service.clone().call(request)
        })
    };
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    // hyper's deadline for a head begins only when it knows which protocol is spoken: the first head gets ours.
    let mut first_head = pin!(time::sleep(options.header_timeout));
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = first_head.as_mut(), if !begun.load(Relaxed) => {
                if !begun.load(Relaxed) {
                    return;
                }
            }
            _ = closing.changed() => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
