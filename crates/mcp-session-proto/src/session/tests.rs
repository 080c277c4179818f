//! The session state machine, scenario by scenario. Tests are named after the requirement or promise that they show.

use std::time::Duration;

use super::*;
use crate::{
    config::{ReplayConfig, ResponseMode, SecondStream},
    ending::{Ending, TerminatePolicy},
    event::HEARTBEAT,
    message::{ErrorCode, RpcResponse},
    outbound::OutboundId,
    output::{Event, Tally, Wake},
    stream::{Next, Stream},
    testing::start,
};

mod batches;
mod cluster;
mod contest;
mod liveness;
mod model;
mod replay;

const MS: Duration = Duration::from_millis(1);
/// More timers than any of these sessions may need: a session that needs more is stuck in a loop.
const MANY: usize = 10_000;
/// The budgets of a shutdown.
const SHUTDOWN: TerminatePolicy = TerminatePolicy { drain: secs(15), cancel: secs(3), finish: secs(2) };
const NOTE: Bytes = Bytes::from_static(b"data: {\"jsonrpc\":\"2.0\",\"method\":\"note\"}\n\n");

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Without replay, which has its own tests: a client cannot fetch events that it missed, and events have no ids.
fn config() -> SessionConfig {
    let (ping_interval, linger) = (Duration::ZERO, Duration::ZERO);
    SessionConfig { ping_interval, linger, replay: None, ..SessionConfig::default() }
}

/// A session, its time, and its output so far. After every call, the invariants are checked.
struct Bench {
    now: Instant,
    session: Session<u64>,
    tags: u64,
    tally: Tally,
    wakes: Vec<Wake<u64>>,
    /// Those reported so far.
    events: Vec<Event>,
    ending: Option<Ending>,
    /// The state before the last call, and whether the session was established.
    was: (State, bool),
}

impl Bench {
    fn initializing(config: SessionConfig) -> Self {
        Self::of_version(ProtocolVersion::LATEST_WITH_HANDSHAKE, config)
    }

    fn of_version(version: ProtocolVersion, config: SessionConfig) -> Self {
        let (sampling, elicitation, roots) = (true, true, true);
        let all = ClientCapabilities { sampling, elicitation, roots, ..ClientCapabilities::default() };
        let now = start();
        let (session, key) = Session::new(now, Arc::new(config), 0.into(), 0, version, all);
        assert_eq!(key, INITIALIZE);
        let (tally, wakes, was) = (Tally::default(), Vec::new(), (State::Initializing, false));
        let events = Vec::new();
        let mut bench = Self { now, session, tags: 0, tally, wakes, events, ending: None, was };
        bench.check();
        bench
    }

    fn awaiting(config: SessionConfig) -> Self {
        let mut bench = Self::initializing(config);
        bench.establish();
        bench
    }

    /// The client gets the result of `initialize`.
    fn establish(&mut self) {
        self.answer(INITIALIZE);
        let _ = (self.reply(INITIALIZE), self.read(StreamKey::Response(INITIALIZE)));
    }

    fn operating(config: SessionConfig) -> Self {
        let mut bench = Self::awaiting(config);
        assert_eq!(bench.input(Input::Initialized), Ok(Verdict::Operate));
        bench
    }

    fn in_state(state: State) -> Self {
        let mut bench = match state {
            State::Initializing => return Self::initializing(SessionConfig::default()),
            State::AwaitingInitialized => Self::awaiting(SessionConfig::default()),
            State::Operating | State::Draining | State::Terminated => {
                Self::operating(SessionConfig::default())
            }
        };
        bench.call(1);
        match state {
            State::Draining => bench.drain(&SHUTDOWN),
            State::Terminated => assert!(bench.terminate(TerminateReason::Evicted)),
            State::Initializing | State::AwaitingInitialized | State::Operating => {}
        }
        assert_eq!(bench.session.state(), state);
        bench
    }

    /// The only way to change the session.
    fn act<R>(&mut self, act: impl FnOnce(&mut Session<u64>, Instant) -> R) -> R {
        let result = act(&mut self.session, self.now);
        self.check();
        result
    }

    /// A request that is owed an answer.
    fn owed(&self) -> Option<(ExchangeKey, RequestId)> {
        let running = self.session.exchanges.iter().find(|(_, exchange)| exchange.is_running());
        running.map(|(key, exchange)| (key, exchange.id().clone()))
    }

    /// Checks the invariants that hold after every call.
    fn check(&mut self) {
        let (session, all) = (&mut self.session, &mut self.tally);
        let output = session.take_output();
        add(all, &output.tally);
        for event in output.events {
            assert!(!self.events.contains(&event), "{event:?} is reported once, after {:?}", self.events);
            self.events.push(event);
        }
        self.wakes.extend(output.into_wakes());
        for (event, has_happened) in [
            (Event::Ending, session.lifecycle.is_ending()),
            (Event::Dead, session.state() == State::Terminated),
            (Event::Closed, session.phase() == Phase::Closed),
        ] {
            assert_eq!(self.events.contains(&event), has_happened, "{event:?}");
        }
        // An adopted session is established from the start, without an event.
        assert!(session.is_established() || !self.events.contains(&Event::Established));

        assert_eq!(usize::try_from(all.running), Ok(session.running()), "running: {all:?}");
        assert_eq!(usize::try_from(all.replies), Ok(session.unsettled()), "unsettled: {all:?}");
        let outcomes = all.answered + all.synthesized + all.cancelled + all.forced;
        assert_eq!(all.admitted as usize, outcomes as usize + session.unsettled(), "{all:?}");
        let closed = all.streams_ended + all.streams_cut;
        assert_eq!(all.streams_opened as usize, closed as usize + session.streams(), "{all:?}");

        let due = session.deadlines().into_iter().min();
        let timer = session.next_timeout();
        assert!(due.is_none_or(|due| timer.is_some_and(|timer| timer <= due)), "the timer is late");

        assert_eq!(
            session.lifecycle.is_ending(),
            matches!(session.state(), State::Draining | State::Terminated)
        );
        if let (Some(was), Some(is)) = (self.ending, session.lifecycle.ending().copied()) {
            assert!(was.phase <= is.phase, "{was:?} then {is:?}");
            let deadlines = |ending: Ending| [ending.cancel_at, ending.finish_at, ending.close_at];
            let mut at_most = was;
            if was.phase < Phase::Finishing && is.phase >= Phase::Finishing {
                at_most.finish_late(self.now);
            }
            let closer = deadlines(at_most).into_iter().zip(deadlines(is)).all(|(most, is)| is <= most);
            assert!(closer, "S10: {was:?} then {is:?}");
            // A session that only moves has not ended.
            let moved = session.moves(was.reason) && session.state() == State::Terminated;
            assert!(was.reason == is.reason || moved, "S12: {was:?} then {is:?}");
        }
        self.ending = session.lifecycle.ending().copied();
        if session.lifecycle.is_ending() {
            let lingers = session.lifecycle.ending().is_some_and(|ending| ending.lingers(self.now));
            let rests = session.running() == 0 && !lingers;
            assert_eq!(session.phase() >= Phase::Finishing, rests, "S4");
            let lingering = session.phase() == Phase::Draining
                && session.lifecycle.ending().is_some_and(|ending| ending.linger.is_some());
            assert_eq!(all.lingering, i32::from(lingering), "{all:?}");
        }
        let winding_down = session.exchanges.values().any(Exchange::is_winding_down);
        match session.phase() {
            Phase::Finishing => assert!(!session.is_delivered(), "S4: nothing to wait for"),
            Phase::Closed => {
                assert_eq!((session.unsettled(), session.streams(), winding_down), (0, 0, false));
            }
            Phase::Running | Phase::Draining | Phase::Cancelling => {}
        }

        assert!(session.exchanges.len() <= session.config.max_exchanges, "too many exchanges");
        if let Some(ReplayConfig { events, bytes, .. }) = session.config.replay {
            let kept = session.streams.kept();
            assert!(kept.0 <= events && kept.1 <= bytes, "D-36: {kept:?}");
            let replies = session.exchanges.values().filter_map(|exchange| exchange.stream());
            let streams = replies.chain(session.streams.standalone()).chain(session.streams.all_finished());
            assert!(session.streams.relays().all(|relay| relay.kept() == 0));
            assert_eq!(kept.0, streams.map(Stream::kept).sum::<usize>(), "D-36: replay and streams differ");
            let away = session.streams.all_finished().filter(|stream| stream.is_over() || stream.is_away());
            assert!(away.count() <= kept.0, "D-36: a stream is kept forever");
        }
        let is = (session.state(), session.is_established());
        let (state, established) = mem::replace(&mut self.was, is);
        assert!(state != State::Terminated || is == (state, established), "C-20, E-11: {is:?}");
    }

