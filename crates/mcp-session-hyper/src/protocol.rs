//! Detects whether a client speaks HTTP/1 or HTTP/2.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf};

use crate::io::Io;

/// The first bytes of an HTTP/2 client.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How many bytes to read first: as many as hyper. With fewer, hyper's first read would be short, and its buffer would have
/// twice the size for the life of the connection.
const FIRST_READ: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is known. Also returns the bytes that were read, for hyper to read again.
/// Reads until the protocol is known. What was read is read again by whoever reads `io` next.
pub(crate) fn poll_detect<I: Read + Unpin>(
    io: &mut Io<I>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Protocol>> {
    let (io, first) = io.beginning();
    loop {
        let read = ready!(poll_append(io, cx, first))?;
        let begin = &first[..first.len().min(PREFACE.len())];
        let protocol = match PREFACE.starts_with(begin) {
            true if begin.len() == PREFACE.len() => Protocol::Http2,
            true if read > 0 => continue,
            true | false => Protocol::Http1,
        };
        return Poll::Ready(Ok(protocol));
    }
}

fn poll_append(
    io: &mut (impl Read + Unpin),
    cx: &mut Context<'_>,
    first: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let mut buffer = [MaybeUninit::uninit(); FIRST_READ];
    let mut buffer = ReadBuf::uninit(&mut buffer);
    ready!(Pin::new(io).poll_read(cx, buffer.unfilled()))?;
    first.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::poll_fn, sync::Arc};

    use futures::FutureExt;
    use hyper::rt::ReadBufCursor;
    use mcp_session_core::{Runtime, Work};
    use mcp_session_testkit::SimRuntime;

    use super::*;
    use crate::activity::Activity;

    /// Returns one piece for each read, and then the end.
    #[derive(Debug)]
    struct Pieces(VecDeque<Vec<u8>>);

    impl Read for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            mut buffer: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            buffer.put_slice(&self.0.pop_front().unwrap_or_default());
            Poll::Ready(Ok(()))
        }
    }

    /// Returns the protocol, and the bytes that hyper would read with a small buffer.
    fn detected(pieces: &[&[u8]]) -> (Protocol, Vec<u8>) {
        let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(0));
        let pieces = Pieces(pieces.iter().map(|piece| piece.to_vec()).collect());
        let mut io = Io::new(pieces, &Activity::new(&runtime, Work::default()));
        let detected = poll_fn(|cx| poll_detect(&mut io, cx)).now_or_never().expect("it never waits");
        let protocol = detected.expect("no error");
        let mut read = Vec::new();
        loop {
            let mut bytes = [0; 7];
            let mut buffer = ReadBuf::new(&mut bytes);
            let filled = poll_fn(|cx| Pin::new(&mut io).poll_read(cx, buffer.unfilled())).now_or_never();
            filled.expect("it never waits").expect("no error");
            if buffer.filled().is_empty() {
                return (protocol, read);
            }
            read.extend_from_slice(buffer.filled());
        }
    }

    #[test]
    fn every_byte_is_read_once_whatever_the_protocol_and_the_pieces() {
        let request = b"POST /mcp HTTP/1.1\r\n\r\n".as_slice();
        let preface = [PREFACE, b"\0\0\0\x04"].concat();
        // Later pieces go straight to the reader, whose buffer has seven bytes.
        for cut in 1..request.len() {
            let (head, tail) = request.split_at(cut);
            let read = detected(&[&[head], &tail.chunks(7).collect::<Vec<_>>()[..]].concat());
            assert_eq!(read, (Protocol::Http1, request.to_vec()));
        }
        for cut in 1..preface.len() {
            let (head, tail) = preface.split_at(cut);
            let (protocol, read) = detected(&[&[head], &tail.chunks(7).collect::<Vec<_>>()[..]].concat());
            assert_eq!((protocol, read), (Protocol::Http2, preface.clone()));
        }
        for nearly in [&b"PRI * HTTP/1.1\r\n"[..], b"P", b"PR", b""] {
            assert_eq!(detected(&[nearly]).0, Protocol::Http1, "{nearly:?}");
        }
    }
}
