//! Resuming: what a client gets that comes back after its connection was lost, or closed with `retry`.

use std::time::Duration;

use super::{
    Bench, ExchangeKey, INITIALIZE, Input, MS, ONLY_INITIALIZED, Phase, Refusal, ReplayConfig, ResponseMode,
    SHUTDOWN, SecondStream, SendError, SessionConfig, State, StreamKey, TerminateReason, Wake, secs,
};
use crate::{exchange::CancelReason, testing::start, version::ProtocolVersion};

fn config() -> SessionConfig {
    SessionConfig { linger: Duration::ZERO, ..SessionConfig::default() }
}

fn limits() -> ReplayConfig {
    ReplayConfig::default()
}

/// A session of an older version: with event ids, without priming.
fn older(config: SessionConfig) -> Bench {
    let mut b = Bench::operating(config);
    b.session.version = ProtocolVersion::V2025_06_18;
    b
}

/// A call whose client has read its priming event and one note.
fn begin(b: &mut Bench, id: i64) -> (ExchangeKey, StreamKey) {
    let key = b.call(id);
    assert_eq!(b.notify(key), Ok(()));
    let stream = StreamKey::Response(key);
    assert_eq!(b.read(stream), [format!("{}-0 primes", key.0), format!("{}-1 note", key.0)]);
    (key, stream)
}

// Priming.

#[test]
fn d_08_a_call_that_takes_its_time_begins_with_an_id_to_come_back_to() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    assert_eq!(b.reply(key), "stream");
    assert_eq!(b.read(StreamKey::Response(key)), ["1-0 primes"]);
    b.answer(key);
    assert_eq!(b.read(StreamKey::Response(key)), ["1-1 1 = \"done\"", "end"]);
    // The same if its handler sends something before it is suspended.
    let key = b.request(2).unwrap();
    b.notify(key).unwrap();
    assert_eq!(b.read(StreamKey::Response(key)), ["2-0 primes", "2-1 note"]);
}

#[test]
fn an_answer_that_is_there_at_once_is_json_and_nothing_is_kept() {
    let mut b = Bench::operating(config());
    let key = b.request(1).unwrap();
    b.answer(key);
    assert_eq!(b.reply(key), "1 = \"done\"");
    assert_eq!(b.session.streams.kept(), (0, 0));
    assert!(b.session.streams.all_finished().next().is_none() && b.session.exchanges.len() == 0);
    assert_eq!(b.resume("1-0"), Err(Refusal::UnknownEvent));
}

#[test]
fn d_09_sessions_of_older_versions_get_ids_and_no_priming() {
    let mut b = older(config());
    let key = b.call(1);
    assert_eq!(b.reply(key), "pending"); // no priming event, so no stream is opened
    b.notify(key).unwrap();
    let stream = StreamKey::Response(key);
    assert_eq!(b.read(stream), ["1-1 note"]);
    b.disconnect(stream);
    b.answer(key);
    let stream = b.resume("1-1").unwrap();
    assert_eq!(b.read(stream), ["1-2 1 = \"done\"", "end"]);
    let get = b.get().unwrap();
    assert_eq!(b.read(get), [":"]);
}

#[test]
fn d_35_without_replay_there_are_no_ids_and_no_priming() {
    let mut b = Bench::operating(SessionConfig { replay: None, ..config() });
    let (key, stream) = b.stream(1); // asserts that the event has no id
    let get = b.get().unwrap();
    b.announce().unwrap();
    assert_eq!(b.read(get), [":", "note"]);
    for id in ["1-0", "1-1", "3-0"] {
        assert_eq!(b.resume(id), Err(Refusal::UnknownEvent));
    }
    assert!(!b.act(|session, now| session.close_connection(now, key, secs(1))));
    b.disconnect(stream);
    b.answer(key);
    assert!(b.session.streams.all_finished().next().is_none() && b.session.exchanges.len() == 0);
}

#[test]
fn d_14_json_mode_has_nothing_to_come_back_to() {
    let mut b = Bench::operating(SessionConfig { response_mode: ResponseMode::Json, ..config() });
    let key = b.call(1);
    assert!(!b.act(|session, now| session.close_connection(now, key, secs(1))));
    b.disconnect(StreamKey::Response(key)); // D-15
    b.answer(key);
    assert_eq!((b.outcomes(), b.session.exchanges.len()), ([2, 0, 0, 0], 0));
}

