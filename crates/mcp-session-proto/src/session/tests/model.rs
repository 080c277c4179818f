//! A seeded random walk, compared with a model: clients, handlers, timers and endings act in any order, and the model
//! knows what each is owed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Bench, CancelReason, ExchangeKey, Handshake, INITIALIZE, Input, Json, MS, Next, OutboundId, Phase,
    Refusal, ReplayConfig, Reply, RequestError, RequestId, ResponseMode, RpcError, SecondStream, SendError,
    SessionConfig, State, Status, Stream, StreamKey, Tally, TerminatePolicy, TerminateReason, Verdict, Wake,
    after, brief, config, secs,
};
use crate::{event::EventId, message::Outgoing, output::Outcome, version::ProtocolVersion};

const SEEDS: u64 = 6_000;
const STEPS: usize = 200;
/// The first tag of GET streams; tags of calls begin at 0.
const GETS: u64 = 1 << 32;
/// The first tag of connections that resume a call.
const RESUMES: u64 = 1 << 33;

/// Bounds that no walk exceeds, and bounds that every busy walk exceeds.
const GENEROUS: ReplayConfig =
    ReplayConfig { events: 1 << 20, bytes: 1 << 30, age: Duration::MAX, retry: Duration::from_secs(1) };
const TIGHT: ReplayConfig = ReplayConfig { events: 8, bytes: 600, age: secs(15), ..GENEROUS };

/// Rare events. Each must occur in some walks.
const CORNERS: [&str; 23] = [
    "a request beyond the limit, with fewer running",
    "a result of initialize for a dead session",
    "a failed initialize in a shutdown",
    "an ending that waits only for a cancelled handler",
    "a cancelled handler abandoned with its session",
    "a request cancelled on a full stream",
    "a request refused before initialized in a shutdown",
    "terminated in a shutdown, while finishing",
    "in use for long without initialized",
    "an orphaned call",
    "one takeover too many",
    "a running call resumed",
    "a finished call resumed",
    "a disconnected call in a deleted session",
    "an answer sent again",
    "a live connection taken over",
    "a client with `retry` is back",
    "a client with `retry` stays away",
    "resumed in a shutdown",
    "a forgotten event refused",
    "a GET resumed where it was cut",
    "a closing connection whose next event is forgotten",
    "several events at once",
];

#[test]
fn s_5_whatever_happens_every_call_gets_one_end() {
    let (mut total, mut corners) = (Tally::default(), BTreeMap::new());
    for seed in 1..=SEEDS {
        let walk = walk(seed);
        super::add(&mut total, &walk.bench.tally);
        for corner in walk.corners {
            *corners.entry(corner).or_insert(0) += 1;
        }
    }
    // The walks have reached every outcome and every corner.
    let Tally { answered, synthesized, cancelled, forced, streams_ended, streams_cut, .. } = total;
    for count in [answered, synthesized, cancelled, forced, streams_ended, streams_cut] {
        assert!(count > 500, "{total:?}");
    }
    for corner in CORNERS {
        assert!(corners.get(corner).is_some_and(|walks| *walks >= 5), "{corner}: {corners:?}");
    }
}

#[test]
fn a_walk_replays() {
    for seed in 1..=200 {
        assert_eq!(walk(seed).trace, walk(seed).trace, "seed {seed}");
    }
}

/// The seed and step of a walk, printed if it fails.
struct Place(u64, usize);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, step {}", self.0, self.1);
        }
    }
}

fn walk(seed: u64) -> Walk {
    let mut place = Place(seed, 0);
    let mut walk = Walk::new(seed);
    for step in 0..STEPS {
        place.1 = step;
        walk.step();
        if walk.bench.session.phase() == Phase::Closed && walk.rng.chance(10) {
            break; // some steps after the end of the session, nothing new happens
        }
    }
    walk.finish();
    walk
}

/// Xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// A task that was told to wait, and how often it had been woken by then.
#[derive(Default, Clone, Copy)]
struct Waiter(Option<u32>);

impl Waiter {
    /// Asserts that a waiter that finds something new was woken for it.
    fn look(&mut self, waits: bool, wakes: u32) {
        if let (false, Some(before)) = (waits, self.0) {
            assert!(wakes > before, "a lost wake");
        }
        self.0 = waits.then_some(wakes);
    }
}

/// The model of a call.
struct Call {
    key: ExchangeKey,
    id: RequestId,
    /// The handler's answer, if it gets to answer.
    answer: Result<Json, RpcError>,
    outcome: Option<Outcome>,
    settled: bool,
    /// Until when a cancelled handler may go on. While it does, its session is not closed.
    grace: Option<Instant>,
    /// The handler was abandoned.
    given_up: bool,
    /// The handler has finished.
    released: bool,
    /// The reader has finished or disconnected.
    read: bool,
    answers_seen: usize,
    /// The client's view of the reply's stream.
    client: Client,
    /// The connection of the reader, and its tag.
    connection: StreamKey,
    tag: u64,
    /// Both sides have finished once: its place in the session is free, even if it is read again.
    over: bool,
    /// The client was told to reconnect.
    invited: bool,
    asked: Vec<(OutboundId, Waiter)>,
    /// The ids of all requests to the client, and of those that were cancelled.
    requests: Vec<u64>,
    taken_back: Vec<u64>,
    reader: Waiter,
    space: Waiter,
    status: (Status, u32),
    reader_wakes: u32,
    handler_wakes: u32,
}

impl Call {
    fn new(key: ExchangeKey, id: RequestId, answer: Result<Json, RpcError>, tag: u64) -> Self {
        Self {
            key,
            id,
            answer,
            client: Client::default(),
            connection: StreamKey::Response(key),
            tag,
            over: false,
            invited: false,
            outcome: None,
            settled: false,
            grace: None,
            given_up: false,
            released: false,
            read: false,
            answers_seen: 0,
            asked: Vec::new(),
            requests: Vec::new(),
            taken_back: Vec::new(),
            reader: Waiter::default(),
            space: Waiter::default(),
            status: (Status::default(), 0),
            reader_wakes: 0,
            handler_wakes: 0,
        }
    }