    // Time.

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.act(Session::handle_timeout);
        assert!(self.session.next_timeout().is_none_or(|next| next > self.now), "S3: the timer is stuck");
    }

    /// Calls `handle_timeout` only when the session asks for it, until `done`. Returns the time that this took.
    fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> Duration {
        self.run_reading(None, done)
    }

    /// As `run_until`, with a client that reads this stream.
    fn run_reading(&mut self, stream: Option<StreamKey>, done: impl Fn(&Self) -> bool) -> Duration {
        let from = self.now;
        for _ in 0..MANY {
            if done(self) {
                return self.now - from;
            }
            let next = self.session.next_timeout().expect("something to wait for");
            self.wait(next.saturating_duration_since(self.now));
            if let Some(stream) = stream {
                self.read(stream);
            }
        }
        panic!("S3: {MANY} timers and not done");
    }

    fn run_to(&mut self, phase: Phase) -> Duration {
        self.run_until(|b| b.session.phase() >= phase)
    }

    // The client.

    fn input(&mut self, input: Input) -> Result<Verdict, Refusal> {
        self.act(|session, now| session.handle_input(now, input))
    }

    fn request(&mut self, id: impl Into<RequestId>) -> Result<ExchangeKey, Refusal> {
        self.tags += 1;
        let tag = self.tags;
        self.act(|session, now| session.handle_request(now, id.into(), tag))
    }

    fn list(&mut self, id: impl Into<RequestId>) -> Result<ExchangeKey, Refusal> {
        self.tags += 1;
        let tag = self.tags;
        self.act(|session, now| session.handle_list(now, id.into(), tag))
    }

    /// An admitted request whose handler is not ready at once.
    fn call(&mut self, id: impl Into<RequestId>) -> ExchangeKey {
        let key = self.request(id).unwrap();
        self.act(|session, now| session.handle_suspended(now, key));
        key
    }

    /// As `call`, with a reply that is a stream.
    fn stream(&mut self, id: impl Into<RequestId>) -> (ExchangeKey, StreamKey) {
        let key = self.call(id);
        assert_eq!(self.notify(key), Ok(()));
        assert_eq!(self.reply(key), "stream");
        assert_eq!(self.read(StreamKey::Response(key)), ["note"]);
        (key, StreamKey::Response(key))
    }

    /// As `stream`, in a session with replay, for a client that gets no priming event.
    fn stream_with_ids(&mut self, id: impl Into<RequestId>) -> (ExchangeKey, StreamKey) {
        let key = self.call(id);
        assert_eq!(self.notify(key), Ok(()));
        let stream = StreamKey::Response(key);
        assert_eq!(self.read(stream), [format!("{}-1 note", key.0)]);
        (key, stream)
    }

    fn get(&mut self) -> Result<StreamKey, Refusal> {
        self.tags += 1;
        let tag = self.tags;
        self.act(|session, now| session.handle_get(now, tag))
    }

    fn resume(&mut self, last_event_id: &str) -> Result<StreamKey, Refusal> {
        self.tags += 1;
        let tag = self.tags;
        self.act(|session, now| session.handle_resume(now, last_event_id, tag))
    }

    fn delete(&mut self) -> Result<(), Refusal> {
        self.act(Session::handle_delete)
    }

    fn cancel(&mut self, id: impl Into<RequestId>) -> Result<(), Refusal> {
        self.act(|session, now| session.handle_cancelled(now, Some(&id.into()), Some("enough".into())))
    }

    fn respond(&mut self, id: impl Into<RequestId>, result: &str) -> Result<(), Refusal> {
        let response = RpcResponse { id: Some(id.into()), outcome: Json::new(result) };
        self.act(|session, now| session.handle_response(now, response))
    }

    fn disconnect(&mut self, key: StreamKey) {
        self.act(|session, now| session.handle_disconnect(now, key));
    }

    /// The body of the response to a POST, or its kind so far.
    fn reply(&mut self, key: ExchangeKey) -> String {
        match self.act(|session, now| session.poll_reply(now, key)) {
            Some(Reply::Json(body) | Reply::Refused(body, _)) => brief(&Bytes::from(body)),
            Some(Reply::Stream) => "stream".into(),
            Some(Reply::Pending) => "pending".into(),
            None => "taken".into(),
        }
    }

    /// Reads the events that are there now, and the end if the stream has ended.
    fn read(&mut self, key: StreamKey) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match self.act(|session, now| session.poll_event(now, key)) {
                Next::Event(event, last) => {
                    seen.push(brief(&event));
                    if !last {
                        continue;
                    }
                    seen.push("end".into());
                }
                Next::Pending => {}
                Next::End => seen.push("end".into()),
                Next::Cut => seen.push("cut".into()),
            }
            return seen;
        }
    }

    // The handler and the application.

    fn answer(&mut self, key: ExchangeKey) {
        self.act(|session, now| session.answer(now, key, &Json::new("done")));
    }

    fn notify(&mut self, key: ExchangeKey) -> Result<(), SendError> {
        self.act(|session, now| session.notify(now, key, &NOTE))
    }

    fn release(&mut self, key: ExchangeKey) {
        self.act(|session, now| session.handle_released(now, key));
    }

    fn announce(&mut self) -> Result<(), SendError> {
        self.act(|session, now| session.notify_standalone(now, &NOTE))
    }

    fn ask(&mut self, key: ExchangeKey, method: &str) -> Result<OutboundId, RequestError> {
        let tag = self.session.tag_or(key, || 0).unwrap_or_default();
        self.act(|session, now| session.request(now, key, tag, method, None, secs(60)))
    }

    fn outbound(&mut self, id: OutboundId) -> Option<Result<Json, RequestError>> {
        self.act(|session, _| session.poll_outbound(id))
    }

    fn unanswered(&self) -> usize {
        self.session.outbound.unanswered(|_, _| true).len()
    }

    fn status(&self, key: ExchangeKey) -> Status {
        self.session.poll_status(key)
    }

    fn terminate(&mut self, reason: TerminateReason) -> bool {
        self.act(|session, now| session.terminate(now, reason))
    }

    fn drain(&mut self, schedule: &TerminatePolicy) {
        self.act(|session, now| session.drain(now, schedule));
    }

    /// The time left for draining, cancelling and finishing.
    fn left(&self) -> [Duration; 3] {
        let ending = self.session.lifecycle.ending().unwrap();
        [ending.cancel_at, ending.finish_at, ending.close_at].map(|at| at.saturating_duration_since(self.now))
    }

    fn close(&mut self) {
        self.act(|session, now| session.close(now, TerminateReason::Shutdown));
    }

    fn stands(&self) -> (State, Phase) {
        (self.session.state(), self.session.phase())
    }

    /// The counts of outcomes: answered, synthesized, cancelled, forced.
    fn outcomes(&self) -> [u32; 4] {
        let tally = &self.tally;
        [tally.answered, tally.synthesized, tally.cancelled, tally.forced]
    }
}

const INITIALIZE: ExchangeKey = ExchangeKey(0);
/// The outcomes of a session that has only been initialized.
const ONLY_INITIALIZED: [u32; 4] = [1, 0, 0, 0];

fn add(sum: &mut Tally, more: &Tally) {
    sum.admitted += more.admitted;
    sum.running += more.running;
    sum.lingering += more.lingering;
    sum.replies += more.replies;
    sum.answered += more.answered;
    sum.synthesized += more.synthesized;
    sum.cancelled += more.cancelled;
    sum.forced += more.forced;
    sum.streams_opened += more.streams_opened;
    sum.streams_ended += more.streams_ended;
    sum.streams_cut += more.streams_cut;
    sum.pings_unanswered += more.pings_unanswered;
    sum.orphaned += more.orphaned;
}

/// A message in short: `method #id` for a request, `id = result` or `id ! code reason` for an answer, with the event's
/// id before it if it has one.
fn brief(message: &[u8]) -> String {
    if message == HEARTBEAT {
        return ":".into();
    }
    let text = std::str::from_utf8(message).unwrap();
    if let Some((id, event)) = text.strip_prefix("id: ").and_then(|text| text.split_once('\n')) {
        return format!("{id} {}", brief(event.as_bytes()));
    }
    if text == "data: \n\n" {
        return "primes".into();
    }
    if let Some(retry) = text.strip_prefix("retry: ") {
        return format!("retry {}", retry.strip_suffix("\n\n").unwrap());
    }
    let data = text.strip_prefix("event: message\n").unwrap_or(text);
    let value: serde_json::Value = serde_json::from_str(data.trim_start_matches("data: ")).unwrap();
    let (id, method) = (&value["id"], value["method"].as_str());
    match (method, value.get("error")) {
        (Some("notifications/cancelled"), _) => format!("cancelled #{}", value["params"]["requestId"]),
        (Some(method), _) if id.is_null() => method.into(),
        (Some(method), _) => format!("{method} #{id}"),
        (None, Some(error)) => {
            let reason = error["data"]["reason"].as_str().unwrap_or("-");
            format!("{id} ! {} {reason}", error["code"])
        }
        (None, None) => format!("{id} = {}", value["result"]),
    }
}

fn told(reason: TerminateReason) -> Status {
    Status { cancelled: Some(CancelReason::Terminated(reason)), abandoned: false }
}

// The state table, compared with the session.

const STATES: [State; 5] =
    [State::Initializing, State::AwaitingInitialized, State::Operating, State::Draining, State::Terminated];

const INPUTS: [Input; 12] = [
    Input::Initialize,
    Input::Initialized,
    Input::Ping,
    Input::Request,
    Input::List,
    Input::Response,
    Input::Cancelled,
    Input::Notification,
    Input::Get,
    Input::Resume,
    Input::Delete,
    Input::Expire,
];

/// The verdict of the session on `input`, derived from its effects if it has any.
fn observe(b: &mut Bench, input: Input) -> Verdict {
    let running = b.owed().map_or(INITIALIZE, |(key, _)| key);
    let asked = b.ask(running, "ping").ok();
    let before = (b.session.running(), b.session.streams(), b.session.state());
    let outcome = match input {
        Input::Initialize | Input::Initialized | Input::Ping | Input::Notification => b.input(input),
        Input::Request => b.request(9).map(|_| Verdict::Admit),
        Input::List => b.list(9).map(|_| Verdict::Admit),
        Input::Response => b.respond(0, "pong").map(|()| {
            let routed = asked.is_some_and(|id| matches!(b.outbound(id), Some(Ok(_))));
            if routed { Verdict::Accept } else { Verdict::Ignore }
        }),
        Input::Cancelled => {
            let id = b.owed().map_or(1.into(), |(_, id)| id);
            b.cancel(id).map(|()| match b.status(running).cancelled {
                Some(_) => Verdict::Accept,
                None => Verdict::Ignore,
            })
        }
        Input::Get => b.get().map(|_| Verdict::Open),
        Input::Resume => {
            b.read(StreamKey::Response(running)); // the priming event with its id
            b.resume(&format!("{}-0", running.0)).map(|_| Verdict::Open)
        }
        Input::Delete => b.delete().map(|()| Verdict::Terminate),
        Input::Expire => {
            let first = b.terminate(TerminateReason::Idle);
            Ok(if first { Verdict::Terminate } else { Verdict::Ignore })
        }
    };
    let verdict = outcome.unwrap_or_else(Verdict::Refuse);
    let expected = match verdict {
        Verdict::Admit => (before.0 + 1, before.1, before.2),
        Verdict::Open if input == Input::Resume => before, // another connection carries the stream
        Verdict::Open => (before.0, before.1 + 1, before.2),
        Verdict::Operate => (before.0, before.1, State::Operating),
        Verdict::Terminate => (before.0, before.1, State::Terminated),
        Verdict::Accept if input == Input::Cancelled => (before.0 - 1, before.1, before.2),
        Verdict::Accept | Verdict::Answer | Verdict::Ignore | Verdict::Refuse(_) => before,
    };
    let after = (b.session.running(), b.session.streams(), b.session.state());
    assert_eq!(after, expected, "{input:?} in {:?}", before.2);
    verdict
}

#[test]
fn c_2_the_machine_does_what_the_table_says() {
    for state in STATES {
        for input in INPUTS {
            let mut b = Bench::in_state(state);
            let verdict = observe(&mut b, input);
            assert_eq!(verdict, state.on(Phase::Draining, input), "{input:?} in {state:?}");
            if verdict == Verdict::Terminate {
                for late in INPUTS {
                    let expected = State::Terminated.on(b.session.phase(), late);
                    assert_eq!(observe(&mut b, late), expected, "{late:?} after {input:?}");
                }
            }
        }
    }
}

/// A draining session whose requests have been told to stop, whose answers have not been read, and which has closed.
#[test]
fn c_2_the_machine_does_what_the_table_says_in_each_phase() {
    for phase in [Phase::Cancelling, Phase::Finishing, Phase::Closed] {
        for input in INPUTS {
            let mut b = Bench::in_state(State::Draining);
            let (key, _) = b.owed().unwrap();
            b.read(StreamKey::Response(key)); // the priming event with its id
            b.run_until(|b| b.session.phase() >= phase);
            assert_eq!(b.stands(), (State::Draining, phase));
            let (id, table) = (format!("{}-0", key.0), State::Draining.on(phase, input));
            let verdict = match input {
                // There is not always a request to ask or to cancel: these do not depend on the phase.
                Input::Response | Input::Cancelled => continue,
                Input::Resume => b.resume(&id).map_or_else(Verdict::Refuse, |_| Verdict::Open),
                _ => observe(&mut b, input),
            };
            assert_eq!(verdict, table, "{input:?} in {phase:?}");
        }
    }
}

