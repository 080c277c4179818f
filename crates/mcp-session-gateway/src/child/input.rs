//! [`Input`]: a child's stdin. Lines go out whole and in order, and nobody waits for a child that does not read.

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes};
use tokio::{io::Interest, net::unix::pipe, runtime::Handle, sync::Notify};

/// How much may wait for a child that does not read before [`Input::ready`] waits, in bytes. 1 MiB: a pipe has 64 KiB.
const FULL: usize = 1024 * 1024;

/// How much may wait at all, in bytes; then the input is closed. 256 MiB: as many bytes of bodies as may arrive at once. A
/// child that asks and asks and reads no answer would fill the memory.
const STUCK: usize = 256 * 1024 * 1024;

/// The stdin of a child. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Input(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Notified when something has been written, or the input was closed.
    changed: Notify,
    tokio: Handle,
}

#[derive(Debug)]
struct State {
    /// `None`: it is closed.
    pipe: Option<Arc<pipe::Sender>>,
    /// What the pipe has not taken yet. Then a task writes it.
    waiting: VecDeque<Bytes>,
    /// The bytes that wait.
    bytes: usize,
}

/// The child's stdin is closed: by the gateway, or because the child has closed it or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the child takes no more input")]
#[non_exhaustive]
pub struct InputClosed;

