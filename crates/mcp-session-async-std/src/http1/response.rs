//! [`Encoder`]: encodes a response.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::AsyncBufRead;
use tide::http::{Body, Method, Response, Version, headers, other::Date};

/// The properties of a request that decide how its response is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) method: Method,
    pub(crate) version: Option<Version>,
}

impl Default for Client {
    /// A client whose request is unknown.
    fn default() -> Self {
        Self { method: Method::Get, version: None }
    }
}

/// A response that is being written.
#[derive(Debug)]
pub(crate) struct Encoder {
    head: Vec<u8>,
    body: Body,
    rest: Rest,
}

/// The rest of a body, and how its end is marked.
#[derive(Debug, Clone, Copy)]
enum Rest {
    /// This many bytes.
    Length(usize),
    /// Chunks.
    Chunks,
    /// Everything up to the end of the connection.
    Everything,
}

impl Encoder {
    /// Starts with the head. A response that would be read differently, because a field contains characters that are not
    /// allowed (header injection), becomes an empty 500.
    pub(crate) fn new(mut response: Response, client: Client, last: bool) -> Self {
        if !is_sound(&response) {
            response = Response::new(500);
        }
        let status = u16::from(response.status());
        let has_body = !matches!(status, 100..=199 | 204 | 304);
        let old = client.version == Some(Version::Http1_0);
        let (rest, framing) = match response.len() {
            _ if !has_body => (Rest::Length(0), String::new()),
            Some(length) => (Rest::Length(length), format!("content-length: {length}\r\n")),
            None if old => (Rest::Everything, String::new()),
            None => (Rest::Chunks, "transfer-encoding: chunked\r\n".to_owned()),
        };
        let mut head = Vec::with_capacity(256);
        let mut text = format!("HTTP/1.1 {status} {}\r\n{framing}", response.status().canonical_reason());
        if last {
            text.push_str("connection: close\r\n");
        }
        if response.header(headers::DATE).is_none() {
            text = text + "date: " + Date::now().value().as_str() + "\r\n";
        }
        head.extend_from_slice(text.as_bytes());
        for (name, values) in &response {
            // The encoder decides on framing and closing: these fields of the app are dropped.
            let ours = *name == headers::CONTENT_LENGTH || *name == headers::TRANSFER_ENCODING;
            if ours || last && *name == headers::CONNECTION {
                continue;
            }
            for value in values {
                head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        head.extend_from_slice(b"\r\n");
        let rest = if client.method == Method::Head { Rest::Length(0) } else { rest };
        let body = response.take_body(); // last, because it leaves a content type in the response
        Self { head, body, rest }
    }

    /// Appends ready bytes to `batch`, at most one piece of the body. Returns `true` at the end.
    ///
    /// # Errors
    ///
    /// If the body fails, or ends before its length. The connection must not be used any more then.
    pub(crate) fn poll_append(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<u8>,
    ) -> Poll<io::Result<bool>> {
        batch.append(&mut self.head);
        if let Rest::Length(0) = self.rest {
            return Poll::Ready(Ok(true));
        }
        let data = ready!(Pin::new(&mut self.body).poll_fill_buf(cx))?;
        let length = match &mut self.rest {
            Rest::Length(_) if data.is_empty() => {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            Rest::Length(left) => {
                let length = data.len().min(*left);
                *left -= length;
                batch.extend_from_slice(&data[..length]);
                length
            }
            Rest::Chunks => {
                write!(batch, "{:X}\r\n", data.len())?;
                batch.extend_from_slice(data);
                batch.extend_from_slice(b"\r\n");
                data.len()
            }
            Rest::Everything => {
                batch.extend_from_slice(data);
                data.len()
            }
        };
        Pin::new(&mut self.body).consume(length);
        Poll::Ready(Ok(length == 0 || matches!(self.rest, Rest::Length(0))))
    }
}

/// Returns `true` if the fields of a response are valid: `http-types` accepts everything that is ASCII.
fn is_sound(response: &Response) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let text = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
    response.iter().all(|(name, values)| {
        !name.as_str().is_empty()
            && name.as_str().bytes().all(token)
            && values.iter().all(|value| value.as_str().bytes().all(text))
    })
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use futures::{FutureExt, future::poll_fn};

    use super::*;

    /// A body in pieces, of unknown length unless `length` is given.
    fn pieces(text: &'static str, length: Option<usize>) -> Body {
        let pieces = futures::stream::iter(text.as_bytes().chunks(4).map(Ok));
        Body::from_reader(pieces.into_async_read(), length)
    }

    /// Returns the status line and the fields except `date`, the body, and whether writing succeeded.
    fn written(response: Response, client: Client, last: bool) -> (Vec<String>, String, bool) {
        let (mut encoder, mut batch) = (Encoder::new(response, client, last), Vec::new());
        let end = loop {
            match poll_fn(|cx| encoder.poll_append(cx, &mut batch)).now_or_never().expect("ready") {
                Ok(false) => {}
                end => break end,
            }
        };
        let text = String::from_utf8(batch).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let lines = head.split("\r\n").filter(|line| !line.starts_with("date: ")).map(str::to_owned);
        (lines.collect(), body.to_owned(), end.is_ok())
    }

    fn response(status: u16, body: Body) -> Response {
        let mut response = Response::new(status);
        response.set_body(body);
        response.remove_header(headers::CONTENT_TYPE);
        response
    }

    #[test]
    fn a_body_ends_by_its_length_its_last_chunk_or_its_connection() {
        let old = Client { version: Some(Version::Http1_0), ..Client::default() };
        let (head, body, whole) = written(response(200, "hello".into()), Client::default(), false);
        assert_eq!(
            (head.join("|").as_str(), body.as_str(), whole),
            ("HTTP/1.1 200 OK|content-length: 5", "hello", true)
        );
        let (head, body, whole) = written(response(200, pieces("hello", None)), Client::default(), true);
        assert_eq!(head.join("|"), "HTTP/1.1 200 OK|transfer-encoding: chunked|connection: close");
        assert_eq!((body.as_str(), whole), ("4\r\nhell\r\n1\r\no\r\n0\r\n\r\n", true));
        let (head, body, whole) = written(response(200, pieces("hello", None)), old, true);
        assert_eq!(
            (head.join("|").as_str(), body.as_str(), whole),
            ("HTTP/1.1 200 OK|connection: close", "hello", true)
        );
    }

    #[test]
    fn what_has_no_body_says_so() {
        let head = Client { method: Method::Head, ..Client::default() };
        let (lines, body, _) = written(response(200, "hello".into()), head, false);
        assert_eq!((lines.join("|").as_str(), body.as_str()), ("HTTP/1.1 200 OK|content-length: 5", ""));
        for status in [204, 304] {
            let (lines, body, _) = written(response(status, "hello".into()), Client::default(), false);
            assert_eq!((lines.len(), body.as_str()), (1, ""), "{lines:?}");
        }
        let (lines, ..) = written(Response::new(202), Client::default(), false);
        assert!(lines.contains(&"content-length: 0".to_owned()), "{lines:?}");
    }

    #[test]
    fn a_wrong_length_never_runs_into_the_next_response() {
        let (_, body, whole) = written(response(200, pieces("hello", Some(6))), Client::default(), false);
        assert_eq!((body.as_str(), whole), ("hello", false));
        let (_, body, whole) = written(response(200, pieces("hello", Some(3))), Client::default(), false);
        assert_eq!((body.as_str(), whole), ("hel", true));
        let mut lying = response(200, "hello".into());
        lying.insert_header("content-length", "3");
        lying.insert_header("transfer-encoding", "gzip");
        let (head, ..) = written(lying, Client::default(), false);
        assert_eq!(head.join("|"), "HTTP/1.1 200 OK|content-length: 5");
    }

    #[test]
    fn a_field_that_would_be_another_one_is_not_written() {
        for (name, value) in [
            ("x", "a\r\nset-cookie: b"),
            ("x", "a\nb"),
            ("x\r\ny", "a"),
            ("x: y", "a"),
            ("", "a"),
            ("x", "a\0"),
        ] {
            let mut response = Response::new(200);
            response.insert_header(name, value);
            let (head, body, _) = written(response, Client::default(), false);
            assert_eq!(
                (head.join("|").as_str(), body.as_str()),
                ("HTTP/1.1 500 Internal Server Error|content-length: 0", "")
            );
        }
        let mut close = Response::new(200);
        close.insert_header("connection", "keep-alive");
        assert!(
            written(close.clone(), Client::default(), false).0.contains(&"connection: keep-alive".to_owned())
        );
        let (head, ..) = written(close, Client::default(), true);
        assert_eq!(
            head.iter().filter(|line| line.starts_with("connection")).collect::<Vec<_>>(),
            ["connection: close"]
        );
    }
}
