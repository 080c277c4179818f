//! [`seen_by_hyper`]: the verdict of hyper.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::executor::block_on;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode, Version,
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};

use super::{Seen, Verdict, sorted};

/// As many fields as the adapter takes. hyper's default is 100.
const MOST_FIELDS: usize = 128;

/// What the service of a server on hyper sees. It needs no runtime.
pub(super) fn seen_by_hyper(input: &[u8], size: usize) -> Verdict {
    let requests = RefCell::new(Vec::new());
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let fields = sorted(fields.collect());
        let body = body.collect().await.map(|body| body.to_bytes().into()).map_err(|error| error.to_string());
        requests.borrow_mut().push(Seen {
            method: head.method.to_string(),
            target: normalized(&head.uri),
            is_old: head.version == Version::HTTP_10,
            fields,
            body,
        });
        // Not 200, by which a `CONNECT` would become a tunnel.
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    });
    let mut builder = http1::Builder::new();
    builder.half_close(true).max_headers(MOST_FIELDS);
    let ended = block_on(builder.serve_connection(Pieces { input, size }, service));
    // Nothing is refused if the client was gone before the end of a request.
    let ended = ended.err().filter(|error| !error.is_incomplete_message());
    Verdict { requests: requests.into_inner(), refused: ended.map(|error| error.to_string()) }
}

/// The path and query as `Url` writes them, which encodes more characters than `Uri`.
fn normalized(target: &http::Uri) -> String {
    let path = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let Ok(url) = tide::http::Url::parse(&format!("http://localhost{path}")) else { return path.to_owned() };
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

/// A connection whose client sends this in pieces, and reads everything.
struct Pieces<'a> {
    input: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.size.min(self.input.len()).min(buffer.remaining());
        let (piece, rest) = self.input.split_at(length);
        buffer.put_slice(piece);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Pieces<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
