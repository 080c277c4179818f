//! Whether a client still responds: `ping` on the standalone stream (C-14, C-15).

use super::*;

const INTERVAL: Duration = secs(60);

/// A session that sends `ping` to silent clients, with a GET stream.
fn listening() -> (Bench, StreamKey) {
    let config = SessionConfig { ping_interval: INTERVAL, idle_timeout: secs(600), ..config() };
    let mut b = Bench::operating(config);
    let get = b.get().unwrap();
    assert_eq!(b.read(get), [":"]);
    (b, get)
}

impl Bench {
    fn ping(&mut self, timeout: Duration) -> Result<OutboundId, RequestError> {
        self.tags += 1;
        let tag = self.tags;
        self.act(|session, now| session.ping(now, tag, timeout))
    }

    /// Lets time pass while the stream is read, as by a proxy. Returns the events except heartbeats.
    fn read_for(&mut self, time: Duration, stream: StreamKey) -> Vec<String> {
        let mut read = Vec::new();
        let until = self.now + time;
        while self.now < until {
            let next = self.session.next_timeout().map_or(until, |next| next.min(until));
            self.wait(next - self.now);
            read.extend(self.read(stream).into_iter().filter(|event| event != ":"));
        }
        read
    }
}

#[test]
fn c_15_a_client_that_does_not_answer_loses_its_stream_and_then_its_session() {
    let (mut b, get) = listening();
    assert_eq!(b.read_for(INTERVAL - MS, get), [""; 0]);
    assert_eq!(b.read_for(MS, get), ["ping #0"]);
    assert_eq!(b.read_for(INTERVAL - MS, get), [""; 0]);
    assert_eq!(b.read_for(MS, get), ["cancelled #0", "end"]);
    assert_eq!((b.session.state(), b.tally.pings_unanswered), (State::Operating, 1));
    b.disconnect(get);
    assert!(b.run_to(Phase::Closed) <= secs(600));
    assert_eq!(b.session.reason(), Some(TerminateReason::Idle));
}

#[test]
fn c_15_whatever_the_client_says_is_a_sign_of_life() {
    let says: [fn(&mut Bench); 6] = [
        |b| b.respond(0, "pong").unwrap(),
        |b| b.respond(77, "no such request").unwrap(),
        |b| assert_eq!(b.input(Input::Ping), Ok(Verdict::Answer)),
        |b| assert_eq!(b.input(Input::Notification), Ok(Verdict::Accept)),
        |b| b.cancel(5).unwrap(),
        |b| {
            let key = b.call(1);
            b.answer(key);
            b.reply(key);
        },
    ];
    for say in says {
        let (mut b, get) = listening();
        assert_eq!(b.read_for(INTERVAL, get), ["ping #0"]);
        assert_eq!(b.read_for(INTERVAL - MS, get), [""; 0]);
        say(&mut b); // at the last moment
        assert_eq!(b.read_for(INTERVAL - MS, get), [""; 0]);
        assert_eq!(b.read_for(MS, get), ["ping #1"]);
        assert_eq!((b.session.streams(), b.tally.pings_unanswered), (1, 0));
    }
}

#[test]
fn c_15_without_a_stream_or_when_switched_off_nobody_is_asked() {
    let (mut b, get) = listening();
    b.disconnect(get);
    assert_eq!(b.session.ping_due(), None);
    let mut b = Bench::operating(SessionConfig { ping_interval: Duration::ZERO, ..config() });
    let get = b.get().unwrap();
    assert!(b.read_for(secs(24 * 60 * 60), get).is_empty());
}

#[test]
fn c_15_a_client_that_does_not_read_counts_as_one_that_does_not_answer() {
    let config =
        SessionConfig { ping_interval: INTERVAL, queue_events: 1, heartbeat: Duration::ZERO, ..config() };
    let mut b = Bench::operating(config);
    let get = b.get().unwrap();
    b.announce().unwrap(); // fills the queue
    b.run_until(|b| b.tally.pings_unanswered == 1);
    assert_eq!(b.read(get), [":", "note", "cancelled #0", "end"]);
}

#[test]
fn c_14_f_21_a_ping_is_answered_once_and_needs_a_stream() {
    let mut b = Bench::operating(config());
    assert_eq!(b.ping(secs(1)), Err(SendError::Closed.into())); // D-24
    let get = b.get().unwrap();
    let ping = b.ping(secs(10)).unwrap();
    assert_eq!(b.read(get), [":", "ping #0"]);
    assert_eq!(b.outbound(ping), None);
    let tag = b.tags;
    b.wakes.clear();
    b.respond(0, "pong").unwrap();
    assert_eq!(b.wakes, [Wake::Handler(tag)]);
    b.respond(0, "again").unwrap();
    assert_eq!(b.outbound(ping).unwrap().unwrap().as_str(), "\"pong\"");
    // F-24: without an answer in time, it is cancelled on its stream.
    let late = b.ping(secs(10)).unwrap();
    b.run_until(|b| b.unanswered() == 0);
    assert_eq!(b.outbound(late), Some(Err(RequestError::TimedOut)));
    assert_eq!(b.read(get), ["ping #1", "cancelled #1"]);
}

#[test]
fn f_26_f_32_a_ping_outlives_its_stream_but_not_its_session() {
    let mut b = Bench::operating(config());
    let get = b.get().unwrap();
    let ping = b.ping(secs(10)).unwrap();
    b.disconnect(get);
    assert_eq!(b.outbound(ping), None);
    b.respond(0, "pong").unwrap();
    assert!(matches!(b.outbound(ping), Some(Ok(_))));

    let get = b.get().unwrap();
    let ping = b.ping(secs(10)).unwrap();
    b.terminate(TerminateReason::Evicted);
    assert_eq!(b.outbound(ping), Some(Err(RequestError::Terminated(TerminateReason::Evicted))));
    assert_eq!(b.read(get), [":", "ping #1", "cancelled #1", "end"]);
    assert_eq!(b.ping(secs(10)), Err(RequestError::Terminated(TerminateReason::Evicted)));
}

#[test]
fn c_06_before_initialized_nothing_but_a_ping_goes_out() {
    let mut b = Bench::awaiting(config());
    let get = b.get().unwrap();
    assert_eq!(b.announce(), Ok(()));
    assert!(b.ping(secs(1)).is_ok());
    assert_eq!(b.read(get), [":", "ping #0"]);
    b.input(Input::Initialized).unwrap();
    assert_eq!(b.announce(), Ok(()));
    assert_eq!(b.read(get), ["note"]);
}