    /// Sets the outcome, which is counted once the reply was delivered or stored.
    fn decide(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.settled |= self.read && !self.invited;
    }

    fn read_to_end(&mut self) {
        self.read = true;
        self.settled |= self.outcome.is_some();
    }

    fn release(&mut self) {
        self.released = true;
        self.grace = None;
    }

    fn give_up(&mut self) {
        self.given_up = true;
        self.grace = None;
    }

    /// Whether it counts towards `max_exchanges`.
    fn is_held(&self) -> bool {
        !self.over
    }

    /// The reader got `event`. Returns whether it is the answer. Asserts that the answer is the right one, and the only
    /// one, however often it is sent again.
    fn receive(&mut self, event: &Bytes) -> bool {
        let Some(message) = self.client.receive(event) else { return self.client.has_answer() };
        let message = std::str::from_utf8(&message).unwrap();
        let message = message.strip_prefix("event: message\n").unwrap_or(message);
        let message = message.strip_prefix("data: ").unwrap_or(message).trim_end();
        if message == ":" || message.contains("\"method\"") {
            assert_eq!(self.answers_seen, 0, "{message} after the answer");
            if message.contains("notifications/cancelled") {
                let id = brief(message.as_bytes()).replace("cancelled #", "").parse().unwrap();
                assert!(self.requests.contains(&id), "F-24: {message} for {:?}", self.requests);
                self.taken_back.push(id);
            }
            return false;
        }
        let id = &self.id;
        let error = |code: i64| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"#);
        let right = match self.outcome {
            Some(Outcome::Answered) => match &self.answer {
                Ok(result) => message.as_bytes() == Outgoing::Result { id, result }.to_json(),
                Err(error) => message.as_bytes() == Outgoing::Error { id: Some(id), error }.to_json(),
            },
            Some(Outcome::Synthesized) => message.starts_with(&error(-32000)),
            Some(Outcome::Cancelled) => message.starts_with(&error(-32800)),
            Some(Outcome::Forced) => true,
            None => false,
        };
        assert!(right, "{message} for {:?}", self.outcome);
        self.answers_seen += 1;
        assert_eq!(self.answers_seen, 1, "a second answer: {message}");
        self.client.answer = self.client.cursor;
        true
    }
}

/// The client's view of a stream, and the notes that were sent on it.
#[derive(Default)]
struct Client {
    /// The id of the last event that it got, if events have ids.
    cursor: Option<EventId>,
    /// All events that it ever got, by position.
    got: BTreeMap<u64, Bytes>,
    /// The notes that were sent.
    sent: Vec<u64>,
    /// How many of them it got or missed.
    seen: usize,
    /// It may have missed notes before the next one.
    gap: bool,
    /// The id of the event with the answer.
    answer: Option<EventId>,
}

impl Client {
    /// The client gets an event. Returns its content if that is new (D-21, D-30, D-32).
    fn receive(&mut self, event: &Bytes) -> Option<Bytes> {
        let text = std::str::from_utf8(event).unwrap();
        let Some((id, rest)) = text.strip_prefix("id: ").and_then(|text| text.split_once('\n')) else {
            self.note(text);
            return Some(event.clone());
        };
        let id = EventId::parse(id).unwrap();
        assert!(!rest.contains("retry: "), "D-44: {text}");
        if rest == "data: \n\n" {
            // A priming event has the client's position, and nothing more.
            assert!(self.cursor.is_none_or(|cursor| cursor == id), "{id} at {:?}", self.cursor);
            self.cursor = Some(id);
            return None;
        }
        let next =
            self.cursor.map_or(id, |cursor| EventId { position: (cursor.position.seq + 1).into(), ..cursor });
        assert_eq!(id, next, "a gap, or an event again, after {:?}", self.cursor);
        self.cursor = Some(id);
        if let Some(before) = self.got.get(&id.position.seq) {
            assert_eq!(before, event, "D-32");
            return None;
        }
        self.got.insert(id.position.seq, event.clone());
        self.note(rest);
        Some(event.slice(event.len() - rest.len()..))
    }

    /// Asserts that no note is lost, doubled, or out of order.
    fn note(&mut self, message: &str) {
        if let Some((_, n)) = message.split_once("\"note\",\"params\":{\"n\":") {
            let n: u64 = n.trim_end().trim_end_matches('}').parse().unwrap();
            let skipped = self.sent[self.seen..].iter().position(|sent| *sent == n);
            assert!(skipped == Some(0) || (self.gap && skipped.is_some()), "{n} of {:?}", self.sent);
            self.seen += 1 + skipped.unwrap_or(0);
            self.gap = false;
        }
    }

    /// Events may be missing before the next one: the client starts over.
    fn forget(&mut self) {
        self.cursor = None;
        self.gap = true;
    }

    /// Whether the client got the answer before its current position.
    fn has_answer(&self) -> bool {
        self.answer.is_some() && self.cursor >= self.answer
    }
}

struct Get {
    key: StreamKey,
    over: bool,
    reader: Waiter,
    reader_wakes: u32,
    sender_wakes: u32,
}

