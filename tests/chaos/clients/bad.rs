//! Clients that flood, stall, cut, and send half of a request.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use futures::future::{Either, select};
use mcp_session_tests::Caller;
use serde_json::json;
use tokio::time;

use super::{
    World,
    ask::{self, Ask, Line},
    pause,
    readers::Asks as _,
};
use crate::seen::{Conduct, Outcome, What, now};

/// How long a stalled client reads what the server has left.
const UNREAD: Duration = Duration::from_secs(2);

async fn some_caller(world: &World, rng: &mut Rng) -> Option<Caller> {
    match rng.u32(0..3) {
        0 => Some(Caller::Stateless),
        1 => Some(Caller::Modern),
        _ => Caller::open(world, &mut Line::default()).await,
    }
}

/// Sends requests in a burst, without waiting for answers, and then reads all of them, again and again.
pub(super) async fn flooding(world: Arc<World>, mut rng: Rng) {
    let Some(caller) = some_caller(&world, &mut rng).await else { return };
    while world.goes_on() {
        let asks: Vec<Ask> = (0..rng.usize(10..60))
            .map(|_| {
                let id = world.next_id();
                let request = caller.tool(world.address, id, "echo", &json!({ "message": "x" }), false);
                Ask { id, client: caller.name(), what: What::Quick, conduct: Conduct::Reads, request }
            })
            .collect();
        let Ok(mut connection) = Line::open(world.address).await else { return };
        let burst: String = asks.iter().map(|ask| ask.request.as_str()).collect();
        let mut written = connection.write(&burst).await.err();
        let mut ended = false;
        for (at, ask) in asks.iter().enumerate() {
            // Only the first is owed a response: the connection may end after any of them.
            let mut seen = ask.seen(at == 0);
            if ended {
                seen.end(Outcome::Unanswered("after the last response of its connection".to_owned()));
            } else {
                let head = connection.head().await;
                ended = ask::read(&mut connection, &mut seen, head, written.take()).await.1;
                ended |= matches!(seen.outcome, Outcome::Cut { .. } | Outcome::Violated(_));
            }
            world.record(seen);
        }
        pause(&mut rng, 50).await;
    }
}

/// Asks for more than fits into the buffers on the way, and reads only after the server has exited.
pub(super) async fn stalled(world: Arc<World>, mut rng: Rng) {
    let Some(caller) = some_caller(&world, &mut rng).await else { return };
    let id = world.next_id();
    let (what, request) = if rng.bool() {
        let arguments = json!({ "steps": 20_000, "interval_ms": 0 });
        (What::Slow, caller.tool(world.address, id, "slow", &arguments, true))
    } else {
        let arguments = json!({ "message": "x".repeat(3 << 20) });
        (What::Quick, caller.tool(world.address, id, "echo", &arguments, false))
    };
    let ask = Ask { id, client: caller.name(), what, conduct: Conduct::Stalls, request };
    let Ok(mut connection) = Line::narrow(world.address).await else { return };
    let mut seen = ask.seen(true);
    let written = connection.write(&ask.request).await.err();
    seen.sent = now();
    world.exited().await;
    let reads = async {
        let head = connection.head().await;
        ask::read(&mut connection, &mut seen, head, written).await;
    };
    // What the kernel has kept comes through a buffer that holds almost nothing, which may take minutes.
    if time::timeout(UNREAD, reads).await.is_err() {
        seen.end(Outcome::Left);
    }
    world.record(seen);
}

/// Cuts its connection: before the response, in the middle of it, or soon after.
pub(super) async fn cutting(world: Arc<World>, mut rng: Rng) {
    let Some(caller) = some_caller(&world, &mut rng).await else { return };
    while world.goes_on() {
        let ask = Ask { conduct: Conduct::Cuts, ..caller.some_call(&world, &mut rng) };
        let Ok(mut connection) = Line::open(world.address).await else { return };
        let mut seen = ask.seen(true);
        let _ = connection.write(&ask.request).await;
        seen.sent = now();
        let head = rng.bool();
        let reads = Box::pin(async {
            if head && connection.head().await.is_ok() {
                let _ = connection.data().await;
            }
        });
        select(reads, Box::pin(pause(&mut rng, 50))).await;
        drop(connection);
        seen.end(Outcome::Left);
        world.record(seen);
        pause(&mut rng, 20).await;
    }
}

/// Sends the first part of a request, and waits for what the server makes of it.
pub(super) async fn half_sent(world: Arc<World>, mut rng: Rng) {
    let Some(caller) = some_caller(&world, &mut rng).await else { return };
    let id = world.next_id();
    let request = caller.tool(world.address, id, "echo", &json!({ "message": "x".repeat(1_000) }), false);
    let head = request.find("\r\n\r\n").map_or(request.len(), |at| at + 4);
    let length = match rng.u32(0..3) {
        0 => rng.usize(1..head),
        1 => head,
        _ => rng.usize(head..request.len()),
    };
    pause(&mut rng, 300).await;
    let Ok(mut connection) = Line::open(world.address).await else { return };
    let ask = Ask { id, client: caller.name(), what: What::Quick, conduct: Conduct::HalfSends, request };
    let mut seen = ask.seen(true);
    let written = connection.write(&ask.request[..length]).await.err();
    seen.sent = now();
    let exited = Box::pin(world.paused());
    let response = Box::pin(async {
        let head = connection.head().await;
        ask::read(&mut connection, &mut seen, head, written).await;
    });
    let left = match select(response, exited).await {
        Either::Left(_) => false,
        Either::Right(((), response)) if world.is_over() => {
            response.await;
            false
        }
        Either::Right(_) => true,
    };
    if left {
        seen.end(Outcome::Left);
    } else if matches!(seen.outcome, Outcome::Result | Outcome::Error { .. }) {
        seen.end(Outcome::Violated("an answer to half a request".to_owned()));
    }
    world.record(seen);
}
