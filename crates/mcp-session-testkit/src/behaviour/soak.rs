//! Two nodes, one store, and a balancer that sends each request to the next node, with many clients of every kind,
//! for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fastrand::Rng;
use futures::{
    FutureExt,
    future::{join_all, select},
};
use http::StatusCode;
use mcp_session_core::{
    Endpoint, Runtime, SecondStream, SessionConfig, ShutdownPolicy,
    store::{MemoryStore, Store},
};
use serde_json::{Value, json};

use super::fixture::{Client, Fixture, NEVER, Reply, Work, notification, request, request_with};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    d_21_e_11_ten_minutes_of_round_robin,
}

/// Duration, number of sessions, and pace of a soak.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The number of concurrent sessions.
    pub sessions: usize,
    /// The duration, by the runtime's clock.
    pub time: Duration,
    /// How long a client waits between two actions; at most three times this.
    pub pace: Duration,
    /// The idle time after which a node parks a session that it has not seen.
    pub idle: Duration,
}

/// Counts of what has happened.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    counts: BTreeMap<&'static str, u64>,
    /// What must never happen: an unknown live id, an event repeated or lost, a call without exactly one answer.
    pub violations: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// The number of times that this has happened.
    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{count:>9}  {what}")?;
        }
        writeln!(f, "{:>9}  violations", self.violations.len())?;
        self.violations.iter().take(20).try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}

/// D-21, E-11, C-10, D-24, D-30, S5: 200 sessions of every kind of client, round robin over two nodes without
/// affinity, for ten minutes: no 404 for a live id, no event lost or repeated, and exactly one answer for every call.
/// On a real clock, a short form.
fn d_21_e_11_ten_minutes_of_round_robin(bed: &impl TestBed) {
    let plan = match bed.name() {
        "sim" => Plan {
            sessions: 200,
            time: Duration::from_secs(600),
            pace: Duration::from_secs(20),
            idle: Duration::from_secs(90),
        },
        _ => {
            Plan { sessions: 24, time: Duration::from_secs(2), pace: Duration::from_millis(40), idle: NEVER }
        }
    };
    let tally = soak(bed, plan);
    assert!(tally.violations.is_empty(), "{tally}");
    for kind in ["calls", "calls resumed", "events", "GETs", "sessions"] {
        assert!(tally.of(kind) > 0, "{kind}: {tally}");
    }
}

/// Runs the soak.
pub fn soak(bed: &impl TestBed, plan: Plan) -> Tally {
    let store = Store::new(MemoryStore::new(bed.runtime()));
    let fixture = || {
        Fixture::new(bed, |config| {
            config.store = Some(store.clone());
            config.session.initialize_timeout = SessionConfig::default().initialize_timeout;
            config.session.heartbeat = SessionConfig::default().heartbeat;
            config.session.idle_timeout = plan.idle;
            config.session.second_stream = SecondStream::Replace;
        })
    };
    let (mut a, mut b) = (fixture(), fixture());
    let tally = Arc::new(Mutex::new(Tally::default()));
    bed.block_on(async {
        let runtime = bed.runtime();
        let until = runtime.now() + plan.time;
        let clients = join_all((0..plan.sessions).map(|index| {
            let strangers = [a.stranger(), b.stranger()];
            let endpoints = [a.endpoint.clone(), b.endpoint.clone()];
            let life = Life::new(index, plan, until, Arc::clone(&runtime), strangers, endpoints, &tally);
            life.live()
        }));
        let work = join_all([&mut a, &mut b].map(|fixture| handlers(fixture, plan)));
        select(Box::pin(clients), Box::pin(work)).await;
        for fixture in [&a, &b] {
            let report = fixture.endpoint.shutdown(ShutdownPolicy::default()).await;
            if report.exchanges.forced > 0 {
                lock(&tally).violations.push(format!("a shutdown that had to force something: {report}"));
            }
        }
    });
    lock(&tally).clone()
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The handlers of a node: each sends the notes it is asked for, takes its time, and answers.
async fn handlers(fixture: &mut Fixture, plan: Plan) {
    let runtime = Arc::clone(&fixture.runtime);
    loop {
        let work = fixture.work().await;
        let clock = Arc::clone(&runtime);
        runtime.spawn(Box::pin(async move { handle(work, clock, plan.pace / 8).await }));
    }
}

async fn handle(work: Work, clock: Arc<dyn Runtime>, pause: Duration) {
    let notes = work.cx.params::<Value>().ok().and_then(|params| params["notes"].as_u64()).unwrap_or(0);
    for n in 0..notes {
        // Its client may have deleted the session.
        if work.cx.notify("notifications/n", Some(&json!({ "n": n }))).await.is_err() {
            return work.finish(json!({}));
        }
        clock.sleep_until(clock.now() + pause).await;
    }
    work.finish(json!({ "notes": notes }));
}

/// The life of one client, and of its consecutive sessions.
struct Life<'a> {
    index: usize,
    plan: Plan,
    until: Instant,
    runtime: Arc<dyn Runtime>,
    strangers: [Client; 2],
    endpoints: [Endpoint; 2],
    tally: &'a Mutex<Tally>,
    random: Rng,
    /// The number of requests so far: each goes to the next node.
    turn: usize,
    /// The number of further requests that stay at one node.
    stays: usize,
}

