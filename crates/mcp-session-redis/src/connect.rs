//! [`Connect`]: how a connection to Redis is opened.

use std::{fmt, io};

use async_net::TcpStream;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use mcp_session_core::BoxFuture;

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens byte streams to Redis.
///
/// [`AsyncIo`] works on every runtime. Implement it yourself for sockets of another reactor, for a tunnel, or for a
/// resolver that finds the present primary:
///
/// ```
/// use std::io;
/// use futures::FutureExt;
/// use mcp_session_core::BoxFuture;
/// use mcp_session_redis::{AsyncIo, Connect, Stream};
///
/// /// Connects to a fixed address, whatever the URL says.
/// #[derive(Debug)]
/// struct Tunnel;
///
/// impl Connect for Tunnel {
///     fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
///         AsyncIo.connect("127.0.0.1", 16379)
///     }
/// }
/// # let _: &dyn Connect = &Tunnel;
/// ```
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// Opens a stream to this host and port. Called again after each failure; dropped if it takes longer than
    /// [`Config::timeout`](crate::Config::timeout).
    ///
    /// # Errors
    ///
    /// If the host cannot be resolved or reached.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}

/// TCP by the crate `async-io`, whose own thread waits for the socket: works on every runtime.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no options")]
pub struct AsyncIo;

impl Connect for AsyncIo {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        async move {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }
}
