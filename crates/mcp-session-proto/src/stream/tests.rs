use std::time::Duration;

use super::*;
use crate::testing::start;

fn event(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn small() -> SessionConfig {
    SessionConfig { queue_events: 3, queue_bytes: 4, ..SessionConfig::default() }
}

fn wakes(out: &mut Output<&'static str>) -> Vec<Wake<&'static str>> {
    mem::take(out).into_wakes().collect()
}

#[test]
fn the_queue_is_bounded_in_events_and_bytes_and_a_taken_event_wakes_the_sender() {
    let (now, config, out) = (start(), small(), &mut Output::default());
    let mut stream = Stream::new(now, "s", None, out);
    assert_eq!(stream.push(now, &event("longer than the limit"), &config, out), Ok(()));
    assert_eq!(stream.push(now, &event("x"), &config, out), Err(Full));
    let _ = wakes(out);
    assert_eq!(stream.poll_event(0, out), Next::Event(event("longer than the limit"), false));
    assert_eq!(wakes(out), [Wake::Handler("s")]);
    for _ in 0..3 {
        assert_eq!(stream.push(now, &event("x"), &config, out), Ok(()));
    }
    assert_eq!(stream.push(now, &event("x"), &config, out), Err(Full));
}

#[test]
fn the_last_event_says_so_and_the_end_counts_once() {
    let (now, out) = (start(), &mut Output::default());
    let mut stream = Stream::new(now, "s", None, out);
    stream.push_unbounded(now, event("a"), out);
    stream.push_unbounded(now, event("b"), out);
    stream.end(out);
    stream.push_unbounded(now, event("too late"), out);
    assert_eq!(stream.poll_event(0, out), Next::Event(event("a"), false));
    assert_eq!(stream.poll_event(0, out), Next::Event(event("b"), true));
    assert_eq!(stream.poll_event(0, out), Next::End);
    stream.disconnect(0, out);
    stream.cut(out);
    assert_eq!((out.tally.streams_opened, out.tally.streams_ended, out.tally.streams_cut), (1, 1, 0));
}

#[test]
fn an_end_that_nobody_takes_is_no_end() {
    let (now, out) = (start(), &mut Output::default());
    let mut stream = Stream::new(now, "s", None, out);
    stream.end(out);
    assert!(!stream.is_over());
    stream.cut(out);
    assert_eq!(stream.poll_event(0, out), Next::Cut);
    assert_eq!((out.tally.streams_opened, out.tally.streams_ended, out.tally.streams_cut), (1, 0, 1));
}

#[test]
fn d_42_silence_gets_one_comment_and_an_unread_one_means_stalled() {
    let (now, config, out) = (start(), small(), &mut Output::default());
    let mut stream = Stream::new(now, "s", None, out);
    let later = now + config.heartbeat;
    assert_eq!(stream.next_timeout(&config), Some(later));
    assert!(!stream.handle_silence(later - Duration::from_millis(1), &config, out));
    assert_eq!(stream.poll_event(0, out), Next::Pending);
    assert!(stream.handle_silence(later, &config, out));
    assert!(!stream.handle_silence(later + config.heartbeat, &config, out));
    assert!(stream.is_stalled());
    assert_eq!(stream.poll_event(0, out), Next::Event(event(":\n\n"), false));
    assert!(!stream.is_stalled());
    assert_eq!(stream.poll_event(0, out), Next::Pending);
}

#[test]
fn d_42_a_heartbeat_of_zero_is_none() {
    let config = SessionConfig { heartbeat: Duration::ZERO, ..small() };
    let (now, out) = (start(), &mut Output::default());
    let mut stream = Stream::new(now, "s", None, out);
    for _unread in 0..2 {
        assert_eq!(stream.next_timeout(&config), None);
        for later in [Duration::ZERO, Duration::from_secs(24 * 60 * 60)] {
            assert!(!stream.handle_silence(now + later, &config, out));
        }
        assert!(!stream.is_stalled());
        stream.push_unbounded(now, event("a"), out);
    }
    assert_eq!(stream.poll_event(0, out), Next::Event(event("a"), false));
}

/// Takes events until there are so many bytes, as text.
fn poll(stream: &mut Stream<&'static str>, bytes: usize, out: &mut Output<&'static str>) -> Next<String> {
    stream.poll_events(0, bytes, out).map(|pieces| String::from_utf8(pieces.concat()).unwrap())
}

fn text(text: &str, last: bool) -> Next<String> {
    Next::Event(text.into(), last)
}

/// Streams with these events, and with an id before each, or without ids.
fn streams(events: &[&'static str], out: &mut Output<&'static str>) -> [Stream<&'static str>; 2] {
    [None, Some(Name { number: 3, primed: true })].map(|name| {
        let mut stream = Stream::new(start(), "s", name, out);
        if name.is_some() {
            assert_eq!(poll(&mut stream, 0, out), text("id: 3-0\ndata: \n\n", false));
        }
        events.iter().for_each(|text| stream.push_unbounded(start(), event(text), out));
        stream
    })
}

#[test]
fn ready_events_are_joined_until_there_are_enough_bytes() {
    let out = &mut Output::default();
    for (bytes, plain, with_ids) in [
        (100, vec!["abcdef"], vec!["id: 3-1\naid: 3-2\nbcid: 3-3\ndef"]),
        (3, vec!["abc", "def"], vec!["id: 3-1\na", "id: 3-2\nbc", "id: 3-3\ndef"]),
        (12, vec!["abcdef"], vec!["id: 3-1\naid: 3-2\nbc", "id: 3-3\ndef"]),
        (0, vec!["a", "bc", "def"], vec!["id: 3-1\na", "id: 3-2\nbc", "id: 3-3\ndef"]),
    ] {
        for (mut stream, expected) in streams(&["a", "bc", "def"], out).into_iter().zip([plain, with_ids]) {
            for events in expected {
                assert_eq!(poll(&mut stream, bytes, out), text(events, false), "{bytes}");
            }
            assert_eq!(poll(&mut stream, bytes, out), Next::Pending);
        }
    }
}

#[test]
fn the_end_comes_with_the_last_event_and_a_cut_by_itself() {
    let out = &mut Output::default();
    for mut stream in streams(&["a", "b"], out) {
        stream.end(out);
        assert!(matches!(poll(&mut stream, 100, out), Next::Event(_, true)));
        assert!(stream.is_over());
    }
    for mut stream in streams(&[], out) {
        stream.end(out);
        assert_eq!(poll(&mut stream, 100, out), Next::End);
    }
    for mut stream in streams(&["a", "b"], out) {
        stream.cut(out);
        assert_eq!(poll(&mut stream, 100, out), Next::Cut);
    }
}

#[test]
fn d_07_a_retry_comes_with_the_events_before_it_and_none_after_it() {
    let (now, out) = (start(), &mut Output::default());
    let [_, mut stream] = streams(&["a"], out);
    assert!(stream.close_connection(Duration::from_millis(5), out));
    stream.push_unbounded(now, event("b"), out);
    assert_eq!(poll(&mut stream, 100, out), text("id: 3-1\naretry: 5\n\n", true));
    assert!(stream.is_invited());
    assert!(stream.resume(now, 1, 0, "s", out));
    assert_eq!(poll(&mut stream, 100, out), text("id: 3-2\nb", false));
}

#[test]
fn a_long_event_is_passed_on_without_a_copy() {
    let out = &mut Output::default();
    let long = Bytes::from(vec![b'x'; 20_000]);
    for (mut stream, before) in streams(&["a"], out).into_iter().zip(["a", "id: 3-1\naid: 3-2\n"]) {
        stream.push_unbounded(start(), long.clone(), out);
        stream.push_unbounded(start(), event("b"), out);
        let Next::Event([first, second], false) = stream.poll_events(0, 16_000, out) else {
            panic!("events")
        };
        assert_eq!((&first[..], second.as_ptr()), (before.as_bytes(), long.as_ptr()));
        assert!(matches!(poll(&mut stream, 16_000, out), Next::Event(rest, false) if rest.ends_with('b')));
    }
}
