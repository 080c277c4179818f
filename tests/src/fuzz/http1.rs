//! The HTTP/1.1 of the async-std adapter beside that of hyper: the same bytes, the same requests.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use async_std::{net::TcpStream, task};
use futures::{AsyncReadExt, AsyncWriteExt, channel::oneshot, future::join, stream};
use mcp_session_async_std::{AsyncStdRuntime, serve_socket};
use mcp_session_core::{ConnectionContext, Endpoint, Router, Serve, ServeConnection};

use self::{differences::is_known, hyper::seen_by_hyper};

mod differences;
mod hyper;
#[cfg(test)]
mod tests;

/// Longer inputs show no more, and have to fit into the buffers of a socket.
const LONGEST: usize = 16 * 1024;

/// What a server has seen on a connection.
#[derive(Debug, Default)]
struct Verdict {
    requests: Vec<Seen>,
    /// Why it has refused what came after them.
    refused: Option<String>,
}

/// A request as an application sees it.
#[derive(Debug)]
struct Seen {
    method: String,
    target: String,
    is_old: bool,
    fields: Vec<(String, Vec<u8>)>,
    /// The body, or why it has none.
    body: Result<Vec<u8>, String>,
}

/// The input is what a client sends on a connection, before it closes its side.
///
/// # Panics
///
/// If the two servers see other requests, and the difference is not in the table of those that are meant.
pub fn run(input: &[u8]) {
    if input.len() > LONGEST {
        return;
    }
    // By the input itself, so that it can be written by hand.
    let size = match input.iter().fold(0, |sum: usize, byte| sum + usize::from(*byte)) % 4 {
        0 => 1 + input.len() % 7,
        _ => LONGEST,
    };
    let (ours, theirs) = (seen_by_adapter(input, size), seen_by_hyper(input, size));
    compare(&ours, &theirs);
}

fn compare(ours: &Verdict, theirs: &Verdict) {
    let differs = |reason: &str| panic!("{reason}\nadapter: {ours:#?}\nhyper: {theirs:#?}");
    for (own, other) in ours.requests.iter().zip(&theirs.requests) {
        match (&own.body, &other.body) {
            _ if (&own.method, &own.target, own.is_old) != (&other.method, &other.target, other.is_old) => {
                differs("another request");
            }
            _ if own.fields != other.fields => differs("other fields"),
            (Ok(body), Ok(other)) if body == other => {}
            (Ok(_), Ok(_)) => differs("another body"),
            (Ok(_), Err(_)) => differs("a body that hyper refuses"),
            (Err(reason), Ok(_)) if !is_known(reason) => differs("a body that only the adapter refuses"),
            (Err(_), Ok(_) | Err(_)) => return,
        }
        // The adapter keeps no connection of HTTP/1.0 open; hyper does if it is asked to.
        if own.is_old {
            return;
        }
    }
    let reason = ours.refused.as_deref();
    match (ours.requests.len(), theirs.requests.len()) {
        (own, other) if own > other => differs("a request that hyper refuses"),
        (own, other) if own < other && !reason.is_some_and(is_known) => {
            differs("a request that only the adapter refuses");
        }
        (own, other) if own < other => {}
        // If only hyper refuses the rest, that is a part of a head: the adapter reads a head when it is whole, and the client
        // was gone before.
        _ if theirs.refused.is_none() && reason.is_some_and(|reason| !is_known(reason)) => {
            differs("only the adapter refuses the rest");
        }
        _ => {}
    }
}

/// What the app of a server on the adapter sees.
fn seen_by_adapter(input: &[u8], size: usize) -> Verdict {
    static CONTEXT: OnceLock<ConnectionContext> = OnceLock::new();
    let context = CONTEXT.get_or_init(|| task::block_on(context())).clone();
    let requests = Arc::<Mutex<Vec<Seen>>>::default();
    let (server, mut client) = pair();
    let serving = serve_socket(server, recorder(Arc::clone(&requests)))(context);
    let sending = async {
        for piece in input.chunks(size) {
            if client.write_all(piece).await.is_err() {
                break; // it has refused the rest
            }
            task::yield_now().await;
        }
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut responses = Vec::new();
        let _ = client.read_to_end(&mut responses).await;
        responses
    };
    let ((), responses) = task::block_on(join(serving, sending));
    let requests = std::mem::take(&mut *requests.lock().unwrap_or_else(PoisonError::into_inner));
    Verdict { requests, refused: refusal(&String::from_utf8_lossy(&responses)) }
}

/// The reason in the response to a malformed request: the only one with a text.
fn refusal(responses: &str) -> Option<String> {
    let (_, reason) = responses.rsplit_once("\r\n\r\n")?;
    reason.strip_suffix('\n').map(str::to_owned)
}

/// Both ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let (one, other) = UnixStream::pair().expect("two sockets");
    let stream = |end: UnixStream| TcpStream::from(std::net::TcpStream::from(OwnedFd::from(end)));
    (stream(one), stream(other))
}

/// What a connection knows of its server: of one that runs as long as the process.
async fn context() -> ConnectionContext {
    let (sender, receiver) = oneshot::channel();
    let connect: ServeConnection = Box::new(|context| {
        Box::pin(async move {
            drop(sender.send(context.clone()));
            context.closing().await;
        })
    });
    let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("fuzz", "0"));
    task::spawn(Serve::new(endpoint, stream::iter([Ok(connect)])).into_future());
    receiver.await.expect("a connection")
}

/// An app that keeps what it sees, before any route.
fn recorder(requests: Arc<Mutex<Vec<Seen>>>) -> tide::Server<()> {
    let mut app = tide::new();
    app.with(Recorder(requests));
    app
}

struct Recorder(Arc<Mutex<Vec<Seen>>>);

#[tide::utils::async_trait]
impl tide::Middleware<()> for Recorder {
    async fn handle(&self, mut request: tide::Request<()>, _: tide::Next<'_, ()>) -> tide::Result {
        let url = request.url();
        let target =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let method = request.method().to_string();
        let is_old = request.version() == Some(tide::http::Version::Http1_0);
        let fields = request.iter().flat_map(|(name, values)| {
            values.iter().map(|value| (name.to_string(), value.as_str().as_bytes().to_vec()))
        });
        let fields = sorted(fields.collect());
        let body = request.body_bytes().await.map_err(|error| error.to_string());
        let seen = Seen { method, target, is_old, fields, body };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        Ok(tide::StatusCode::NotFound.into())
    }
}

/// Fields by name. `Host` is not compared: in a target with an authority, the adapter replaces it.
fn sorted(mut fields: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    fields.retain(|(name, _)| name != "host");
    fields.sort_by(|(name, _), (other, _)| name.cmp(other));
    fields
}
