//! Contains panics of foreign code: a panic fails only that call.
//!
//! Foreign code is handlers and hooks, `Authenticate`, stores, request bodies and `tracing` subscribers. All of it is
//! called through this module, so that a panic ends no task of the endpoint and skips no bookkeeping.

use std::{
    any::Any,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

/// Foreign code has panicked. The process's panic hook has already printed the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Calls foreign code.
///
/// Our own state must be consistent while it runs: a panic in `call` must not leave a lock or a table of the endpoint half
/// changed.
pub(crate) fn call<R>(call: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(discard)
}

/// Drops a value of foreign code.
pub(crate) fn dispose<T>(value: T) {
    let _ = call(|| drop(value)); // nobody to report it to
}

/// Drops the payload of a panic. It is foreign too, and may panic in turn: then the second payload is leaked.
#[cold]
fn discard(payload: Box<dyn Any + Send>) -> Panicked {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
    Panicked
}

/// A foreign future that is created, polled and dropped with its panics contained.
#[must_use = "a future does nothing unless it is polled"]
pub(crate) struct Contained<F> {
    /// `None` if it could not be created or has completed.
    future: Option<F>,
}

impl<F: Future + Unpin> Contained<F> {
    /// Contains the future that `make` returns.
    pub(crate) fn new(make: impl FnOnce() -> F) -> Self {
        Self { future: call(make).ok() }
    }
}

impl<F: Future + Unpin> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Ready(Err(Panicked)) };
        match call(|| Pin::new(future).poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => {
                dispose(self.future.take());
                Poll::Ready(Ok(output))
            }
            Err(Panicked) => {
                dispose(self.future.take());
                Poll::Ready(Err(Panicked))
            }
        }
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            dispose(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::{FutureExt, future::BoxFuture};

    use super::*;

    /// Panics when dropped, as the payload of a panic may.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("planted: a value that cannot be dropped"));
        }
    }

    fn contained<T>(make: impl FnOnce() -> BoxFuture<'static, T>) -> Option<Result<T, Panicked>> {
        Contained::new(make).now_or_never()
    }

    #[test]
    fn a_panic_is_contained_wherever_it_comes_from() {
        fn boom() -> ! {
            std::panic::resume_unwind(Box::new(Bomb))
        }
        assert_eq!(call(|| 7), Ok(7));
        assert_eq!(call(|| boom()), Err(Panicked));
        dispose(Bomb);
        assert_eq!(contained(|| ready(7).boxed()), Some(Ok(7)));
        assert_eq!(contained::<u8>(|| boom()), Some(Err(Panicked)));
        assert_eq!(contained::<u8>(|| async { boom() }.boxed()), Some(Err(Panicked)));
        let bomb = Bomb;
        let waits = async move {
            let _bomb = bomb;
            pending::<u8>().await
        };
        assert_eq!(contained(|| waits.boxed()), None); // and dropped
    }

    #[test]
    fn a_completed_future_is_not_polled_again() {
        let mut future = Contained::new(|| ready(7).boxed());
        assert_eq!((&mut future).now_or_never(), Some(Ok(7)));
        assert_eq!((&mut future).now_or_never(), Some(Err(Panicked)));
    }
}
