//! [`client`]: opens a session, calls in it, and opens another one when it has deleted it.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use fastrand::Rng;
use mcp_session_tests::Caller;
use serde_json::json;
use tokio::time;

use super::{
    World,
    call::{self, Task},
    listen::{self, Expected},
    pause,
};
use crate::seen::{Call, Kind, Outcome};

/// The pace between two calls of a session, in milliseconds.
const PACE: u64 = 60;

/// How soon every node knows that a session was deleted.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// A client with sessions, one after the other.
pub(super) async fn client(world: Arc<World>, mut rng: Rng) {
    pause(&mut rng, 500).await; // not all at once
    while world.goes_on() {
        let Some(session) = open(&world).await else {
            pause(&mut rng, PACE).await;
            continue;
        };
        let session: Arc<str> = session.into();
        let caller = Arc::new(Caller::Session(session.to_string()));
        let expected = Arc::<Expected>::default();
        let get = tokio::spawn(listen::run(
            Arc::clone(&world),
            Arc::clone(&caller),
            Arc::clone(&session),
            Arc::clone(&expected),
        ));
        while world.goes_on() && !expected.deleted.load(SeqCst) {
            let task = draw(&mut rng);
            let kind = task.kind;
            if kind == Kind::Deletes {
                expected.deleted.store(true, SeqCst); // from now on, whatever is read
            }
            let call = call::run(&world, &caller, &session, task).await;
            count(&call, &expected);
            world.record(call);
            if kind == Kind::Deletes {
                // The call may have ended before it came to that.
                world.insist(&caller.bare(world.address, "DELETE")).await;
                gone(&world, &caller).await;
            }
            pause(&mut rng, PACE).await;
        }
        expected.end();
        if get.await.is_err() {
            world.odd("a reader of a GET stream failed".to_owned());
        }
    }
}

fn draw(rng: &mut Rng) -> Task {
    let interval = rng.u64(150..450);
    let (kind, steps) = match rng.u32(0..100) {
        0..76 => (Kind::Slow, rng.u64(4..11)),
        76..86 => {
            let (tool, arguments) = match rng.bool() {
                true => ("test_elicitation", json!({ "message": "Who?" })),
                false => ("test_sampling", json!({ "prompt": "Where?" })),
            };
            return Task { kind: Kind::Asked, tool, arguments, steps: 0 };
        }
        86..91 => (Kind::Cancels, 20),
        91..93 => (Kind::Deletes, 20),
        _ => return Task { kind: Kind::Announces, tool: "announce", arguments: json!({}), steps: 0 },
    };
    Task { kind, tool: "slow", arguments: json!({ "steps": steps, "interval_ms": interval }), steps }
}

fn count(call: &Call, expected: &Expected) {
    if call.kind == Kind::Announces {
        let told = call.outcome == Outcome::Result;
        let count = if told { &expected.told } else { &expected.perhaps };
        count.fetch_add(1, SeqCst);
    }
}

async fn open(world: &World) -> Option<String> {
    let nobody = Caller::Session(String::new());
    let capabilities = json!({ "elicitation": {}, "sampling": {} });
    let request = nobody.initialize(world.address, world.next_id(), &capabilities);
    let response = world.insist(&request).await?;
    let session = response.head.get("mcp-session-id").map(str::to_owned);
    if response.head.status != 200 || session.is_none() {
        world.odd(format!("{} to initialize", response.head.status));
        return None;
    }
    drop(response.json().await);
    let caller = Caller::Session(session.clone()?);
    let status = world.insist(&caller.initialized(world.address)).await?.head.status;
    if status != 202 {
        world.odd(format!("{status} to initialized"));
    }
    world.opened.fetch_add(1, SeqCst);
    session
}

/// A deleted session is unknown at every node.
async fn gone(world: &World, caller: &Caller) {
    let begun = Instant::now();
    let mut unknown = 0;
    while unknown < 3 {
        let request = caller.request(world.address, world.next_id(), "ping", json!({}));
        match world.insist(&request).await.map(|response| response.head.status) {
            Some(404) => unknown += 1,
            status if begun.elapsed() > FORGOTTEN => {
                return world.odd(format!("{status:?} to a ping after DELETE"));
            }
            _ => {
                unknown = 0;
                time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
