//! [`EventStream`] and [`ReplyBody`]: the response to the client.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::SelectAll};
use http_body::{Body, Frame, SizeHint};
use mcp_session_proto::{Next, StreamKey};

use crate::{
    session::{Session, cell::SharedWaiters},
    stateless::call::{Call, Machine},
};

/// The stream was ended by force before its reader had read all events.
///
/// The body must not end as if it were complete: on this error, an HTTP server closes the connection without the last
/// chunk, or resets the HTTP/2 stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was cut: its client did not read it to the end in time")]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to say about it")]
pub struct StreamCut;

/// The length in bytes at which a frame of events is complete. It is what an HTTP/2 client accepts in one frame, and large
/// enough that the overhead of an HTTP/1.1 chunk does not matter.
const FRAME: usize = 16 * 1024;

/// The complete events of one stream, in order.
///
/// Dropping it means that the client has disconnected. That does not cancel a request of a session (D-12), but any other
/// (G-30, E-30).
#[derive(Debug)]
pub struct EventStream {
    source: Source,
    waiters: SharedWaiters,
    done: bool,
}

/// Where the events of a stream come from.
#[derive(Debug)]
enum Source {
    Session(Session, StreamKey),
    Call(Call),
}

impl EventStream {
    /// Creates the stream of a session with this key.
    pub(crate) fn new(session: Session, key: StreamKey, waiters: SharedWaiters) -> Self {
        Self { source: Source::Session(session, key), waiters, done: false }
    }

    /// Creates the stream of the reply to a request without a session.
    pub(crate) fn of_call(call: Call, waiters: SharedWaiters) -> Self {
        Self { source: Source::Call(call), waiters, done: false }
    }

    /// Returns `true` if the last event has been taken.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Polls for the next event, together with those that are ready after it, until there are at least `bytes` bytes.
    fn poll_events(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Option<Result<Bytes, StreamCut>>> {
        if self.done {
            return Poll::Ready(None);
        }
        self.waiters.reader.register(cx.waker());
        let next = match &self.source {
            Source::Session(session, key) => {
                session.with_client(|machine, now| gather(bytes, || machine.poll_event(now, *key)))
            }
            Source::Call(call) => call.with(|machine, now| gather(bytes, || machine.poll_event(now))),
        };
        match next {
            Next::Pending => Poll::Pending,
            Next::Event(event, last) => {
                self.done = last;
                Poll::Ready(Some(Ok(event)))
            }
            Next::End => {
                self.done = true;
                Poll::Ready(None)
            }
            Next::Cut => {
                self.done = true;
                Poll::Ready(Some(Err(StreamCut)))
            }
        }
    }
}

/// Takes the next event, and joins it with further ready events until there are at least `bytes` bytes. A single event is
/// not copied.
fn gather(bytes: usize, mut poll_event: impl FnMut() -> Next) -> Next {
    let (first, mut last) = match poll_event() {
        Next::Event(first, last) => (first, last),
        none @ (Next::Pending | Next::End | Next::Cut) => return none,
    };
    let (mut more, mut size) = (Vec::new(), first.len());
    while size < bytes && !last {
        match poll_event() {
            Next::Event(event, end) => {
                size += event.len();
                last = end;
                more.push(event);
            }
            Next::End => last = true,
            Next::Pending | Next::Cut => break, // a cut is returned again by the next poll
        }
    }
    if more.is_empty() {
        return Next::Event(first, last);
    }
    let mut events = Vec::with_capacity(size);
    std::iter::once(first).chain(more).for_each(|event| events.extend_from_slice(&event));
    Next::Event(events.into(), last)
}

impl Stream for EventStream {
    type Item = Result<Bytes, StreamCut>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_events(cx, 0)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        match &self.source {
            Source::Session(session, key) => {
                session.with(|machine, now| machine.handle_disconnect(now, *key));
            }
            Source::Call(call) => call.with(Machine::handle_disconnect),
        }
    }
}

#[derive(Debug)]
enum Kind {
    Full(Bytes),
    Events(EventStream),
    /// Answers that were ready at once, and the streams of the others, interleaved as they arrive.
    Batch(VecDeque<Bytes>, SelectAll<EventStream>),
}

/// The body of every response: empty, one JSON text, or the events of one stream (of several for a batch).
///
/// Except in a batch, events that are ready together share a frame, until it has 16 KiB, because servers write each frame
/// separately. A frame ends with the end of an event.
///
/// `is_end_stream` is true as soon as the last event was taken, so that a server can write that event together with the end
/// of the body.
#[derive(Debug)]
pub struct ReplyBody(Kind);

impl ReplyBody {
    /// Creates an empty body.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Creates a body of these bytes.
    pub fn full(bytes: Bytes) -> Self {
        Self(Kind::Full(bytes))
    }

    /// Creates a body of these events.
    pub fn events(events: EventStream) -> Self {
        Self(Kind::Events(events))
    }

    /// Creates the body of a batch: these events first, then those of all streams. It ends when all streams end.
    pub(crate) fn batch(first: VecDeque<Bytes>, streams: Vec<EventStream>) -> Self {
        Self(Kind::Batch(first, futures::stream::select_all(streams)))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = StreamCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamCut>>> {
        match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Events(events) => {
                events.poll_events(cx, FRAME).map(|events| events.map(|events| events.map(Frame::data)))
            }
            Kind::Batch(first, streams) => match first.pop_front() {
                Some(event) => Poll::Ready(Some(Ok(Frame::data(event)))),
                None => streams.poll_next_unpin(cx).map(|event| event.map(|event| event.map(Frame::data))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Events(events) => events.is_done(),
            Kind::Batch(first, streams) => first.is_empty() && streams.iter().all(EventStream::is_done),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Events(_) | Kind::Batch(..) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of gathering all of these.
    fn gathered(bytes: usize, nexts: Vec<Next>) -> Vec<Next> {
        let (mut nexts, mut gathered) = (nexts.into_iter(), Vec::new());
        while nexts.len() > 0 {
            gathered.push(gather(bytes, || nexts.next().expect("there is a next event")));
        }
        gathered
    }

    #[test]
    fn ready_events_are_joined_into_one_piece() {
        let event = |text: &'static str, last| Next::Event(Bytes::from_static(text.as_bytes()), last);
        let all = || vec![event("a", false), event("bc", false), event("def", false), Next::Pending];
        assert_eq!(gathered(100, all()), [event("abcdef", false)]);
        assert_eq!(gathered(3, all()), [event("abc", false), event("def", false), Next::Pending]);
        assert_eq!(gathered(0, all()), all());
    }

    #[test]
    fn the_end_comes_with_the_last_event_and_a_cut_by_itself() {
        let event = |text: &'static str, last| Next::Event(Bytes::from_static(text.as_bytes()), last);
        assert_eq!(gathered(100, vec![event("a", false), event("b", true)]), [event("ab", true)]);
        assert_eq!(gathered(100, vec![event("a", false), Next::End]), [event("a", true)]);
        assert_eq!(
            gathered(100, vec![event("a", false), Next::Cut, Next::Cut]),
            [event("a", false), Next::Cut]
        );
        for alone in [Next::Pending, Next::End, Next::Cut] {
            assert_eq!(gathered(100, vec![alone.clone()]), [alone]);
        }
    }
}