// Lifecycle.

#[test]
fn c_04_initialize_and_initialized_make_it_operate() {
    let mut b = Bench::initializing(config());
    assert!(!b.session.is_established());
    assert_eq!(b.reply(INITIALIZE), "pending");
    b.answer(INITIALIZE);
    assert!(b.session.is_established());
    assert_eq!(b.reply(INITIALIZE), "0 = \"done\"");
    assert_eq!(b.stands(), (State::AwaitingInitialized, Phase::Running));
    assert_eq!(b.input(Input::Initialized), Ok(Verdict::Operate));
    assert_eq!(b.input(Input::Initialized), Ok(Verdict::Ignore)); // C-19
    assert_eq!(b.stands(), (State::Operating, Phase::Running));
    assert_eq!(b.outcomes(), ONLY_INITIALIZED);
}

#[test]
fn c_20_a_failed_initialize_leaves_nothing() {
    let mut b = Bench::initializing(config());
    b.act(|session, now| session.answer(now, INITIALIZE, &Err(RpcError::invalid_params("no"))));
    assert!(!b.session.is_established());
    assert_eq!(b.session.reason(), Some(TerminateReason::Error));
    assert_eq!(b.request(1), Err(Refusal::Gone));
    assert_eq!(b.reply(INITIALIZE), "0 ! -32602 -");
    assert_eq!(b.stands(), (State::Terminated, Phase::Closed));
    b.answer(INITIALIZE); // too late for a second answer
    assert!(!b.session.is_established());
}

#[test]
fn c_20_nothing_precedes_the_answer_to_initialize() {
    for response_mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let mut b = Bench::initializing(SessionConfig { response_mode, ..config() });
        b.act(|session, now| session.handle_suspended(now, INITIALIZE));
        assert_eq!(b.notify(INITIALIZE), Ok(()));
        for method in ["ping", "roots/list"] {
            assert_eq!(b.ask(INITIALIZE, method), Err(RequestError::NotInitialized)); // C-06
        }
        b.wait(config().heartbeat);
        assert_eq!(b.reply(INITIALIZE), "pending", "{response_mode:?}");
        b.answer(INITIALIZE);
        assert_eq!(b.notify(INITIALIZE), Err(SendError::Closed));
        let body = match response_mode {
            ResponseMode::Sse => b.read(StreamKey::Response(INITIALIZE)),
            ResponseMode::Auto | ResponseMode::Json => vec![b.reply(INITIALIZE)],
        };
        assert_eq!(body[0], "0 = \"done\"", "{response_mode:?}");
    }
}

#[test]
fn c_20_a_late_initialize_result_offers_no_terminated_session() {
    type End = fn(&mut Bench);
    let ends: [(End, &str); 4] = [
        (|b| _ = b.run_until(|b| b.session.state() == State::Terminated), "initialize_timeout"),
        (|b| b.delete().unwrap(), "client_delete"),
        (|b| assert!(b.terminate(TerminateReason::Evicted)), "evicted"),
        (|b| (b.drain(&SHUTDOWN), b.delete().unwrap()).1, "shutdown"),
    ];
    for (end, reason) in ends {
        for response_mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
            let mut b = Bench::initializing(SessionConfig { response_mode, ..config() });
            end(&mut b);
            assert_eq!(b.stands(), (State::Terminated, Phase::Cancelling));
            b.wait(config().terminate.cancel - MS);
            b.answer(INITIALIZE);
            assert!(!b.session.is_established(), "{reason}");
            assert_eq!(b.stands(), (State::Terminated, Phase::Finishing));
            let body = match b.reply(INITIALIZE).as_str() {
                "stream" => b.read(StreamKey::Response(INITIALIZE)).remove(0),
                body => body.to_owned(),
            };
            assert_eq!(body, format!("0 ! -32000 {reason}"), "{response_mode:?}");
            assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, ONLY_INITIALIZED));
            assert!(!b.session.is_established(), "{reason}");
        }
    }
}

#[test]
fn c_20_s_12_a_failed_initialize_in_a_shutdown_keeps_the_shutdown_reason() {
    let mut b = Bench::initializing(config());
    b.drain(&SHUTDOWN);
    b.act(|session, now| session.answer(now, INITIALIZE, &Err(RpcError::invalid_params("no"))));
    assert_eq!(b.stands(), (State::Terminated, Phase::Finishing));
    assert_eq!(b.left()[2], SHUTDOWN.finish);
    assert_eq!((b.session.is_established(), b.session.reason()), (false, Some(TerminateReason::Shutdown)));
    assert_eq!(b.reply(INITIALIZE), "0 ! -32602 -");
    assert_eq!(b.session.phase(), Phase::Closed);
}

#[test]
fn c_10_an_initialize_that_hangs_is_answered() {
    let mut b = Bench::initializing(config());
    let ended = b.run_until(|b| b.session.state() == State::Terminated);
    assert_eq!(ended, config().initialize_timeout);
    assert_eq!(b.status(INITIALIZE), told(TerminateReason::InitializeTimeout));
    assert_eq!(b.run_to(Phase::Finishing), config().terminate.cancel);
    assert!(!b.session.is_established() && b.status(INITIALIZE).abandoned);
    assert_eq!(b.reply(INITIALIZE), "0 ! -32000 initialize_timeout");
    assert_eq!(b.outcomes(), [0, 1, 0, 0]);
    assert_eq!(b.session.phase(), Phase::Closed);
}

#[test]
fn c_10_a_client_that_never_says_initialized_is_not_waited_for() {
    let mut b = Bench::awaiting(config());
    assert_eq!(b.run_to(Phase::Closed), config().initialize_timeout);
    assert_eq!(b.session.reason(), Some(TerminateReason::InitializeTimeout));
    assert_eq!(b.outcomes(), ONLY_INITIALIZED);
}

/// E-14: every input of a client counts as use, with or without `initialized`. From then on, the idle timeout applies.
#[test]
fn c_10_c_18_any_use_ends_the_half_open_state() {
    let uses: [fn(&mut Bench); 7] = [
        |b| assert_eq!(b.input(Input::Ping), Ok(Verdict::Answer)),
        |b| assert_eq!(b.input(Input::Notification), Ok(Verdict::Accept)),
        |b| b.respond(0, "pong").unwrap(),
        |b| b.cancel(5).unwrap(),
        |b| assert_eq!(b.input(Input::Initialized), Ok(Verdict::Operate)),
        |b| {
            let key = b.call(1);
            b.answer(key);
            b.reply(key);
        },
        |b| {
            let get = b.get().unwrap();
            b.disconnect(get);
        },
    ];
    for idle_timeout in [config().idle_timeout, secs(1)] {
        for act in uses {
            let mut b = Bench::initializing(SessionConfig { idle_timeout, ..config() });
            b.wait(config().initialize_timeout - secs(10));
            b.establish();
            b.wait(secs(10) - MS);
            assert!(b.session.is_half_open());
            act(&mut b);
            assert!(!b.session.is_half_open());
            assert_eq!(b.run_to(Phase::Closed), idle_timeout);
            assert_eq!(b.session.reason(), Some(TerminateReason::Idle));
        }
    }
}

#[test]
fn e_14_only_a_stream_that_is_read_keeps_a_session_without_initialized() {
    let mut b = Bench::awaiting(config());
    let get = b.get().unwrap();
    let tomorrow = b.now + secs(24 * 60 * 60);
    b.run_reading(Some(get), |b| b.now >= tomorrow);
    assert_eq!(b.stands(), (State::AwaitingInitialized, Phase::Running));
    assert!(b.run_to(Phase::Finishing) <= config().idle_timeout + 2 * config().heartbeat);
    assert_eq!(b.session.reason(), Some(TerminateReason::Idle));
}

#[test]
fn c_10_a_client_that_says_initialized_in_the_last_moment_operates() {
    let mut b = Bench::awaiting(config());
    b.wait(config().initialize_timeout - MS);
    assert_eq!(b.input(Input::Initialized), Ok(Verdict::Operate));
    assert_eq!(b.run_to(Phase::Closed), config().idle_timeout);
    assert_eq!(b.session.reason(), Some(TerminateReason::Idle));
}

#[test]
fn c_18_before_initialized_a_session_lives_until_idle_after_its_last_call() {
    let mut b = Bench::awaiting(config());
    let (key, stream) = b.stream(1);
    let other = b.call(2);
    let tomorrow = b.now + secs(24 * 60 * 60);
    b.run_reading(Some(stream), |b| b.now >= tomorrow);
    b.answer(other);
    b.wait(config().idle_timeout);
    assert_eq!(b.stands(), (State::AwaitingInitialized, Phase::Running));
    b.read(stream);
    b.answer(key);
    assert_eq!(b.read(stream), ["1 = \"done\"", "end"]);
    assert_eq!(b.run_until(|b| b.session.state() == State::Terminated), config().idle_timeout);
    assert_eq!(b.session.reason(), Some(TerminateReason::Idle));
    assert_eq!(b.read(StreamKey::Response(other)), [":", "2 = \"done\"", "end"]); // the answer can still be read
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [3, 0, 0, 0]));
}

#[test]
fn c_18_initialized_during_a_long_call_is_not_too_late() {
    let mut b = Bench::awaiting(config());
    let (key, stream) = b.stream(1);
    let tomorrow = b.now + secs(24 * 60 * 60);
    b.run_reading(Some(stream), |b| b.now >= tomorrow);
    assert_eq!(b.input(Input::Initialized), Ok(Verdict::Operate));
    b.answer(key);
    b.read(stream);
    assert_eq!(b.run_to(Phase::Closed), config().idle_timeout);
}

#[test]
fn c_10_a_session_without_initialized_is_not_forgotten_after_a_quiet_call() {
    let (timeout, idle) = (config().initialize_timeout, config().idle_timeout);
    for took in [secs(1), timeout, 2 * timeout] {
        // In JSON mode there is no other deadline while the call runs.
        let mut b = Bench::awaiting(SessionConfig { response_mode: ResponseMode::Json, ..config() });
        let key = b.call(1);
        b.wait(took);
        assert!(took < timeout || b.session.next_timeout().is_none());
        b.answer(key);
        b.reply(key);
        assert_eq!(b.run_to(Phase::Closed), idle, "after {took:?}");
        assert_eq!(b.session.reason(), Some(TerminateReason::Idle));
        assert_eq!(b.outcomes(), [2, 0, 0, 0]);
    }
}

// Orphaned calls: nobody can fetch their answers (E-14).

/// Waits until the call is orphaned. Returns the time that this took.
fn until_orphaned(b: &mut Bench, key: ExchangeKey) -> Duration {
    let orphaned = Some(CancelReason::Orphaned);
    b.run_until(|b| b.status(key).cancelled == orphaned)
}

