//! [`Connections`]: the running connections of a server, the stages in which they end, and how many were cut.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use event_listener::Event;
use futures::{FutureExt, future::select};

use crate::{
    runtime::{BoxFuture, Runtime},
    serve::{
        ServeConnection,
        context::{Closing, ConnectionContext},
        endpoints::Endpoints,
        limits::Limits,
        work::Work,
    },
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering::SeqCst},
        lock,
    },
};

/// The stage of the server's shutdown, in order of time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    Stopping = 1,
    Closing = 2,
    /// The time for clients that do not read is over.
    Stalled = 3,
    Cut = 4,
}

/// Shared by the server and its connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    stage: AtomicU8,
    stopping: Event,
    closing: Event,
    stalled: Event,
    cut: Event,
    pub(super) counts: Mutex<Counts>,
    ended: Event,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) live: usize,
    /// The number of connections dropped because their client did not read.
    pub(super) cut: usize,
    /// How long a client may take to read.
    pub(super) finish: Duration,
}

impl Shared {
    /// The event of a stage. Each stage has its own: a dropped listener passes its notification on, and a listener that
    /// got one from an earlier stage would miss the next.
    pub(super) fn event(&self, stage: Stage) -> &Event {
        match stage {
            Stage::Stopping => &self.stopping,
            Stage::Closing => &self.closing,
            Stage::Stalled => &self.stalled,
            Stage::Cut => &self.cut,
        }
    }

    pub(super) fn has_reached(&self, stage: Stage) -> bool {
        self.stage.load(SeqCst) >= stage as u8
    }

    /// Enters a stage and all stages before it.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, SeqCst);
        for reached in [Stage::Stopping, Stage::Closing, Stage::Stalled, Stage::Cut] {
            if reached as u8 <= stage as u8 {
                self.event(reached).notify(usize::MAX);
            }
        }
    }
}

/// The connections of a server. Dropping it cuts them.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) shared: Arc<Shared>,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        let shared = Shared {
            limits,
            stage: AtomicU8::new(0),
            stopping: Event::new(),
            closing: Event::new(),
            stalled: Event::new(),
            cut: Event::new(),
            counts: Mutex::default(),
            ended: Event::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn spawn(&self, endpoints: &Endpoints, connect: ServeConnection) {
        let (work, runtime) = (Work::default(), Arc::clone(endpoints[0].runtime()));
        let context = ConnectionContext {
            endpoints: endpoints.clone(),
            peer: None,
            shared: Arc::clone(&self.shared),
            work: work.clone(),
        };
        runtime.spawn(Box::pin(Connection {
            served: Served::Accepted(Some((connect, context))),
            end: End::Stalled(Closing::new(&self.shared, Stage::Stalled)),
            work,
            runtime: Arc::clone(&runtime),
            live: Live::new(&self.shared),
        }));
    }

    pub(super) async fn all_ended(&self) {
        loop {
            let ended = self.shared.ended.listen();
            if lock(&self.shared.counts).live == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.shared.enter(Stage::Cut);
    }
}

/// The task of a connection. Written by hand, because there is one for each open stream: an async block would be three times as
/// large.
struct Connection {
    served: Served,
    end: End,
    work: Work,
    runtime: Arc<dyn Runtime>,
    /// The last field, dropped last: a connection that is no longer counted has closed its socket.
    live: Live,
}

/// What ends a connection from outside: the time for clients that do not read, and then [`cut`].
enum End {
    Stalled(Closing),
    Cut(BoxFuture<'static, ()>),
}

/// A connection is served from the first poll of its task.
enum Served {
    Accepted(Option<(ServeConnection, ConnectionContext)>),
    Running(BoxFuture<'static, ()>),
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            match &mut this.end {
                End::Stalled(stalled) => {
                    if stalled.poll_unpin(cx).is_pending() {
                        break;
                    }
                    let (shared, runtime) = (Arc::clone(&this.live.shared), Arc::clone(&this.runtime));
                    this.end = End::Cut(Box::pin(cut(shared, runtime, this.work.clone())));
                }
                End::Cut(cut) => {
                    if cut.poll_unpin(cx).is_pending() {
                        break;
                    }
                    this.live.set_cut();
                    return Poll::Ready(());
                }
            }
        }
        loop {
            match &mut this.served {
                Served::Running(served) => return served.poll_unpin(cx),
                Served::Accepted(accepted) => {
                    let Some((connect, context)) = accepted.take() else { return Poll::Ready(()) };
                    this.served = Served::Running(connect(context));
                }
            }
        }
    }
}

/// Waits until a connection must be cut, after the time for clients that do not read: at once, unless the application is
/// working on it. When the application has finished, its client gets as much time to read as the others had.
async fn cut(shared: Arc<Shared>, runtime: Arc<dyn Runtime>, work: Work) {
    let mut before = None;
    loop {
        let (waits, changes) = work.look();
        let idle = !waits && before.is_none_or(|before| before == changes);
        if idle || shared.stage.load(SeqCst) >= Stage::Cut as u8 {
            return;
        }
        before = Some(changes);
        let finish = lock(&shared.counts).finish;
        select(runtime.sleep_until(runtime.now() + finish), Closing::new(&shared, Stage::Cut)).await;
    }
}

/// A counted connection. It is counted until dropped, even by a panic or by a runtime that ends.
struct Live {
    shared: Arc<Shared>,
    cut: bool,
}

impl Live {
    fn new(shared: &Arc<Shared>) -> Self {
        lock(&shared.counts).live += 1;
        Self { shared: Arc::clone(shared), cut: false }
    }

    fn set_cut(&mut self) {
        self.cut = true;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let last = {
            let mut counts = lock(&self.shared.counts);
            counts.live -= 1;
            counts.cut += usize::from(self.cut);
            counts.live == 0
        };
        if last {
            self.shared.ended.notify(usize::MAX);
        }
    }
}
