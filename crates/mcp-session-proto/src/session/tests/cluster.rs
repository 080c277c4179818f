//! A session that is kept in a store: its operations, what waits for their answers, and streams of other nodes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Bench, Effect, ExchangeKey, INITIALIZE, Input, MANY, MS, NOTE, Next, Phase, Refusal, RequestError,
    RequestId, SHUTDOWN, SendError, SessionConfig, State, StreamKey, TerminateReason, Verdict, Wake, secs,
};
use crate::{
    Publication,
    capabilities::ClientCapabilities,
    event::{EventId, Position},
    stream::{Stored, Unstored},
    testing::start,
    version::ProtocolVersion,
};

/// The stream number of the standalone log.
const STANDALONE: u64 = 900;

fn config() -> SessionConfig {
    let (ping_interval, linger) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    SessionConfig { ping_interval, linger, ..SessionConfig::default() }
}

/// An operating session that is kept in a store.
fn shared(config: SessionConfig) -> Bench {
    let mut b = Bench::initializing(config);
    b.act(|session, _| session.share(0, STANDALONE, Position::START));
    b.establish();
    assert_eq!(b.input(Input::Initialized), Ok(Verdict::Operate));
    b
}

impl Bench {
    fn effect(&mut self) -> Option<Effect> {
        let expected = self.session.has_effect();
        let effect = self.act(super::Session::poll_effect);
        assert!(expected || effect.is_none());
        effect
    }

    /// The next operation, which must be an append.
    fn asked(&mut self) -> Unstored {
        match self.effect() {
            Some(Effect::Append(append)) => append,
            other => panic!("{other:?}"),
        }
    }

    fn stored(&mut self, append: &Unstored, stored: Stored) {
        self.act(|session, now| session.handle_stored(now, append, stored));
    }

    /// The store executes all operations. Returns them in short.
    fn store_all(&mut self) -> Vec<String> {
        let mut asked = Vec::new();
        for _ in 0..MANY {
            match self.effect() {
                Some(Effect::Append(append)) => {
                    let end = if append.ends { " end" } else { "" };
                    asked.push(format!("{}@{}+{}{end}", append.stream, append.at, append.events.len()));
                    self.stored(&append, Stored::Done);
                }
                Some(Effect::Publish(Publication { token, .. })) => {
                    asked.push(format!("publish {token}"));
                    self.act(|session, now| session.handle_published(now, true));
                }
                None => return asked,
            }
        }
        panic!("operations without end");
    }

    fn relay(&mut self, key: StreamKey, event: &str) -> Result<(), SendError> {
        let event = Bytes::copy_from_slice(event.as_bytes());
        self.act(|session, now| session.relay(now, key, &event, false))
    }

    fn read_from_store(&mut self, id: &str) -> Result<StreamKey, Refusal> {
        self.tags += 1;
        let tag = self.tags;
        self.act(|session, now| session.handle_relay(now, EventId::parse(id).unwrap(), None, tag))
    }
}

// What waits for the store.

#[test]
fn no_id_leaves_before_the_store_has_what_it_names() {
    let mut b = shared(config());
    let key = b.call(1);
    let stream = StreamKey::Response(key);
    assert_eq!((b.reply(key).as_str(), b.read(stream)), ("stream", vec![])); // not even the priming event
    b.notify(key).unwrap();
    let opens = b.asked();
    assert_eq!((opens.at, opens.events.len(), opens.ends), (1, 1, false));
    assert_eq!(opens.request, 1.into());
    assert!(b.read(stream).is_empty());
    b.notify(key).unwrap(); // while the append is in flight
    b.wakes.clear();
    b.stored(&opens, Stored::Done);
    assert!(b.wakes.contains(&Wake::Reader(1)));
    assert_eq!(b.read(stream), ["1-0 primes", "1-1 note"]);
    b.answer(key);
    assert!(b.read(stream).is_empty());
    assert_eq!(b.store_all(), ["1@2+2 end"]); // the answer and the end, in one append
    assert_eq!(b.read(stream), ["1-2 note", "1-3 1 = \"done\"", "end"]);
    assert_eq!(b.outcomes(), [2, 0, 0, 0]);
}

#[test]
fn an_answer_that_is_there_at_once_asks_the_store_for_nothing() {
    let mut b = shared(config());
    let key = b.request(1).unwrap();
    b.answer(key);
    assert_eq!((b.reply(key).as_str(), b.effect()), ("1 = \"done\"", None));
}