#[test]
fn e_14_d_12_a_call_goes_on_without_its_client_and_not_for_ever() {
    let idle = config().idle_timeout;
    for response_mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        // Another call of the session has a connected client: it goes on, and so does the session.
        let mut b = Bench::operating(SessionConfig { response_mode, ..config() });
        let (gone, other) = (b.call(1), b.call(2));
        b.wait(secs(5));
        b.disconnect(StreamKey::Response(gone));
        b.wait(idle - MS);
        assert_eq!((b.status(gone), b.session.running()), (Status::default(), 2), "D-12");
        assert_eq!(until_orphaned(&mut b, gone), MS);
        assert_eq!((b.session.running(), b.tally.orphaned, b.outcomes()), (1, 1, [1, 0, 1, 0]));
        assert_eq!(b.run_until(|b| b.status(gone).abandoned), config().cancel_grace);
        b.release(gone);
        assert_eq!(b.session.exchanges.len(), 1);
        b.answer(other);
        assert_eq!(b.session.state(), State::Operating);
    }
}

#[test]
fn e_14_a_call_that_nobody_can_fetch_keeps_no_session_alive() {
    let mut b = Bench::operating(SessionConfig { idle_timeout: secs(60), ..config() });
    let key = b.call(1);
    b.disconnect(StreamKey::Response(key));
    assert_eq!(b.run_until(|b| b.session.state() == State::Terminated), secs(60));
    assert_eq!((b.session.reason(), b.tally.orphaned), (Some(TerminateReason::Idle), 1));
    assert_eq!(b.status(key).cancelled, Some(CancelReason::Orphaned)); // its first reason stands
    assert!(b.run_to(Phase::Closed) <= config().cancel_grace);
    assert_eq!((b.status(key).abandoned, b.outcomes()), (true, [1, 0, 1, 0]));
}

#[test]
fn f_26_what_an_orphaned_call_asks_its_client_fails() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    let asked = b.act(|session, now| session.request(now, key, 7, "ping", None, secs(24 * 60 * 60))).unwrap();
    b.disconnect(StreamKey::Response(key));
    until_orphaned(&mut b, key);
    assert_eq!(b.outbound(asked), Some(Err(RequestError::Cancelled)));
}

// Exchanges.

#[test]
fn a_07_an_id_in_flight_is_refused_and_may_come_again_after_its_answer() {
    let mut b = Bench::operating(config());
    let first = b.call(1);
    assert_eq!(b.request(1), Err(Refusal::DuplicateId));
    let text = b.call("1"); // another id
    assert_eq!(b.status(first), Status::default());
    b.answer(first);
    let again = b.call(1); // before the first answer has been read
    b.answer(text);
    b.answer(again);
    let replies = [first, text, again].map(|key| b.reply(key));
    assert_eq!(replies, ["1 = \"done\"", "\"1\" = \"done\"", "1 = \"done\""]);
    assert_eq!(b.outcomes(), [4, 0, 0, 0]);
}

#[test]
fn max_exchanges_counts_running_cancelled_and_unread_requests() {
    let mut b = Bench::operating(SessionConfig { max_exchanges: 4, ..config() });
    let cancelled = b.call(1);
    let (unread, stream) = b.stream(2);
    let (answered, running) = (b.call(3), b.call(4));
    b.cancel(1).unwrap();
    assert_eq!(b.reply(cancelled), "1 ! -32800 -"); // its handler still runs
    b.answer(unread);
    b.answer(answered);
    assert_eq!((b.session.running(), b.session.unsettled()), (1, 3));
    assert_eq!(b.request(4), Err(Refusal::DuplicateId));
    for id in [1, 5] {
        assert_eq!(b.request(id), Err(Refusal::TooManyRequests));
    }
    assert_eq!(b.input(Input::Ping), Ok(Verdict::Answer)); // neither a ping nor a GET counts
    assert!(b.get().is_ok());

    assert_eq!(b.reply(answered), "3 = \"done\"");
    b.call(5);
    assert_eq!(b.request(6), Err(Refusal::TooManyRequests));
    assert_eq!(b.read(stream), ["2 = \"done\"", "end"]);
    let sixth = b.call(6);
    b.answer(sixth);
    assert_eq!(b.request(7), Err(Refusal::TooManyRequests));
    b.disconnect(StreamKey::Response(sixth)); // counts as read
    b.call(7);
    b.wait(config().cancel_grace);
    assert!(b.status(cancelled).abandoned);
    assert_eq!(b.request(8), Err(Refusal::TooManyRequests)); // its handler was told to stop, but has not finished
    b.release(cancelled);
    b.call(8);
    b.disconnect(StreamKey::Response(running)); // D-12: it goes on
    assert_eq!(b.request(9), Err(Refusal::TooManyRequests));
}

#[test]
fn max_exchanges_counts_the_initialize_that_is_unread() {
    let mut b = Bench::initializing(SessionConfig { max_exchanges: 1, ..config() });
    b.answer(INITIALIZE);
    assert_eq!(b.request(1), Err(Refusal::TooManyRequests));
    b.reply(INITIALIZE);
    assert!(b.request(1).is_ok());
}

#[test]
fn f_02_a_cancelled_call_has_its_grace_and_is_then_abandoned() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    assert_eq!(b.cancel(1), Ok(()));
    let cancelled = Some(CancelReason::Client(Some("enough".into())));
    assert_eq!(b.status(key), Status { cancelled, abandoned: false });
    assert!(b.wakes.contains(&Wake::Handler(1)));
    assert_eq!(b.reply(key), "1 ! -32800 -"); // F-08
    b.answer(key); // F-05: the answer is dropped
    assert_eq!(b.reply(key), "taken");

    let (key, stream) = b.stream(2);
    assert_eq!(b.cancel(2), Ok(()));
    assert_eq!(b.notify(key), Err(SendError::Closed)); // F-15
    assert_eq!(b.read(stream), ["end"]);
    assert_eq!(b.outcomes(), [1, 0, 2, 0]);
    assert_eq!(b.run_until(|b| b.status(key).abandoned), config().cancel_grace);
    b.release(key);
    assert!(b.session.exchanges.len() == 0);
}

#[test]
fn f_03_cancels_of_nothing_are_ignored() {
    let mut b = Bench::operating(config());
    let (finished, running) = (b.call(1), b.call(2));
    b.answer(finished);
    for id in [1, 0, 77] {
        assert_eq!(b.cancel(id), Ok(()));
    }
    assert_eq!(b.cancel("2"), Ok(())); // the string "2", not the integer
    assert_eq!(b.act(|session, now| session.handle_cancelled(now, None, None)), Ok(()));
    assert_eq!(b.status(running), Status::default());
    assert_eq!(b.reply(finished), "1 = \"done\"");
    assert_eq!(b.outcomes(), [2, 0, 0, 0]);
}

#[test]
fn c_22_initialize_cannot_be_cancelled() {
    for drained in [false, true] {
        let mut b = Bench::initializing(config());
        if drained {
            b.drain(&SHUTDOWN);
        }
        assert_eq!(b.cancel(0), Ok(()));
        assert_eq!(b.status(INITIALIZE), Status::default());
        b.answer(INITIALIZE);
        assert_eq!(b.reply(INITIALIZE), "0 = \"done\"");
    }
}

#[test]
fn d_12_disconnecting_does_not_cancel() {
    let mut b = Bench::operating(config());
    let undecided = b.call(1);
    let (streaming, stream) = b.stream(2);
    b.disconnect(StreamKey::Response(undecided));
    b.disconnect(stream);
    for key in [undecided, streaming] {
        assert_eq!(b.status(key), Status::default());
        assert_eq!(b.notify(key), Ok(())); // dropped
        b.answer(key);
    }
    assert_eq!(b.outcomes(), [3, 0, 0, 0]);
    assert!(b.session.exchanges.len() == 0);
}

#[test]
fn an_answer_that_nobody_fetches_is_settled_when_its_client_goes() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    b.answer(key);
    assert_eq!(b.session.unsettled(), 1);
    b.disconnect(StreamKey::Response(key));
    assert_eq!((b.session.unsettled(), b.outcomes()), (0, [2, 0, 0, 0]));
}

#[test]
fn a_reader_that_went_before_the_handler_was_suspended_opens_no_stream() {
    for response_mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let mut b = Bench::operating(SessionConfig { response_mode, ..config() });
        let key = b.request(1).unwrap();
        b.disconnect(StreamKey::Response(key));
        b.act(|session, now| session.handle_suspended(now, key));
        assert_eq!(b.session.streams(), 0, "{response_mode:?}");
        b.answer(key);
        assert_eq!(b.outcomes(), [2, 0, 0, 0], "{response_mode:?}");
    }
}

#[test]
fn f_14_f_15_progress_only_grows_and_ends_with_the_call() {
    let mut b = Bench::operating(config());
    let (key, stream) = b.stream(1);
    b.read(stream);
    for progress in [0.5, 0.5, 0.7] {
        assert_eq!(b.act(|session, now| session.progress(now, key, progress, &NOTE)), Ok(()));
    }
    assert_eq!(b.read(stream).len(), 2);
    b.answer(key);
    assert_eq!(b.notify(key), Err(SendError::Closed));
    assert_eq!(b.read(stream), ["1 = \"done\"", "end"]);
    assert_eq!(b.notify(key), Err(SendError::Closed)); // forgotten by now
}

// Requests to the client.

#[test]
fn f_20_f_21_each_request_has_its_own_id_and_takes_one_reply() {
    let mut b = Bench::operating(config());
    let (one, first) = b.stream(1);
    let (two, second) = b.stream(2);
    let asked = [one, two, one].map(|key| b.ask(key, "roots/list").unwrap());
    assert_eq!(b.read(first), ["roots/list #0", "roots/list #2"]); // F-22: on the stream of its own call
    assert_eq!(b.read(second), ["roots/list #1"]);
    b.wakes.clear();
    assert_eq!((b.respond(1, "mine"), b.respond(1, "again")), (Ok(()), Ok(())));
    assert_eq!(b.wakes, [Wake::Handler(2)]);
    assert_eq!(b.outbound(asked[1]), Some(Ok(Json::new("mine").unwrap())));
    assert_eq!(b.respond(1, "late"), Ok(()));
    assert_eq!(b.outbound(asked[1]), Some(Err(RequestError::Cancelled))); // already taken
    assert_eq!((b.outbound(asked[0]), b.outbound(asked[2])), (None, None));

    let refusal = RpcError::new(ErrorCode(-1), "the user said no");
    let response = RpcResponse { id: Some(0.into()), outcome: Err(refusal.clone()) };
    b.act(|session, now| session.handle_response(now, response)).unwrap();
    assert_eq!(b.outbound(asked[0]), Some(Err(RequestError::Client(refusal)))); // F-25
    assert_eq!(b.ask(two, "ping"), Ok(OutboundId(3)));
}

