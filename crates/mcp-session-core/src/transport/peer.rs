//! [`PeerAddr`]: where a request comes from.

use std::net::SocketAddr;

/// The peer address of a request, in its [extensions](http::Request::extensions). Every adapter's `serve` inserts it.
/// Behind a proxy it is the address of the proxy.
///
/// ```
/// use mcp_session_core::{PeerAddr, Router, RpcError};
///
/// let router = Router::new("addresses", "0.1.0").request("whereami", async |cx| {
///     let peer = cx.extensions().get::<PeerAddr>().map(|PeerAddr(addr)| addr.to_string());
///     Ok::<_, RpcError>(serde_json::json!({ "address": peer }))
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "layers and adapters make it from an address")]
pub struct PeerAddr(pub SocketAddr);
