use super::*;
use crate::{exchange::CancelReason, message::ErrorCode, output::Wake, testing::start};

type Machine = StatelessExchange<&'static str>;

const POLICY: TerminatePolicy = TerminatePolicy {
    drain: Duration::from_secs(15),
    cancel: Duration::from_secs(3),
    finish: Duration::from_secs(2),
};

fn machine(era: Era, mode: ResponseMode) -> (Instant, Machine) {
    let mut machine = StatelessExchange::new(7.into(), era, mode, Arc::default());
    machine.tag_or(|| "call");
    (start(), machine)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn done() -> Result<Json, RpcError> {
    Json::new(&serde_json::json!({}))
}

fn text(reply: Option<Reply>) -> String {
    match reply {
        Some(Reply::Json(answer)) => String::from_utf8(Bytes::from(answer).to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn g_30_e_30_a_client_that_disconnects_cancels_its_request() {
    for era in [Era::Stateless, Era::Modern] {
        for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
            let (now, mut machine) = machine(era, mode);
            machine.handle_suspended(now);
            let _ = machine.take_output();
            machine.handle_disconnect(now);
            assert_eq!(machine.status().cancelled, Some(CancelReason::Disconnected), "{era:?} {mode:?}");
            let woken: Vec<_> = machine.take_output().into_wakes().collect();
            assert!(woken.contains(&Wake::Handler("call")), "{woken:?}");
            assert_eq!(machine.notify(now, &Bytes::from_static(b"late")), Err(SendError::Closed)); // G-31
            assert!(!machine.answer(now, &done()));
            assert_eq!(machine.poll_reply(now), None);
            assert!(machine.is_over());
        }
    }
}

#[test]
fn s_5_a_drain_lets_it_finish_then_cancels_then_answers_for_it() {
    for (era, code) in
        [(Era::Stateless, ErrorCode::CONNECTION_CLOSED), (Era::Modern, ErrorCode::INTERNAL_ERROR)]
    {
        let (now, mut machine) = machine(era, ResponseMode::Json);
        machine.handle_suspended(now);
        machine.drain(now, &POLICY);
        assert_eq!((machine.phase(), machine.status().cancelled), (Phase::Draining, None));
        assert_eq!(machine.next_timeout(), Some(now + seconds(15)));
        machine.handle_timeout(now + seconds(15));
        let cancelled = machine.status().cancelled;
        assert_eq!(cancelled, Some(CancelReason::Terminated(TerminateReason::Shutdown)));
        machine.handle_timeout(now + seconds(18));
        assert!(machine.status().abandoned);
        assert_eq!(machine.phase(), Phase::Finishing);
        let tally = machine.take_tally();
        assert_eq!((tally.running, tally.replies, tally.synthesized), (0, 1, 0));
        let reply = text(machine.poll_reply(now + seconds(18)));
        assert!(reply.contains(&format!(r#""code":{}"#, code.0)), "{reply}");
        assert_eq!(machine.phase(), Phase::Closed);
        assert_eq!(machine.take_tally().synthesized, 1);
        assert_eq!(machine.next_timeout(), None);
    }
}

#[test]
fn s_5_an_answer_that_is_late_can_be_read() {
    for answers in [false, true] {
        let (now, mut machine) = machine(Era::Modern, ResponseMode::Json);
        machine.handle_suspended(now);
        machine.drain(now, &POLICY);
        let late = now + seconds(3600); // the process was stopped
        if answers {
            assert!(machine.answer(late, &done()));
        }
        machine.handle_timeout(late);
        assert_eq!(machine.phase(), Phase::Finishing);
        assert_eq!(machine.next_timeout(), Some(late + POLICY.finish));
        assert!(text(machine.poll_reply(late)).contains(if answers { "result" } else { "shutdown" }));
        assert!(machine.is_over());
    }
}

#[test]
fn s_4_a_drain_ends_with_the_answer() {
    let (now, mut machine) = machine(Era::Modern, ResponseMode::Auto);
    machine.drain(now, &POLICY);
    assert!(machine.answer(now, &done()));
    assert_eq!(machine.phase(), Phase::Finishing);
    assert_eq!(text(machine.poll_reply(now)), r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
    assert!(machine.is_over());
    assert_eq!(machine.take_tally(), Tally { admitted: 1, answered: 1, ..Tally::default() });
}

#[test]
fn s_10_a_second_drain_only_tightens_and_closing_counts_what_was_lost() {
    let (now, mut machine) = machine(Era::Modern, ResponseMode::Sse);
    machine.handle_suspended(now);
    machine.drain(now, &POLICY);
    machine.drain(now, &TerminatePolicy { drain: seconds(60), ..POLICY });
    machine.handle_timeout(now + seconds(15));
    assert_eq!(machine.phase(), Phase::Cancelling);
    machine.close(now + seconds(15));
    assert!(machine.is_over());
    let tally = machine.take_tally();
    assert_eq!((tally.admitted, tally.forced, tally.streams_opened, tally.streams_cut), (1, 1, 1, 1));
    assert_eq!(machine.poll_event(now + seconds(15)), Next::Cut);
}

#[test]
fn g_59_an_event_that_waits_is_not_queued_again() {
    let (now, mut machine) = machine(Era::Modern, ResponseMode::Sse);
    machine.handle_suspended(now);
    let (a, b) = (Bytes::from_static(b"data: a\n\n"), Bytes::from_static(b"data: b\n\n"));
    for event in [&a, &b, &a, &b, &a] {
        assert_eq!(machine.notify_once(now, event), Ok(()));
    }
    assert_eq!(machine.poll_event(now), Next::Event(a.clone(), false));
    assert_eq!(machine.notify_once(now, &a), Ok(())); // the first one was read
    assert_eq!(machine.poll_event(now), Next::Event(b, false));
    assert_eq!(machine.poll_event(now), Next::Event(a, false));
    assert_eq!(machine.poll_event(now), Next::Pending);
}

#[test]
fn g_59_a_full_queue_is_reported() {
    let (now, mut machine) = machine(Era::Modern, ResponseMode::Sse);
    machine.handle_suspended(now);
    let queued = (0..).take_while(|n| machine.notify_once(now, &format!("data: {n}\n\n").into()).is_ok());
    assert_eq!(queued.count(), SessionConfig::default().queue_events);
    assert_eq!(machine.notify_once(now, &Bytes::from_static(b"data: x\n\n")), Err(SendError::Full));
}