#[test]
fn an_unanswered_append_is_repeated_with_all_new_events() {
    let mut b = shared(config());
    let key = b.call(1);
    let stream = StreamKey::Response(key);
    b.store_all();
    b.notify(key).unwrap();
    let first = b.asked();
    assert_eq!(b.effect(), None); // one at a time
    b.notify(key).unwrap();
    b.stored(&first, Stored::Later);
    let again = b.asked();
    assert_eq!((again.at, again.events.len()), (1, 2));
    b.stored(&again, Stored::Done);
    assert_eq!(b.read(stream), ["1-0 primes", "1-1 note", "1-2 note"]);
    assert_eq!(b.effect(), None);
}

#[test]
fn a_store_that_has_lost_something_gets_it_again() {
    let mut b = shared(config());
    let key = b.call(1);
    for _ in 0..3 {
        b.notify(key).unwrap();
    }
    b.store_all();
    assert_eq!(b.read(StreamKey::Response(key)).len(), 4);
    b.notify(key).unwrap();
    let append = b.asked();
    assert_eq!(append.at, 4);
    b.stored(&append, Stored::Behind(2));
    assert_eq!(b.store_all(), ["1@2+3"]);
    b.act(super::Session::handle_failover);
    assert_eq!(b.store_all(), ["1@4+1"]); // the last event again
    b.answer(key);
    assert_eq!(b.store_all(), ["1@5+1 end"]);
}

/// An event that the client has read is dropped if the session has no room to keep it, although the store has to confirm it
/// again: then the store is asked only whether it has it.
#[test]
fn what_was_dropped_is_not_appended_again_after_a_failover() {
    for lost in [false, true] {
        let mut config = config();
        config.replay.as_mut().unwrap().events = 1;
        let mut b = shared(config);
        let (old, new) = (b.call(1), b.call(2));
        b.notify(old).unwrap();
        b.store_all();
        b.read(StreamKey::Response(old));
        b.notify(new).unwrap();
        b.store_all();
        b.act(super::Session::handle_failover);
        let again = [b.asked(), b.asked()];
        assert_eq!(again.each_ref().map(|append| (append.stream, append.at)), [(1, 1), (2, 1)]);
        b.stored(&again[1], Stored::Done);
        b.read(StreamKey::Response(new)); // takes the room of the other
        b.stored(&again[0], Stored::Later);
        let asked = b.asked();
        assert_eq!((asked.stream, asked.at, asked.events.len()), (1, 2, 0));
        b.stored(&asked, if lost { Stored::Behind(1) } else { Stored::Done });
        assert_eq!(b.store_all(), [""; 0]);
        b.answer(old);
        assert_eq!(
            b.store_all(),
            if lost { vec![] } else { vec!["1@2+1 end"] },
            "lost: it goes on without the store"
        );
    }
}

/// What was in flight when the store failed over may be lost although the store has acknowledged it.
#[test]
fn what_was_in_flight_at_a_failover_is_appended_again() {
    let mut b = shared(config());
    let key = b.call(1);
    b.store_all();
    b.answer(key);
    let append = b.asked();
    b.act(super::Session::handle_failover);
    b.stored(&append, Stored::Done);
    assert_eq!(b.store_all(), ["1@1+1 end"]);
    assert_eq!(b.store_all(), [""; 0]);

    // A stream that the store does not know yet is not sent before it does.
    let key = b.call(2);
    b.act(super::Session::handle_failover);
    assert_eq!(b.read(StreamKey::Response(key)), [""; 0]);
}

/// A log that has ended is written again for some seconds, whether its client has read it or not.
#[test]
fn a_log_that_has_ended_is_written_again_for_a_while() {
    for reads in [true, false] {
        let mut b = shared(config());
        let key = b.call(1);
        b.store_all();
        b.read(StreamKey::Response(key));
        b.notify(key).unwrap();
        b.answer(key);
        assert_eq!(b.store_all(), ["1@1+2 end"]);
        if reads {
            b.read(StreamKey::Response(key));
        } else {
            b.disconnect(StreamKey::Response(key));
        }
        b.now += crate::REWRITABLE - MS;
        b.act(super::Session::handle_failover);
        let append = b.asked();
        assert_eq!((append.at, append.events.len(), append.ends), (2, 1, true));
        b.stored(&append, Stored::Behind(1));
        assert_eq!(b.store_all(), ["1@1+2 end"]);
        b.now += crate::REWRITABLE;
        b.act(super::Session::handle_failover);
        assert_eq!(b.store_all(), [""; 0]);
        assert!(b.resume("1-1").is_ok());
    }
}