/// The client's view of its GET stream.
#[derive(Default)]
struct Listening {
    get: Option<Reply>,
    last_event_id: Option<String>,
    /// The events it has seen. Events of two nodes at the same time have no order.
    seen: BTreeSet<u64>,
    /// The number of the next event to send.
    next: u64,
}

impl<'a> Life<'a> {
    fn new(
        index: usize,
        plan: Plan,
        until: Instant,
        runtime: Arc<dyn Runtime>,
        strangers: [Client; 2],
        endpoints: [Endpoint; 2],
        tally: &'a Mutex<Tally>,
    ) -> Self {
        let random = Rng::with_seed(index as u64);
        Self { index, plan, until, runtime, strangers, endpoints, tally, random, turn: index, stays: 0 }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.u64(..n)
    }

    fn count(&self, what: &'static str) {
        lock(self.tally).count(what);
    }

    fn violation(&self, what: &str) {
        lock(self.tally).violations.push(format!("client {}: {what}", self.index));
    }

    fn is_over(&self) -> bool {
        self.runtime.now() >= self.until
    }

    async fn pause(&self, time: Duration) {
        self.runtime.sleep_until(self.runtime.now() + time).await;
    }

    /// The client at the node whose turn it is.
    fn turn(&mut self, client: &Client) -> Client {
        if self.stays > 0 {
            self.stays -= 1;
        } else {
            self.turn += 1;
        }
        self.strangers[self.turn % 2].with_session(Some(client.id()))
    }

    /// Sends a request until it is served. A live id must never be unknown.
    async fn served(&mut self, client: &Client, message: &Value) -> Option<Reply> {
        loop {
            let reply = self.turn(client).post(message).await;
            match reply.status {
                StatusCode::SERVICE_UNAVAILABLE => {
                    self.count("told to come again");
                    self.pause(Duration::from_millis(20)).await;
                }
                StatusCode::OK | StatusCode::ACCEPTED => return Some(reply),
                status => {
                    self.violation(&format!("{status} for {message}"));
                    return None;
                }
            }
        }
    }

    async fn live(mut self) {
        while !self.is_over() {
            self.session().await;
        }
    }

    /// Runs one session, from `initialize` to DELETE or the end of the soak.
    async fn session(&mut self) {
        let version = ["2025-11-25", "2025-06-18", "2025-03-26"][self.index % 3];
        let listens = self.index % 4 != 3;
        let mut client = self.strangers[self.turn % 2].clone();
        client.initialize(version).await;
        self.count("sessions");
        if self.below(4) == 0 {
            self.served(&client, &request(1, "echo")).await; // before `initialized` (C-18)
        }
        if self.served(&client, &notification("notifications/initialized")).await.is_none() {
            return;
        }
        let mut listening = Listening::default();
        if listens {
            self.listen(&client, &mut listening).await;
        }
        let life = 20 + self.below(60);
        for step in 0..life {
            if self.is_over() {
                break;
            }
            let time = self.plan.pace * u32::try_from(1 + self.below(3)).unwrap_or(1);
            self.pause(time).await;
            let going = match self.below(10) {
                0..3 => self.served(&client, &request(format!("e{step}"), "echo")).await.is_some(),
                3 => self.served(&client, &request(format!("p{step}"), "ping")).await.is_some(),
                4..7 => self.call(&client, step).await,
                7 if listens => self.listen(&client, &mut listening).await,
                what => {
                    if what == 8 && self.below(2) == 0 {
                        self.stays = 10; // longer than the other node's idle time
                    }
                    self.served(&client, &request(format!("s{step}"), "ping")).await.is_some()
                }
            };
            if !going {
                return;
            }
            if listens {
                for _ in 0..self.below(4) {
                    self.announce(&client, &mut listening).await;
                }
                self.read(&mut listening);
                // After some minutes a store drops messages that were not read.
                if listening.get.is_none() && !self.listen(&client, &mut listening).await {
                    return;
                }
            }
        }
        if listens {
            self.catch_up(&client, &mut listening).await;
        }
        let gone = self.turn(&client).delete().await.status;
        if gone != StatusCode::NO_CONTENT {
            self.violation(&format!("{gone} for DELETE"));
        }
        self.count("deleted");
        if let Some(mut get) = listening.get.take() {
            // It ends cleanly with the session.
            while let Some(event) = get.event().await {
                if event.is_err() {
                    return self.violation("a GET was cut by a DELETE");
                }
            }
        }
    }

