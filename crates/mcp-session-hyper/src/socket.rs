//! [`bind`] and [`configure_socket`].

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
};

use mcp_session_core::ConnectionContext;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// How many clients may wait to be accepted. 4,096: when a server is replaced, all its clients connect to the next one at
/// once, and the connects of those beyond the backlog take 1, 3 or 7 seconds, because the kernel repeats them only then.
/// Linux caps the backlog at `net.core.somaxconn`, 4,096 by default.
const BACKLOG: i32 = 4096;

/// How long sent bytes may stay unacknowledged: a client that vanished silently must not keep its session.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: std::time::Duration = std::time::Duration::from_secs(60);

/// Binds a listener to the first of these addresses that is available. It is non-blocking, has a backlog of 4,096, or as
/// many as the system allows, and on Unix `SO_REUSEADDR`, so that a server can be restarted at once.
///
/// Listeners of `std` and the runtimes have a backlog of 128 to 1,024. When more clients than that connect in a burst, for
/// example because another server was stopped, their connects take a second or more. Names are resolved on this thread.
///
/// ```
/// let listener = mcp_session_hyper::bind("127.0.0.1:0")?;
/// assert!(listener.local_addr()?.ip().is_loopback());
/// assert!(mcp_session_hyper::bind(listener.local_addr()?).is_err()); // taken
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// If there is no such address, it is in use, or the process may not listen on it.
pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::InvalidInput, "there is no address to listen on");
    for address in address.to_socket_addrs()? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(not(windows))] // there it would take a port away from another process
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sets the options of an accepted socket, a `TcpStream` of any runtime: `TCP_NODELAY`, the send buffer of the
/// context, and on Linux `TCP_USER_TIMEOUT`. Best effort: a socket that refuses an option, for example because it is already
/// closed, is served all the same.
pub fn configure_socket<S>(socket: &S, context: &ConnectionContext)
where
    for<'s> SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(socket);
    // Without it, a small answer waits 44 ms for the client's delayed acknowledgement.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(context.send_buffer());
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}