#[test]
fn a_stream_that_the_store_does_not_take_goes_on_without() {
    for given_up in [Stored::Failed, Stored::Behind(0)] {
        let mut b = shared(SessionConfig { queue_events: 2, ..config() });
        let key = b.call(1);
        let stream = StreamKey::Response(key);
        assert_eq!([0; 3].map(|_| b.notify(key)), [Ok(()), Ok(()), Err(SendError::Full)]);
        let append = b.asked();
        b.wakes.clear();
        match given_up {
            Stored::Failed => b.stored(&append, Stored::Failed),
            _ => {
                // The store has lost events that this session has forgotten, too.
                b.stored(&append, Stored::Done);
                b.read(stream);
                b.session.config = std::sync::Arc::new(SessionConfig {
                    replay: b.session.config.replay.map(|replay| crate::ReplayConfig { events: 0, ..replay }),
                    ..config()
                });
                b.notify(key).unwrap();
                let append = b.asked();
                b.stored(&append, given_up);
            }
        }
        assert!(b.wakes.contains(&Wake::Handler(1)));
        b.answer(key);
        assert_eq!(b.effect(), None);
        let seen = b.read(stream);
        assert_eq!(seen[seen.len() - 1], "end", "{seen:?}");
        assert_eq!(b.outcomes(), [2, 0, 0, 0]);
    }
}

#[test]
fn senders_wait_for_a_slow_store_even_while_the_client_is_away() {
    let mut b = shared(SessionConfig { queue_events: 2, ..config() });
    let key = b.call(1);
    b.store_all();
    b.read(StreamKey::Response(key));
    b.disconnect(StreamKey::Response(key));
    assert_eq!([0; 3].map(|_| b.notify(key)), [Ok(()), Ok(()), Err(SendError::Full)]);
    b.wakes.clear();
    assert_eq!(b.store_all(), ["1@1+2"]);
    assert!(b.wakes.contains(&Wake::Handler(1)));
    assert_eq!(b.notify(key), Ok(()));
}

#[test]
fn a_call_whose_log_is_sealed_is_cancelled() {
    let mut b = shared(config());
    let (key, other) = (b.call(1), b.call(2));
    b.store_all();
    b.notify(key).unwrap();
    let append = b.asked();
    b.stored(&append, Stored::Sealed); // this node seemed to be gone
    assert!(b.status(key).cancelled.is_some());
    assert_eq!(b.notify(key), Err(SendError::Closed));
    assert!(b.status(other).cancelled.is_none());
    assert_eq!(b.read(StreamKey::Response(key)), ["1-0 primes", "1-1 note", "end"]);
    assert_eq!(b.outcomes(), [1, 0, 1, 0]);
}

// The standalone log.

#[test]
fn d_24_announcements_are_published_one_at_a_time_and_bounded() {
    let mut b = shared(SessionConfig { queue_events: 2, ..config() });
    assert_eq!([0; 3].map(|_| b.announce()), [Ok(()), Ok(()), Err(SendError::Full)]);
    assert_eq!(b.effect(), Some(Effect::Publish(Publication { source: None, token: 1, event: NOTE })));
    assert_eq!(b.effect(), None);
    b.act(|session, now| session.handle_published(now, false)); // not published: the same event again
    assert_eq!(b.effect(), Some(Effect::Publish(Publication { source: None, token: 1, event: NOTE })));
    b.act(|session, now| session.handle_published(now, true));
    assert_eq!(b.announce(), Ok(()));
    assert_eq!(b.store_all(), ["publish 2", "publish 3"]);
}

/// What several nodes have to say is published under one name by each of them. It takes none of this node's own tokens.
#[test]
fn d_17_what_another_node_announces_has_its_own_tokens() {
    let mut b = shared(config());
    assert_eq!(b.announce(), Ok(()));
    for _ in 0..2 {
        assert_eq!(b.act(|session, now| session.broadcast(now, &NOTE, Some((7, 9)))), Ok(()));
    }
    assert_eq!(b.announce(), Ok(()));
    let mut published = Vec::new();
    while let Some(Effect::Publish(Publication { source, token, .. })) = b.effect() {
        published.push((source, token));
        b.act(|session, now| session.handle_published(now, true));
    }
    assert_eq!(published, [(None, 1), (Some(7), 9), (Some(7), 9), (None, 2)]);
}

