//! A server of HTTP/1.1 for tide: requests and responses of `http-types` over sockets of async-std. It knows nothing of MCP.
//!
//! This is what `mcp-session-hyper` is to the other adapters. It stands here because `async-h1`, which tide comes with, is
//! not maintained and lenient where that is dangerous: it bounds a head only at its line ends, takes hexadecimal digits of a
//! chunk extension for a size, hangs at trailers that come in one piece, and reads `post` as `POST`. Here, framing that another
//! parser could read in another way (request smuggling, RFC 9112, 11.2) is refused, and the connection ends.
//!
//! | file | holds |
//! |---|---|
//! | `connection` | one connection: its requests in turn, its deadlines, its end |
//! | `input` | a socket that is read ahead, handed out as heads and bodies |
//! | `head` | a request head: bounded in bytes, one way to read it |
//! | `framing` | where a body ends: by its length, or by chunks |
//! | `response` | a response in bytes |

mod connection;
mod framing;
mod head;
mod input;
mod response;

pub(crate) use connection::serve_connection;
