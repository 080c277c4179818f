//! [`client`]: calls of 2026-07-28, which have no session.

use std::sync::Arc;

use fastrand::Rng;
use mcp_session_tests::Caller;
use serde_json::json;

use super::{
    World,
    call::{self, Task},
    pause,
};
use crate::seen::Kind;

/// The pace between two calls, in milliseconds.
const PACE: u64 = 100;

/// A client without a session.
pub(super) async fn client(world: Arc<World>, mut rng: Rng) {
    let (caller, nobody) = (Arc::new(Caller::Modern), Arc::from(""));
    while world.goes_on() {
        let (steps, interval) = (rng.u64(4..11), rng.u64(100..300));
        let arguments = json!({ "steps": steps, "interval_ms": interval });
        let task = Task { kind: Kind::Modern, tool: "slow", arguments, steps };
        let call = call::run(&world, &caller, &nobody, task).await;
        world.record(call);
        pause(&mut rng, PACE).await;
    }
}