#[test]
fn a_get_begins_where_the_client_has_the_shared_log() {
    let mut b = shared(config());
    let get = b.get().unwrap();
    assert_eq!(b.relay(get, "id: 900-1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"note\"}\n\n"), Ok(()));
    assert_eq!(b.relay(get, "id: 900-2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"note\"}\n\n"), Ok(()));
    assert_eq!(b.act(|session, now| session.poll_event(now, get)), event("id: 900-0\ndata: \n\n"));
    assert_eq!(b.session.heard(), Position::START);
    assert_eq!(
        b.act(|session, now| session.poll_event(now, get)),
        event("id: 900-1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"note\"}\n\n")
    );
    assert_eq!(b.session.heard(), 1.into());
    b.disconnect(get);
    assert_eq!(b.relay(get, "late"), Err(SendError::Closed));
    let get = b.get().unwrap(); // the second event was not sent: it is relayed again
    assert_eq!(b.read(get), ["900-1 primes"]);
    let newer = b.read_from_store("900-1.7").unwrap(); // D-23; in a later epoch of the store
    assert_eq!((b.read(get), b.read(newer)), (vec!["end".into()], vec![":".into()]));
    assert_eq!(b.session.heard(), Position { epoch: 1, seq: 7 });
    b.act(|session, now| session.handle_taken_over(now, STANDALONE, 9));
    assert!(b.act(|session, _| session.poll_relay(newer)), "it has listeners instead");
    b.act(|session, now| session.handle_listener(now, 1));
    assert_eq!(b.read(newer), ["end"]);
    assert!(b.session.listen(2, Position::START) && b.get().is_ok());
}

fn event(text: &str) -> Next {
    Next::Event(Bytes::copy_from_slice(text.as_bytes()), false)
}

// Streams of other nodes.

#[test]
fn a_stream_of_another_node_is_relayed_to_its_end() {
    let mut b = shared(SessionConfig { queue_events: 2, ..config() });
    assert_eq!(b.resume("4294967296-1"), Err(Refusal::UnknownEvent)); // not at this node: the caller asks the store
    let first = b.read_from_store("4294967296-1").unwrap();
    assert!(b.act(|session, _| session.poll_relay(first)));
    let second = b.read_from_store("4294967296-1").unwrap();
    assert_eq!(b.read(first), ["end"]); // D-23
    assert!(!b.act(|session, _| session.poll_relay(first)));
    let note = "data: {\"jsonrpc\":\"2.0\",\"method\":\"note\"}\n\n";
    assert_eq!([0; 3].map(|_| b.relay(second, note)), [Ok(()), Ok(()), Err(SendError::Full)]);
    b.wakes.clear();
    assert_eq!(b.read(second), [":", "note", "note"]);
    assert!(!b.wakes.is_empty());
    assert_eq!(b.run_until(|b| b.session.streams() == 0 || b.now >= start_of(b) + secs(60)), secs(60)); // E-14
    assert_eq!(b.read(second), [":"]); // D-42
    b.act(|session, now| session.end_relay(now, second));
    assert_eq!(b.read(second), ["end"]);
    assert_eq!((b.session.streams(), b.session.streams.relays().count()), (0, 0));
    let cut = b.read_from_store("4294967296-1").unwrap();
    b.act(|session, now| session.cut_relay(now, cut)); // the next events are forgotten
    assert_eq!(b.read(cut), ["cut"]);
    b.disconnect(cut);
    assert_eq!(b.session.streams.relays().count(), 0);
}

#[test]
fn s_5_a_relayed_reply_is_answered_when_its_log_is_removed() {
    let mut b = shared(config());
    let after = EventId::parse("4294967296-1").unwrap();
    let owed = b.act(|session, now| session.handle_relay(now, after, Some(7.into()), 1)).unwrap();
    let plain = b.read_from_store("4294967298-9").unwrap(); // as when the log has ended: nothing is owed
    let answered = EventId::parse("4294967297-1").unwrap();
    let answered = b.act(|session, now| session.handle_relay(now, answered, Some(8.into()), 2)).unwrap();
    let last = Bytes::from_static(b"data: {\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}\n\n");
    assert_eq!(b.act(|session, now| session.relay(now, answered, &last, true)), Ok(()));
    assert!(b.terminate(TerminateReason::Evicted));
    assert_eq!(b.read(owed), [":", "7 ! -32000 evicted", "end"]);
    assert_eq!(b.read(answered), [":", "8 = {}", "end"]);
    assert_eq!(b.read(plain), [":", "end"]);
}

fn start_of(b: &Bench) -> std::time::Instant {
    b.session.created
}

#[test]
fn e_14_a_call_that_a_shutdown_answers_is_use_up_to_its_end() {
    let mut b = shared(config());
    b.call(1);
    b.drain(&crate::TerminatePolicy { drain: secs(20), cancel: secs(5), finish: secs(1) });
    assert_eq!(b.run_until(|b| b.session.running == 0), secs(25));
    assert_eq!(b.session.unused(b.now), secs(0));
}

