//! Requests and responses of `http-types`, which is what tide speaks, to and from those of `http`; and their bodies.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::io::{AsyncBufRead, AsyncRead};
use http_body::{Body, Frame, SizeHint};
use mcp_session_core::ReplyBody;
use tide::http as http_types;

/// A request as `http` has it. What a middleware put there as [`http::Extensions`] goes along.
///
/// # Errors
///
/// When a middleware put something into it that HTTP does not allow: a parsed request converts.
pub(crate) fn to_http(
    mut request: http_types::Request,
) -> Result<http::Request<RequestBody>, http_types::Error> {
    // Without scheme and authority: http-types makes those up from `Host`, which goes along as it came.
    let url = request.url();
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut builder = http::Request::builder().method(request.method().as_ref()).uri(target);
    for (name, values) in &request {
        for value in values {
            builder = builder.header(name.as_str(), value.as_str());
        }
    }
    if let (Some(to), Some(from)) = (builder.extensions_mut(), request.ext_mut().remove()) {
        *to = from;
    }
    let body = request.take_body();
    let missing = body.len().map(|length| length as u64);
    Ok(builder.body(RequestBody { body, missing })?)
}

/// A response as `http-types` has it.
///
/// # Errors
///
/// When it has a header that is not ASCII, or a status unknown to http-types: core writes neither.
pub(crate) fn to_http_types(
    response: http::Response<ReplyBody>,
) -> Result<http_types::Response, http_types::Error> {
    let (parts, body) = response.into_parts();
    let mut response = http_types::Response::new(http_types::StatusCode::try_from(parts.status.as_u16())?);
    for (name, value) in &parts.headers {
        let value = http_types::headers::HeaderValue::from_bytes(value.as_bytes().to_vec())?;
        response.append_header(name.as_str(), value);
    }
    // A body brings a content type along, so that nothing is better than an empty one.
    let length = body.size_hint().exact();
    if length != Some(0) {
        let reader = ReplyReader { body, event: Bytes::new() };
        response.set_body(http_types::Body::from_reader(reader, length.map(|length| length as usize)));
    }
    Ok(response)
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: http_types::Body,
    /// What has not come yet, where the length was told.
    missing: Option<u64>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self { body, missing } = &mut *self;
        let data = Bytes::copy_from_slice(ready!(Pin::new(&mut *body).poll_fill_buf(cx))?);
        Pin::new(body).consume(data.len());
        *missing = missing.map(|missing| missing.saturating_sub(data.len() as u64));
        Poll::Ready(match (data.is_empty(), *missing) {
            (true, None | Some(0)) => None,
            (true, Some(_)) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            (false, _) => Some(Ok(Frame::data(data))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.missing == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.missing.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The body of a response, to be read: one event at a time, each of which becomes a chunk.
#[derive(Debug)]
struct ReplyReader {
    body: ReplyBody,
    /// What is left of the present event.
    event: Bytes,
}

impl AsyncBufRead for ReplyReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { body, event } = self.get_mut();
        while event.is_empty() {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => *event = frame.into_data().unwrap_or_default(),
                // The connection is closed without the last chunk.
                Some(Err(cut)) => return Poll::Ready(Err(io::Error::other(cut))),
                None => break,
            }
        }
        Poll::Ready(Ok(event))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.event.advance(amount);
    }
}

impl AsyncRead for ReplyReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let from = ready!(self.as_mut().poll_fill_buf(cx))?;
        let length = from.len().min(to.len());
        to[..length].copy_from_slice(&from[..length]);
        self.consume(length);
        Poll::Ready(Ok(length))
    }
}
