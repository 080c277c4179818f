//! An endpoint whose runtime ends: the runtime drops every task, and every new one.

use std::pin::pin;

use futures::FutureExt;
use mcp_session_core::{ShutdownPhase, ShutdownPolicy};
use mcp_session_testkit::{
    SimRuntime,
    behaviour::fixture::{Fixture, NEVER, request},
};

const PATIENT: ShutdownPolicy =
    ShutdownPolicy { lame_duck: NEVER, drain: NEVER, cancel: NEVER, finish: NEVER };

#[test]
fn s_5_running_calls_are_answered_and_new_ones_too() {
    let sim = SimRuntime::new(1);
    let mut fixture = Fixture::new(&sim, |_| {});
    sim.block_on(async {
        let client = fixture.client().await;
        let running = request("running", "work");
        let mut running = pin!(client.post(&running));
        assert!(running.as_mut().now_or_never().is_none());
        let work = fixture.work().await;
        sim.shutdown();
        assert!(work.is_dropped());
        let answer = running.await.answer().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&"running".into(), &(-32603).into()));
        // An answer that is ready at once needs no task. Other requests get a synthesized answer.
        assert_eq!(client.post(&request(1, "echo")).await.answer().await["result"], serde_json::json!({}));
        assert_eq!(client.post(&request(2, "work")).await.answer().await["error"]["code"], -32603);
    });
}

#[test]
fn s_9_a_shutdown_has_its_report() {
    for begun_before in [false, true] {
        let sim = SimRuntime::new(1);
        let fixture = Fixture::new(&sim, |_| {});
        sim.block_on(async {
            let client = fixture.client().await;
            let mut stream = client.get().await;
            assert!(stream.event().await.is_some());
            let early = begun_before.then(|| fixture.endpoint.shutdown(PATIENT));
            sim.shutdown();
            let report = match early {
                Some(early) => early.await,
                None => fixture.endpoint.shutdown(PATIENT).await,
            };
            assert_eq!((report.streams.ended, report.is_clean()), (0, false), "{report}");
            assert_eq!(fixture.endpoint.stats().phase, ShutdownPhase::Closed);
            assert!(stream.event().await.expect("not an end").is_err()); // cut
            assert_eq!(client.post(&request(1, "ping")).await.status, 404);
        });
    }
}