#[test]
fn e_14_a_session_to_which_something_is_relayed_is_in_use() {
    let mut b = shared(config());
    let relay = b.read_from_store("4294967296-1").unwrap();
    let tomorrow = b.now + secs(24 * 60 * 60);
    b.run_reading(Some(relay), |b| b.now >= tomorrow);
    assert_eq!(b.stands(), (State::Operating, Phase::Running));
    b.disconnect(relay);
    assert_eq!(b.run_to(Phase::Closed), config().idle_timeout);
}

#[test]
fn f_20_ids_of_two_nodes_are_apart() {
    let (now, all) = (start(), ClientCapabilities { roots: true, ..ClientCapabilities::default() });
    let version = ProtocolVersion::LATEST_WITH_HANDSHAKE;
    let mut session = super::Session::<u64>::adopt(now, std::sync::Arc::new(config()), version, all, true);
    session.share(3, STANDALONE, 7.into());
    assert_eq!((session.member(), session.heard()), (Some(3), 7.into()));
    let key = session.handle_request(now, 1.into(), 1).unwrap();
    assert_eq!(key, ExchangeKey(3 << 32));
    session.handle_suspended(now, key);
    let asked = session.request(now, key, 1, "ping", None, secs(1)).unwrap();
    assert_eq!(super::Session::<u64>::member_of(asked.0), 3);
    assert!(session.runs(&RequestId::from(1)) && session.is_established());
    assert_eq!(session.handle_delete(now), Ok(()));
}

#[test]
fn c_10_a_session_that_was_not_initialized_elsewhere_is_not_here() {
    let (now, all) = (start(), ClientCapabilities::default());
    let version = ProtocolVersion::LATEST_WITH_HANDSHAKE;
    let mut session = super::Session::<u64>::adopt(now, std::sync::Arc::new(config()), version, all, false);
    session.share(1, STANDALONE, Position::START);
    assert_eq!(session.state(), State::AwaitingInitialized);
    assert_eq!(session.next_timeout(), Some(now + config().idle_timeout)); // E-14: its client uses it
    let key = session.handle_request(now, 1.into(), 1).unwrap();
    assert_eq!(session.request(now, key, 1, "roots/list", None, secs(1)), Err(RequestError::NotInitialized));
    assert_eq!(session.handle_input(now, Input::Initialized), Ok(Verdict::Operate));
}

#[test]
fn d_21_a_stream_that_is_read_elsewhere_is_carried_here_no_more() {
    let mut b = shared(config());
    let key = b.call(1);
    b.store_all();
    let stream = StreamKey::Response(key);
    b.read(stream);
    b.act(|session, now| session.handle_taken_over(now, 1, 1));
    assert_eq!((b.read(stream), b.session.streams()), (vec!["end".into()], 0));
    b.disconnect(stream);
    b.answer(key);
    assert_eq!(b.outcomes(), [1, 0, 0, 0]); // not before the store has it
    b.store_all();
    assert_eq!(b.outcomes(), [2, 0, 0, 0]);
    let stream = b.resume("1-0").unwrap();
    b.act(|session, now| session.handle_attached(now, stream, 2));
    b.act(|session, now| session.handle_taken_over(now, 1, 3));
    assert_eq!(b.read(stream), ["end"]);
    for unknown in [77, 4_294_967_296] {
        b.act(|session, now| session.handle_taken_over(now, unknown, 9));
    }
}

/// A message that another node has taken over may be late: only connections that are older than that one end, also if it
/// comes before the store has given this node's connection its number.
#[test]
fn d_21_a_late_message_ends_no_newer_connection() {
    let mut b = shared(config());
    let key = b.call(1);
    b.store_all();
    b.read(StreamKey::Response(key));
    for (number, other, lives) in [(2, 1, true), (3, 4, false), (5, 5, true), (0, 6, false)] {
        for late in [false, true] {
            let opened = [b.resume("1-0").unwrap(), b.read_from_store("4294967296-1").unwrap()];
            for (connection, stream) in opened.into_iter().zip([1, 4_294_967_296]) {
                let attached =
                    |b: &mut Bench| b.act(|session, now| session.handle_attached(now, connection, number));
                let taken_over =
                    |b: &mut Bench| b.act(|session, now| session.handle_taken_over(now, stream, other));
                if late {
                    attached(&mut b);
                    taken_over(&mut b);
                } else {
                    taken_over(&mut b);
                    assert_ne!(b.read(connection), ["end"]);
                    attached(&mut b);
                }
                assert_eq!(b.read(connection) != ["end"], lives, "{number} of {other}, {late}");
                b.disconnect(connection);
            }
        }
    }
    // A newer connection of this node waits for a number of its own.
    let [older, newer] = [(); 2].map(|()| b.resume("1-0").unwrap());
    b.act(|session, now| session.handle_taken_over(now, 1, 9));
    b.act(|session, now| session.handle_attached(now, older, 8));
    assert_ne!(b.read(newer), ["end"]);
    b.act(|session, now| session.handle_attached(now, newer, 10));
    assert_ne!(b.read(newer), ["end"]);
}