struct Walk {
    rng: Rng,
    bench: Bench,
    calls: Vec<Call>,
    gets: Vec<Get>,
    /// The client's view of the standalone stream.
    client: Client,
    /// The call of each tag from `RESUMES` on.
    resumes: Vec<usize>,
    /// The number of notes that were sent.
    notes: u64,
    /// Whether nothing is ever forgotten, because the bounds of replay are never exceeded.
    generous: bool,
    /// The GET on which the application waits for space.
    announcer: (usize, Waiter),
    /// The requests to the client that were answered in time.
    responded: BTreeSet<u64>,
    established: bool,
    initialized: bool,
    phase: Phase,
    reason: Option<TerminateReason>,
    /// Time has passed without a call of `handle_timeout`.
    late: bool,
    /// How many bytes a reader takes at once.
    frame: usize,
    corners: BTreeSet<&'static str>,
    /// All wakes, in order.
    trace: Vec<Wake<u64>>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let config = SessionConfig {
            idle_timeout: secs(60),
            max_age: rng.one(&[None, None, Some(secs(200))]),
            queue_events: 1 + rng.below(4),
            heartbeat: rng.one(&[config().heartbeat, config().heartbeat, Duration::ZERO]),
            ping_interval: rng.one(&[Duration::ZERO, secs(20)]),
            cancel_grace: rng.one(&[config().cancel_grace, secs(30), Duration::ZERO]),
            response_mode: rng.one(&[ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json]),
            second_stream: rng.one(&[SecondStream::Refuse, SecondStream::Replace]),
            max_exchanges: 4,
            replay: rng.one(&[None, Some(GENEROUS), Some(GENEROUS), Some(TIGHT)]),
            terminate: schedule(&mut rng),
            ..config()
        };
        let answer = if rng.chance(3) { Err(RpcError::internal("no")) } else { Json::new("yes") };
        let mut initialize = Call::new(INITIALIZE, 0.into(), answer, 0);
        let begins = rng.one(&[State::Initializing, State::AwaitingInitialized, State::Operating]);
        if begins != State::Initializing {
            initialize.decide(Outcome::Answered);
            initialize.read_to_end();
            initialize.release();
        }
        let generous = config.replay.is_none_or(|replay| replay == GENEROUS);
        let version = rng.one(&[ProtocolVersion::V2025_06_18, ProtocolVersion::LATEST_WITH_HANDSHAKE]);
        let mut bench = Bench::of_version(version, config);
        if begins != State::Initializing {
            bench.establish();
        }
        if begins == State::Operating {
            assert_eq!(bench.input(Input::Initialized), Ok(Verdict::Operate));
        }
        let calls = vec![initialize];
        // Mostly one event at a time, so that others wait.
        let frame = rng.one(&[0, 0, 0, 0, 0, 150, 100_000]);
        let mut walk = Self {
            client: Client::default(),
            resumes: Vec::new(),
            notes: 0,
            generous,
            rng,
            bench,
            calls,
            gets: Vec::new(),
            announcer: (0, Waiter::default()),
            responded: BTreeSet::new(),
            established: begins != State::Initializing,
            initialized: begins == State::Operating,
            phase: Phase::Running,
            reason: None,
            late: false,
            frame,
            corners: BTreeSet::new(),
            trace: Vec::new(),
        };
        walk.sync();
        walk
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..8 => self.pass_time(),
            8..20 => self.request(),
            20..58 => self.handler(),
            58..84 => self.reader(),
            84..97 => self.client(),
            _ => self.ending(),
        }
        self.sync();
    }

    /// Delivers the wakes, and compares the machine with the model.
    fn sync(&mut self) {
        for wake in std::mem::take(&mut self.bench.wakes) {
            match wake {
                Wake::Reader(tag) if tag >= RESUMES => {
                    let call = &mut self.calls[self.resumes[(tag - RESUMES) as usize]];
                    call.reader_wakes += u32::from(call.tag == tag);
                }
                Wake::Handler(tag) if tag >= RESUMES => panic!("{tag} sends nothing"),
                Wake::Reader(tag) if tag >= GETS => self.gets[(tag - GETS) as usize].reader_wakes += 1,
                Wake::Reader(tag) => {
                    let call = &mut self.calls[tag as usize];
                    call.reader_wakes += u32::from(call.tag == tag);
                }
                Wake::Handler(tag) if tag >= GETS => self.gets[(tag - GETS) as usize].sender_wakes += 1,
                Wake::Handler(tag) => self.calls[tag as usize].handler_wakes += 1,
            }
            self.trace.push(wake);
        }
        for call in self.calls.iter_mut().filter(|call| !call.read && !call.over && !self.generous) {
            // A closing connection had yet to send an event that was forgotten: it has ended without it.
            let exchange = self.bench.session.exchanges.get(call.key);
            if exchange.is_none_or(|exchange| exchange.stream().is_some_and(Stream::is_away)) {
                self.corners.insert("a closing connection whose next event is forgotten");
                call.read_to_end();
            }
        }
        self.check_reason();
        let (phase, before) = (self.bench.session.phase(), self.phase);
        self.phase = phase;
        if phase >= Phase::Finishing && self.calls.iter().any(|call| call.outcome.is_none()) {
            // The time of all handlers is up, even of those that owe no answer.
            for call in &mut self.calls {
                if call.outcome.is_none() {
                    call.decide(Outcome::Synthesized);
                }
                if !call.released {
                    call.give_up();
                }
            }
        }
        self.check_end(before);
        let (mut running, mut outcomes) = (0, [0; 4]);
        for call in &mut self.calls {
            if phase == Phase::Closed {
                call.given_up |= !call.released;
                call.grace = None;
            }
            if call.invited && !self.generous && !call.settled && call.outcome.is_some() {
                // Its answer may have been forgotten: then its client is not waited for any more.
                let exchange = self.bench.session.exchanges.get(call.key);
                call.settled = phase != Phase::Closed && exchange.is_none_or(super::Exchange::is_settled);
            }
            call.over |= call.released && call.settled && call.read;
            if phase == Phase::Closed && !call.settled {
                if call.invited {
                    self.corners.insert("a client with `retry` stays away");
                }
                let stream =
                    self.bench.session.exchanges.get(call.key).and_then(|exchange| exchange.stream());
                call.read |= !self.generous && stream.is_none_or(Stream::is_over);
                call.settled = true;
                if call.outcome != Some(Outcome::Cancelled) {
                    call.outcome = Some(Outcome::Forced);
                }
            }
            match call.outcome {
                None => running += 1,
                Some(_) if !call.settled => {}
                Some(Outcome::Answered) => outcomes[0] += 1,
                Some(Outcome::Synthesized) => outcomes[1] += 1,
                Some(Outcome::Cancelled) => outcomes[2] += 1,
                Some(Outcome::Forced) => outcomes[3] += 1,
            }
        }
        let session = &self.bench.session;
        if self.generous && phase != Phase::Closed {
            // A client that has an id can resume the stream with it.
            for call in self.calls.iter().filter(|call| call.client.cursor.is_some()) {
                let exchange = session.exchanges.get(call.key).and_then(|exchange| exchange.stream());
                let stream = exchange.or_else(|| session.streams.finished(call.key.0));
                assert!(stream.is_some_and(Stream::is_resumable), "{:?}: {stream:?}", call.client.cursor);
            }
        }
        assert_eq!(session.running(), running);
        let counted = self.bench.outcomes();
        if self.generous {
            assert_eq!(counted, outcomes);
        } else {
            // A reply that was waited for may have been forgotten together with its end: then it is settled.
            assert!(counted.iter().sum::<u32>() >= outcomes.iter().sum::<u32>(), "{counted:?} {outcomes:?}");
        }
        assert_eq!(session.is_established(), self.established);
        if phase != Phase::Closed {
            let held = self.calls.iter().filter(|call| call.is_held()).count();
            assert!(session.exchanges.len() == held || !self.generous, "expected {held} exchanges");
        }
    }

    /// S12: the session reports its first reason. It may end by a timeout only if that is due.
    fn check_reason(&mut self) {
        let (session, now) = (&self.bench.session, self.bench.now);
        if self.reason.is_none() {
            let past = |limit: Duration| now >= session.created + limit;
            let quiet = self.calls.iter().all(|call| call.outcome.is_some());
            match session.reason() {
                None => {}
                Some(TerminateReason::InitializeTimeout) => {
                    assert!(
                        session.lifecycle.handshake() < Handshake::Used
                            && past(session.config.initialize_timeout),
                        "C-18"
                    );
                }
                Some(TerminateReason::Idle) => {
                    assert!(
                        session.lifecycle.handshake() >= Handshake::Used
                            && quiet
                            && past(session.config.idle_timeout)
                    );
                }
                Some(TerminateReason::MaxAge) => assert!(session.config.max_age.is_some_and(past)),
                Some(reason) => panic!("unexpected reason: {reason}"),
            }
            self.reason = session.reason();
        }
        assert_eq!(session.reason(), self.reason, "S12");
    }

    /// S4: the session is closed once there is nobody to wait for, or its time is up.
    fn check_end(&mut self, before: Phase) {
        let winds_down = self.calls.iter().any(|call| call.grace.is_some());
        let unread = self.calls.iter().any(|call| !call.settled || !call.read)
            || self.gets.last().is_some_and(|get| !get.over);
        let surely = unread && self.generous; // else the unread events may have been forgotten just now
        let Some(ending) = self.bench.session.lifecycle.ending() else { return };
        let up = ending.close_at <= self.bench.now;
        match self.phase {
            Phase::Finishing => {
                assert!(winds_down || unread, "S4: nothing to wait for");
                assert!(!up || self.late, "S3: the deadline has passed");
                if !unread {
                    self.corners.insert("an ending that waits only for a cancelled handler");
                }
            }
            Phase::Closed if before != Phase::Closed => {
                assert!(up || !(winds_down || surely), "S4: closed too early");
                if winds_down {
                    self.corners.insert("a cancelled handler abandoned with its session");
                }
            }
            Phase::Running | Phase::Draining | Phase::Cancelling | Phase::Closed => {}
        }
    }

    /// Lets time pass, with the timer on time.
    fn wait(&mut self, time: Duration) {
        self.bench.wait(time);
        self.late = false;
        let (session, now) = (&self.bench.session, self.bench.now);
        for call in &mut self.calls {
            if call.grace.is_some_and(|until| until <= now) {
                call.give_up();
            }
        }
        for call in &mut self.calls {
            let given_up = session.poll_status(call.key).cancelled == Some(CancelReason::Orphaned);
            if given_up && call.outcome.is_none() {
                assert!(call.read && session.created + session.config.idle_timeout <= now, "D-12");
                let (age, named) =
                    (session.config.replay.map(|replay| replay.age), call.client.cursor.is_some());
                assert!(!named || age.is_some_and(|age| age < secs(60)), "the client can come back");
                call.invited = false;
                call.decide(Outcome::Cancelled);
                match session.config.cancel_grace {
                    _ if call.released => {}
                    Duration::ZERO => call.give_up(),
                    grace => call.grace = Some(now + grace),
                }
                self.corners.insert("an orphaned call");
            }
        }
        let half_open = match session.state() {
            State::Initializing => true,
            State::AwaitingInitialized => session.lifecycle.handshake() < Handshake::Used,
            State::Operating | State::Draining | State::Terminated => false,
        };
        assert!(!half_open || now < session.created + session.config.initialize_timeout, "C-10");
    }

    fn pass_time(&mut self) {
        let due = self.bench.session.next_timeout().map(|at| at.saturating_duration_since(self.bench.now));
        let due = due.filter(|due| *due < secs(24 * 60 * 60)); // ignores a replay age of `Duration::MAX`
        let time = match (self.rng.below(3), due) {
            (0, Some(due)) => due,
            (1, Some(due)) => due.saturating_sub(MS),
            _ => self.rng.one(&[Duration::ZERO, MS, secs(1), secs(3), secs(20)]),
        };
        if self.rng.chance(5) {
            self.bench.now += time; // the timer is late
            self.late = true;
        } else {
            self.wait(time);
        }
    }

    fn request(&mut self) {
        if self.rng.chance(4) {
            return self.batch();
        }
        let id = self.some_id();
        let in_flight = self.calls.iter().filter(|call| call.outcome.is_none());
        let (running, duplicate) = (in_flight.clone().count(), in_flight.clone().any(|call| call.id == id));
        let held = self.calls.iter().filter(|call| call.is_held()).count();
        let expected = match self.bench.session.on(Input::Request) {
            Verdict::Refuse(refusal) => Err(refusal),
            _ if duplicate => Err(Refusal::DuplicateId),
            _ if held >= self.bench.session.config.max_exchanges => {
                if running < held {
                    self.corners.insert("a request beyond the limit, with fewer running");
                }
                Err(Refusal::TooManyRequests)
            }
            _ => Ok(()),
        };
        let tag = self.calls.len() as u64;
        let key = self.bench.act(|session, now| session.handle_request(now, id.clone(), tag));
        assert_eq!(key.map(|_| ()), expected);
        if let Ok(key) = key {
            self.calls.push(Call::new(key, id, Json::new(&tag), tag));
        }
    }

    /// A batch of up to three requests, with or without a ping: all are admitted or none.
    fn batch(&mut self) {
        let ids = BTreeSet::from([self.some_id(), self.some_id(), self.some_id()]);
        let inputs =
            if self.rng.chance(2) { vec![Input::Ping, Input::Request] } else { vec![Input::Request] };
        let mut in_flight = self.calls.iter().filter(|call| call.outcome.is_none());
        let duplicate = in_flight.any(|call| ids.contains(&call.id));
        let held = self.calls.iter().filter(|call| call.is_held()).count();
        let expected = match self.bench.session.on(Input::Request) {
            Verdict::Refuse(refusal) => Err(refusal),
            _ if duplicate => Err(Refusal::DuplicateId),
            _ if held + ids.len() > self.bench.session.config.max_exchanges => Err(Refusal::TooManyRequests),
            _ => Ok(()),
        };
        let first = self.calls.len() as u64;
        let requests: Vec<_> = ids.into_iter().zip(first..).collect();
        let ids = requests.iter().map(|(id, _)| id.clone()).collect();
        let keys = self.bench.act(|session, now| session.handle_batch(now, inputs, ids));
        assert_eq!(keys.as_ref().map(|_| ()).map_err(|refusal| *refusal), expected);
        for ((id, tag), key) in requests.into_iter().zip(keys.unwrap_or_default()) {
            self.bench.session.tag_or(key, || tag);
            self.calls.push(Call::new(key, id, Json::new(&tag), tag));
            self.corners.insert("a batch");
        }
    }

    /// One of the latest calls: most of the earlier ones are over.
    fn some_call(&mut self) -> usize {
        let from = self.calls.len().saturating_sub(8);
        from + self.rng.below(self.calls.len() - from)
    }

    fn some_id(&mut self) -> RequestId {
        let id = self.rng.below(4) as i64;
        if self.rng.chance(2) { id.into() } else { RequestId::from(&*id.to_string()) }
    }

    fn handler(&mut self) {
        let (index, what) = (self.some_call(), self.rng.below(9));
        let note = self.note();
        let (bench, call) = (&mut self.bench, &mut self.calls[index]);
        let key = call.key;
        if call.released {
            bench.answer(key); // too late to change anything
            return;
        }
        match what {
            0 => bench.act(|session, now| session.handle_suspended(now, key)),
            1 | 2 => {
                let sent = bench.act(|session, now| session.notify(now, key, &note));
                if sent.is_ok() && index != 0 {
                    call.client.sent.push(self.notes);
                }
                call.space.look(sent == Err(SendError::Full), call.handler_wakes);
                assert_eq!(sent == Err(SendError::Closed), call.outcome.is_some());
            }
            3 => {
                let method = self.rng.one(&["ping", "roots/list"]);
                let early = index == 0 || (!self.initialized && method != "ping");
                match bench.ask(key, method) {
                    Ok(id) => {
                        assert!(!early, "C-06: {method}");
                        call.asked.push((id, Waiter::default()));
                        call.requests.push(id.0);
                    }
                    Err(RequestError::NotInitialized) => {
                        assert!(early, "{method}");
                        if index != 0 && bench.session.state() == State::Draining {
                            self.corners.insert("a request refused before initialized in a shutdown");
                        }
                    }
                    Err(RequestError::Send(SendError::Full)) => call.space.look(true, call.handler_wakes),
                    Err(_) => {}
                }
            }
            4 | 5 => {
                call.asked.retain_mut(|(id, waiter)| {
                    let reply = bench.outbound(*id);
                    waiter.look(reply.is_none(), call.handler_wakes);
                    reply.is_none()
                });
                let status = bench.status(key);
                assert!(
                    status == call.status.0 || call.handler_wakes > call.status.1,
                    "a lost wake: {status:?}"
                );
                assert_eq!(status.abandoned, call.given_up);
                call.status = (status, call.handler_wakes);
                if call.status.0.abandoned {
                    bench.release(key);
                    call.release();
                }
            }
            6 => {
                if let Some((id, _)) = call.asked.pop() {
                    let sent = bench.act(|session, now| session.notify(now, key, &note));
                    if sent.is_ok() && index != 0 {
                        call.client.sent.push(self.notes);
                    }
                    let full = sent == Err(SendError::Full);
                    let open = bench.session.outbound.unanswered(|_, _| true);
                    if full && open.contains(&(id.0, StreamKey::Response(key))) {
                        self.corners.insert("a request cancelled on a full stream");
                    }
                    bench.act(|session, now| session.abandon_request(now, id));
                }
            }
            7 if self.rng.chance(2) => {
                let away = bench.act(|session, now| session.close_connection(now, key, secs(1)));
                let session = &bench.session;
                let may = session.config.replay.is_some()
                    && session.version == ProtocolVersion::LATEST_WITH_HANDSHAKE
                    && !session.lifecycle.is_ending();
                assert!(!away || (may && index != 0 && call.outcome.is_none()), "D-05, S6, D-35");
            }
            _ => {
                let (state, running) = (bench.session.state(), bench.session.running());
                bench.act(|session, now| session.answer(now, key, &call.answer));
                call.release();
                if call.outcome.is_none() {
                    call.decide(Outcome::Answered);
                    if index == 0 {
                        self.initialize(state);
                    } else if running == 1 && self.is_overdue(state) {
                        self.corners.insert("in use for long without initialized");
                    }
                }
            }
        }
    }

    /// `initialize` was answered in this state, which establishes or ends the session unless it is dead already.
    fn initialize(&mut self, state: State) {
        let answer = &mut self.calls[0].answer;
        match (state, self.reason) {
            (State::Terminated, Some(reason)) => {
                if answer.is_ok() {
                    self.corners.insert("a result of initialize for a dead session");
                }
                *answer = Err(reason.into());
            }
            (_, reason) => {
                self.established = answer.is_ok();
                if answer.is_err() {
                    self.reason = reason.or(Some(TerminateReason::Error));
                    if reason.is_some() {
                        self.corners.insert("a failed initialize in a shutdown");
                    }
                }
            }
        }
    }

    /// Whether a session in this state is older than an unused one can become.
    fn is_overdue(&self, state: State) -> bool {
        let session = &self.bench.session;
        let due = after(session.created, session.config.initialize_timeout);
        state == State::AwaitingInitialized && due <= self.bench.now
    }

    fn reader(&mut self) {
        if self.rng.chance(6) && !self.gets.is_empty() {
            return self.get_reader();
        }
        let index = self.some_call();
        if !self.calls[index].read {
            match self.rng.below(40) {
                0..3 => {
                    self.bench.disconnect(self.calls[index].connection);
                    self.calls[index].read_to_end();
                }
                3 => _ = self.resume(index),
                _ => _ = self.read(index),
            }
        } else if self.rng.chance(3) {
            self.resume(index);
        }
    }

    /// The client of a call resumes its stream after the last event, or an earlier one, as if events had been lost on
    /// their way. Returns whether it is connected again.
    fn resume(&mut self, index: usize) -> bool {
        let call = &mut self.calls[index];
        let Some(last) = call.client.cursor else { return false };
        let lost = if self.rng.chance(3) { self.rng.below(3) as u64 } else { 0 };
        let from = EventId { position: last.position.seq.saturating_sub(lost).into(), ..last };
        let tag = RESUMES + self.resumes.len() as u64;
        let on = self.bench.session.on(Input::Resume);
        let resumed = self.bench.act(|session, now| session.handle_resume(now, &from.to_string(), tag));
        let refused = match (on, resumed) {
            (Verdict::Refuse(refusal), resumed) => {
                assert_eq!(resumed, Err(refusal));
                return false;
            }
            (_, Err(refusal)) => Some(refusal),
            (_, Ok(_)) => None,
        };
        match refused {
            None => {}
            Some(refusal) => {
                assert_eq!(refusal, Refusal::UnknownEvent);
                assert!(!self.generous, "an event that nothing had to be forgotten for: {from}");
                self.corners.insert("a forgotten event refused");
                return false;
            }
        }
        let corner = match (call.over, call.invited, call.read) {
            (_, true, _) => "a client with `retry` is back",
            (_, _, false) => "a live connection taken over",
            (true, ..) => "a finished call resumed",
            (false, ..) => "a running call resumed",
        };
        self.corners.insert(corner);
        if self.bench.session.state() == State::Draining {
            self.corners.insert("resumed in a shutdown");
        }
        if call.client.answer.is_some_and(|answer| from < answer && answer <= last) {
            self.corners.insert("an answer sent again");
        }
        let old = std::mem::replace(&mut call.connection, resumed.unwrap());
        call.client.cursor = Some(from);
        call.tag = tag;
        call.reader = Waiter::default();
        (call.read, call.invited) = (false, false);
        self.resumes.push(index);
        self.sync();
        // D-23: the older connection ends, if it is still there, and its late disconnect has no effect.
        assert_eq!(self.bench.act(|session, now| session.poll_event(now, old)), Next::End);
        self.bench.disconnect(old);
        true
    }

    /// A note with a unique number.
    fn note(&mut self) -> Bytes {
        self.notes += 1;
        let n = self.notes;
        format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"note\",\"params\":{{\"n\":{n}}}}}\n\n").into()
    }

    /// Takes the next events of a connection: one, some, or all that are ready.
    fn poll(&mut self, connection: StreamKey) -> Next<Vec<Bytes>> {
        let frame = self.frame;
        let next = self.bench.act(|session, now| session.poll_events(now, connection, frame));
        next.map(|pieces| {
            let text = Bytes::from(pieces.concat());
            let ends = text.windows(2).enumerate().filter(|(_, end)| end == b"\n\n").map(|(at, _)| at + 2);
            let mut begin = 0;
            let events = ends.map(|end| text.slice(std::mem::replace(&mut begin, end)..end));
            let events: Vec<_> = events.collect();
            assert_eq!(begin, text.len(), "events are whole");
            if events.len() > 1 {
                self.corners.insert("several events at once");
            }
            events
        })
    }

    /// The reader of a call polls once. Returns whether there was something to read.
    fn read(&mut self, index: usize) -> bool {
        let key = self.calls[index].key;
        let connection = self.calls[index].connection;
        let reply = match connection {
            StreamKey::Response(_) => self.bench.act(|session, now| session.poll_reply(now, key)),
            StreamKey::Resumed(..) | StreamKey::Standalone(_) => Some(Reply::Stream),
        };
        let next = match reply {
            Some(Reply::Stream) => {
                self.sync(); // the poll may have advanced a session whose timer is late
                if self.calls[index].read {
                    return true;
                }
                self.poll(connection)
            }
            Some(Reply::Json(_) | Reply::Refused(..) | Reply::Pending) | None => Next::Pending,
        };
        let is_farewell = |event: &Bytes| event.starts_with(b"retry: ");
        let farewell = matches!(&next, Next::Event(events, true) if events.last().is_some_and(is_farewell));
        let over = matches!(next, Next::Event(_, true) | Next::End) && !farewell;
        let call = &mut self.calls[index];
        let waits = next == Next::Pending && matches!(reply, Some(Reply::Stream | Reply::Pending));
        call.reader.look(waits, call.reader_wakes);
        match (reply, next) {
            (Some(Reply::Json(body) | Reply::Refused(body, _)), _) => {
                assert!(call.receive(&body.into()));
                call.read_to_end();
            }
            (_, Next::Event(events, last)) => {
                for (index, event) in events.iter().enumerate().filter(|(_, event)| !is_farewell(event)) {
                    let last = last && index + 1 == events.len();
                    assert!(!call.receive(event) || last, "D-02: an event follows the answer");
                }
                if farewell {
                    assert!(call.outcome.is_none() && !call.settled && call.client.cursor.is_some(), "D-06");
                    (call.read, call.invited) = (true, true);
                } else if last {
                    call.read_to_end();
                }
            }
            (_, Next::End) => {
                let answered = call.client.has_answer();
                assert!(answered || call.outcome == Some(Outcome::Cancelled), "an end without an answer");
                call.read_to_end();
            }
            (_, Next::Cut) => {
                let again = matches!(connection, StreamKey::Resumed(..));
                assert!(again || matches!(call.outcome, Some(Outcome::Forced | Outcome::Cancelled)));
                call.read = true;
            }
            (None, _) => panic!("no reply, although none was taken"),
            (Some(Reply::Pending | Reply::Stream), Next::Pending) => {}
        }
        if over {
            // F-24, F-11: every request that the client has not answered was cancelled, once.
            let open = call.requests.iter().copied().filter(|id| !self.responded.contains(id));
            call.taken_back.sort_unstable();
            assert_eq!(call.taken_back, open.collect::<Vec<_>>());
            if call.client.has_answer() {
                assert_eq!(call.client.seen, call.client.sent.len(), "D-02: notes are missing");
            }
        }
        !waits
    }

    fn get_reader(&mut self) {
        let index = self.rng.below(self.gets.len());
        if self.rng.chance(8) {
            self.bench.disconnect(self.gets[index].key);
            self.gets[index].over = true;
        } else if !self.gets[index].over {
            self.read_get(index);
        }
    }

    fn read_get(&mut self, index: usize) -> bool {
        let next = self.poll(self.gets[index].key);
        let get = &mut self.gets[index];
        get.reader.look(next == Next::Pending, get.reader_wakes);
        match &next {
            Next::Event(events, last) => {
                for event in events {
                    let new = self.client.receive(event);
                    let what = new.map_or(":".into(), |event| brief(&event));
                    let may_come = what == ":"
                        || what == "note"
                        || what.starts_with("ping #")
                        || what.starts_with("cancelled #");
                    assert!(may_come, "D-18: {event:?}");
                    if what.starts_with("cancelled #") {
                        self.corners.insert("a client that did not answer a ping");
                    }
                }
                get.over = *last;
            }
            Next::Pending => {}
            Next::End | Next::Cut => get.over = true,
        }
        next != Next::Pending
    }

    fn client(&mut self) {
        match self.rng.below(8) {
            0 | 1 => {
                let id = self.some_id();
                let on = self.bench.session.on(Input::Cancelled);
                assert_eq!(self.bench.cancel(id.clone()).is_ok(), !matches!(on, Verdict::Refuse(_)));
                if on == Verdict::Accept {
                    let running = self.calls.iter_mut().skip(1).find(|c| c.id == id && c.outcome.is_none());
                    if let Some(call) = running {
                        call.decide(Outcome::Cancelled);
                        call.grace = Some(self.bench.now + self.bench.session.config.cancel_grace);
                    }
                }
            }
            2 | 3 => {
                let open = self.bench.session.outbound.unanswered(|_, _| true);
                let id = match open.len() {
                    waiting if waiting > 0 && self.rng.chance(2) => open[self.rng.below(waiting)].0,
                    _ => self.rng.below(6) as u64,
                };
                let routed = self.bench.session.on(Input::Response) == Verdict::Accept;
                let _ = self.bench.respond(id as i64, "pong");
                if routed && open.iter().any(|(waiting, _)| *waiting == id) {
                    self.responded.insert(id);
                }
            }
            4 => {
                let tag = GETS + self.gets.len() as u64;
                if let Ok(key) = self.get(tag) {
                    let reader = Waiter::default();
                    self.gets.push(Get { key, over: false, reader, reader_wakes: 0, sender_wakes: 0 });
                    assert!(self.bench.session.standalone_tag().is_some());
                }
            }
            5 => {
                let note = self.note();
                let listens = self.bench.session.is_listening();
                let sent = self.bench.act(|session, now| session.notify_standalone(now, &note));
                if sent.is_ok() && listens {
                    self.client.sent.push(self.notes);
                }
                let full = sent == Err(SendError::Full);
                let (waits_on, waiter) = &mut self.announcer;
                if let Some(tag) = self.bench.session.standalone_tag().filter(|_| full) {
                    *waits_on = (tag - GETS) as usize;
                }
                if let Some(get) = self.gets.get(*waits_on) {
                    waiter.look(full, get.sender_wakes);
                }
            }
            6 => {
                let verdict = self.bench.input(Input::Initialized);
                self.initialized |= verdict == Ok(Verdict::Operate);
            }
            _ => {
                let _ = self.bench.input(Input::Ping);
            }
        }
    }

    /// A GET, plain or with `Last-Event-ID`. After a plain one the client may have missed events, unless all are kept.
    fn get(&mut self, tag: u64) -> Result<StreamKey, Refusal> {
        let replay = self.bench.session.config.replay.is_some();
        let cut = self.gets.last().is_some_and(|get| !get.over);
        if let Some(last) = self.client.cursor.filter(|_| self.rng.chance(2)) {
            let lost = self.rng.below(3) as u64;
            let from = EventId { position: last.position.seq.saturating_sub(lost).into(), ..last };
            let resumed = self.bench.act(|session, now| session.handle_resume(now, &from.to_string(), tag));
            let stands = self.bench.session.state();
            match resumed {
                Ok(_) => {
                    self.corners.insert("a GET resumed where it was cut");
                    self.client.cursor = Some(from);
                }
                Err(Refusal::UnknownEvent) => {
                    assert!(!self.generous, "an event that nothing had to be forgotten for: {from}");
                    self.client.forget();
                }
                Err(Refusal::StreamContested) => _ = self.corners.insert("one takeover too many"),
                Err(refusal) => {
                    assert!(matches!(stands, State::Draining | State::Terminated), "{refusal:?}");
                }
            }
            return resumed;
        }
        let key = self.bench.act(|session, now| session.handle_get(now, tag));
        if key == Err(Refusal::StreamContested) {
            self.corners.insert("one takeover too many");
        }
        let key = key?;
        // Without replay the events queued on an ended connection are lost; with tight replay they may be forgotten.
        if !replay || !self.generous {
            self.client.forget();
        } else if let (true, Some(stream)) = (cut, self.bench.session.streams.standalone()) {
            assert!(stream.is_connected());
        }
        Ok(key)
    }

    fn ending(&mut self) {
        let stood = self.bench.stands();
        let reason = match self.rng.below(10) {
            0 => {
                let session = &self.bench.session;
                let away = |call: &Call| {
                    let stream = session.exchanges.get(call.key).and_then(|exchange| exchange.stream());
                    stream.is_some_and(Stream::is_away)
                };
                let away: Vec<bool> = self.calls.iter().map(away).collect();
                if self.bench.delete().is_ok() {
                    // A client that deletes its session does not come back for disconnected streams.
                    for (call, _) in self.calls.iter_mut().zip(away).filter(|(_, away)| *away) {
                        if call.outcome.is_none() {
                            call.grace = Some(self.bench.now + self.bench.session.config.cancel_grace);
                        }
                        if !call.settled {
                            self.corners.insert("a disconnected call in a deleted session");
                            call.outcome = Some(Outcome::Cancelled);
                            call.settled = true;
                        }
                    }
                }
                TerminateReason::ClientDelete
            }
            1 => {
                self.bench.terminate(TerminateReason::Evicted);
                TerminateReason::Evicted
            }
            2 => {
                self.bench.close();
                TerminateReason::Shutdown
            }
            3..6 => {
                let schedule = schedule(&mut self.rng);
                self.bench.drain(&schedule);
                TerminateReason::Shutdown
            }
            _ => return,
        };
        self.reason.get_or_insert(reason);
        if stood == (State::Draining, Phase::Finishing) && self.bench.session.state() == State::Terminated {
            self.corners.insert("terminated in a shutdown, while finishing");
            let (now, finish) = (self.bench.now, self.bench.session.config.terminate.finish);
            assert!(
                self.bench.session.lifecycle.ending().is_some_and(|ending| ending.close_at <= now + finish),
                "F-37"
            );
        }
    }

    /// Every client that is away comes back, and gets the events that it has missed.
    fn come_back(&mut self) {
        self.wait(Duration::ZERO); // if the timer was late, the session may be over
        self.sync();
        for index in 0..self.calls.len() {
            let call = &self.calls[index];
            let away = call.read && call.client.cursor.is_some() && !call.client.has_answer();
            if !away || !self.resume(index) {
                continue;
            }
            while !self.calls[index].read && self.read(index) {}
            let call = &self.calls[index];
            match call.outcome {
                None | Some(Outcome::Cancelled) => {}
                Some(Outcome::Answered | Outcome::Synthesized | Outcome::Forced) => {
                    assert!(call.client.has_answer(), "its answer is lost");
                }
            }
        }
    }

    /// Ends the session. Half of the time it ends by itself, within its schedule.
    fn finish(&mut self) {
        if self.rng.chance(2) {
            self.come_back();
        }
        if self.rng.chance(2) {
            self.bench.drain(&super::SHUTDOWN);
            self.reason.get_or_insert(TerminateReason::Shutdown);
            self.sync();
            let TerminatePolicy { drain, cancel, finish } = super::SHUTDOWN;
            assert!(self.bench.run_to(Phase::Closed) <= drain + cancel + finish, "S3");
            self.wait(Duration::ZERO);
            self.sync();
        }
        self.bench.close();
        self.reason.get_or_insert(TerminateReason::Shutdown);
        self.sync();
        assert_eq!(self.bench.stands(), (State::Terminated, Phase::Closed));
        assert!(self.calls.iter().all(|call| call.settled));
        // S14: every reader and handler that still polls finds an end.
        for index in 0..self.calls.len() {
            let call = &self.calls[index];
            assert!(call.released || self.bench.status(call.key).abandoned, "a handler is left");
            while !self.calls[index].read {
                assert!(self.read(index), "a reader is left");
            }
        }
        for index in 0..self.gets.len() {
            while !self.gets[index].over {
                assert!(self.read_get(index), "a reader of a GET is left");
            }
        }
        self.bench.wait(secs(24 * 60 * 60));
        assert_eq!(self.bench.session.next_timeout(), None);
    }
}

fn schedule(rng: &mut Rng) -> TerminatePolicy {
    let mut budget = || rng.one(&[Duration::ZERO, secs(2), secs(10)]);
    TerminatePolicy { drain: budget(), cancel: budget(), finish: budget() }
}
