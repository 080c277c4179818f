//! Converts requests, responses and bodies between `http-types`, which tide uses, and `http`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::TryStreamExt;
use futures::io::{self, AsyncBufRead};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyDataStream;
use mcp_session_core::{DisconnectCancels, PeerAddr, ReplyBody};
use tide::http::{self as http_types, Request, Response, Version, headers::HeaderValue};

/// Converts a request to `http`. The result keeps the [`http::Extensions`] that a middleware added, plus the client's
/// address as a [`PeerAddr`].
///
/// # Errors
///
/// If a middleware added something that HTTP does not allow. A parsed request always converts.
pub(crate) fn to_http(mut request: Request) -> http_types::Result<http::Request<RequestBody>> {
    // Without scheme and authority: http-types derives those from `Host`, which is passed on unchanged.
    let url = request.url();
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let version = match request.version() {
        Some(Version::Http0_9) => http::Version::HTTP_09,
        Some(Version::Http1_0) => http::Version::HTTP_10,
        Some(Version::Http2_0) => http::Version::HTTP_2,
        Some(Version::Http3_0) => http::Version::HTTP_3,
        _ => http::Version::HTTP_11,
    };
    let mut builder = http::Request::builder().method(request.method().as_ref()).uri(target).version(version);
    for (name, values) in &request {
        for value in values {
            builder = builder.header(name.as_str(), value.as_str());
        }
    }
    let body = request.take_body();
    let missing = body.len().map(|length| length as u64);
    let mut converted = builder.body(RequestBody { body, missing })?;
    let mut extensions: http::Extensions = request.ext_mut().remove().unwrap_or_default();
    if let Some(peer) = request.peer_addr().and_then(|peer| peer.parse().ok()) {
        extensions.get_or_insert(PeerAddr(peer));
    }
    if let Some(cancels) = request.ext().get::<DisconnectCancels>() {
        extensions.insert(cancels.clone());
    }
    *converted.extensions_mut() = extensions;
    Ok(converted)
}

/// Converts a response to `http-types`.
///
/// # Errors
///
/// If it has a header that is not ASCII. Core writes no such header.
pub(crate) fn to_http_types(response: http::Response<ReplyBody>) -> http_types::Result<Response> {
    let (parts, body) = response.into_parts();
    let mut response = Response::new(parts.status.as_u16());
    for (name, value) in &parts.headers {
        response.append_header(name.as_str(), HeaderValue::from_bytes(value.as_bytes().to_vec())?);
    }
    // `set_body` also sets a content type, so an empty body is not set at all.
    let length = body.size_hint().exact();
    if length != Some(0) {
        // One read returns the events of one frame, and becomes one chunk. After an error, the connection closes without
        // the last chunk.
        let reader = BodyDataStream::new(body).map_err(io::Error::other).into_async_read();
        response.set_body(http_types::Body::from_reader(reader, length.map(|length| length as usize)));
    }
    Ok(response)
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: http_types::Body,
    /// Bytes still to come, if the length is known.
    missing: Option<u64>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = Bytes::copy_from_slice(ready!(Pin::new(&mut self.body).poll_fill_buf(cx))?);
        Pin::new(&mut self.body).consume(data.len());
        self.missing = self.missing.map(|missing| missing.saturating_sub(data.len() as u64));
        Poll::Ready(match self.missing {
            Some(1..) if data.is_empty() => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => (!data.is_empty()).then(|| Ok(Frame::data(data))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.missing.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