#[test]
fn c_20_initialize_waits_for_its_answer_with_replay_too() {
    let mut b = Bench::initializing(config());
    b.act(|session, now| session.handle_suspended(now, INITIALIZE));
    assert_eq!(b.reply(INITIALIZE), "pending");
    assert!(!b.act(|session, now| session.close_connection(now, INITIALIZE, secs(1))));
    b.answer(INITIALIZE);
    assert_eq!(b.reply(INITIALIZE), "0 = \"done\"");
}

// Resuming.

#[test]
fn d_34_a_resumed_call_continues_after_the_acknowledged_event() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    b.notify(key).unwrap(); // queued when the connection breaks
    b.disconnect(stream);
    assert_eq!((b.status(key).cancelled, b.session.streams()), (None, 0)); // D-12
    b.notify(key).unwrap();
    let stream = b.resume("1-1").unwrap();
    assert_eq!(b.read(stream), ["1-2 note", "1-3 note"]);
    b.notify(key).unwrap(); // on the new connection
    assert_eq!(b.read(stream), ["1-4 note"]);
    b.answer(key);
    assert_eq!(b.read(stream), ["1-5 1 = \"done\"", "end"]);
    assert_eq!(b.outcomes(), [2, 0, 0, 0]);
}

#[test]
fn d_26_d_27_an_event_id_is_unique_over_all_streams_and_names_its_stream() {
    let mut b = Bench::operating(config());
    let (first, one) = begin(&mut b, 1);
    let (second, two) = begin(&mut b, 2); // the ids so far: 1-0, 1-1, 2-0, 2-1
    for (key, stream) in [(first, one), (second, two)] {
        b.disconnect(stream);
        b.notify(key).unwrap();
    }
    for (id, rest) in [("2-1", "2-2 note"), ("1-1", "1-2 note"), ("2-0", "2-1 note")] {
        let stream = b.resume(id).unwrap();
        assert_eq!(b.read(stream)[0], rest, "after {id}");
        b.disconnect(stream);
    }
}

#[test]
fn d_33_a_finished_call_can_be_replayed_up_to_its_answer_repeatedly() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    b.disconnect(stream);
    b.notify(key).unwrap();
    b.answer(key);
    assert_eq!((b.outcomes(), b.session.exchanges.len()), ([2, 0, 0, 0], 0));
    for _ in 0..2 {
        let stream = b.resume("1-0").unwrap(); // D-10: the client can resume from the priming id
        assert_eq!(b.read(stream), ["1-1 note", "1-2 note", "1-3 1 = \"done\"", "end"]); // D-38, D-32
    }
    let stream = b.resume("1-3").unwrap();
    assert_eq!(b.read(stream), ["end"]);
}

#[test]
fn d_33_an_answer_that_was_sent_may_still_have_been_lost() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    b.answer(key);
    assert_eq!(b.read(stream), ["1-2 1 = \"done\"", "end"]);
    let stream = b.resume("1-1").unwrap();
    assert_eq!(b.read(stream), ["1-2 1 = \"done\"", "end"]);
    b.disconnect(stream);
    let stream = b.resume("1-1").unwrap(); // disconnected again, half way
    b.disconnect(stream);
    let stream = b.resume("1-1").unwrap();
    assert_eq!(b.read(stream), ["1-2 1 = \"done\"", "end"]);
    assert_eq!(b.outcomes(), [2, 0, 0, 0]); // still one answer
}

#[test]
fn f_08_the_end_of_a_cancelled_call_is_kept_as_well() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    b.read(StreamKey::Response(key));
    b.disconnect(StreamKey::Response(key));
    b.cancel(1).unwrap();
    let stream = b.resume("1-0").unwrap();
    assert_eq!(b.read(stream), ["end"]);
    b.release(key);
    let stream = b.resume("1-0").unwrap();
    assert_eq!(b.read(stream), ["end"]);
    b.wait(limits().age);
    assert_eq!(b.resume("1-0"), Err(Refusal::UnknownEvent));
    assert!(b.session.streams.all_finished().next().is_none());
}

