//! Unix sockets instead of TCP.

use std::{
    env::temp_dir,
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_testkit::{
    TestBed,
    wire::{ClientStream, ServeHarness},
};
use mcp_session_tokio::{Listener, serve};
use tokio::{
    net::{TcpStream, UnixListener, UnixStream},
    time::sleep,
};

use super::TokioBed;

/// [`TokioBed::threads`] on Unix sockets. Each has its name from the TCP port that a scenario's clients connect to first.
#[derive(Debug)]
pub struct UnixBed(TokioBed);

impl UnixBed {
    /// A separate runtime for each test.
    pub fn threads() -> Self {
        Self(TokioBed::threads())
    }
}

impl TestBed for UnixBed {
    fn name(&self) -> &str {
        "unix"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.runtime()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl ServeHarness for UnixBed {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        serve(Both::bind(listener), endpoint)
    }

    fn over(socket: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ClientStream>>> {
        async move {
            let path = path(socket.peer_addr()?);
            loop {
                match UnixStream::connect(&path).await {
                    Ok(socket) => return Ok(Box::new(socket) as Box<dyn ClientStream>),
                    // The server's task has not begun.
                    Err(error) if error.kind() == ErrorKind::NotFound => sleep(Duration::from_millis(1)).await,
                    Err(error) => return Err(error),
                }
            }
        }
        .boxed()
    }
}

/// A Unix socket, and the port after which it is named, which is accepted from so that it does not fill.
struct Both {
    tcp: tokio::net::TcpListener,
    unix: UnixListener,
    path: PathBuf,
}

impl Both {
    fn bind(tcp: TcpListener) -> Self {
        let tcp = tokio::net::TcpListener::from_std(tcp).expect("a listener");
        let path = path(tcp.local_addr().expect("an address"));
        Self { tcp, unix: UnixListener::bind(&path).expect("a free path"), path }
    }
}

impl Listener for Both {
    type Socket = UnixStream;

    async fn accept(&mut self) -> io::Result<UnixStream> {
        loop {
            tokio::select! {
                accepted = self.unix.accept() => return accepted.map(|(socket, _)| socket),
                _ = self.tcp.accept() => {}
            }
        }
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // a file that is left harms no other test
    }
}

fn path(addr: SocketAddr) -> PathBuf {
    temp_dir().join(format!("mcp-session-wire-{}-{}.sock", process::id(), addr.port()))
}
