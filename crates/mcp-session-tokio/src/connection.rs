//! One connection: its socket's options, its deadlines, its end.

use std::sync::{Arc, OnceLock};
use std::{error::Error, pin::pin, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use mcp_session_core::BoxFuture;
use socket2::SockRef;
use tokio::{net::TcpStream, sync::watch, time};
use tower_service::Service;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// What hyper may hold for an HTTP/1.1 client that does not read, and the longest request head.
const BUFFER: usize = 64 * 1024;

/// How long sent bytes may go unacknowledged: a client that has silently gone must not keep its session.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// After how much silence an HTTP/2 client is asked whether it is there. It has hyper's 20 seconds to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// What [`Serve`](crate::Serve) lets its user set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) header_timeout: Duration,
    pub(crate) send_buffer: usize,
}

impl Options {
    pub(crate) const DEFAULT: Self =
        Self { header_timeout: Duration::from_secs(30), send_buffer: 256 * 1024 };

    /// Both protocols get a timer: without one hyper has no deadline for heads and no pings.
    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(self.header_timeout).max_buf_size(BUFFER);
        http.http2().timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
        http
    }
}

/// Serves one connection until it ends, or gracefully ends it once the receiver changes.
pub(crate) type Connect =
    Box<dyn Fn(TcpStream, Options, watch::Receiver<()>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Serves connections with this service. Forgets its type, so that [`Serve`](crate::Serve) is one type.
pub(crate) fn connector<S, B>(service: S) -> Connect
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    Box::new(move |socket, options, mut closing| {
        // Without it, a small answer waits for the client's delayed acknowledgement: 44 ms instead of none.
        let _ = socket.set_nodelay(true);
        let raw = SockRef::from(&socket);
        let _ = raw.set_send_buffer_size(options.send_buffer);
        #[cfg(target_os = "linux")]
        let _ = raw.set_tcp_user_timeout(Some(UNACKNOWLEDGED));

        let begun = Arc::new(OnceLock::new());
        let (service, begins) = (service.clone(), Arc::clone(&begun));
        let service = service_fn(move |request| {
            begins.get_or_init(|| ());
            service.clone().call(request)
        });
        Box::pin(async move {
            let http = options.builder();
            let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
            // hyper's deadline for a head begins only when it knows which protocol is spoken: the first is ours.
            let mut first_head = pin!(time::sleep(options.header_timeout));
            loop {
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = first_head.as_mut(), if !first_head.is_elapsed() => {
                        if begun.get().is_none() {
                            return;
                        }
                    }
                    _ = closing.changed() => break,
                }
            }
            if begun.get().is_none() {
                return; // half a head, or nothing: nobody is owed anything here
            }
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        })
    })
}
