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