    /// Makes a call that sends notes. The client may lose its connection and resume at the other node.
    async fn call(&mut self, client: &Client, step: u64) -> bool {
        let (id, notes) = (format!("c{step}"), 1 + self.below(6));
        let message = request_with(id.clone(), "work", json!({ "notes": notes }));
        let Some(mut reply) = self.served(client, &message).await else { return false };
        self.count("calls");
        let (mut seen, mut last_event_id) = (0, None);
        loop {
            let message = reply.message().await;
            last_event_id = reply.last_event_id().map(str::to_owned).or(last_event_id);
            match message {
                Some(message) if message.get("id").is_some() => {
                    if message["id"] != *id || seen != notes || message["result"]["notes"] != notes {
                        self.violation(&format!("after {seen} of {notes} notes: {message}"));
                    }
                    if reply.message().await.is_some() {
                        self.violation("something follows an answer");
                    }
                    return true;
                }
                Some(message) => {
                    if message["params"]["n"] != seen {
                        self.violation(&format!("note {seen} was due: {message}"));
                        return false;
                    }
                    seen += 1;
                    self.count("events");
                    if self.below(4) != 0 {
                        continue;
                    }
                    // Everything that has arrived is read before the connection is lost.
                }
                None => {}
            }
            let Some(last) = last_event_id.clone() else {
                self.violation("a call without an answer, and no way back to it");
                return false;
            };
            while let Some(Some(message)) = reply.message().now_or_never() {
                if message.get("id").is_some() {
                    return true; // resumed after the answer was already there
                }
                seen += 1;
            }
            let last = reply.last_event_id().map_or(last, str::to_owned);
            drop(reply);
            self.count("calls resumed");
            reply = loop {
                let reply = self.turn(client).resume(&last).await;
                match reply.status {
                    StatusCode::OK => break reply,
                    StatusCode::SERVICE_UNAVAILABLE => self.pause(Duration::from_millis(20)).await,
                    status => {
                        self.violation(&format!("{status} for a stream that goes on after {last}"));
                        return false;
                    }
                }
            };
        }
    }

    /// Opens a GET, plain or resumed; the previous one may still be open, or lost.
    async fn listen(&mut self, client: &Client, listening: &mut Listening) -> bool {
        self.read(listening);
        let keeps = self.below(2) == 0;
        let mut older = listening.get.take().filter(|_| keeps);
        let last = listening.last_event_id.clone().filter(|_| self.below(2) == 0 && older.is_none());
        loop {
            let client = self.turn(client);
            let get = match &last {
                Some(last) => client.resume(last).await,
                None => client.get().await,
            };
            match get.status {
                StatusCode::OK => {
                    self.count("GETs");
                    if let Some(older) = &mut older {
                        // The newer GET has taken over. What the older one still delivers precedes it; then the older
                        // one ends.
                        while let Some(event) = older.message().await {
                            self.received(listening, &event);
                        }
                    }
                    listening.get = Some(get);
                    return true;
                }
                StatusCode::SERVICE_UNAVAILABLE => {
                    self.count("told to come again");
                    self.pause(Duration::from_millis(20)).await;
                }
                status => {
                    self.violation(&format!("{status} for GET"));
                    return false;
                }
            }
        }
    }

    /// Sends a standalone message at a node that serves the session.
    async fn announce(&mut self, client: &Client, listening: &mut Listening) {
        let first = self.below(2) as usize;
        let session =
            [first, 1 - first].into_iter().find_map(|at| self.endpoints[at].manager().get(&client.id()));
        if let Some(session) = session {
            let n = json!({ "n": listening.next });
            if session.notify("notifications/n", Some(&n)).await.is_ok() {
                listening.next += 1;
            }
        }
    }

    fn received(&self, listening: &mut Listening, event: &Value) {
        self.count("events");
        let n = event["params"]["n"].as_u64().unwrap_or(u64::MAX);
        if n > listening.next || !listening.seen.insert(n) {
            self.violation(&format!("an event twice: {event}"));
        }
    }

    /// Reads everything that is ready.
    fn read(&self, listening: &mut Listening) {
        let Some(mut get) = listening.get.take() else { return };
        loop {
            let message = get.message().now_or_never();
            listening.last_event_id =
                get.last_event_id().map(str::to_owned).or(listening.last_event_id.take());
            match message {
                Some(Some(event)) => self.received(listening, &event),
                Some(None) => return, // the stream has ended
                None => break,
            }
        }
        listening.get = Some(get);
    }

    /// Reads until nothing is missing.
    async fn catch_up(&mut self, client: &Client, listening: &mut Listening) {
        let patience = self.runtime.now() + Duration::from_secs(30);
        while (listening.seen.len() as u64) < listening.next {
            if listening.get.is_none() && !self.listen(client, listening).await {
                return;
            }
            self.pause(Duration::from_millis(20)).await;
            self.read(listening);
            if self.runtime.now() > patience {
                let missing: Vec<_> = (0..listening.next).filter(|n| !listening.seen.contains(n)).collect();
                return self.violation(&format!("events {missing:?} of {} are lost", listening.next));
            }
        }
    }
}