#[test]
fn d_23_a_newer_connection_takes_over_and_the_older_one_ends() {
    let mut b = Bench::operating(config());
    let (key, first) = begin(&mut b, 1);
    b.notify(key).unwrap();
    b.wakes.clear();
    let second = b.resume("1-1").unwrap();
    assert!(b.wakes.contains(&Wake::Reader(1)), "the older reader is not woken");
    assert_eq!(b.read(first), ["end"]);
    b.disconnect(first);
    assert_eq!(b.read(second), ["1-2 note"]);
    let third = b.resume("1-0").unwrap();
    assert_eq!(b.read(second), ["end"]);
    b.disconnect(second);
    b.answer(key);
    assert_eq!(b.read(third), ["1-1 note", "1-2 note", "1-3 1 = \"done\"", "end"]); // D-21
    assert_eq!(b.session.streams(), 0);
}

#[test]
fn f_26_a_request_to_a_client_that_is_away_reaches_it_when_it_is_back() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    b.disconnect(stream);
    let asked = b.ask(key, "roots/list").unwrap();
    let gone = b.ask(key, "ping").unwrap();
    b.act(|session, now| session.abandon_request(now, gone));
    let stream = b.resume("1-1").unwrap();
    assert_eq!(b.read(stream), ["1-2 roots/list #0", "1-3 ping #1", "1-4 cancelled #1"]);
    b.respond(0, "here").unwrap();
    assert!(matches!(b.outbound(asked), Some(Ok(_))));
}

#[test]
fn d_37_unknown_and_malformed_ids_are_refused_and_change_nothing() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    let unread = b.call(2);
    let get = b.get().unwrap();
    let ids = ["", "1", "1-", "-1", "1-x", " 1-0", "1-2", "1-18446744073709551615", "99-0", "0-0", "2-0"];
    for id in ids {
        assert_eq!(b.resume(id), Err(Refusal::UnknownEvent), "{id:?}");
    }
    b.notify(key).unwrap();
    assert_eq!(b.read(stream), ["1-2 note"]);
    assert_eq!(b.read(StreamKey::Response(unread)), ["2-0 primes"]);
    assert_eq!(b.read(get), ["4-0 primes"]);
}

#[test]
fn d_12_a_client_that_leaves_before_it_has_an_id_cannot_come_back() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    b.disconnect(StreamKey::Response(key));
    assert_eq!(b.notify(key), Ok(())); // dropped
    b.answer(key);
    assert_eq!((b.outcomes(), b.session.streams.kept()), ([2, 0, 0, 0], (0, 0)));
    assert_eq!(b.resume("1-0"), Err(Refusal::UnknownEvent));
}

// Bounds.

#[test]
fn d_36_the_oldest_events_are_forgotten_first_and_gaps_are_never_skipped() {
    let replay = Some(ReplayConfig { events: 4, ..limits() });
    let mut b = Bench::operating(SessionConfig { replay, ..config() });
    let (one, first) = begin(&mut b, 1);
    let (two, second) = begin(&mut b, 2);
    b.disconnect(first);
    for _ in 0..3 {
        b.notify(two).unwrap();
    }
    b.read(second); // pushes out 1-1
    assert_eq!(b.resume("1-0"), Err(Refusal::UnknownEvent));
    let first = b.resume("1-1").unwrap(); // nothing follows, so nothing is missing
    assert_eq!(b.read(first), [":"]);
    b.disconnect(first);
    for _ in 0..6 {
        assert_eq!(b.notify(one), Ok(())); // senders do not wait for a client that is away
    }
    assert_eq!(b.session.streams.kept().0, 4);
    assert_eq!(b.resume("1-1"), Err(Refusal::UnknownEvent));
    b.answer(one);
    assert_eq!(b.resume("1-4"), Err(Refusal::UnknownEvent));
    let first = b.resume("1-5").unwrap();
    assert_eq!(b.read(first), ["1-6 note", "1-7 note", "1-8 1 = \"done\"", "end"]);
}

#[test]
fn d_36_bytes_and_age_are_bounds_too() {
    let replay = Some(ReplayConfig { bytes: 3 * super::NOTE.len(), ..limits() });
    let mut b = Bench::operating(SessionConfig { replay, ..config() });
    let (key, stream) = begin(&mut b, 1);
    b.disconnect(stream);
    for _ in 0..3 {
        b.notify(key).unwrap();
    }
    assert_eq!(b.session.streams.kept(), (3, 3 * super::NOTE.len()));
    assert_eq!(b.resume("1-0"), Err(Refusal::UnknownEvent));

    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    b.answer(key);
    b.read(stream);
    b.wait(limits().age - MS);
    let stream = b.resume("1-0").unwrap();
    b.disconnect(stream);
    b.wait(MS); // resuming makes the events that will be sent again as good as new
    let kept = b.session.streams.kept();
    assert_eq!(kept.0, 3);
    b.wait(limits().age);
    assert_eq!((b.session.streams.kept(), b.session.streams.all_finished().count()), ((0, 0), 0));
    assert_eq!(b.resume("1-0"), Err(Refusal::UnknownEvent));
}

