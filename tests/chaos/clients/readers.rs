//! Clients that read all they get.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::{Either, join, select};
use mcp_session_tests::Caller;
use serde_json::{Value, json};

use super::{
    World,
    ask::{Answer, Ask, Line},
    pause,
};
use crate::seen::{Conduct, What};

/// The pace between two requests of a client, in milliseconds.
const PACE: u64 = 20;

/// Half-closed connections count as gone after a second, so their calls take at most this many milliseconds.
const HALF_CLOSED: u64 = 300;

/// What callers ask for.
pub(super) trait Asks: Sized {
    /// A call of `slow` that takes at most this many milliseconds.
    fn slow(&self, world: &World, rng: &mut Rng, most: u64) -> Ask;

    fn call(&self, world: &World, what: What, tool: &str, arguments: &Value, progress: bool) -> Ask;

    /// One of the calls of a mixed load.
    fn some_call(&self, world: &World, rng: &mut Rng) -> Ask;

    /// Opens a session.
    async fn open(world: &World, line: &mut Line) -> Option<Self>;
}

impl Asks for Caller {
    fn slow(&self, world: &World, rng: &mut Rng, most: u64) -> Ask {
        let steps = rng.u64(1..=10);
        let arguments = json!({ "steps": steps, "interval_ms": rng.u64(0..=most / steps) });
        self.call(world, What::Slow, "slow", &arguments, rng.bool())
    }

    fn call(&self, world: &World, what: What, tool: &str, arguments: &Value, progress: bool) -> Ask {
        let id = world.next_id();
        let request = self.tool(world.address, id, tool, arguments, progress);
        Ask { id, client: self.name(), what, conduct: Conduct::Reads, request }
    }

    fn some_call(&self, world: &World, rng: &mut Rng) -> Ask {
        let longest = world.longest.as_millis() as u64;
        match rng.u32(0..20) {
            0..9 => self.slow(world, rng, longest),
            9..11 => {
                let id = world.next_id();
                let request = self.request(world.address, id, "tools/list", json!({}));
                Ask { id, client: self.name(), what: What::Quick, conduct: Conduct::Reads, request }
            }
            11 => self.call(world, What::Panic, "panic", &json!({}), false),
            12 => self.call(world, What::Quick, "announce", &json!({}), false),
            13 => {
                let message = "x".repeat(rng.usize(1..400_000));
                self.call(world, What::Quick, "echo", &json!({ "message": message }), false)
            }
            _ => self.call(world, What::Quick, "echo", &json!({ "message": "x" }), false),
        }
    }

    async fn open(world: &World, line: &mut Line) -> Option<Self> {
        let nobody = Self::Session(String::new());
        let id = world.next_id();
        let request = nobody.initialize(world.address, id, &json!({}));
        let ask = Ask { id, client: nobody.name(), what: What::Initialize, conduct: Conduct::Reads, request };
        let session = line.ask(world, ask).await.session?;
        let caller = Self::Session(session);
        // Not recorded: it is no request. A server that refuses it refuses the next request too.
        if let Ok(mut connection) = Line::open(world.address).await {
            let written = connection.write(caller.initialized(world.address)).await;
            if written.is_ok() && connection.head().await.is_ok() {
                connection.rest().await;
            }
        }
        Some(caller)
    }
}

/// Opens a session, calls in two places at a time, and deletes it at the end, or in between. Then it opens another one.
pub(super) async fn in_session(world: Arc<World>, mut rng: Rng, get: bool) {
    while world.goes_on() {
        let mut line = Line::default();
        let Some(caller) = Caller::open(&world, &mut line).await else {
            pause(&mut rng, PACE).await;
            if Line::open(world.address).await.is_err() {
                return;
            }
            continue;
        };
        let deleted = AtomicBool::new(false);
        let short = rng.u32(0..10) == 0; // it is deleted while the other place may be calling
        let (one, other) = (rng.fork(), rng.fork());
        let calls = join(
            calling(&world, one, &caller, line, &deleted, if short { 5 } else { u32::MAX }),
            calling(&world, other, &caller, Line::default(), &deleted, u32::MAX),
        );
        let stream = async {
            if get {
                reading(&world, &caller, &deleted).await;
            }
        };
        let ((one, other), ()) = join(calls, stream).await;
        if one || other {
            return;
        }
    }
}