/// Between becoming the listener and opening its connection, a node may hear of the next listener, which sends the events.
#[test]
fn d_21_a_node_that_listens_no_more_opens_no_stream() {
    let mut b = shared(config());
    assert!(b.session.listen(1, Position::START));
    assert_eq!(b.act(|session, now| session.handle_listener(now, 2)), Some((1, Position::START)));
    assert_eq!(b.get(), Err(Refusal::StreamTaken));
    assert_eq!(b.read_from_store("900-0"), Err(Refusal::StreamTaken));

    assert!(!b.session.listen(1, Position::START));
    assert!(b.session.listen(3, Position::START));
    assert!(b.get().is_ok());
}

// Moving to another node.

#[test]
fn s_6_a_shutdown_closes_connections_with_retry_and_stores_answers() {
    let mut b = shared(config());
    let (running, late) = (b.call(1), b.call(2));
    let get = b.get().unwrap();
    let relay = b.read_from_store("4294967296-1").unwrap();
    b.store_all();
    let streams = [running, late].map(StreamKey::Response);
    for stream in [streams[0], streams[1], get, relay] {
        b.read(stream);
    }
    b.notify(running).unwrap();
    b.drain(&SHUTDOWN);
    for stream in [get, relay, streams[1]] {
        assert_eq!(b.read(stream), ["retry 1000", "end"]);
    }
    assert!(b.read(streams[0]).is_empty()); // the event before the end is not in the store yet
    b.store_all();
    assert_eq!(b.read(streams[0]), ["1-1 note", "retry 1000", "end"]);
    b.answer(running);
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Draining, [1, 0, 0, 0]));
    let back = b.resume("1-1").unwrap(); // a client that comes back to this node is served (F-37)
    b.store_all();
    assert_eq!(b.read(back), ["1-2 1 = \"done\"", "end"]);
    assert_eq!(b.outcomes(), [2, 0, 0, 0]);
    b.run_to(Phase::Finishing); // the other one does not answer
    assert_eq!(b.session.phase(), Phase::Finishing);
    assert_eq!(b.store_all(), ["2@1+1 end"]);
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [2, 1, 0, 0])); // nobody has to read it at this node
}

#[test]
fn s_13_s_3_a_store_that_does_not_answer_does_not_move_the_ceiling() {
    let mut b = shared(config());
    let key = b.call(1);
    b.store_all();
    b.read(StreamKey::Response(key));
    b.answer(key);
    b.disconnect(StreamKey::Response(key));
    let append = b.asked();
    b.drain(&SHUTDOWN);
    assert_eq!(b.session.phase(), Phase::Finishing);
    b.run_to(Phase::Closed);
    assert_eq!(b.outcomes(), [1, 0, 0, 1]); // its client may never get it
    b.stored(&append, Stored::Done); // too late
    assert_eq!((b.effect(), b.outcomes()), (None, [1, 0, 0, 1]));
}

#[test]
fn s_13_announcements_are_stored_before_the_session_closes() {
    let mut b = shared(config());
    b.announce().unwrap();
    b.drain(&SHUTDOWN);
    assert_eq!(b.session.phase(), Phase::Finishing);
    assert_eq!(b.effect(), Some(Effect::Publish(Publication { source: None, token: 1, event: NOTE })));
    assert_eq!(b.session.phase(), Phase::Finishing);
    b.act(|session, now| session.handle_published(now, true));
    assert_eq!(b.session.phase(), Phase::Closed);
}

#[test]
fn d_05_clients_of_older_versions_keep_their_connections_until_the_answer() {
    let mut b = Bench::of_version(ProtocolVersion::V2025_06_18, config());
    b.act(|session, _| session.share(0, STANDALONE, Position::START));
    b.establish();
    b.input(Input::Initialized).unwrap();
    let key = b.call(1);
    b.notify(key).unwrap();
    b.store_all();
    assert_eq!(b.read(StreamKey::Response(key)), ["1-1 note"]);
    b.drain(&SHUTDOWN);
    b.answer(key);
    b.store_all();
    assert_eq!(b.read(StreamKey::Response(key)), ["1-2 1 = \"done\"", "end"]);
}

