//! Admission against the shutdown: a session's request, a session, and a request without one.

use mcp_session_proto::{Era, Reply, ResponseMode};

use super::{
    PREEMPTIONS, Server, assert_adds_up, assert_balanced, at_once, check, create, establish, join, nothing,
    patient, spawn,
};
use crate::{
    handler::exchange::{ExchangeHandle, ReplyHead},
    shutdown::ShutdownPolicy,
    stateless::server::Completed,
    transport::Rejection,
};

/// A client sends a request to its session, which is answered at once; the endpoint shuts down. The request is refused, or
/// admitted and ended once. If it was admitted, the shutdown waits for it.
fn request_in_session(policy: ShutdownPolicy) {
    let server = Server::new(|_| {});
    let session = server.open();
    let client = spawn({
        let session = session.clone();
        move || {
            let admitted = session.with(|machine, now| machine.handle_request(now, 2.into(), None));
            let Ok(key) = admitted else { return (false, false) };
            let heard = session.with(|machine, now| machine.answer(now, key, &Ok(nothing())));
            let reply = session.with(|machine, now| machine.poll_reply(now, key));
            (true, heard && matches!(reply, Some(Reply::Json(_))))
        }
    });
    let report = server.shut_down(policy);
    let (admitted, answered) = join(client);
    let stats = server.stats();
    assert_eq!(stats.exchanges_admitted, 1 + u64::from(admitted));
    // An answer that waits for its reader at the ceiling counts as forced, even if its reader still comes.
    let handed_over = stats.exchanges_answered + stats.exchanges_forced;
    assert!(handed_over > u64::from(answered), "{stats:?}");
    assert_balanced(&stats);
    assert_adds_up(&report);
    assert!(admitted || report.exchanges.total == 0);
    if policy == patient() {
        assert_eq!((admitted, report.is_clean()), (answered, true), "{report:?}");
        assert_eq!(stats.exchanges_answered, stats.exchanges_admitted);
    }
    assert!(session.with(|machine, now| machine.handle_request(now, 3.into(), None)).is_err());
    drop(session);
    server.end();
}

/// Two threads, [`PREEMPTIONS`].
#[test]
fn s_5_s_9_a_request_of_a_session_against_a_patient_shutdown() {
    check("request-shutdown", Some(PREEMPTIONS), || request_in_session(patient()));
}

/// Two threads, [`PREEMPTIONS`].
#[test]
fn s_3_s_9_a_request_of_a_session_against_the_ceiling() {
    check("request-ceiling", Some(PREEMPTIONS), || request_in_session(at_once()));
}

/// A client opens a session; the endpoint shuts down. The session is refused, or registered and ended. None is added after
/// the shutdown has visited the registry. Two threads, [`PREEMPTIONS`].
#[test]
fn s_1_s_9_a_new_session_against_the_shutdown() {
    check("new-session-shutdown", Some(PREEMPTIONS), || {
        let server = Server::new(|_| {});
        let client = spawn({
            let registry = server.registry().clone();
            move || match create(&registry) {
                Ok((session, key)) => {
                    establish(&session, key);
                    Some(session)
                }
                Err(Rejection::ShuttingDown) => None,
                Err(other) => panic!("{other:?}"),
            }
        });
        let report = server.shut_down(patient());
        let session = join(client); // dropped here: loom does not know the order in which std's `Arc` is dropped
        let stats = server.stats();
        assert_eq!(stats.exchanges_admitted, u64::from(session.is_some()));
        assert_balanced(&stats);
        assert_adds_up(&report);
        assert_eq!(server.registry().sessions().count(), 0);
        assert!(matches!(create(server.registry()), Err(Rejection::ShuttingDown)));
        drop(session);
        server.end();
    });
}

/// A client sends a request without a session, which is answered at once; the endpoint shuts down.
fn request_without_session(policy: ShutdownPolicy) {
    let server = Server::new(|_| {});
    let client = spawn({
        let stateless = server.stateless();
        move || match stateless.admit(2.into(), Era::Stateless, ResponseMode::Auto, None) {
            Ok(call) => {
                let answered = ExchangeHandle::Stateless(call).answer(&Completed::as_is(Ok(nothing())), true);
                (true, answered.heard && matches!(answered.head, Some(ReplyHead::Json(_))))
            }
            Err(Rejection::ShuttingDown) => (false, false),
            Err(other) => panic!("{other:?}"),
        }
    });
    let report = server.shut_down(policy);
    let (admitted, answered) = join(client);
    let stats = server.stats();
    assert_eq!((stats.exchanges_admitted, stats.exchanges_answered), (admitted.into(), answered.into()));
    assert_balanced(&stats);
    assert_adds_up(&report);
    assert!(admitted || report.exchanges.total == 0);
    assert_eq!(server.stateless().calls().count(), 0);
    if policy == patient() {
        assert_eq!((admitted, report.is_clean()), (answered, true), "{report:?}");
    }
    server.end();
}

/// Two threads, [`PREEMPTIONS`].
#[test]
fn s_5_s_9_a_request_without_a_session_against_a_patient_shutdown() {
    check("stateless-request-shutdown", Some(PREEMPTIONS), || request_without_session(patient()));
}

/// Two threads, [`PREEMPTIONS`].
#[test]
fn s_3_s_9_a_request_without_a_session_against_the_ceiling() {
    check("stateless-request-ceiling", Some(PREEMPTIONS), || request_without_session(at_once()));
}

/// A client sends a batch of two requests where there is room for one: the first is admitted and taken back. The endpoint
/// shuts down. Nothing of the batch counts, unless the shutdown had counted it: then it is cancelled. Two threads, [`PREEMPTIONS`].
#[test]
fn s_9_s_15_an_admission_that_is_taken_back_against_the_shutdown() {
    check("withdrawal-shutdown", Some(PREEMPTIONS), || {
        let server = Server::new(|config| config.max_stateless_requests = 1);
        let client = spawn({
            let stateless = server.stateless();
            move || {
                let all = stateless.admit_all([1.into(), 2.into()], Era::Stateless, ResponseMode::Auto, None);
                assert!(matches!(all, Err(Rejection::TooManyRequests | Rejection::ShuttingDown)));
            }
        });
        let report = server.shut_down(patient());
        join(client);
        let stats = server.stats();
        assert_eq!(stats.exchanges_admitted, report.exchanges.cancelled);
        assert_balanced(&stats);
        assert_adds_up(&report);
        assert_eq!(server.stateless().calls().count(), 0);
        server.end();
    });
}