#[test]
fn what_a_connection_has_yet_to_send_is_not_forgotten() {
    let replay = Some(ReplayConfig { events: 3, ..limits() });
    let mut b = Bench::operating(SessionConfig { replay, ..config() });
    let (one, first) = begin(&mut b, 1);
    b.disconnect(first);
    b.notify(one).unwrap();
    let first = b.resume("1-0").unwrap(); // with two events to read
    let (two, second) = begin(&mut b, 2);
    for _ in 0..5 {
        b.notify(two).unwrap();
        b.read(second);
    }
    assert_eq!(b.read(first), ["1-1 note", "1-2 note"]);
}

#[test]
fn senders_no_longer_wait_once_the_client_has_left() {
    let mut b = Bench::operating(SessionConfig { queue_events: 2, ..config() });
    let (key, stream) = begin(&mut b, 1);
    assert_eq!([0; 3].map(|_| b.notify(key)), [Ok(()), Ok(()), Err(SendError::Full)]);
    b.wakes.clear();
    b.disconnect(stream);
    assert!(b.wakes.contains(&Wake::Handler(1)));
    assert_eq!(b.notify(key), Ok(()));
    let stream = b.resume("1-1").unwrap(); // back, with more to read than a queue holds
    assert_eq!(b.notify(key), Err(SendError::Full));
    assert_eq!(b.read(stream).len(), 3);
    assert_eq!(b.notify(key), Ok(()));
}

// The standalone stream.

#[test]
fn d_24_announcements_wait_for_the_next_connection() {
    let mut b = Bench::operating(config());
    b.announce().unwrap();
    let get = b.get().unwrap();
    assert_eq!(b.read(get), ["1-0 primes", "1-1 note"]);
    b.announce().unwrap();
    b.disconnect(get);
    b.announce().unwrap();
    let get = b.get().unwrap(); // a plain GET continues the stream as well
    assert_eq!(b.read(get), ["1-1 primes", "1-2 note", "1-3 note"]);
    b.disconnect(get);
    let get = b.resume("1-1").unwrap();
    b.announce().unwrap();
    assert_eq!(b.read(get), ["1-2 note", "1-3 note", "1-4 note"]);
    let newer = b.resume("1-4").unwrap(); // D-23
    assert_eq!((b.read(get), b.read(newer)), (vec!["end".into()], vec![":".into()]));
}

#[test]
fn d_24_what_waits_without_a_connection_is_bounded() {
    let replay = Some(ReplayConfig { events: 3, ..limits() });
    let mut b = Bench::operating(SessionConfig { replay, queue_events: 2, ..config() });
    for _ in 0..10 {
        assert_eq!(b.announce(), Ok(()));
    }
    assert_eq!(b.session.streams.kept().0, 3);
    let get = b.get().unwrap();
    assert_eq!(b.announce(), Err(SendError::Full));
    assert_eq!(b.read(get), ["1-7 primes", "1-8 note", "1-9 note", "1-10 note"]);
}

#[test]
fn d_22_the_refuse_policy_refuses_plain_gets_but_not_resuming_ones() {
    let mut b = Bench::operating(SessionConfig { second_stream: SecondStream::Refuse, ..config() });
    let old = b.get().unwrap();
    assert_eq!(b.read(old), ["2-0 primes"]);
    assert_eq!(b.get(), Err(Refusal::StreamTaken));
    let newer = b.resume("2-0").unwrap();
    assert_eq!((b.read(old), b.read(newer)), (vec!["end".into()], vec![":".into()]));
}

/// E-14: a client that has an id is waited for while the events that it needs are kept.
#[test]
fn e_14_a_call_whose_client_can_come_back_is_not_given_up() {
    let (idle_timeout, age) = (secs(60), secs(300));
    let replay = Some(ReplayConfig { age, ..limits() });
    let (gone, tomorrow) = (
        |b: &Bench, key| b.status(key).cancelled == Some(CancelReason::Orphaned),
        start() + secs(24 * 60 * 60),
    );
    for away in [secs(299), secs(300)] {
        let mut b = Bench::operating(SessionConfig { idle_timeout, replay, ..config() });
        let (key, stream) = primed(&mut b);
        b.disconnect(stream);
        b.now += away; // no timer fires in between
        b.wait(Duration::ZERO);
        assert_eq!(gone(&b, key), away == age, "after {away:?}");
        if away < age {
            let again = b.resume(&format!("{}-0", key.0)).unwrap();
            b.run_reading(Some(again), |b| b.now >= tomorrow);
            assert!(!gone(&b, key));
            b.disconnect(again);
            assert_eq!(b.run_until(|b| gone(b, key)), age);
        }
        assert_eq!((b.tally.orphaned, b.session.reason()), (1, Some(TerminateReason::Idle)));
    }
}