#[test]
fn s_3_a_draining_node_sends_readers_of_other_nodes_away_once_its_own_answers_are_out() {
    let mut b = shared(config());
    let running = b.call(1);
    b.drain(&SHUTDOWN);
    let relay = b.read_from_store("4294967296-1").unwrap(); // a client that comes back is served (F-37)
    assert_eq!(b.read(relay), [":"]);
    b.answer(running);
    let _ = b.reply(running);
    b.store_all();
    assert_eq!(b.read(relay), ["retry 1000", "end"]);
    assert_eq!(b.read_from_store("4294967296-1"), Err(Refusal::Draining));
}

#[test]
fn s_5_a_session_that_only_moves_ends_with_its_first_end() {
    let mut b = shared(config());
    b.call(1);
    b.drain(&SHUTDOWN);
    let after = EventId::parse("4294967296-1").unwrap();
    let owed = b.act(|session, now| session.handle_relay(now, after, Some(7.into()), 1)).unwrap();
    assert!(b.terminate(TerminateReason::ClientDelete));
    assert_eq!(b.session.reason(), Some(TerminateReason::ClientDelete));
    assert_eq!(b.read(owed), [":", "7 ! -32000 client_delete", "end"]);
}

#[test]
fn s_6_who_has_no_session_id_yet_is_not_told_to_reconnect() {
    let mut b = Bench::initializing(SessionConfig { response_mode: crate::ResponseMode::Sse, ..config() });
    b.act(|session, _| session.share(0, STANDALONE, Position::START));
    let reply = StreamKey::Response(INITIALIZE);
    let _ = b.reply(INITIALIZE);
    b.drain(&SHUTDOWN);
    let _ = b.reply(INITIALIZE);
    let read = b.read(reply);
    assert!(!read.iter().any(|event| event.starts_with("retry")), "{read:?}");
    b.answer(INITIALIZE);
    assert_eq!(b.reply(INITIALIZE), "stream");
    assert_eq!((b.read(reply).len(), b.outcomes()), (3, [1, 0, 0, 0])); // primes, answer, end
}

#[test]
fn s_6_a_session_that_ends_for_good_invites_nobody_back() {
    let mut b = shared(config());
    let key = b.call(1);
    let get = b.get().unwrap();
    b.store_all();
    let stream = StreamKey::Response(key);
    let _ = (b.read(stream), b.read(get));
    assert!(b.terminate(TerminateReason::Evicted));
    assert_eq!(b.read(get), ["end"]);
    b.answer(key);
    b.store_all();
    assert_eq!(b.read(stream), ["1-1 1 = \"done\"", "end"]);
    assert_eq!(b.session.phase(), Phase::Closed);
}

// Any order.

/// Xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

/// A call, its client, and its log in the store.
struct Call {
    key: ExchangeKey,
    connection: Option<StreamKey>,
    cursor: u64,
    primed: bool,
    sent: usize,
    answered: bool,
    log: Vec<Bytes>,
    opened: bool,
    ended: bool,
}

#[test]
fn s_5_s_13_in_any_order_the_store_gets_every_event_before_the_client() {
    let mut asked = BTreeMap::new();
    for seed in 1..2_000 {
        walk(seed, &mut asked);
    }
    for answer in ["done", "later", "behind"] {
        assert!(asked.get(answer).is_some_and(|count| *count > 500), "{asked:?}");
    }
}

