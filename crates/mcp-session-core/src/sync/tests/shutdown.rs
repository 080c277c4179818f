//! The shutdown itself: several handles, several who wait.

use futures::FutureExt;

use super::{Server, assert_adds_up, assert_balanced, at_once, check, join, patient, spawn};

/// Two threads shut the same endpoint down, one of them with less time. There is one shutdown and one report, and both
/// handles have it. Two threads, two preemptions.
#[test]
fn s_10_two_who_shut_down_get_one_report() {
    check("shutdown-shutdown", Some(2), || {
        let server = Server::new(|_| {});
        let session = server.open();
        let other = spawn({
            let endpoint = server.endpoint.clone();
            move || endpoint.shutdown(at_once())
        });
        let report = server.shut_down(patient());
        assert_eq!(join(other).wait().now_or_never(), Some(report.clone()));
        assert_eq!(report.sessions, 1);
        assert_adds_up(&report);
        assert_balanced(&server.stats());
        drop(session);
        server.end();
    });
}

/// One thread waits for the end of the endpoint before anybody has begun it, another begins it: the first learns of the
/// beginning and of the report. Two threads, two preemptions.
#[test]
fn s_10_who_waits_for_the_shutdown_of_another_is_woken() {
    check("closed-shutdown", Some(2), || {
        let server = Server::new(|_| {});
        let closed = spawn({
            let closed = server.endpoint.closed();
            move || loom::future::block_on(closed)
        });
        let report = server.shut_down(patient());
        assert_eq!(join(closed), report);
        server.end();
    });
}
