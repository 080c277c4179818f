//! An exchange without a session, as in a protocol revision without sessions.

use std::time::Duration;

use super::*;
use crate::{ending::TerminateReason, output::Tally, testing::start as begin};

struct Bench {
    now: Instant,
    config: SessionConfig,
    out: Output<&'static str>,
}

fn modern() -> (Bench, Exchange<&'static str>) {
    start(Era::Modern, ResponseMode::Auto)
}

fn start(era: Era, mode: ResponseMode) -> (Bench, Exchange<&'static str>) {
    let mut bench = Bench { now: begin(), config: SessionConfig::default(), out: Output::default() };
    let exchange = Exchange::new(7.into(), "call", era, mode, &mut bench.out);
    (bench, exchange)
}

fn result() -> Result<Json, RpcError> {
    Json::new("done")
}

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":"done"}"#;

fn event(next: Next) -> String {
    match next {
        Next::Event(bytes, _) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sessionless_exchange_is_answered_as_json() {
    let (mut b, mut exchange) = modern();
    assert_eq!(exchange.poll_reply(&mut b.out), Some(Reply::Pending));
    exchange.answer(b.now, &result(), &mut b.out);
    exchange.answer(b.now, &Err(RpcError::internal("a second answer")), &mut b.out);
    assert_eq!(exchange.poll_reply(&mut b.out), Some(Reply::Json(Bytes::from(ANSWER).into())));
    exchange.handle_released();
    assert!(exchange.is_over());
    assert_eq!(b.out.tally, Tally { admitted: 1, answered: 1, ..Tally::default() });
}

#[test]
fn a_sessionless_exchange_streams_and_ends_with_its_answer() {
    let (mut b, mut exchange) = modern();
    exchange.notify(b.now, &Bytes::from_static(b"data: 1\n\n"), &b.config, &mut b.out).unwrap();
    assert_eq!(exchange.poll_reply(&mut b.out), Some(Reply::Stream));
    exchange.answer(b.now, &result(), &mut b.out);
    let late = exchange.notify(b.now, &Bytes::from_static(b"late"), &b.config, &mut b.out);
    assert_eq!(late, Err(SendError::Closed)); // F-15
    assert_eq!(event(exchange.poll_event(0, &mut b.out)), "data: 1\n\n");
    assert!(!exchange.is_settled());
    assert_eq!(
        exchange.poll_event(0, &mut b.out),
        Next::Event(format!("event: message\ndata: {ANSWER}\n\n").into(), true)
    );
    assert!(exchange.is_settled());
}

#[test]
fn g_30_without_a_session_disconnecting_cancels() {
    let (mut b, mut exchange) = modern();
    exchange.handle_disconnect(b.now, 0, &b.config, &mut b.out);
    assert_eq!(exchange.status().cancelled, Some(CancelReason::Disconnected));
    exchange.answer(b.now, &result(), &mut b.out);
    assert_eq!(b.out.tally, Tally { admitted: 1, cancelled: 1, ..Tally::default() });
    assert!(!exchange.status().abandoned);
    exchange.handle_timeout(b.now + b.config.cancel_grace, &b.config, &mut b.out);
    assert!(exchange.status().abandoned);
}

#[test]
fn d_12_with_a_session_disconnecting_does_not_cancel() {
    let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Auto);
    exchange.handle_disconnect(b.now, 0, &b.config, &mut b.out);
    assert_eq!(exchange.status(), Status::default());
    exchange.notify(b.now, &Bytes::from_static(b"x"), &b.config, &mut b.out).unwrap();
    exchange.answer(b.now, &result(), &mut b.out);
    assert_eq!(b.out.tally, Tally { admitted: 1, answered: 1, ..Tally::default() });
}

#[test]
fn s_5_shutdown_of_a_sessionless_exchange_synthesizes_one_answer() {
    for streaming in [false, true] {
        let (mut b, mut exchange) = modern();
        if streaming {
            exchange.notify(b.now, &Bytes::from_static(b"1"), &b.config, &mut b.out).unwrap();
            let _ = exchange.poll_event(0, &mut b.out);
        }
        exchange.interrupt(TerminateReason::Shutdown, &mut b.out);
        let told = Some(CancelReason::Terminated(TerminateReason::Shutdown));
        assert_eq!(exchange.status(), Status { cancelled: told, abandoned: false });
        exchange.synthesize(b.now, TerminateReason::Shutdown, &mut b.out);
        assert!(exchange.status().abandoned);
        exchange.answer(b.now, &result(), &mut b.out);
        let answer = if streaming {
            event(exchange.poll_event(0, &mut b.out))
        } else {
            match exchange.poll_reply(&mut b.out) {
                Some(Reply::Json(answer)) => String::from_utf8(Bytes::from(answer).to_vec()).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert!(answer.contains(r#""id":7,"error":{"code":-32603,"#), "{answer}");
        assert!(answer.contains(r#""data":{"reason":"shutdown","retryable":true}"#), "{answer}");
        assert_eq!((b.out.tally.running, b.out.tally.synthesized, b.out.tally.answered), (0, 1, 0));
    }
}

#[test]
fn a_reply_nobody_takes_is_forced_in_the_end() {
    let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Sse);
    exchange.handle_suspended(b.now, &mut b.out);
    exchange.answer(b.now, &result(), &mut b.out);
    exchange.close(b.now, TerminateReason::Shutdown, &mut b.out);
    exchange.close(b.now, TerminateReason::Shutdown, &mut b.out);
    assert_eq!(exchange.poll_event(0, &mut b.out), Next::Cut);
    assert_eq!(
        b.out.tally,
        Tally { admitted: 1, forced: 1, streams_opened: 1, streams_cut: 1, ..Tally::default() }
    );
}

#[test]
fn f_08_a_cancelled_exchange_still_has_an_ending() {
    let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Auto);
    exchange.cancel(b.now, CancelReason::Client(None), &b.config, &mut b.out);
    match exchange.poll_reply(&mut b.out) {
        Some(Reply::Json(answer)) => assert!(Bytes::from(answer).windows(6).any(|code| code == b"-32800")),
        other => panic!("{other:?}"),
    }
    let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Auto);
    exchange.notify(b.now, &Bytes::from_static(b"1"), &b.config, &mut b.out).unwrap();
    exchange.cancel(b.now, CancelReason::Client(None), &b.config, &mut b.out);
    exchange.answer(b.now, &result(), &mut b.out);
    assert_eq!(exchange.poll_event(0, &mut b.out), Next::Event("1".into(), true));
    assert_eq!(
        b.out.tally,
        Tally { admitted: 1, cancelled: 1, streams_opened: 1, streams_ended: 1, ..Tally::default() }
    );
}

#[test]
fn silence_turns_the_reply_into_a_stream() {
    let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Auto);
    assert_eq!(exchange.next_timeout(&b.config), None);
    exchange.handle_suspended(b.now, &mut b.out);
    let at = exchange.next_timeout(&b.config).unwrap();
    exchange.handle_timeout(at - Duration::from_millis(1), &b.config, &mut b.out);
    assert_eq!(exchange.poll_reply(&mut b.out), Some(Reply::Pending));
    exchange.handle_timeout(at, &b.config, &mut b.out);
    assert_eq!(exchange.poll_reply(&mut b.out), Some(Reply::Stream));
    assert_eq!(event(exchange.poll_event(0, &mut b.out)), ":\n\n");
}

#[test]
fn d_14_in_json_mode_nothing_precedes_the_answer() {
    let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Json);
    exchange.handle_suspended(b.now, &mut b.out);
    exchange.notify(b.now, &Bytes::from_static(b"1"), &b.config, &mut b.out).unwrap();
    assert!(!exchange.can_send());
    exchange.handle_timeout(b.now + b.config.heartbeat, &b.config, &mut b.out);
    assert_eq!(exchange.poll_reply(&mut b.out), Some(Reply::Pending));
}

#[test]
fn without_heartbeats_silence_decides_nothing() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let (mut b, mut exchange) = start(Era::Legacy, mode);
        b.config.heartbeat = Duration::ZERO;
        exchange.handle_suspended(b.now, &mut b.out);
        for later in [Duration::ZERO, Duration::from_secs(24 * 60 * 60)] {
            assert_eq!(exchange.next_timeout(&b.config), None);
            exchange.handle_timeout(b.now + later, &b.config, &mut b.out);
        }
        match mode {
            ResponseMode::Sse => assert_eq!(exchange.poll_event(0, &mut b.out), Next::Pending),
            ResponseMode::Auto | ResponseMode::Json => {
                assert_eq!(exchange.poll_reply(&mut b.out), Some(Reply::Pending));
            }
        }
    }
}

