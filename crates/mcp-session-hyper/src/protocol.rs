//! Which protocol a client begins with.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

/// How an HTTP/2 client begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much to read at first: as much as hyper. With less, its own first read would be a short one, and its buffer of
/// twice the size for as long as the connection lives.
const FIRST_READ: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads until it is clear, and gives back what was read, for hyper to read again.
pub(crate) async fn detect<I: Read + Unpin>(mut io: I) -> io::Result<(Protocol, Rewound<I>)> {
    let mut first = Vec::new();
    loop {
        let read = poll_fn(|cx| poll_append(&mut io, cx, &mut first)).await?;
        let begin = &first[..first.len().min(PREFACE.len())];
        let protocol = match PREFACE.starts_with(begin) {
            true if begin.len() == PREFACE.len() => Protocol::Http2,
            true if read > 0 => continue,
            true | false => Protocol::Http1,
        };
        return Ok((protocol, Rewound { first, taken: 0, io }));
    }
}

/// Reads once, and gives how much. The buffer is on the stack: a client that says nothing costs none, and what one of
/// 8 KiB leaves behind in the heap is as long as its head.
fn poll_append<I: Read + Unpin>(
    io: &mut I,
    cx: &mut Context<'_>,
    first: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let mut buffer = [MaybeUninit::uninit(); FIRST_READ];
    let mut buffer = ReadBuf::uninit(&mut buffer);
    ready!(Pin::new(io).poll_read(cx, buffer.unfilled()))?;
    first.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

/// An I/O whose first bytes are read again.
#[derive(Debug)]
pub(crate) struct Rewound<I> {
    first: Vec<u8>,
    taken: usize,
    io: I,
}

impl<I: Read + Unpin> Read for Rewound<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.taken == self.first.len() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let next = &self.first[self.taken..];
        let next = &next[..next.len().min(buffer.remaining())];
        buffer.put_slice(next);
        self.taken += next.len();
        if self.taken == self.first.len() {
            (self.first, self.taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Write for Rewound<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::FutureExt;

    use super::*;

    /// Gives one piece for each read, and then the end.
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

    /// The protocol, and what hyper would read, in buffers of a few bytes.
    fn detected(pieces: &[&[u8]]) -> (Protocol, Vec<u8>) {
        let pieces = Pieces(pieces.iter().map(|piece| piece.to_vec()).collect());
        let (protocol, mut io) = detect(pieces).now_or_never().expect("it never waits").expect("no error");
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
