//! [`Pieces`]: the body of a response, as passed to hyper.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::activity::Busy;

/// Tracks a body while it is written. The request counts as running until this value is dropped.
pub(crate) trait Keep {
    /// The maximum size of a piece.
    const PIECE: usize;

    /// Called with each piece that leaves the body.
    fn piece(&mut self, data: Bytes) -> Bytes;

    /// Called after each poll of the body. `ready` is `true` if it returned a frame or its end.
    fn polled(&mut self, ready: bool);
}

/// HTTP/1.1: hyper copies each piece at once, so pieces are not tracked.
impl Keep for Busy {
    /// hyper copies what it writes into a buffer of the connection, which keeps its size: an answer of 1 MiB in one piece
    /// would cost every connection that ever carried one a buffer of that size.
    const PIECE: usize = 64 * 1024;

    fn piece(&mut self, data: Bytes) -> Bytes {
        data
    }

    fn polled(&mut self, ready: bool) {
        self.waits(!ready);
        self.activity().polled(ready);
    }
}

pin_project! {
    /// A body in pieces of a bounded size.
    pub(crate) struct Pieces<B, K> {
        #[pin]
        body: B,
        rest: Bytes, // of a longer frame
        keep: K,
    }
}

impl<B, K> Pieces<B, K> {
    pub(crate) fn new(body: B, keep: K) -> Self {
        Self { body, rest: Bytes::new(), keep }
    }
}

impl<B: Body, K: Keep> Body for Pieces<B, K> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            let polled = this.body.poll_frame(cx);
            this.keep.polled(polled.is_ready());
            let Some(frame) = ready!(polled?) else { return Poll::Ready(None) };
            // For `Bytes`, this copies nothing.
            match frame.map_data(|mut data| data.copy_to_bytes(data.remaining())).into_data() {
                Ok(data) => *this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        } else {
            this.keep.polled(true);
        }
        let piece = this.rest.split_to(this.rest.len().min(K::PIECE));
        Poll::Ready(Some(Ok(Frame::data(this.keep.piece(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest + body.lower());
        if let Some(upper) = body.upper() {
            hint.set_upper(rest + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use futures::{FutureExt, future::poll_fn, stream};
    use http::HeaderMap;
    use http_body_util::{BodyExt, Full, StreamBody};
    use mcp_session_core::{Runtime, Work};
    use mcp_session_testkit::SimRuntime;

    use super::*;
    use crate::activity::Activity;

    const PIECE: usize = <Busy as Keep>::PIECE;

    fn pieces<B: Body>(body: B) -> Pin<Box<Pieces<B, Busy>>> {
        let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(0));
        Box::pin(Pieces::new(body, Activity::new(&runtime, Work::default()).begin(false)))
    }

    fn next<B: Body>(body: &mut Pin<Box<Pieces<B, Busy>>>) -> Option<Result<Frame<Bytes>, B::Error>> {
        poll_fn(|cx| body.as_mut().poll_frame(cx)).now_or_never().expect("it never waits")
    }

    #[test]
    fn a_long_body_comes_in_pieces_and_says_where_it_ends() {
        let mut body = pieces(Full::new(Bytes::from(vec![b'x'; 2 * PIECE + 1])));
        assert_eq!(body.size_hint().exact(), Some(2 * PIECE as u64 + 1));
        for (length, left) in [(PIECE, PIECE as u64 + 1), (PIECE, 1), (1, 0)] {
            let data = next(&mut body).expect("a piece").expect("no error").into_data().expect("data");
            assert_eq!((data.len(), body.size_hint().exact()), (length, Some(left)));
            assert_eq!(body.is_end_stream(), left == 0);
        }
        assert!(next(&mut body).is_none());
    }

    #[test]
    fn short_frames_trailers_and_errors_come_as_they_are() {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"ab"))),
            Ok(Frame::data(Bytes::from_static(b"c"))),
            Ok(Frame::trailers(HeaderMap::new())),
            Err("cut"),
        ];
        let mut body = pieces(StreamBody::new(stream::iter(frames)));
        for data in ["ab", "c"] {
            let frame = next(&mut body).expect("a piece").expect("no error");
            assert_eq!(frame.into_data().expect("data"), data);
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (None, false));
        }
        assert!(next(&mut body).expect("trailers").expect("no error").is_trailers());
        assert_eq!(next(&mut body).expect("an error").unwrap_err(), "cut");
        let empty = pieces(Full::<Bytes>::default());
        assert!(empty.is_end_stream());
        let all = empty.collect().now_or_never().expect("it never waits");
        let Ok::<_, Infallible>(all) = all;
        assert!(all.to_bytes().is_empty());
    }
}
