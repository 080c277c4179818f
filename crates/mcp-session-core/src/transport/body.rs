//! The body of a request, bounded in bytes and time.

use std::{
    error::Error,
    iter::successors,
    mem,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{Either, poll_fn, select};
use http_body::Body;

use super::rejection::Rejection;
use crate::{
    config::Config,
    proto::after,
    runtime::Runtime,
    terminate::{Phases, ShutdownPhase},
};

/// Any error.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// What of each body does not count in [`Config::bodies_in_flight`]. Most messages fit in it, so that whoever takes the whole
/// total with large bodies keeps nobody's small ones out. An HTTP server holds as much for each connection anyway.
const SMALL: usize = 64 * 1024;

/// While the endpoint drains: how long a body may stand still. What still arrives then, such as replies and cancels, is short.
const STANDSTILL: Duration = Duration::from_millis(250);

/// A deadline that comes so much too late was missed by this process and not by the client: it was stopped, or had no
/// processor. Nobody's clock is off by a second otherwise.
const OWN_PAUSE: Duration = Duration::from_secs(1);

/// Reads a body, bounded in bytes and time. A body in one piece, which is the common case, is not copied.
pub(super) async fn read<B>(body: Pin<&mut B>, limits: Limits<'_>) -> Result<Bytes, Rejection>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let Limits { config, bodies, .. } = limits;
    if body.size_hint().lower() > config.body_limit as u64 {
        return Err(Rejection::PayloadTooLarge);
    }
    let mut reading = Reading { body, config, first: None, all: BytesMut::new(), held: bodies, counted: 0 };
    // Most bodies are there already: a timer is made only for one that is not.
    if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(reading.poll(cx))).await {
        return read;
    }
    Box::pin(reading.wait(limits)).await // not the size of every request
}

/// What bounds the reading of a request.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) config: &'a Config,
    pub(crate) runtime: &'a dyn Runtime,
    /// Bytes of all bodies that are being read, of those that count: see [`Config::bodies_in_flight`].
    pub(crate) bodies: &'a AtomicUsize,
    /// In a shutdown there is less time.
    pub(crate) phases: &'a Phases,
}

/// A body that is being read.
struct Reading<'a, B> {
    body: Pin<&'a mut B>,
    config: &'a Config,
    /// The first piece, while there is no other.
    first: Option<Bytes>,
    all: BytesMut,
    /// Bytes of all bodies that are being read.
    held: &'a AtomicUsize,
    /// Those of them that are this one's.
    counted: usize,
}

impl<B> Reading<'_, B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Waits for the rest: until its deadline, and in a shutdown for as long as it moves and the endpoint is not closed.
    async fn wait(mut self, Limits { runtime, config, phases, .. }: Limits<'_>) -> Result<Bytes, Rejection> {
        let mut deadline = after(runtime.now(), config.body_timeout);
        loop {
            // The phase is looked at after somebody listens for the next one.
            let (next_phase, phase) = (phases.changed(), phases.get());
            if phase == ShutdownPhase::Closed {
                return Err(Rejection::ShuttingDown); // nothing is admitted any more
            }
            let now = runtime.now();
            let stands_still =
                (phase >= ShutdownPhase::Draining).then(|| now + STANDSTILL).filter(|at| *at < deadline);
            let (before, until) = (self.length(), stands_still.unwrap_or(deadline));
            let enough = select(runtime.sleep_until(until), next_phase);
            match select(poll_fn(|cx| self.poll(cx)), enough).await {
                Either::Left((read, _)) => return read,
                Either::Right((Either::Right(_), _)) => {} // another phase
                Either::Right((Either::Left(_), _)) => {
                    let now = runtime.now();
                    let own_pause = now.saturating_duration_since(until) > OWN_PAUSE;
                    match stands_still {
                        // What came meanwhile is looked at first, and has a moment to get here.
                        _ if own_pause => deadline = deadline.max(now + OWN_PAUSE),
                        Some(_) if self.length() > before => {}
                        Some(_) => return Err(Rejection::ShuttingDown),
                        None => return Err(Rejection::BodyTimeout),
                    }
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Rejection>> {
        while let Some(frame) = ready!(self.body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(|error| broken_off(&*error.into()))?;
            let Ok(mut data) = frame.into_data() else { continue };
            let length = data.remaining();
            let data = data.copy_to_bytes(length);
            let so_far = self.length();
            if so_far + data.len() > self.config.body_limit {
                return Poll::Ready(Err(Rejection::PayloadTooLarge));
            }
            self.count(so_far + data.len())?;
            match self.first.take() {
                None if self.all.is_empty() => self.first = Some(data),
                None => self.all.extend_from_slice(&data),
                Some(begin) => {
                    // For the rest as well, where the length was told; but a length alone gets no memory for a long body.
                    let rest = self.body.size_hint().lower().min(SMALL as u64) as usize;
                    self.all.reserve(so_far + data.len() + rest);
                    self.all.extend_from_slice(&begin);
                    self.all.extend_from_slice(&data);
                }
            }
        }
        let all = mem::take(&mut self.all);
        Poll::Ready(Ok(self.first.take().unwrap_or_else(|| all.freeze())))
    }

    fn length(&self) -> usize {
        self.first.as_ref().map_or(self.all.len(), Bytes::len)
    }

    /// Counts it as this long among the bodies that are being read.
    fn count(&mut self, length: usize) -> Result<(), Rejection> {
        let more = length.saturating_sub(SMALL).saturating_sub(self.counted);
        if more > 0 {
            let others = self.held.fetch_add(more, Relaxed);
            self.counted += more; // given back when it is dropped
            if others + more > self.config.bodies_in_flight {
                return Err(Rejection::TooManyBodies);
            }
        }
        Ok(())
    }
}

impl<B> Drop for Reading<'_, B> {
    fn drop(&mut self) {
        if self.counted > 0 {
            self.held.fetch_sub(self.counted, Relaxed);
        }
    }
}

/// Why a body has no end: with every cause, because the outermost error often says no more than that there is one.
///
/// A layer in front that limits bodies says so with an error of its own, most often `http_body_util`'s
/// `LengthLimitError`, which `tower-http` and `axum` use. It is known by its text, whatever is around it: naming its type
/// would take the crate, in the version that the layer has.
fn broken_off(error: &(dyn Error + 'static)) -> Rejection {
    let mut why = String::new();
    for error in successors(Some(error), |error| <dyn Error>::source(*error)) {
        let text = error.to_string();
        if text == "length limit exceeded" {
            return Rejection::PayloadTooLarge;
        }
        // Many repeat their cause in their own text.
        if !why.ends_with(&text) {
            let separator = if why.is_empty() { "" } else { ": " };
            why.push_str(separator);
            why.push_str(&text);
        }
    }
    Rejection::BodyIncomplete(why)
}

#[cfg(test)]
mod tests;
