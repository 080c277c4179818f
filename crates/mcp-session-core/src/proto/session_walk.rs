//! A seeded random walk: clients, handlers, timers and endings in any order, beside a model of what is owed to
//! whom.

use std::time::Duration;

use super::{
    Bench, ExchangeKey, INITIALIZE, Input, Json, MS, Next, OutboundId, Phase, Refusal, Reply, RequestError,
    RequestId, ResponseMode, RpcError, Schedule, SecondStream, SendError, SessionConfig, State, Status,
    StreamKey, Tally, TerminateReason, Verdict, Wake, config, secs,
};
use crate::proto::{Outcome, Outgoing};

const SEEDS: u64 = 2_000;
const STEPS: usize = 200;
/// Tags of GET streams begin here, those of calls at 0.
const GETS: u64 = 1 << 32;

#[test]
fn s_5_whatever_happens_every_call_gets_one_end() {
    let mut total = Tally::default();
    for seed in 1..=SEEDS {
        super::add(&mut total, &walk(seed).bench.tally);
    }
    // It has been everywhere.
    let Tally { answered, synthesized, cancelled, forced, streams_ended, streams_cut, .. } = total;
    for count in [answered, synthesized, cancelled, forced, streams_ended, streams_cut] {
        assert!(count > 500, "{total:?}");
    }
}

#[test]
fn a_walk_replays() {
    for seed in 1..=200 {
        assert_eq!(walk(seed).trace, walk(seed).trace, "seed {seed}");
    }
}

/// Where a walk is, for the one who reads of its failure.
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
            break; // a little after its end, it has seen all there is
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

/// Somebody who was told to wait, and how often he had been woken by then.
#[derive(Default, Clone, Copy)]
struct Waiter(Option<u32>);

impl Waiter {
    /// Nobody finds something new without having been woken for it.
    fn look(&mut self, waits: bool, wakes: u32) {
        if let (false, Some(before)) = (waits, self.0) {
            assert!(wakes > before, "a lost wake");
        }
        self.0 = waits.then_some(wakes);
    }
}

/// What the model knows of a call.
struct Call {
    key: ExchangeKey,
    id: RequestId,
    /// What its handler answers, if it gets to that.
    answer: Result<Json, RpcError>,
    outcome: Option<Outcome>,
    settled: bool,
    /// The handler is through.
    released: bool,
    /// The reader is through, or has gone.
    read: bool,
    answers_seen: usize,
    asked: Vec<(OutboundId, Waiter)>,
    reader: Waiter,
    space: Waiter,
    status: (Status, u32),
    reader_wakes: u32,
    handler_wakes: u32,
}

impl Call {
    fn new(key: ExchangeKey, id: RequestId, answer: Result<Json, RpcError>) -> Self {
        Self {
            key,
            id,
            answer,
            outcome: None,
            settled: false,
            released: false,
            read: false,
            answers_seen: 0,
            asked: Vec::new(),
            reader: Waiter::default(),
            space: Waiter::default(),
            status: (Status::default(), 0),
            reader_wakes: 0,
            handler_wakes: 0,
        }
    }

    /// Its outcome is decided: counted as soon as the reply is out of the house.
    fn decide(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.settled |= self.read;
    }

    fn read_to_end(&mut self) {
        self.read = true;
        self.settled |= self.outcome.is_some();
    }