/// Calls until it should rest, the session is deleted, or the server is gone. Returns `true` if it is gone.
async fn calling(
    world: &World,
    mut rng: Rng,
    caller: &Caller,
    mut line: Line,
    deleted: &AtomicBool,
    mut most: u32,
) -> bool {
    while world.goes_on() && !deleted.load(SeqCst) && most > 0 {
        most -= 1;
        let answer = line.ask_in(world, caller.some_call(world, &mut rng), Some(deleted)).await;
        if answer.gone {
            return true;
        }
        if answer.status == Some(404) {
            return false;
        }
        if rng.u32(0..4) == 0 {
            line = Line::default();
        }
        pause(&mut rng, PACE).await;
    }
    if world.is_over() || deleted.swap(true, SeqCst) {
        return world.is_over();
    }
    let request = caller.bare(world.address, "DELETE");
    let id = world.next_id();
    let ask = Ask { id, client: caller.name(), what: What::Delete, conduct: Conduct::Reads, request };
    Line::default().ask(world, ask).await.gone
}

/// Reads a GET stream to its end.
async fn reading(world: &World, caller: &Caller, deleted: &AtomicBool) {
    let (id, request) = (world.next_id(), caller.bare(world.address, "GET"));
    let ask = Ask { id, client: caller.name(), what: What::Get, conduct: Conduct::Reads, request };
    Line::default().ask_in(world, ask, Some(deleted)).await;
}

/// Calls without a session.
pub(super) async fn without(world: Arc<World>, mut rng: Rng, caller: Caller) {
    let mut line = Line::default();
    while world.goes_on() {
        if line.ask(&world, caller.some_call(&world, &mut rng)).await.gone {
            return;
        }
        if rng.u32(0..4) == 0 {
            line = Line::default();
        }
        pause(&mut rng, PACE).await;
    }
}

/// Listens until the server ends the stream. When clients rest, it leaves.
pub(super) async fn listening(world: Arc<World>) {
    while world.goes_on() {
        let caller = Caller::Modern;
        let id = world.next_id();
        let params = json!({ "notifications": { "toolsListChanged": true } });
        let request = caller.request(world.address, id, "subscriptions/listen", params);
        let ask = Ask { id, client: "listener", what: What::Listen, conduct: Conduct::Reads, request };
        let seen = ask.seen(true);
        let mut line = Line::default();
        let heard = Box::pin(line.ask(&world, ask));
        match select(heard, Box::pin(world.paused())).await {
            Either::Left((Answer { gone: true, .. }, _)) => return,
            Either::Left(_) => pause(&mut Rng::with_seed(id), PACE).await,
            Either::Right(((), heard)) if world.is_over() => {
                heard.await; // all that it sent is on its way
            }
            Either::Right(_) => return world.record(seen), // left on purpose
        }
    }
}

/// Asks, and closes its sending half after each request.
pub(super) async fn half_closing(world: Arc<World>, mut rng: Rng) {
    let caller = match rng.u32(0..3) {
        0 => Caller::Stateless,
        1 => Caller::Modern,
        _ => match Caller::open(&world, &mut Line::default()).await {
            Some(caller) => caller,
            None => return,
        },
    };
    // A call without a session is cancelled when its client closes, which half a close looks like (E-30, G-30).
    let may_wait = matches!(caller, Caller::Session(_));
    while world.goes_on() {
        let ask = if may_wait && rng.bool() {
            caller.slow(&world, &mut rng, HALF_CLOSED)
        } else {
            caller.call(&world, What::Quick, "echo", &json!({ "message": "x" }), false)
        };
        if Line::default().ask(&world, Ask { conduct: Conduct::HalfCloses, ..ask }).await.gone {
            return;
        }
        pause(&mut rng, PACE).await;
    }
}

/// Calls what never ends.
pub(super) async fn hanging(world: Arc<World>, mut rng: Rng) {
    let mut line = Line::default();
    let caller = match rng.u32(0..3) {
        0 => Caller::Stateless,
        1 => Caller::Modern,
        _ => match Caller::open(&world, &mut line).await {
            Some(caller) => caller,
            None => return,
        },
    };
    pause(&mut rng, 100).await;
    line.ask(&world, caller.call(&world, What::Hang, "hang", &json!({}), rng.bool())).await;
}

/// Blocks a thread of the server.
pub(super) async fn blocking(world: Arc<World>, mut rng: Rng, time: Duration) {
    pause(&mut rng, 400).await;
    let arguments = json!({ "ms": time.as_millis() as u64 });
    Line::default().ask(&world, Caller::Modern.call(&world, What::Block, "block", &arguments, false)).await;
}
