//! [`configure_socket`].

use mcp_session_core::ConnectionContext;
use socket2::SockRef;

/// How long sent bytes may go unacknowledged: a client that has silently gone must not keep its session.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: std::time::Duration = std::time::Duration::from_secs(60);

/// Sets the options of an accepted socket, a `TcpStream` of any runtime: `TCP_NODELAY`, the send buffer of the
/// context, and on Linux `TCP_USER_TIMEOUT`. Best effort: a socket that refuses one, such as one that is already
/// closed, is served all the same.
pub fn configure_socket<S>(socket: &S, context: &ConnectionContext)
where
    for<'s> SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(socket);
    // Without it, a small answer waits for the client's delayed acknowledgement: 44 ms instead of none.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(context.send_buffer());
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}