#[test]
fn b_19_a_reply_that_nobody_waits_for_is_dropped() {
    let mut b = Bench::operating(config());
    let (key, _) = b.stream(1);
    let asked = b.ask(key, "ping").unwrap();
    for id in [1, -1, i64::MAX, i64::MIN] {
        assert_eq!(b.respond(id, "whose?"), Ok(()));
    }
    assert_eq!(b.respond("0", "text"), Ok(()));
    assert_eq!(b.respond(RequestId::Integer(1 << 64), "0 in 64 bits"), Ok(()));
    let response = RpcResponse { id: None, outcome: Err(RpcError::internal("what?")) };
    assert_eq!(b.act(|session, now| session.handle_response(now, response)), Ok(()));
    assert_eq!(b.outbound(asked), None);
}

#[test]
fn f_24_a_request_that_times_out_is_taken_back_on_its_stream() {
    for timeout in [secs(1), secs(60)] {
        let mut b = Bench::operating(config());
        let (key, stream) = b.stream(1);
        let (_, other) = b.stream(2);
        let asked = b.act(|session, now| session.request(now, key, 1, "ping", None, timeout)).unwrap();
        assert_eq!(b.run_until(|b| b.unanswered() == 0), timeout);
        assert_eq!(b.outbound(asked), Some(Err(RequestError::TimedOut)));
        assert_eq!(b.read(stream), ["ping #0", "cancelled #0"]);
        assert!(b.read(other).iter().all(|event| event == ":"));
        assert_eq!(b.respond(0, "late"), Ok(())); // F-06
        assert_eq!(b.status(key), Status::default());
    }
}

#[test]
fn f_24_a_request_that_nobody_waits_for_is_taken_back_once() {
    let mut b = Bench::operating(config());
    let (key, stream) = b.stream(1);
    let [dropped, answered] = [0, 1].map(|_| b.ask(key, "ping").unwrap());
    b.respond(1, "pong").unwrap();
    for id in [dropped, dropped, answered] {
        b.act(|session, now| session.abandon_request(now, id));
    }
    assert_eq!(b.read(stream), ["ping #0", "ping #1", "cancelled #0"]);
    assert!(b.session.outbound.next_timeout().is_none());
}

#[test]
fn f_24_taking_a_request_back_does_not_wait_for_space() {
    type Way = fn(&mut Bench, ExchangeKey, OutboundId);
    let ways: [(Way, &[&str]); 5] = [
        (|b, _, _| b.wait(secs(60)), &[]),
        (|b, _, id| b.act(|session, now| session.abandon_request(now, id)), &[]),
        (|b, _, _| assert!(b.terminate(TerminateReason::Evicted)), &[]),
        (|b, _, _| b.cancel(1).unwrap(), &["end"]),
        (|b, key, _| b.answer(key), &["1 = \"done\"", "end"]),
    ];
    let bounds =
        [SessionConfig { queue_events: 1, ..config() }, SessionConfig { queue_bytes: 1, ..config() }];
    for bound in bounds {
        for (way, rest) in ways {
            let mut b = Bench::operating(bound.clone());
            let (key, stream) = b.stream(1);
            let asked = b.ask(key, "ping").unwrap();
            assert_eq!(b.notify(key), Err(SendError::Full));
            way(&mut b, key, asked);
            assert_eq!(b.unanswered(), 0);
            assert!(b.notify(key).is_err()); // an ordinary sender still waits
            let seen = b.read(stream);
            assert_eq!(seen[..2], ["ping #0", "cancelled #0"]);
            assert_eq!(seen[2..], *rest);
        }
    }
}

#[test]
fn f_24_each_of_many_requests_is_taken_back_once_and_in_order() {
    let mut b = Bench::operating(SessionConfig { queue_events: 2, ..config() });
    let (key, stream) = b.stream(1);
    for id in 0..5 {
        b.ask(key, "ping").unwrap();
        assert_eq!(b.read(stream), [format!("ping #{id}")]);
    }
    b.respond(3, "pong").unwrap();
    assert_eq!([0; 3].map(|_| b.notify(key)), [Ok(()), Ok(()), Err(SendError::Full)]);
    b.wait(secs(60));
    assert_eq!(b.ask(key, "ping"), Err(SendError::Full.into()));
    let all = ["note", "note", "cancelled #0", "cancelled #1", "cancelled #2", "cancelled #4"];
    assert_eq!(b.read(stream), all);
    b.wait(MS);
    assert_eq!((b.read(stream).len(), b.notify(key)), (0, Ok(())));
}

#[test]
fn c_06_a_session_ending_before_initialized_can_only_send_ping() {
    type Begin = fn(SessionConfig) -> Bench;
    let begins: [(Begin, bool); 2] = [(Bench::awaiting, false), (Bench::operating, true)];
    for (begin, initialized) in begins {
        for deleted in [false, true] {
            let mut b = begin(SessionConfig { terminate: SHUTDOWN, ..config() });
            let (key, stream) = b.stream(1);
            if deleted {
                b.delete().unwrap();
            } else {
                b.drain(&SHUTDOWN);
            }
            assert_eq!(b.session.phase(), Phase::Draining);
            let late = if deleted { Err(Refusal::Gone) } else { Ok(Verdict::Ignore) };
            assert_eq!(b.input(Input::Initialized), late);
            for method in ["roots/list", "sampling/createMessage", "elicitation/create"] {
                let asked = b.ask(key, method).map(|_| ());
                let refused = Err(RequestError::NotInitialized);
                assert_eq!(asked, if initialized { Ok(()) } else { refused }, "{method}");
            }
            assert!(b.ask(key, "ping").is_ok());
            assert_eq!(b.read(stream).len(), if initialized { 4 } else { 1 });
        }
    }
}

#[test]
fn c_13_c_06_d_14_requests_that_the_client_cannot_take_are_not_sent() {
    let mut b = Bench::awaiting(config());
    let (key, stream) = b.stream(1);
    assert_eq!(b.ask(key, "roots/list"), Err(RequestError::NotInitialized));
    assert!(b.ask(key, "ping").is_ok());
    b.input(Input::Initialized).unwrap();
    b.session.capabilities = ClientCapabilities { roots: true, ..ClientCapabilities::default() };
    for (method, capability) in
        [("sampling/createMessage", "sampling"), ("elicitation/create", "elicitation")]
    {
        assert_eq!(b.ask(key, method), Err(RequestError::Undeclared(capability)));
    }
    assert!(b.ask(key, "roots/list").is_ok());
    assert_eq!(b.read(stream), ["ping #0", "roots/list #1"]);

    let mut b = Bench::operating(SessionConfig { response_mode: ResponseMode::Json, ..config() });
    let key = b.call(1);
    assert_eq!(b.ask(key, "ping"), Err(SendError::Closed.into()));
    assert_eq!(b.notify(key), Ok(())); // dropped
    b.answer(key);
    assert_eq!(b.reply(key), "1 = \"done\"");
}

#[test]
fn f_11_nested_requests_end_with_their_call() {
    for cancelled in [false, true] {
        let mut b = Bench::operating(config());
        let (key, stream) = b.stream(1);
        let (other, _) = b.stream(2);
        let nested = b.ask(key, "ping").unwrap();
        let unrelated = b.ask(other, "ping").unwrap();
        if cancelled {
            b.cancel(1).unwrap();
        } else {
            b.answer(key);
        }
        assert_eq!(b.outbound(nested), Some(Err(RequestError::Cancelled)));
        assert_eq!(b.outbound(unrelated), None);
        let seen = b.read(stream);
        assert_eq!(seen[..2], ["ping #0", "cancelled #0"]);
        assert_eq!(seen[2..], if cancelled { vec!["end"] } else { vec!["1 = \"done\"", "end"] });
        assert_eq!(b.ask(key, "ping"), Err(SendError::Closed.into()));
    }
}

#[test]
fn f_26_a_lost_connection_does_not_fail_the_wait() {
    let mut b = Bench::operating(config());
    let (key, stream) = b.stream(1);
    let asked = b.ask(key, "ping").unwrap();
    b.disconnect(stream);
    assert_eq!(b.outbound(asked), None);
    assert_eq!(b.ask(key, "ping"), Err(SendError::Closed.into())); // D-14: but no new one
    b.respond(0, "pong").unwrap();
    assert!(matches!(b.outbound(asked), Some(Ok(_))));
}

#[test]
fn f_32_a_terminated_session_fails_its_requests_and_takes_them_back() {
    let reason = TerminateReason::Evicted;
    let mut b = Bench::operating(config());
    let (key, stream) = b.stream(1);
    let asked = b.ask(key, "ping").unwrap();
    assert!(b.terminate(reason));
    assert_eq!(b.outbound(asked), Some(Err(RequestError::Terminated(reason))));
    assert_eq!(b.ask(key, "ping"), Err(RequestError::Terminated(reason)));
    assert_eq!(b.respond(0, "late"), Err(Refusal::Gone));
    assert_eq!(b.read(stream), ["ping #0", "cancelled #0"]);
}

#[test]
fn f_32_a_request_after_the_drain_is_refused_even_if_the_timer_is_late() {
    let mut b = Bench::operating(config());
    let (key, stream) = b.stream(1);
    b.drain(&SHUTDOWN);
    b.now += SHUTDOWN.drain;
    let refused = RequestError::Terminated(TerminateReason::Shutdown);
    assert_eq!(b.ask(key, "ping"), Err(refused));
    assert_eq!((b.session.phase(), b.unanswered()), (Phase::Cancelling, 0));
    assert!(b.read(stream).is_empty());
}

// The standalone stream.

#[test]
fn b_33_d_22_a_get_begins_with_a_comment_and_a_second_one_may_be_refused() {
    let mut b = Bench::operating(SessionConfig { second_stream: SecondStream::Refuse, ..config() });
    let get = b.get().unwrap();
    assert_eq!(b.get(), Err(Refusal::StreamTaken));
    assert_eq!(b.announce(), Ok(()));
    assert_eq!(b.read(get), [":", "note"]);
    b.disconnect(get); // D-19
    assert_eq!(b.session.standalone_tag(), None);
    assert_eq!(b.stands(), (State::Operating, Phase::Running));
    assert!(b.get().is_ok());
}

#[test]
fn d_22_a_replaced_get_ends_and_its_late_disconnect_harms_nobody() {
    let mut b = Bench::operating(config());
    let old = b.get().unwrap();
    assert_eq!(b.read(old), [":"]);
    b.wakes.clear();
    let new = b.get().unwrap();
    assert!(b.wakes.contains(&Wake::Reader(1)));
    assert_eq!(b.read(old), ["end"]);
    b.disconnect(old);
    b.announce().unwrap();
    assert_eq!(b.read(new), [":", "note"]); // D-21
    assert!(b.read(old).contains(&"end".into()));
}

#[test]
fn d_23_a_get_whose_client_reads_nothing_is_taken_over() {
    let mut b = Bench::operating(SessionConfig { second_stream: SecondStream::Refuse, ..config() });
    let old = b.get().unwrap();
    b.wait(config().heartbeat - MS);
    assert_eq!(b.get(), Err(Refusal::StreamTaken));
    b.wait(MS);
    assert_eq!(b.read(old), [":"]); // the reader is late, but reads
    assert_eq!(b.get(), Err(Refusal::StreamTaken));
    b.wait(2 * config().heartbeat);
    b.wait(config().heartbeat);
    let new = b.get().unwrap();
    assert_eq!(b.read(old), ["end"]);
    assert_eq!(b.read(new), [":"]);
    b.wait(config().heartbeat);
    assert_eq!(b.get(), Err(Refusal::StreamTaken));
}