#[test]
fn what_is_told_needs_no_space_but_an_open_stream() {
    let told = || Bytes::from_static(b"told");
    let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Auto);
    b.config.queue_events = 1;
    exchange.tell(b.now, told(), &mut b.out);
    assert_eq!(exchange.poll_reply(&mut b.out), Some(Reply::Pending)); // `tell` opens no stream
    let one = Bytes::from_static(b"1");
    assert_eq!(exchange.notify(b.now, &one, &b.config, &mut b.out), Ok(()));
    assert_eq!(exchange.notify(b.now, &one, &b.config, &mut b.out), Err(SendError::Full));
    for _ in 0..2 {
        exchange.tell(b.now, told(), &mut b.out);
    }
    assert_eq!(exchange.notify(b.now, &one, &b.config, &mut b.out), Err(SendError::Full));
    exchange.answer(b.now, &result(), &mut b.out);
    exchange.tell(b.now, told(), &mut b.out); // D-02: nothing follows the answer
    let events = [0; 4].map(|_| event(exchange.poll_event(0, &mut b.out)));
    assert_eq!(events, ["1", "told", "told", &format!("event: message\ndata: {ANSWER}\n\n")]);
    assert!(exchange.is_settled());
}

#[test]
fn only_a_cancelled_handler_winds_down_until_it_stops_or_is_given_up() {
    let cancelled = || {
        let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Auto);
        assert!(!exchange.is_winding_down());
        exchange.cancel(b.now, CancelReason::Client(None), &b.config, &mut b.out);
        assert!(exchange.is_winding_down());
        assert_eq!(exchange.next_timeout(&b.config), Some(b.now + b.config.cancel_grace));
        (b, exchange)
    };
    let (b, mut exchange) = cancelled();
    exchange.handle_released();
    assert!(!exchange.is_winding_down());
    assert_eq!(exchange.next_timeout(&b.config), None);

    let (mut b, mut exchange) = cancelled();
    let grace = b.config.cancel_grace;
    exchange.handle_timeout(b.now + grace - Duration::from_millis(1), &b.config, &mut b.out);
    assert!(exchange.is_winding_down());
    exchange.handle_timeout(b.now + grace, &b.config, &mut b.out);
    assert!(!exchange.is_winding_down() && exchange.status().abandoned);
    assert_eq!(exchange.next_timeout(&b.config), None);

    let (mut b, mut exchange) = cancelled();
    exchange.close(b.now, TerminateReason::Shutdown, &mut b.out);
    assert!(!exchange.is_winding_down() && exchange.status().abandoned);

    let (mut b, mut exchange) = start(Era::Legacy, ResponseMode::Auto);
    exchange.interrupt(TerminateReason::Shutdown, &mut b.out);
    assert!(!exchange.is_winding_down()); // its handler has the session's budget, and owes an answer
}

#[test]
fn f_14_progress_only_grows() {
    let (mut b, mut exchange) = modern();
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY]; // D-45
    for progress in odd.into_iter().chain([0.0, 0.5, 0.5, 0.1]).chain(odd).chain([2.0]) {
        let event = Bytes::from(progress.to_string());
        exchange.progress(b.now, progress, &event, &b.config, &mut b.out).unwrap();
    }
    let reported = [0; 3].map(|_| event(exchange.poll_event(0, &mut b.out)));
    assert_eq!(reported, ["0", "0.5", "2"]);
    assert_eq!(exchange.poll_event(0, &mut b.out), Next::Pending);
    // A value that did not fit was not reported, so the same value may be sent again.
    b.config.queue_events = 1;
    let mut report = |progress| exchange.progress(b.now, progress, &Bytes::from("x"), &b.config, &mut b.out);
    assert_eq!([report(3.0), report(4.0), report(4.0)], [Ok(()), Err(SendError::Full), Err(SendError::Full)]);
}
