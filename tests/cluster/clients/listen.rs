//! [`run`]: the GET stream of a session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use mcp_session_tests::Caller;
use tokio::{sync::Notify, time};

use super::{
    World,
    stream::{Next, Stream, Stuck},
};
use crate::seen::Listened;

/// How long an event may be underway.
const UNDERWAY: Duration = Duration::from_secs(15);

/// The pace at which the end of a session is looked for.
const PACE: Duration = Duration::from_millis(100);

/// What a session has done that its GET stream must show.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Announcing calls that were answered.
    pub(super) told: AtomicUsize,
    /// The same without an answer.
    pub(super) perhaps: AtomicUsize,
    pub(super) deleted: AtomicBool,
    /// No more will come.
    over: AtomicBool,
    changed: Notify,
}

impl Expected {
    /// No more will come.
    pub(super) fn end(&self) {
        self.over.store(true, SeqCst);
        self.changed.notify_one();
    }
}

/// Reads the stream until all that was expected is there, or its session has ended.
pub(super) async fn run(world: Arc<World>, caller: Arc<Caller>, session: Arc<str>, expected: Arc<Expected>) {
    let mut stream = Stream::new(&world, &caller);
    let mut wrong = None;
    let enough = |have: usize| expected.over.load(SeqCst) && have >= expected.told.load(SeqCst);
    let deleted = || expected.deleted.load(SeqCst);
    let read = async {
        while !enough(stream.events.len()) {
            let next = tokio::select! {
                next = stream.next() => next,
                () = expected.changed.notified() => continue,
            };
            match next {
                Next::Data(_) => {}
                Next::End(_) if deleted() => return,
                Next::End(_) => match stream.reconnect(true).await {
                    Ok(()) => {}
                    Err(_) if deleted() => return,
                    Err(Stuck::Status(status)) => return wrong = Some(format!("{status} to the GET stream")),
                    Err(Stuck::NoId | Stuck::Nobody) => return wrong = Some("no GET stream".to_owned()),
                },
            }
        }
    };
    let over = async {
        while !expected.over.load(SeqCst) {
            time::sleep(PACE).await;
        }
        // What is underway arrives, or never will.
        time::sleep(UNDERWAY).await;
    };
    tokio::select! {
        () = read => {}
        () = over => {}
    }
    let lost = stream.lost.into_iter().chain(wrong).collect();
    world.listened(Listened {
        session,
        events: stream.events,
        told: expected.told.load(SeqCst),
        perhaps: expected.perhaps.load(SeqCst),
        doubled: [stream.doubled, stream.foreign].concat(),
        lost,
        deleted: deleted(),
    });
}