#[test]
fn d_24_without_a_get_announcements_are_dropped() {
    let mut b = Bench::operating(config());
    assert_eq!(b.announce(), Ok(()));
    let get = b.get().unwrap();
    assert_eq!(b.read(get), [":"]);
    b.terminate(TerminateReason::Evicted);
    assert_eq!(b.announce(), Err(SendError::Closed));
    assert_eq!(b.read(get), ["end"]);
}

#[test]
fn s_11_a_full_stream_holds_up_no_other() {
    let mut b = Bench::operating(SessionConfig { queue_events: 2, ..config() });
    let get = b.get().unwrap();
    let (slow, stream) = b.stream(1);
    let (fast, other) = b.stream(2);
    assert_eq!([0; 3].map(|_| b.announce()), [Ok(()), Ok(()), Err(SendError::Full)]);
    assert_eq!([0; 3].map(|_| b.notify(slow)), [Ok(()), Ok(()), Err(SendError::Full)]);
    assert_eq!(b.ask(slow, "ping"), Err(SendError::Full.into()));
    for _ in 0..3 {
        assert_eq!(b.notify(fast), Ok(())); // D-20
        assert_eq!(b.read(other), ["note"]);
    }
    b.wakes.clear();
    assert_eq!(b.read(get), [":", "note", "note"]);
    assert_eq!(b.wakes, [Wake::Handler(1)]);
    assert_eq!(b.announce(), Ok(()));
    b.answer(slow); // the answer never waits
    assert_eq!(b.read(stream), ["note", "note", "1 = \"done\"", "end"]);
}

// Time.

#[test]
fn d_42_a_silent_call_gets_comments_that_no_one_has_to_ask_for() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    assert_eq!(b.run_until(|b| b.session.streams() == 1), config().heartbeat);
    assert_eq!((b.reply(key).as_str(), b.read(StreamKey::Response(key))), ("stream", vec![":".into()]));
    b.wait(config().heartbeat - MS);
    assert!(b.read(StreamKey::Response(key)).is_empty());
    b.wait(MS);
    assert_eq!(b.read(StreamKey::Response(key)), [":"]);
}

#[test]
fn d_42_without_heartbeats_nothing_ticks() {
    let (day, never) = (secs(24 * 60 * 60), Duration::ZERO);
    for response_mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let second_stream = SecondStream::Refuse;
        let mut b =
            Bench::operating(SessionConfig { heartbeat: never, response_mode, second_stream, ..config() });
        let get = b.get().unwrap();
        let key = b.call(1);
        b.wait(config().idle_timeout); // past the deadlines that were armed before
        assert_eq!(b.session.next_timeout(), None, "{response_mode:?}");
        b.wait(day);
        assert_eq!((b.read(get), b.stands()), (vec![":".into()], (State::Operating, Phase::Running))); // B-33
        assert_eq!(b.get(), Err(Refusal::StreamTaken)); // without heartbeats, no reader is known to have stopped
        let streams = response_mode == ResponseMode::Sse;
        assert_eq!(b.reply(key), if streams { "stream" } else { "pending" });
        b.answer(key);
        if streams {
            assert_eq!(b.read(StreamKey::Response(key)), ["1 = \"done\"", "end"]);
        } else {
            assert_eq!(b.reply(key), "1 = \"done\"");
        }
        b.wait(day);
        assert_eq!((b.session.next_timeout(), b.session.state()), (None, State::Operating));
        b.disconnect(get);
        assert_eq!(b.run_to(Phase::Closed), config().idle_timeout);
    }

    let mut b = Bench::operating(SessionConfig { heartbeat: never, ..config() });
    let (key, stream) = b.stream(1); // opened by a message, not by silence
    b.wait(day);
    assert_eq!((b.session.next_timeout(), b.read(stream).len()), (None, 0));
    b.drain(&SHUTDOWN);
    assert_eq!(b.run_to(Phase::Closed), SHUTDOWN.drain + SHUTDOWN.cancel + SHUTDOWN.finish);
    assert!(b.status(key).abandoned);
}

#[test]
fn e_14_idle_counts_from_the_end_of_the_last_call_and_no_running_call_is_reaped() {
    let mut b = Bench::operating(config());
    let (key, stream) = b.stream(1);
    let tomorrow = b.now + secs(24 * 60 * 60);
    b.run_reading(Some(stream), |b| b.now >= tomorrow);
    assert_eq!(b.stands(), (State::Operating, Phase::Running));
    b.answer(key);
    b.read(stream);
    assert_eq!(b.run_to(Phase::Closed), config().idle_timeout);
    assert_eq!(b.session.reason(), Some(TerminateReason::Idle));
    assert_eq!(b.outcomes(), [2, 0, 0, 0]);
}

#[test]
fn e_14_what_the_client_says_puts_idle_off() {
    for input in [Input::Ping, Input::Notification, Input::Response, Input::Cancelled] {
        let mut b = Bench::operating(config());
        b.wait(config().idle_timeout - MS);
        b.input(input).unwrap();
        assert_eq!(b.run_to(Phase::Closed), config().idle_timeout, "{input:?}");
    }
}

#[test]
fn e_14_a_get_keeps_the_session_only_while_it_is_read() {
    let mut b = Bench::operating(config());
    let get = b.get().unwrap();
    let tomorrow = b.now + secs(24 * 60 * 60);
    b.run_reading(Some(get), |b| b.now >= tomorrow);
    assert_eq!(b.stands(), (State::Operating, Phase::Running));
    let unread = b.run_until(|b| b.session.state() == State::Terminated);
    // The first unread comment does not show yet that the client stopped reading.
    assert_eq!(unread, config().heartbeat + config().idle_timeout);
    assert_eq!(b.run_to(Phase::Closed), config().terminate.finish);
    assert_eq!((b.tally.streams_cut, b.read(get)), (1, vec!["cut".into()]));

    let mut b = Bench::operating(config());
    let get = b.get().unwrap();
    let tomorrow = b.now + secs(24 * 60 * 60);
    b.run_reading(Some(get), |b| b.now >= tomorrow);
    for _ in 0..config().idle_timeout.as_secs() {
        b.wait(secs(2));
        b.announce().unwrap(); // never silent for long enough to get a heartbeat
        assert_eq!(b.read(get), ["note"]);
    }
    assert_eq!(b.stands(), (State::Operating, Phase::Running));
    b.wait(secs(1));
    b.disconnect(get);
    assert_eq!(b.run_to(Phase::Closed), config().idle_timeout);
}

#[test]
fn e_10_max_age_ends_the_busiest_session() {
    let mut b = Bench::operating(SessionConfig { max_age: Some(secs(3600)), ..config() });
    let (key, stream) = b.stream(1);
    let aged = b.run_reading(Some(stream), |b| b.session.state() == State::Terminated);
    assert_eq!(aged, secs(3600));
    assert_eq!(b.status(key), told(TerminateReason::MaxAge));
    b.run_to(Phase::Finishing);
    assert_eq!(b.read(stream), ["1 ! -32000 max_age", "end"]);
    assert_eq!((b.now - b.session.created(), b.session.phase()), (secs(3603), Phase::Closed));
}

#[test]
fn for_ever_is_a_duration_like_any_other() {
    let never = Duration::MAX;
    let terminate = TerminatePolicy { drain: never, cancel: never, finish: never };
    let mut b = Bench::operating(SessionConfig {
        idle_timeout: never,
        max_age: Some(never),
        heartbeat: never,
        cancel_grace: never,
        terminate,
        ..config()
    });
    let key = b.call(1);
    b.get().unwrap();
    let asked = b.act(|session, now| session.request(now, key, 1, "ping", None, never)).unwrap();
    b.wait(secs(365 * 24 * 60 * 60));
    assert_eq!((b.outbound(asked), b.stands()), (None, (State::Operating, Phase::Running)));
    b.drain(&terminate);
    b.cancel(1).unwrap();
    b.close();
    assert_eq!(b.session.phase(), Phase::Closed);
}

// Terminating.

#[test]
fn e_24_one_of_several_ends_wins() {
    let mut b = Bench::operating(config());
    b.call(1);
    assert_eq!((b.delete(), b.delete()), (Ok(()), Err(Refusal::Gone)));
    assert!(!b.terminate(TerminateReason::Idle));
    assert_eq!(b.session.reason(), Some(TerminateReason::ClientDelete));
    b.run_to(Phase::Closed);
    assert!(!b.terminate(TerminateReason::Idle));
    assert_eq!((b.delete(), b.session.reason()), (Err(Refusal::Gone), Some(TerminateReason::ClientDelete)));
}

#[test]
fn s_5_delete_answers_what_runs_once_each_as_json_and_as_a_stream() {
    let reason = TerminateReason::ClientDelete;
    let mut b = Bench::operating(config());
    let json = b.call(1);
    let (streaming, stream) = b.stream(2);
    let (quick, last) = b.stream(3);
    b.delete().unwrap();
    assert_eq!(b.session.phase(), Phase::Cancelling);
    for key in [json, streaming, quick] {
        assert_eq!(b.status(key), told(reason));
    }
    assert_eq!((b.reply(json), b.read(stream)), ("pending".into(), vec![]));
    b.answer(quick);
    assert_eq!(b.read(last), ["3 = \"done\"", "end"]); // its handler had time to answer

    assert_eq!(b.run_to(Phase::Finishing), config().terminate.cancel);
    assert!(b.status(json).abandoned && b.status(streaming).abandoned);
    b.answer(json); // F-33
    b.answer(streaming);
    assert_eq!(b.reply(json), "1 ! -32000 client_delete");
    assert_eq!(b.read(stream), ["2 ! -32000 client_delete", "end"]);
    assert_eq!((b.reply(json), b.read(stream)), ("taken".into(), vec!["end".into()]));
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [2, 2, 0, 0]));
}

#[test]
fn s_4_a_session_whose_handlers_stop_when_told_ends_at_once() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    b.terminate(TerminateReason::Evicted);
    b.answer(key);
    assert_eq!(b.session.phase(), Phase::Finishing);
    assert_eq!(b.reply(key), "1 = \"done\"");
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [2, 0, 0, 0]));
}

#[test]
fn s_12_one_reason_reaches_the_handler_and_the_client() {
    use TerminateReason::{ClientDelete, Error, Evicted, Idle, InitializeTimeout, MaxAge, Shutdown};
    for reason in [ClientDelete, InitializeTimeout, Idle, MaxAge, Evicted, Shutdown, Error] {
        let mut b = Bench::operating(config());
        let key = b.call(1);
        assert!(b.terminate(reason));
        assert_eq!((b.session.reason(), b.status(key)), (Some(reason), told(reason)));
        b.run_to(Phase::Finishing);
        assert_eq!(b.reply(key), format!("1 ! -32000 {reason}"));
        assert_eq!(reason.is_retryable(), reason != ClientDelete);
    }
}