/// E-14: a client cannot come back with an id after which an event was forgotten.
#[test]
fn e_14_a_client_whose_next_event_is_forgotten_is_not_waited_for() {
    let idle_timeout = secs(60);
    let replay = Some(ReplayConfig { events: 3, ..limits() });
    let mut b = Bench::operating(SessionConfig { idle_timeout, replay, ..config() });
    let (key, stream) = primed(&mut b);
    b.disconnect(stream);
    for _ in 0..4 {
        assert_eq!(b.notify(key), Ok(()));
    }
    assert_eq!(b.run_until(|b| b.status(key).cancelled.is_some()), idle_timeout);
    assert_eq!(b.status(key).cancelled, Some(CancelReason::Orphaned));
}

/// D-30: a client that comes back late and still finds the stream gets its end.
#[test]
fn e_14_a_late_client_of_an_orphaned_call_gets_an_error() {
    let replay = Some(ReplayConfig { age: secs(300), ..limits() });
    let mut b = Bench::operating(SessionConfig { replay, idle_timeout: secs(60), ..config() });
    let (key, stream) = primed(&mut b);
    let other = b.call(2); // keeps the session
    b.disconnect(stream);
    b.wait(secs(300));
    let late = b.resume(&format!("{}-0", key.0)).unwrap();
    assert_eq!(b.read(late), [format!("{}-1 1 ! -32800 -", key.0), "end".into()]);
    assert_eq!(b.status(other).cancelled, None);
}

/// A call whose client has a priming event.
fn primed(b: &mut Bench) -> (ExchangeKey, StreamKey) {
    let key = b.call(1);
    let stream = StreamKey::Response(key);
    assert_eq!(b.read(stream), [format!("{}-0 primes", key.0)]);
    (key, stream)
}

#[test]
fn d_22_a_second_plain_get_takes_over_too() {
    let mut b = Bench::operating(config());
    let old = b.get().unwrap();
    b.announce().unwrap();
    let new = b.get().unwrap();
    assert_eq!(b.read(old), ["end"]);
    assert_eq!(b.read(new), ["2-0 primes", "2-1 note"]); // D-21: the event that the old connection had not sent
}

#[test]
fn e_14_a_client_that_is_away_does_not_keep_its_session() {
    let mut b = Bench::operating(config());
    let get = b.get().unwrap();
    b.announce().unwrap();
    b.disconnect(get);
    assert_eq!(b.run_to(Phase::Closed), config().idle_timeout);
    assert_eq!(b.session.streams.kept(), (0, 0));
}

// Connections closed with `retry`.

fn detach(b: &mut Bench, key: ExchangeKey) -> bool {
    b.act(|session, now| session.close_connection(now, key, Duration::from_millis(250)))
}

#[test]
fn d_06_d_07_a_client_disconnected_with_retry_gets_the_answer_after_resuming() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    b.notify(key).unwrap();
    assert!(detach(&mut b, key));
    assert!(!detach(&mut b, key)); // already closing
    b.notify(key).unwrap(); // for the next connection
    assert_eq!(b.read(stream), ["1-2 note", "retry 250", "end"]);
    b.disconnect(stream);
    assert_eq!((b.session.streams(), b.status(key).cancelled), (0, None));
    b.answer(key);
    assert_eq!((b.session.unsettled(), b.outcomes()), (1, ONLY_INITIALIZED)); // its client is waited for
    let stream = b.resume("1-2").unwrap();
    assert_eq!(b.read(stream), ["1-3 note", "1-4 1 = \"done\"", "end"]);
    assert_eq!(b.outcomes(), [2, 0, 0, 0]);
}

#[test]
fn d_06_also_before_anything_was_sent() {
    let mut b = Bench::operating(config());
    let key = b.request(1).unwrap();
    assert!(detach(&mut b, key));
    assert_eq!(b.reply(key), "stream");
    assert_eq!(b.read(StreamKey::Response(key)), ["1-0 primes", "retry 250", "end"]);
}

