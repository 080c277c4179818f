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
use tokio::{
    net::{TcpStream, UnixStream},
    time::sleep,
};

use super::{SmolBed, TokioBed};

/// A bed on Unix sockets. Each has its name from the TCP port that a scenario's clients connect to first.
#[derive(Debug)]
pub struct UnixBed<B>(B);

impl UnixBed<TokioBed> {
    /// On tokio. A separate runtime for each test.
    #[allow(clippy::new_without_default, reason = "it starts threads")]
    pub fn new() -> Self {
        Self(TokioBed::threads())
    }
}

impl UnixBed<SmolBed> {
    /// On smol. A separate executor for each test.
    #[allow(clippy::new_without_default, reason = "it starts threads")]
    pub fn new() -> Self {
        Self(SmolBed::new())
    }
}

impl<B: TestBed> TestBed for UnixBed<B> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.runtime()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl ServeHarness for UnixBed<TokioBed> {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        let file = SocketFile::beside(&listener);
        let unix = tokio::net::UnixListener::bind(&file.path).expect("a free path");
        let tcp = tokio::net::TcpListener::from_std(listener).expect("a listener");
        mcp_session_tokio::serve(Both { _file: file, tcp, unix }, endpoint)
    }

    fn over(socket: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ClientStream>>> {
        over(socket).boxed()
    }
}

impl ServeHarness for UnixBed<SmolBed> {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        let file = SocketFile::beside(&listener);
        let unix = smol::net::unix::UnixListener::bind(&file.path).expect("a free path");
        let tcp = smol::net::TcpListener::try_from(listener).expect("a listener");
        mcp_session_smol::serve(Both { _file: file, tcp, unix }, endpoint)
    }

    fn over(socket: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ClientStream>>> {
        over(socket).boxed()
    }
}

/// The Unix socket beside this TCP connection.
async fn over(socket: TcpStream) -> io::Result<Box<dyn ClientStream>> {
    let path = path(socket.peer_addr()?);
    loop {
        match UnixStream::connect(&path).await {
            Ok(socket) => return Ok(Box::new(socket)),
            // The server's task has not begun, or has bound the socket and does not listen yet.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A Unix socket, and the port after which it is named, which is accepted from so that it does not fill.
struct Both<T, U> {
    // The first to be dropped: while the port is taken, nobody else has a file of this name.
    _file: SocketFile,
    tcp: T,
    unix: U,
}

impl mcp_session_tokio::Listener for Both<tokio::net::TcpListener, tokio::net::UnixListener> {
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

impl mcp_session_smol::Listener for Both<smol::net::TcpListener, smol::net::unix::UnixListener> {
    type Socket = smol::net::unix::UnixStream;

    async fn accept(&mut self) -> io::Result<Self::Socket> {
        loop {
            let unix = async { Some(self.unix.accept().await) };
            let tcp = async { self.tcp.accept().await.ok().and(None) };
            if let Some(accepted) = smol::future::or(unix, tcp).await {
                return accepted.map(|(socket, _)| socket);
            }
        }
    }
}

/// The file of a Unix socket.
struct SocketFile {
    path: PathBuf,
}

impl SocketFile {
    fn beside(tcp: &TcpListener) -> Self {
        Self { path: path(tcp.local_addr().expect("an address")) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // a file that is left harms no other test
    }
}

fn path(addr: SocketAddr) -> PathBuf {
    temp_dir().join(format!("mcp-session-wire-{}-{}.sock", process::id(), addr.port()))
}