#[test]
fn f_33_a_handler_that_was_given_up_may_still_be_released() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    b.delete().unwrap();
    b.run_to(Phase::Finishing);
    b.reply(key);
    assert_eq!(b.session.exchanges.len(), 1);
    b.release(key);
    assert!(b.session.exchanges.len() == 0);
    assert!(b.status(key).abandoned);
}

// Shutting down.

#[test]
fn s_4_with_nothing_in_flight_draining_is_over_at_once() {
    let mut b = Bench::operating(config());
    b.drain(&SHUTDOWN);
    assert_eq!(b.session.phase(), Phase::Closed);

    let mut b = Bench::operating(config());
    let get = b.get().unwrap();
    let key = b.call(1);
    b.drain(&SHUTDOWN);
    assert_eq!(b.read(get), [":", "end"]); // idle streams first
    b.cancel(1).unwrap();
    b.disconnect(StreamKey::Response(key));
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Finishing, [1, 0, 1, 0]));
    b.release(key);
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [1, 0, 1, 0]));
}

/// A cancelled call whose handler has not stopped yet. Its client has read the whole reply.
fn winding_down(cancel_grace: Duration) -> (Bench, ExchangeKey) {
    let mut b = Bench::operating(SessionConfig { cancel_grace, ..config() });
    let key = b.call(1);
    b.cancel(1).unwrap();
    assert_eq!(b.reply(key), "1 ! -32800 -");
    (b, key)
}

const CANCELLED: [u32; 4] = [1, 0, 1, 0];

#[test]
fn s_4_a_session_ends_when_the_handler_of_a_cancelled_call_has_stopped() {
    type End = fn(&mut Bench);
    let ends: [End; 2] = [|b| b.drain(&SHUTDOWN), |b| b.delete().unwrap()];
    let stops: [fn(&mut Bench, ExchangeKey); 2] = [Bench::release, Bench::answer];
    for end in ends {
        for stop in stops {
            let (mut b, key) = winding_down(config().cancel_grace);
            end(&mut b);
            assert_eq!((b.session.phase(), b.session.unsettled()), (Phase::Finishing, 0));
            b.wait(secs(1));
            assert!(b.session.phase() == Phase::Finishing && !b.status(key).abandoned);
            stop(&mut b, key);
            assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, CANCELLED));
            assert!(b.session.exchanges.len() == 0);
        }
        // One side alone does not end it.
        let mut b = Bench::operating(config());
        let key = b.call(1);
        b.cancel(1).unwrap();
        end(&mut b);
        b.release(key);
        assert_eq!(b.session.phase(), Phase::Finishing);
        assert_eq!(b.reply(key), "1 ! -32800 -");
        assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, CANCELLED));
    }
}

#[test]
fn s_4_a_session_waits_for_a_cancelled_handler_no_longer_than_its_grace() {
    let grace = secs(10);
    for waited in [Duration::ZERO, secs(4), grace - MS] {
        let (mut b, key) = winding_down(grace);
        b.wait(waited);
        b.drain(&SHUTDOWN);
        b.wakes.clear();
        assert_eq!(b.run_to(Phase::Closed), grace - waited);
        assert!(b.status(key).abandoned && b.wakes.contains(&Wake::Handler(1)));
        assert_eq!(b.outcomes(), CANCELLED);
        b.release(key);
        assert!(b.session.exchanges.len() == 0);
    }
    // Its grace was over before: it is not waited for, although it still runs.
    let (mut b, key) = winding_down(grace);
    b.wait(grace);
    assert!(b.status(key).abandoned);
    b.drain(&SHUTDOWN);
    assert_eq!(b.session.phase(), Phase::Closed);
    // Without any grace.
    let (mut b, key) = winding_down(Duration::ZERO);
    b.drain(&SHUTDOWN);
    assert_eq!(b.run_to(Phase::Closed), Duration::ZERO);
    assert!(b.status(key).abandoned);
}

#[test]
fn s_3_a_cancelled_handler_in_its_grace_does_not_move_the_ceiling() {
    let hour = secs(3600);
    let (mut b, key) = winding_down(hour);
    b.drain(&SHUTDOWN);
    assert_eq!(b.run_to(Phase::Closed), SHUTDOWN.drain + SHUTDOWN.cancel + SHUTDOWN.finish);
    assert!(b.status(key).abandoned && b.wakes.ends_with(&[Wake::Handler(1)]));
    assert_eq!(b.outcomes(), CANCELLED);

    let (mut b, key) = winding_down(hour);
    b.delete().unwrap();
    assert_eq!(b.run_to(Phase::Closed), config().terminate.finish);
    assert!(b.status(key).abandoned);
    assert_eq!((b.outcomes(), b.session.next_timeout()), (CANCELLED, None));
}

#[test]
fn f_37_while_draining_what_runs_can_finish_and_nothing_begins() {
    let mut b = Bench::operating(config());
    let (one, first) = b.stream(1);
    let (two, second) = b.stream(2);
    let three = b.call(3);
    let asked = b.ask(one, "ping").unwrap();
    b.wakes.clear();
    b.drain(&SHUTDOWN);
    assert_eq!(b.stands(), (State::Draining, Phase::Draining));
    for tag in [1, 2, 3] {
        assert!(b.wakes.contains(&Wake::Handler(tag)));
    }
    assert_eq!((b.request(4), b.get()), (Err(Refusal::Draining), Err(Refusal::Draining))); // F-38, S2
    assert_eq!(b.input(Input::Ping), Ok(Verdict::Answer));
    assert_eq!(b.respond(0, "pong"), Ok(()));
    assert!(matches!(b.outbound(asked), Some(Ok(_))));
    assert!(b.ask(two, "ping").is_ok());
    assert_eq!(b.cancel(2), Ok(()));
    assert_eq!(b.read(second), ["ping #1", "cancelled #1", "end"]);
    b.wait(SHUTDOWN.drain - MS);
    assert_eq!(b.status(one), Status::default());
    b.answer(three);
    b.answer(one);
    assert_eq!(b.session.phase(), Phase::Finishing);
    assert_eq!(b.read(first).last().unwrap(), "end");
    assert_eq!(b.session.phase(), Phase::Finishing);
    assert_eq!(b.reply(three), "3 = \"done\"");
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [3, 0, 1, 0]));
}

#[test]
fn s_3_a_hung_handler_and_a_client_that_reads_nothing_do_not_move_the_ceiling() {
    let mut b = Bench::operating(config());
    let key = b.call(1); // never answers
    let (_, unread) = b.stream(2); // never reads
    let (read, stream) = b.stream(3);
    b.get().unwrap();
    b.drain(&SHUTDOWN);
    assert_eq!(b.run_to(Phase::Cancelling), SHUTDOWN.drain);
    assert_eq!(b.status(read), told(TerminateReason::Shutdown));
    assert_eq!(b.run_to(Phase::Finishing), SHUTDOWN.cancel);
    assert!(b.read(stream).contains(&"3 ! -32000 shutdown".into()));
    assert_eq!(b.run_to(Phase::Closed), SHUTDOWN.finish);
    assert_eq!(b.read(unread), ["cut"]); // S11
    assert_eq!(b.outcomes(), [1, 1, 0, 2]);
    assert_eq!((b.tally.streams_ended, b.tally.streams_cut), (1, 3));
    assert!(b.status(key).abandoned);
}

#[test]
fn s_5_answers_that_are_late_can_be_read() {
    let mut b = Bench::operating(config());
    let (_, hangs) = b.stream(1);
    let (answered, stream) = b.stream(2);
    b.drain(&SHUTDOWN);
    b.now += secs(3600); // the process was stopped
    b.answer(answered);
    b.session.handle_timeout(b.now);
    assert_eq!(b.session.phase(), Phase::Finishing);
    assert_eq!(b.session.next_timeout(), Some(b.now + SHUTDOWN.finish));
    assert!(b.read(hangs).contains(&"1 ! -32000 shutdown".into()));
    assert!(b.read(stream).iter().any(|event| event.starts_with("2 ")));
    assert_eq!(b.session.phase(), Phase::Closed);
}

#[test]
fn s_11_a_client_that_reads_nothing_is_cut_when_its_time_is_up() {
    let mut b = Bench::operating(config());
    let json = b.call(1);
    let (streaming, stream) = b.stream(2);
    let get = b.get().unwrap();
    b.drain(&SHUTDOWN);
    b.answer(json);
    b.answer(streaming);
    assert_eq!(b.session.phase(), Phase::Finishing);
    b.wait(secs(1));
    // No request runs any more, so the readers get their own budget and no more.
    b.drain(&TerminatePolicy { drain: Duration::ZERO, cancel: Duration::ZERO, ..SHUTDOWN });
    assert_eq!(b.run_to(Phase::Closed), SHUTDOWN.finish);
    assert_eq!((b.read(get), b.read(stream)), (vec!["cut".into()], vec!["cut".into()]));
    assert_eq!(b.outcomes(), [1, 0, 0, 2]);
}

#[test]
fn s_11_a_terminated_session_gives_its_readers_their_budget_from_the_last_answer() {
    let mut b = Bench::operating(SessionConfig { terminate: SHUTDOWN, ..config() });
    let (early, late) = (b.call(1), b.call(2));
    b.delete().unwrap();
    b.answer(early);
    b.wait(secs(1));
    assert_eq!(b.session.phase(), Phase::Draining);
    b.answer(late);
    assert_eq!(b.run_to(Phase::Closed), SHUTDOWN.finish);
    assert_eq!(b.outcomes(), [1, 0, 0, 2]);
}

#[test]
fn s_10_draining_again_only_tightens() {
    let mut b = Bench::operating(config());
    b.call(1);
    b.drain(&SHUTDOWN);
    b.wait(secs(1));
    b.drain(&TerminatePolicy { drain: secs(60), ..SHUTDOWN });
    let (now, ending) = (b.now, b.session.lifecycle.ending().copied().unwrap());
    assert_eq!([ending.cancel_at, ending.close_at], [now + secs(14), now + secs(19)]);
    // A policy with shorter phases that would end later changes nothing.
    b.drain(&TerminatePolicy { drain: secs(60), cancel: Duration::ZERO, finish: Duration::ZERO });
    assert_eq!(b.session.lifecycle.ending().unwrap().close_at, ending.close_at);
    b.drain(&TerminatePolicy { drain: Duration::ZERO, ..SHUTDOWN }); // a second signal
    assert_eq!(b.stands(), (State::Draining, Phase::Cancelling));
    assert_eq!(b.run_to(Phase::Closed), SHUTDOWN.cancel + SHUTDOWN.finish);
    assert_eq!(b.outcomes(), [1, 0, 0, 1]);
}