fn walk(seed: u64, asked: &mut BTreeMap<&'static str, usize>) {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut b = shared(SessionConfig { queue_events: 1 + rng.below(4), ..config() });
    let mut calls: Vec<Call> = Vec::new();
    let mut under_way: Option<Unstored> = None;
    let drains = 60 + rng.below(60);
    for step in 0..200 {
        if step == drains {
            b.drain(&SHUTDOWN);
        }
        let index = if calls.is_empty() { 0 } else { rng.below(calls.len()) };
        match rng.below(12) {
            0 if calls.len() < 4 && step < drains => {
                let key = b.call(calls.len() as i64 + 1);
                let connection = Some(StreamKey::Response(key));
                let (log, opened) = (Vec::new(), false);
                let (cursor, primed, sent, answered, ended) = (0, false, 0, false, false);
                calls.push(Call { key, connection, cursor, primed, sent, answered, log, opened, ended });
            }
            1..4 => store(&mut b, &mut calls, &mut under_way, &mut rng, asked),
            _ if calls.is_empty() => {}
            4 | 5 if !calls[index].answered => {
                calls[index].sent += usize::from(b.notify(calls[index].key).is_ok());
            }
            6 if !calls[index].answered && rng.below(4) == 0 => {
                b.answer(calls[index].key);
                calls[index].answered = true;
            }
            7 => {
                if let Some(connection) = calls[index].connection.take() {
                    b.disconnect(connection);
                }
            }
            8 if calls[index].primed => {
                let call = &mut calls[index];
                let from = call.cursor - rng.below(call.cursor as usize + 1).min(2) as u64;
                if let Ok(connection) = b.resume(&format!("{}-{from}", call.key.0)) {
                    (call.connection, call.cursor) = (Some(connection), from);
                }
            }
            9 => {
                let key = calls[index].key;
                b.act(|session, now| session.close_connection(now, key, MS));
            }
            _ => look(&mut b, &mut calls[index]),
        }
    }
    // The store takes the rest; then it has everything, even if nobody reads it.
    if !b.session.lifecycle.is_ending() {
        b.drain(&SHUTDOWN);
    }
    for call in &mut calls {
        if !call.answered {
            b.answer(call.key);
            call.answered = true;
        }
    }
    for _ in 0..MANY {
        if under_way.is_none() && !b.session.has_effect() {
            break;
        }
        store(&mut b, &mut calls, &mut under_way, &mut rng, asked);
    }
    for call in &mut calls {
        while call.connection.is_some() {
            look(&mut b, call);
        }
        if !call.primed {
            continue; // its client left before it had an id: nobody can resume the stream
        }
        assert!(call.ended && call.opened, "seed {seed}: the log has no end");
        assert_eq!(call.log.len(), call.sent + 1, "seed {seed}");
        let answers =
            call.log.iter().filter(|event| event.windows(8).any(|field| field == b"\"result\"")).count();
        assert_eq!(answers, 1, "seed {seed}: S5");
    }
    assert_eq!(b.session.phase(), Phase::Closed, "seed {seed}: S4");
    assert_eq!(b.outcomes()[3], 0, "seed {seed}: nothing was forced");
    assert_eq!(b.outcomes()[0] as usize, calls.len() + 1, "seed {seed}");
}

/// The client polls once. Asserts that the store has every event that the client gets.
fn look(b: &mut Bench, call: &mut Call) {
    let Some(connection) = call.connection else { return };
    match b.act(|session, now| session.poll_event(now, connection)) {
        Next::Event(event, last) => {
            let text = std::str::from_utf8(&event).unwrap();
            if let Some((id, rest)) = text.strip_prefix("id: ").and_then(|text| text.split_once('\n')) {
                let id = EventId::parse(id).unwrap();
                assert!(
                    call.opened && id.position.seq as usize <= call.log.len(),
                    "{id} is not in the store"
                );
                if rest == "data: \n\n" {
                    call.primed = true;
                } else {
                    assert_eq!(id.position.seq, call.cursor + 1, "D-30");
                    assert_eq!(rest.as_bytes(), call.log[call.cursor as usize], "D-32");
                    call.cursor += 1;
                }
            }
            if last {
                call.connection = None;
            }
        }
        Next::Pending => {
            if b.session.phase() == Phase::Closed {
                call.connection = None;
            }
        }
        Next::End | Next::Cut => call.connection = None,
    }
}

/// The store receives an operation, or answers one: done, later, or behind because it has lost events.
fn store(
    b: &mut Bench,
    calls: &mut [Call],
    under_way: &mut Option<Unstored>,
    rng: &mut Rng,
    asked: &mut BTreeMap<&'static str, usize>,
) {
    let Some(append) = under_way.take() else {
        *under_way = match b.effect() {
            Some(Effect::Append(append)) => Some(append),
            Some(Effect::Publish(..)) => panic!("nothing was announced"),
            None => None,
        };
        return;
    };
    let call = calls.iter_mut().find(|call| call.key.0 == append.stream).unwrap();
    let next = call.log.len() as u64 + 1;
    assert!(append.at <= next, "it leaves a gap: {append:?}");
    let (name, stored) = match rng.below(6) {
        0 => ("later", Stored::Later),
        1 if call.log.len() as u64 > call.cursor + 1 && !call.ended => {
            call.log.pop(); // a failover: an event that no client has read is lost
            ("behind", Stored::Behind(call.log.len() as u64 + 1))
        }
        _ => {
            call.opened = true;
            let known = (next - append.at) as usize;
            call.log.extend(append.events.iter().skip(known).cloned());
            call.ended |= append.ends;
            // The store's answer may be lost on its way: then the append is repeated.
            if rng.below(8) == 0 { ("later", Stored::Later) } else { ("done", Stored::Done) }
        }
    };
    *asked.entry(name).or_insert(0) += 1;
    b.stored(&append, stored);
}