#[test]
fn an_answer_before_the_connection_closes_is_sent_on_it() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    assert!(detach(&mut b, key));
    b.answer(key);
    assert_eq!(b.read(stream), ["1-2 1 = \"done\"", "end"]);
}

#[test]
fn d_05_clients_of_older_versions_are_not_sent_away() {
    let mut b = older(config());
    let (key, stream) = b.stream_with_ids(1);
    assert!(!detach(&mut b, key));
    b.answer(key);
    assert_eq!(b.read(stream), ["1-2 1 = \"done\"", "end"]);
}

#[test]
fn s_6_in_an_ending_nobody_is_sent_away() {
    let mut b = Bench::operating(config());
    let (before, first) = begin(&mut b, 1);
    let (after, second) = begin(&mut b, 2);
    assert!(detach(&mut b, before));
    b.drain(&SHUTDOWN);
    assert!(!detach(&mut b, after));
    for (key, stream) in [(before, first), (after, second)] {
        b.answer(key);
        let seen = b.read(stream);
        assert!(seen[0].ends_with("= \"done\"") && seen[1] == "end", "{seen:?}");
    }
    assert_eq!(b.session.phase(), Phase::Closed);
}

// Ending.

#[test]
fn s_4_only_clients_told_to_reconnect_are_waited_for_when_away() {
    let mut b = Bench::operating(config());
    let (left, stream) = begin(&mut b, 1);
    b.disconnect(stream);
    b.answer(left);
    b.drain(&SHUTDOWN);
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [2, 0, 0, 0]));
    assert_eq!(b.resume("1-1"), Err(Refusal::Draining)); // S2: others may still be ending
    assert_eq!((b.session.streams.kept(), b.session.streams.all_finished().count()), ((0, 0), 0)); // D-36

    for returns in [true, false] {
        let mut b = Bench::operating(config());
        let (key, stream) = begin(&mut b, 1);
        detach(&mut b, key);
        b.read(stream);
        b.drain(&SHUTDOWN);
        b.answer(key);
        assert_eq!(b.stands(), (State::Draining, Phase::Finishing));
        if returns {
            let stream = b.resume("1-1").unwrap();
            assert_eq!(b.read(stream), ["1-2 1 = \"done\"", "end"]);
            assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [2, 0, 0, 0]));
        } else {
            b.run_to(Phase::Closed);
            assert_eq!(b.outcomes(), [1, 0, 0, 1]); // its answer could not be delivered
        }
    }
}

#[test]
fn f_37_while_draining_what_is_owed_can_still_be_fetched() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    let get = b.get().unwrap();
    assert_eq!(b.read(get), ["3-0 primes"]);
    b.disconnect(stream);
    b.drain(&SHUTDOWN);
    assert_eq!(b.read(get), ["end"]);
    assert_eq!(b.resume("3-0"), Err(Refusal::Draining));
    let stream = b.resume("1-0").unwrap();
    b.answer(key);
    assert_eq!(b.read(stream), ["1-1 note", "1-2 1 = \"done\"", "end"]);
    assert_eq!(b.session.phase(), Phase::Closed);
}

#[test]
fn s_11_a_finished_stream_that_is_read_again_is_waited_for_and_then_cut() {
    let mut b = Bench::operating(config());
    let (key, stream) = begin(&mut b, 1);
    b.answer(key);
    b.read(stream);
    let again = b.resume("1-0").unwrap();
    assert!(b.terminate(TerminateReason::Evicted));
    assert_eq!(b.resume("1-0"), Err(Refusal::Gone)); // E-11
    assert_eq!(b.stands(), (State::Terminated, Phase::Finishing));
    b.run_to(Phase::Closed);
    assert_eq!(b.read(again), ["cut"]);
    b.disconnect(again);
    assert_eq!((b.session.streams.all_finished().count(), b.tally.streams_cut), (0, 1));
    assert_eq!(b.outcomes(), [2, 0, 0, 0]); // its answer had been delivered
}

#[test]
fn c_2_resuming_is_for_sessions_that_are_initialized() {
    let mut b = Bench::initializing(config());
    assert_eq!(b.resume("0-0"), Err(Refusal::NotInitialized));
    assert_eq!(b.input(Input::Resume), Err(Refusal::NotInitialized));
}