#[test]
fn s_1_draining_a_session_that_is_terminating_changes_neither_reason_nor_state() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    b.delete().unwrap();
    b.drain(&TerminatePolicy { drain: secs(60), ..SHUTDOWN });
    assert_eq!(b.stands(), (State::Terminated, Phase::Cancelling));
    assert_eq!(b.run_to(Phase::Finishing), config().terminate.cancel);
    assert_eq!(b.reply(key), "1 ! -32000 client_delete");
    assert_eq!(b.session.reason(), Some(TerminateReason::ClientDelete));
}

#[test]
fn f_37_s_12_terminating_while_draining_skips_the_drain_and_keeps_the_reason() {
    let ends: [fn(&mut Bench) -> bool; 2] =
        [|b| b.delete().is_ok(), |b| b.terminate(TerminateReason::Evicted)];
    for end in ends {
        let mut b = Bench::operating(config());
        let (json, (key, stream)) = (b.call(1), b.stream(2));
        let asked = b.ask(key, "ping").unwrap();
        b.drain(&SHUTDOWN);
        b.wait(secs(1));
        assert_eq!(b.left(), [secs(14), secs(17), secs(19)]);
        assert!(end(&mut b));
        assert!(!end(&mut b));
        let TerminatePolicy { cancel, finish, .. } = config().terminate;
        assert_eq!(b.left(), [Duration::ZERO, cancel, cancel + finish]);
        assert_eq!(b.stands(), (State::Terminated, Phase::Cancelling));
        let reason = TerminateReason::Shutdown;
        assert_eq!(b.session.reason(), Some(reason));
        assert_eq!((b.status(json), b.status(key)), (told(reason), told(reason)));
        assert_eq!(b.outbound(asked), Some(Err(RequestError::Terminated(reason))));
        assert_eq!(b.run_to(Phase::Finishing), cancel);
        assert_eq!(b.reply(json), "1 ! -32000 shutdown");
        assert_eq!(b.read(stream), ["ping #0", "cancelled #0", "2 ! -32000 shutdown", "end"]);
        assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [1, 2, 0, 0]));
    }
}

#[test]
fn f_37_s_10_terminating_with_a_longer_schedule_does_not_extend_the_shutdown() {
    let minute = TerminatePolicy { drain: secs(60), cancel: secs(60), finish: secs(60) };
    let mut b = Bench::operating(SessionConfig { terminate: minute, ..config() });
    let key = b.call(1);
    b.drain(&SHUTDOWN);
    b.wait(secs(1));
    let left = b.left();
    b.delete().unwrap();
    assert_eq!((b.left(), b.stands()), (left, (State::Terminated, Phase::Draining)));
    assert_eq!(b.status(key), Status::default());
    b.answer(key);
    assert_eq!(b.run_to(Phase::Closed), SHUTDOWN.finish); // the shorter of the two budgets, from the last answer
}

#[test]
fn f_37_terminating_while_finishing_gives_readers_their_budget_from_then() {
    let TerminatePolicy { drain, cancel, finish } = SHUTDOWN;
    let ceiling = drain + cancel + finish;
    for (own, waited, rest) in [
        (secs(1), secs(1), secs(1)),
        (secs(60), secs(1), finish), // no more than the shutdown's own budget
        (Duration::ZERO, secs(1), Duration::ZERO),
        (secs(60), ceiling - secs(1), secs(1)), // S10
    ] {
        let terminate = TerminatePolicy { finish: own, ..TerminatePolicy::default() };
        let mut b = Bench::operating(SessionConfig { terminate, ..config() });
        let (json, (key, stream)) = (b.call(1), b.stream(2));
        b.drain(&SHUTDOWN);
        b.answer(json);
        b.answer(key);
        assert_eq!(b.stands(), (State::Draining, Phase::Finishing));
        b.wait(waited);
        assert_eq!(b.left()[2], ceiling - waited);
        b.delete().unwrap();
        assert_eq!(
            (b.session.state(), b.session.reason()),
            (State::Terminated, Some(TerminateReason::Shutdown))
        );
        assert_eq!(b.run_to(Phase::Closed), rest, "{own:?} after {waited:?}");
        assert_eq!((b.read(stream), b.outcomes()), (vec!["cut".into()], [1, 0, 0, 2]));
    }
    // After the end of the session, a DELETE changes only the answer to the next DELETE.
    let mut b = Bench::operating(config());
    b.drain(&SHUTDOWN);
    assert_eq!(b.stands(), (State::Draining, Phase::Closed));
    assert_eq!((b.delete(), b.delete()), (Ok(()), Err(Refusal::Gone)));
    assert_eq!(b.stands(), (State::Terminated, Phase::Closed));
    assert_eq!(b.session.reason(), Some(TerminateReason::Shutdown));
    b.wait(config().idle_timeout);
    assert_eq!(b.session.next_timeout(), None);
}

/// A client that lists the tools before it accepts a result can do so.
#[test]
fn f_38_lists_are_served_while_a_session_drains_and_a_moment_longer() {
    let linger = 250 * MS;
    let mut b = Bench::operating(SessionConfig { linger, ..config() });
    let key = b.call(1);
    b.drain(&SHUTDOWN);
    assert_eq!((b.request(2), b.list(1)), (Err(Refusal::Draining), Err(Refusal::DuplicateId)));
    let list = b.list(3).expect("admitted while the call runs");
    b.answer(list);
    b.reply(list);
    b.wait(secs(1)); // the call runs longer than the session lingers
    b.answer(key);
    b.reply(key);
    assert_eq!((b.stands(), b.request(4)), ((State::Draining, Phase::Draining), Err(Refusal::Draining)));
    b.wait(linger - MS);
    let list = b.list(5).expect("admitted while the session lingers");
    b.wait(secs(1)); // the session also stays while that request runs
    b.answer(list);
    b.reply(list);
    assert_eq!(b.session.phase(), Phase::Draining);
    assert_eq!(b.run_to(Phase::Closed), linger);
    assert_eq!((b.list(6), b.outcomes()), (Err(Refusal::Draining), [4, 0, 0, 0]));
}

#[test]
fn s_4_a_session_lingers_only_over_an_answer_and_not_beyond_the_drain() {
    let lingers = || Bench::operating(SessionConfig { linger: secs(60), ..config() });
    let mut b = lingers();
    b.drain(&SHUTDOWN);
    assert_eq!(b.session.phase(), Phase::Closed, "it was idle");
    let mut b = lingers();
    b.call(1);
    b.drain(&SHUTDOWN);
    b.cancel(1).unwrap();
    assert_eq!(b.session.phase(), Phase::Finishing, "a cancelled call leaves nothing to linger for");
    // The end of the drain, a second signal or a DELETE end the lingering.
    for (end, after) in [(0, SHUTDOWN.drain), (1, Duration::ZERO), (2, Duration::ZERO)] {
        let mut b = lingers();
        let key = b.call(1);
        b.drain(&SHUTDOWN);
        b.answer(key);
        b.reply(key);
        assert_eq!(b.session.phase(), Phase::Draining);
        match end {
            1 => b.drain(&TerminatePolicy { drain: Duration::ZERO, ..SHUTDOWN }),
            2 => b.delete().unwrap(),
            _ => {}
        }
        assert_eq!(b.run_to(Phase::Closed), after, "{end}");
        assert_eq!(b.outcomes(), [2, 0, 0, 0]);
    }
}

#[test]
fn s_2_a_session_born_during_the_drain_is_answered_and_ends() {
    let mut b = Bench::initializing(config());
    b.drain(&SHUTDOWN);
    assert_eq!(b.session.phase(), Phase::Draining);
    b.answer(INITIALIZE);
    assert!(b.session.is_established());
    assert_eq!(b.stands(), (State::Draining, Phase::Finishing));
    assert_eq!(b.reply(INITIALIZE), "0 = \"done\"");
    assert_eq!(b.session.phase(), Phase::Closed);
}

#[test]
fn closing_is_the_end_of_everything_in_every_state() {
    for state in STATES {
        let mut b = Bench::in_state(state);
        let call = b.owed().unwrap().0;
        b.close();
        let outcomes = b.outcomes();
        b.close();
        assert_eq!(b.stands(), (State::Terminated, Phase::Closed), "{state:?}");
        assert_eq!((outcomes[3], b.outcomes()), (1, outcomes), "{state:?}");
        assert!(b.status(call).abandoned, "{state:?}");
        assert_eq!(b.request(7), Err(Refusal::Gone));
    }
}

#[test]
fn closing_gives_up_the_cancelled_too() {
    let mut b = Bench::operating(config());
    let key = b.call(1);
    b.cancel(1).unwrap();
    b.reply(key);
    b.close();
    assert!(b.status(key).abandoned);
    assert!(b.wakes.ends_with(&[Wake::Handler(1)]));
}

#[test]
fn closing_cuts_streams_and_tells_everybody() {
    let mut b = Bench::operating(config());
    let get = b.get().unwrap();
    let (key, stream) = b.stream(1);
    b.notify(key).unwrap();
    let asked = b.ask(key, "ping").unwrap();
    b.wakes.clear();
    b.close();
    assert_eq!((b.read(get), b.read(stream)), (vec!["cut".into()], vec!["cut".into()]));
    assert_eq!(b.outbound(asked), Some(Err(RequestError::Terminated(TerminateReason::Shutdown))));
    for wake in [Wake::Reader(1), Wake::Reader(2), Wake::Handler(2)] {
        assert!(b.wakes.contains(&wake), "{wake:?}");
    }
    b.disconnect(stream);
    b.disconnect(get);
    b.release(key);
    assert_eq!((b.tally.streams_ended, b.tally.streams_cut), (0, 2));
}

#[test]
fn late_waiters_are_woken_and_ready_answers_wake_none() {
    let mut b = Bench::operating(config());
    let at_once = b.act(|session, now| session.handle_request(now, 1.into(), None)).unwrap();
    b.wakes.clear();
    b.answer(at_once);
    assert_eq!((b.reply(at_once).as_str(), &*b.wakes), ("1 = \"done\"", &[][..]));
    assert_eq!(b.session.tag_or(at_once, || 7), None);

    // With a stream that was opened before anybody waited, and without a stream.
    for streams in [true, false] {
        let key = b.act(|session, now| session.handle_request(now, 2.into(), None)).unwrap();
        if streams {
            b.notify(key).unwrap();
        }
        assert_eq!([7, 8].map(|tag| b.session.tag_or(key, || tag)), [Some(7), Some(7)]);
        b.wakes.clear();
        b.notify(key).unwrap();
        assert_eq!(b.wakes.first(), Some(&Wake::Reader(7)));
        b.cancel(2).unwrap();
        assert!(b.wakes.contains(&Wake::Handler(7)));
        b.read(StreamKey::Response(key));
    }
}

/// B-45: what a client accepts counts for its own request, whatever the session's mode.
#[test]
fn b_45_a_request_is_answered_in_the_form_that_its_client_accepts() {
    let mut b = Bench::operating(config());
    let restricted = b.request(1).unwrap();
    b.act(|session, _| session.restrict(restricted, ResponseMode::Sse));
    b.act(|session, now| session.handle_suspended(now, restricted));
    let other = b.call(2);
    assert_eq!((b.reply(restricted), b.reply(other)), ("stream".into(), "pending".into()));
}
