//! An HTTP/1.1 server for tide: requests and responses of `http-types` over sockets of async-std. It knows nothing of MCP.
//!
//! It corresponds to `mcp-session-hyper` in the other adapters. It exists because `async-h1`, tide's own HTTP library, is
//! not maintained, and lenient where that is dangerous: it bounds a head only at line ends, takes hexadecimal digits of a
//! chunk extension as a size, hangs at trailers that come in one piece, and reads `post` as `POST`. Here, framing that
//! another parser could read differently (request smuggling, RFC 9112, 11.2) is refused, and the connection ends.
//!
//! | file | contents |
//! |---|---|
//! | `connection` | one connection: its requests in turn, its deadlines, its end |
//! | `input` | a socket that is read ahead, as heads and bodies |
//! | `head` | a request head: bounded in bytes, strictly parsed |
//! | `framing` | the end of a body: by its length, or by chunks |
//! | `response` | encodes a response |

mod connection;
mod framing;
mod head;
mod input;
mod response;

pub(crate) use connection::serve_connection;