    /// Its reader got `message`. Returns whether that is an answer: the one that is due, and only one.
    fn receive(&mut self, message: &[u8]) -> bool {
        let message = std::str::from_utf8(message).unwrap();
        let message = message.strip_prefix("data: ").unwrap_or(message).trim_end();
        if message == ":" || message.contains("\"method\"") {
            assert_eq!(self.answers_seen, 0, "{message} after the answer");
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
        true
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
    /// The application waits for space on this GET.
    announcer: (usize, Waiter),
    /// Everybody who was woken, in order.
    trace: Vec<Wake<u64>>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let config = SessionConfig {
            idle_timeout: secs(60),
            max_age: rng.one(&[None, None, Some(secs(200))]),
            queue_events: 1 + rng.below(4),
            response_mode: rng.one(&[ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json]),
            second_stream: rng.one(&[SecondStream::Refuse, SecondStream::Replace]),
            max_exchanges: 4,
            terminate: schedule(&mut rng),
            ..config()
        };
        let answer = if rng.chance(5) { Err(RpcError::internal("no")) } else { Json::new("yes") };
        let mut initialize = Call::new(INITIALIZE, 0.into(), answer);
        let bench = if rng.chance(4) {
            Bench::initializing(config)
        } else {
            initialize.decide(Outcome::Answered);
            initialize.read_to_end();
            initialize.released = true;
            Bench::operating(config)
        };
        let calls = vec![initialize];
        let mut walk = Self {
            rng,
            bench,
            calls,
            gets: Vec::new(),
            announcer: (0, Waiter::default()),
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
            84..98 => self.client(),
            _ => self.ending(),
        }
        self.sync();
    }

    /// Compares the machine with the model, and wakes who is to be woken.
    fn sync(&mut self) {
        for wake in std::mem::take(&mut self.bench.wakes) {
            match wake {
                Wake::Reader(tag) if tag >= GETS => self.gets[(tag - GETS) as usize].reader_wakes += 1,
                Wake::Reader(tag) => self.calls[tag as usize].reader_wakes += 1,
                Wake::Handler(tag) if tag >= GETS => self.gets[(tag - GETS) as usize].sender_wakes += 1,
                Wake::Handler(tag) => self.calls[tag as usize].handler_wakes += 1,
            }
            self.trace.push(wake);
        }
        let phase = self.bench.session.phase();
        let (mut running, mut outcomes) = (0, [0; 4]);
        for call in &mut self.calls {
            if phase >= Phase::Finishing && call.outcome.is_none() {
                call.decide(Outcome::Synthesized);
            }
            if phase == Phase::Closed && !call.settled {
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
        assert_eq!(self.bench.session.running(), running);
        assert_eq!(self.bench.outcomes(), outcomes);
    }

    fn pass_time(&mut self) {
        let due = self.bench.session.next_timeout().map(|at| at.saturating_duration_since(self.bench.now));
        let time = match (self.rng.below(3), due) {
            (0, Some(due)) => due,
            (1, Some(due)) => due.saturating_sub(MS),
            _ => self.rng.one(&[Duration::ZERO, MS, secs(1), secs(3), secs(20)]),
        };
        if self.rng.chance(5) {
            self.bench.now += time; // the timer is late
        } else {
            self.bench.wait(time);
        }
    }

    fn request(&mut self) {
        let id = self.some_id();
        let in_flight = self.calls.iter().filter(|call| call.outcome.is_none());
        let (running, duplicate) = (in_flight.clone().count(), in_flight.clone().any(|call| call.id == id));
        let expected = match self.bench.session.state().on(Input::Request) {
            Verdict::Refuse(refusal) => Err(refusal),
            _ if duplicate => Err(Refusal::DuplicateId),
            _ if running >= 4 => Err(Refusal::TooManyRequests),
            _ => Ok(()),
        };
        let tag = self.calls.len() as u64;
        let key = self.bench.act(|session, now| session.handle_request(now, id.clone(), tag));
        assert_eq!(key.map(|_| ()), expected);
        if let Ok(key) = key {
            self.calls.push(Call::new(key, id, Json::new(&tag)));
        }
    }

    /// One of the later calls: most of the earlier ones are over.
    fn some_call(&mut self) -> usize {
        let from = self.calls.len().saturating_sub(8);
        from + self.rng.below(self.calls.len() - from)
    }

    fn some_id(&mut self) -> RequestId {
        let id = self.rng.below(4) as i64;
        if self.rng.chance(2) { id.into() } else { RequestId::from(&*id.to_string()) }
    }

    fn handler(&mut self) {
        let (index, what) = (self.some_call(), self.rng.below(8));
        let (bench, call) = (&mut self.bench, &mut self.calls[index]);
        let key = call.key;
        if call.released {
            bench.answer(key); // changes nothing any more
            return;
        }
        match what {
            0 => bench.act(|session, now| session.handle_suspended(now, key)),
            1 | 2 => {
                let sent = bench.notify(key);
                call.space.look(sent == Err(SendError::Full), call.handler_wakes);
                assert_eq!(sent == Err(SendError::Closed), call.outcome.is_some());
            }
            3 => match bench.ask(key, "ping") {
                Ok(id) => call.asked.push((id, Waiter::default())),
                Err(RequestError::Send(SendError::Full)) => call.space.look(true, call.handler_wakes),
                Err(_) => {}
            },
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
                call.status = (status, call.handler_wakes);
                if call.status.0.abandoned {
                    bench.act(|session, now| session.handle_released(now, key));
                    call.released = true;
                }
            }
            6 => {
                if let Some((id, _)) = call.asked.pop() {
                    bench.act(|session, now| session.abandon_request(now, id));
                }
            }
            _ => {
                bench.act(|session, now| session.answer(now, key, &call.answer));
                call.released = true;
                if call.outcome.is_none() {
                    call.decide(Outcome::Answered);
                }
            }
        }
    }

    fn reader(&mut self) {
        if self.rng.chance(6) && !self.gets.is_empty() {
            return self.get_reader();
        }
        let index = self.some_call();
        if !self.calls[index].read {
            if self.rng.chance(20) {
                self.bench.disconnect(StreamKey::Response(self.calls[index].key));
                self.calls[index].read_to_end();
            } else {
                self.read(index);
            }
        }
    }

    /// The reader of a call looks once. Returns whether there was something.
    fn read(&mut self, index: usize) -> bool {
        let key = self.calls[index].key;
        let reply = self.bench.act(|session, now| session.poll_reply(now, key));
        let next = match reply {
            Some(Reply::Stream) => {
                self.sync(); // looking at it may have been what moved a late session on
                self.bench.act(|session, now| session.poll_event(now, StreamKey::Response(key)))
            }
            Some(Reply::Json(_) | Reply::Pending) | None => Next::Pending,
        };
        let call = &mut self.calls[index];
        let waits = next == Next::Pending && matches!(reply, Some(Reply::Stream | Reply::Pending));
        call.reader.look(waits, call.reader_wakes);
        match (reply, next) {
            (Some(Reply::Json(body)), _) => {
                assert!(call.receive(&body));
                call.read_to_end();
            }
            (_, Next::Event(event, last)) => {
                assert!(!call.receive(&event) || last, "D-02: something follows the answer");
                if last {
                    call.read_to_end();
                }
            }
            (_, Next::End) => {
                assert_eq!(call.outcome, Some(Outcome::Cancelled), "an end without an answer");
                call.read_to_end();
            }
            (_, Next::Cut) => {
                assert!(matches!(call.outcome, Some(Outcome::Forced | Outcome::Cancelled)));
                call.read = true;
            }
            (None, _) => panic!("a reply that was never given is gone"),
            (Some(Reply::Pending | Reply::Stream), Next::Pending) => {}
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
        let get = &mut self.gets[index];
        let next = self.bench.act(|session, now| session.poll_event(now, get.key));
        get.reader.look(next == Next::Pending, get.reader_wakes);
        match &next {
            Next::Event(event, last) => {
                assert!(event == super::HEARTBEAT || *event == super::NOTE, "D-18: {event:?}");
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
                let state = self.bench.session.state();
                assert_eq!(self.bench.cancel(id.clone()).is_ok(), state != State::Terminated);
                if state.on(Input::Cancelled) == Verdict::Accept {
                    let running = self.calls.iter_mut().skip(1).find(|c| c.id == id && c.outcome.is_none());
                    if let Some(call) = running {
                        call.decide(Outcome::Cancelled);
                    }
                }
            }
            2 | 3 => {
                let id = self.rng.below(6) as i64;
                let _ = self.bench.respond(id, "pong");
            }
            4 => {
                let tag = GETS + self.gets.len() as u64;
                if let Ok(key) = self.bench.act(|session, now| session.handle_get(now, tag)) {
                    let reader = Waiter::default();
                    self.gets.push(Get { key, over: false, reader, reader_wakes: 0, sender_wakes: 0 });
                    assert_eq!(self.bench.session.standalone_tag(), Some(&tag));
                }
            }
            5 => {
                let full = self.bench.announce() == Err(SendError::Full);
                let (waits_on, waiter) = &mut self.announcer;
                if full {
                    *waits_on = self.gets.len() - 1;
                }
                if let Some(get) = self.gets.get(*waits_on) {
                    waiter.look(full, get.sender_wakes);
                }
            }
            6 => {
                let _ = self.bench.input(Input::Initialized);
            }
            _ => {
                let _ = self.bench.input(Input::Ping);
            }
        }
    }

    fn ending(&mut self) {
        match self.rng.below(10) {
            0 => drop(self.bench.delete()),
            1 => drop(self.bench.terminate(TerminateReason::Evicted)),
            2 => self.bench.close(),
            3..6 => {
                let schedule = schedule(&mut self.rng);
                self.bench.drain(&schedule);
            }
            _ => {}
        }
    }

    /// Ends it, half of the time by itself: then it keeps to its schedule.
    fn finish(&mut self) {
        if self.rng.chance(2) {
            self.bench.drain(&super::SHUTDOWN);
            let Schedule { drain, cancel, finish } = super::SHUTDOWN;
            assert!(self.bench.run_to(Phase::Closed) <= drain + cancel + finish, "S3");
        }
        self.bench.close();
        self.sync();
        assert_eq!(self.bench.stands(), (State::Terminated, Phase::Closed));
        assert!(self.calls.iter().all(|call| call.settled));
        // S14: whoever still looks, finds an end.
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

fn schedule(rng: &mut Rng) -> Schedule {
    let mut budget = || rng.one(&[Duration::ZERO, secs(2), secs(10)]);
    Schedule { drain: budget(), cancel: budget(), finish: budget() }
}