impl Input {
    /// Takes the writing end of a pipe.
    ///
    /// # Errors
    ///
    /// If it is none, or the pipe cannot be registered with tokio.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(pipe: OwnedFd) -> io::Result<Self> {
        let pipe = Some(Arc::new(pipe::Sender::from_owned_fd(pipe)?));
        let state = State { pipe, waiting: VecDeque::new(), bytes: 0 };
        let (state, changed) = (Mutex::new(state), Notify::new());
        Ok(Self(Arc::new(Inner { state, changed, tokio: Handle::current() })))
    }

    /// Writes a line, to which this method adds the end. It is written at once as far as the pipe takes it, and the rest by a
    /// task, so no part of a line is ever lost.
    ///
    /// # Errors
    ///
    /// [`InputClosed`].
    pub fn send(&self, mut line: Vec<u8>) -> Result<(), InputClosed> {
        line.push(b'\n');
        let mut line = Bytes::from(line);
        let mut state = self.lock();
        let pipe = Arc::clone(state.pipe.as_ref().ok_or(InputClosed)?);
        if state.bytes > STUCK {
            drop(state);
            self.close();
            return Err(InputClosed);
        }
        if !state.waiting.is_empty() {
            state.push(line);
            return Ok(());
        }
        match write(&pipe, &mut line) {
            Ok(()) if line.is_empty() => Ok(()),
            Ok(()) => {
                state.push(line);
                drop(state);
                self.0.tokio.spawn(self.clone().flush(pipe));
                Ok(())
            }
            Err(_) => {
                drop(state);
                self.close();
                Err(InputClosed)
            }
        }
    }

    /// Waits while more than 1 MiB waits for the child.
    ///
    /// # Errors
    ///
    /// [`InputClosed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it changes nothing.
    pub async fn ready(&self) -> Result<(), InputClosed> {
        loop {
            let changed = self.0.changed.notified();
            {
                let state = self.lock();
                if state.pipe.is_none() {
                    return Err(InputClosed);
                }
                if state.bytes <= FULL {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Waits until it is closed, by either side.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) {
        loop {
            let changed = self.0.changed.notified();
            let Some(pipe) = self.lock().pipe.clone() else { return };
            tokio::select! {
                () = changed => {}
                // Nobody has the other end.
                _ = pipe.ready(Interest::ERROR) => return self.close(),
            }
        }
    }

    /// Closes it: the child reads the end of its input, after what the pipe has already.
    pub fn close(&self) {
        let mut state = self.lock();
        let State { pipe, waiting, bytes } = &mut *state;
        let closed = (pipe.take(), std::mem::take(waiting));
        *bytes = 0;
        drop(state);
        drop(closed);
        self.0.changed.notify_waiters();
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.lock().pipe.is_none()
    }

    /// Writes what waits, until nothing does.
    async fn flush(self, pipe: Arc<pipe::Sender>) {
        loop {
            let changed = self.0.changed.notified();
            if self.is_closed() {
                return; // and with it the last reference to the pipe
            }
            tokio::select! {
                writable = pipe.writable() => if writable.is_err() { return self.close() },
                () = changed => continue,
            }
            let mut state = self.lock();
            let Some(line) = state.waiting.front_mut() else { return };
            let before = line.len();
            let written = write(&pipe, line);
            let (after, done) = (line.len(), line.is_empty());
            if done {
                state.waiting.pop_front();
            }
            state.bytes = state.bytes.saturating_sub(before - after);
            let idle = state.waiting.is_empty();
            drop(state);
            if written.is_err() {
                return self.close();
            }
            if before > after {
                self.0.changed.notify_waiters();
            }
            if idle {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, line: Bytes) {
        self.bytes += line.len();
        self.waiting.push_back(line);
    }
}

/// Writes as much as the pipe takes.
fn write(pipe: &pipe::Sender, line: &mut Bytes) -> io::Result<()> {
    while !line.is_empty() {
        match pipe.try_write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => line.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn lines_are_whole_and_in_order_though_the_child_reads_late() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let input = Input::new(writer.into()).expect("an input");
        let lines: Vec<String> = (0..60).map(|n| n.to_string().repeat(40_000)).collect();
        for line in &lines {
            input.send(line.clone().into_bytes()).expect("it is open");
        }
        assert!(input.ready().now_or_never().is_none(), "far more than the pipe takes");
        let read = tokio::task::spawn_blocking(move || {
            BufReader::new(reader).lines().collect::<Result<Vec<_>, _>>()
        });
        input.ready().await.expect("it is open");
        input.send(b"last".to_vec()).expect("it is open");
        loop {
            let changed = input.0.changed.notified();
            if input.lock().waiting.is_empty() {
                break;
            }
            changed.await;
        }
        input.close();
        let read = read.await.expect("it has not panicked").expect("lines");
        assert_eq!(read.len(), lines.len() + 1);
        assert!(read[..lines.len()] == lines && read[lines.len()] == "last");
        assert_eq!((input.send(Vec::new()), input.ready().await), (Err(InputClosed), Err(InputClosed)));
    }

    #[tokio::test]
    async fn a_child_that_has_gone_closes_it_and_those_who_wait_hear_of_it() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let input = Input::new(writer.into()).expect("an input");
        input.send(vec![b'x'; 2 * FULL]).expect("it is open");
        let waits = input.clone();
        let waits = tokio::spawn(async move { waits.ready().await });
        drop(reader);
        assert_eq!(waits.await.expect("it has not panicked"), Err(InputClosed));
        assert!(input.is_closed() && input.send(Vec::new()).is_err());
    }

    #[tokio::test]
    async fn a_child_that_closes_its_stdin_closes_it_though_nothing_is_sent() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let input = Input::new(writer.into()).expect("an input");
        input.send(b"line".to_vec()).expect("it is open");
        assert!(input.closed().now_or_never().is_none());
        drop(reader);
        input.closed().await;
        assert!(input.is_closed());
    }

    #[tokio::test]
    async fn close_ends_what_waits() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let input = Input::new(writer.into()).expect("an input");
        input.send(vec![b'x'; 2 * FULL]).expect("it is open");
        input.close();
        // The end of the pipe comes: the task that writes has let go of it.
        let read = tokio::task::spawn_blocking(move || io::copy(&mut { reader }, &mut io::sink()));
        let read = read.await.expect("it has not panicked").expect("the end");
        assert!(read < 2 * FULL as u64, "{read}");
    }
}
