//! The body of a request, bounded in bytes and time.

use std::{
    error::Error,
    iter::successors,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{Either, poll_fn, select};
use http_body::Body;
use mcp_session_proto::after;

use super::rejection::Rejection;
use crate::{
    config::Config,
    runtime::Runtime,
    shutdown::{Phases, ShutdownPhase},
    sync::{
        acquire,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Any error.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The number of bytes of each body that do not count in [`Config::bodies_in_flight`]. Most messages fit in it, so large
/// bodies that use up the total do not block small ones. An HTTP server buffers as much for each connection anyway.
const SMALL: usize = 64 * 1024;

/// How long a body may make no progress while the endpoint drains. Messages that still arrive then, such as replies and
/// cancels, are short.
const STANDSTILL: Duration = Duration::from_millis(250);

/// A deadline that fires this late was missed by this process, not by the client: the process was stopped or had no
/// processor. Clocks are not off by a second otherwise.
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
    // Most bodies have already arrived: only the others get a timer.
    if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(reading.poll(cx))).await {
        return read;
    }
    Box::pin(reading.wait(limits)).await // boxed, so that not every request has its size
}

/// The limits for reading a request.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) config: &'a Config,
    pub(crate) runtime: &'a dyn Runtime,
    /// The number of counted bytes of all bodies that are being read: see [`Config::bodies_in_flight`].
    pub(crate) bodies: &'a AtomicUsize,
    /// The phase of the shutdown: a shutdown leaves less time.
    pub(crate) phases: &'a Phases,
}

/// A body that is being read.
struct Reading<'a, B> {
    body: Pin<&'a mut B>,
    config: &'a Config,
    /// The first piece, while it is the only one.
    first: Option<Bytes>,
    all: BytesMut,
    /// The number of counted bytes of all bodies that are being read.
    held: &'a AtomicUsize,
    /// The share of this body in `held`.
    counted: usize,
}

impl<B> Reading<'_, B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Waits for the rest until the deadline. During a shutdown, it also gives up when the body makes no progress or the
    /// endpoint is closed.
    async fn wait(mut self, Limits { runtime, config, phases, .. }: Limits<'_>) -> Result<Bytes, Rejection> {
        let mut deadline = after(runtime.now(), config.body_timeout);
        loop {
            // Listens for the next phase before it reads the current one.
            let (next_phase, phase) = (phases.changed(), phases.get());
            if phase == ShutdownPhase::Closed {
                return Err(Rejection::ShuttingDown); // nothing is admitted anymore
            }
            let now = runtime.now();
            let stands_still =
                (phase >= ShutdownPhase::Draining).then(|| now + STANDSTILL).filter(|at| *at < deadline);
            let (before, until) = (self.length(), stands_still.unwrap_or(deadline));
            let enough = select(runtime.sleep_until(until), next_phase);
            match select(poll_fn(|cx| self.poll(cx)), enough).await {
                Either::Left((read, _)) => return read,
                Either::Right((Either::Right(_), _)) => {} // the phase has changed
                Either::Right((Either::Left(_), _)) => {
                    let now = runtime.now();
                    let own_pause = now.saturating_duration_since(until) > OWN_PAUSE;
                    match stands_still {
                        // First reads what arrived meanwhile, which may need a moment to get here.
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
                    // Also reserves for the rest, if its length is known, but a length alone reserves at most `SMALL`.
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

    /// Counts this body with this length among all bodies that are being read.
    fn count(&mut self, length: usize) -> Result<(), Rejection> {
        let more = length.saturating_sub(SMALL).saturating_sub(self.counted);
        if more > 0 {
            if !acquire(self.held, more, self.config.bodies_in_flight) {
                return Err(Rejection::TooManyBodies);
            }
            self.counted += more; // subtracted again in `drop`
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

/// Why a body failed, with the text of every cause, because the outermost error often says only that there is one.
///
/// A layer in front that limits bodies has its own error, usually `http_body_util`'s `LengthLimitError`, as in
/// `tower-http` and `axum`. It is recognized by its text, also as a cause of other errors: naming its type would need the
/// crate, in the version that the layer uses.
fn broken_off(error: &(dyn Error + 'static)) -> Rejection {
    let mut why = String::new();
    for error in successors(Some(error), |error| <dyn Error>::source(*error)) {
        let text = error.to_string();
        if text == "length limit exceeded" {
            return Rejection::PayloadTooLarge;
        }
        // Many errors repeat their cause in their own text.
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
