//! Draws a [`Plan`] from a seed.
//!
//! Each plan draws first which kinds of things happen in it at all, and how often: a swarm. Faults that are always on hide
//! each other, and a run with everything on never gets far.

use std::time::Duration;

use fastrand::Rng;
use mcp_session_core::{Config, ProtocolVersion, ReplayConfig, ResponseMode, SecondStream, ShutdownPolicy};

use super::{
    plan::{
        Act, CallId, ClientPlan, Cut, End, Event, Happening, Hook, Hooks, Kind, Limits, Millis, Op, Plan,
        Reader, Reply, Script, Step, StorePlan, Upload,
    },
    store::StoreFaults,
};

impl Plan {
    /// The plan of a seed.
    pub(super) fn draw(seed: u64) -> Self {
        let mut draw = Draw { rng: Rng::with_seed(seed), swarm: Swarm::default() };
        draw.swarm = draw.swarm();
        draw.plan(seed)
    }
}

/// How often something happens, in percent.
type Percent = u8;

/// What happens in a plan, and how often.
#[derive(Debug, Default)]
struct Swarm {
    slow_readers: Percent,
    pauses: Percent,
    cuts: Percent,
    hidden: Percent,
    uploads: Percent,
    duplicates: Percent,
    hooks: Percent,
    panics: Percent,
    never: Percent,
    stubborn: Percent,
    asks: Percent,
    late_replies: Percent,
    events: Percent,
    vanish: Percent,
    pause_node: Percent,
    shutdowns: Percent,
    joins: Percent,
    deletes: Percent,
    store: Percent,
    long_waits: Percent,
}

struct Draw {
    rng: Rng,
    swarm: Swarm,
}

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.rng.usize(..n)
    }

    fn one<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.below(N)]
    }

    fn chance(&mut self, percent: Percent) -> bool {
        self.rng.u8(..100) < percent
    }

    /// Off in a third of all plans, otherwise from rare to very frequent.
    fn rate(&mut self) -> Percent {
        self.one([0, 0, 5, 20, 50, 80])
    }

    fn swarm(&mut self) -> Swarm {
        Swarm {
            slow_readers: self.rate(),
            pauses: self.rate(),
            cuts: self.rate(),
            hidden: self.rate(),
            uploads: self.rate(),
            duplicates: self.rate(),
            hooks: self.rate(),
            panics: self.rate(),
            never: self.rate(),
            stubborn: self.rate(),
            asks: self.rate(),
            late_replies: self.rate(),
            events: self.one([0, 20, 50, 90]),
            vanish: self.rate(),
            pause_node: self.rate(),
            shutdowns: self.rate(),
            joins: self.rate(),
            deletes: self.rate(),
            store: self.rate(),
            long_waits: self.one([0, 0, 5, 20]),
        }
    }

    fn plan(&mut self, seed: u64) -> Plan {
        let nodes = self.one([1, 1, 1, 1, 2, 2, 2, 3, 4]);
        let mut store = (nodes > 1 || self.chance(20)).then(|| self.store());
        let limits = self.limits(store.is_some());
        let clients = 1 + self.below(5);
        let clients: Vec<_> = (0..clients).map(|_| self.client(clients)).collect();
        let mut events = Vec::new();
        while events.len() < 6 && self.chance(self.swarm.events) {
            events.push(self.event(nodes, clients.len(), store.is_some()));
        }
        if let Some(store) = store.as_mut().filter(|_| nodes > 1 && self.chance(20)) {
            // What the field does most: a deploy, or a crash, with a store that works.
            store.faults = StoreFaults::default();
            events = if self.chance(50) { self.deploy(nodes) } else { self.crash(nodes) };
        }
        events.sort_by_key(|event| event.at);
        let log_panics = if self.chance(10) { self.one([1, 10, 100]) } else { 0 };
        // One in eight is first in, first out.
        let order = if self.chance(12) { 0 } else { self.rng.u64(1..) };
        Plan { seed, order, limits, nodes, store, log_panics, clients, events }
    }

    /// Each node is replaced by a new one, one after the other.
    fn deploy(&mut self, nodes: usize) -> Vec<Event> {
        let (policy, mut at) = (self.policy(), self.time());
        let mut events = Vec::new();
        for node in 0..nodes {
            events.push(Event { at, node, what: Happening::Shutdown { policy, held: true } });
            at += self.one([500, 1_000, policy.ceiling().as_millis() as Millis + 1]);
            events.push(Event { at, node, what: Happening::Restart });
        }
        events
    }

    /// A node is killed, and perhaps started again.
    fn crash(&mut self, nodes: usize) -> Vec<Event> {
        let (at, node) = (self.time(), self.below(nodes));
        let again = Event { at: at + self.time(), node, what: Happening::Restart };
        let kill = Event { at, node, what: Happening::Vanish };
        if self.chance(50) { vec![kill, again] } else { vec![kill] }
    }

    fn time(&mut self) -> Millis {
        if self.chance(self.swarm.long_waits) {
            return self.one([2_000, 5_000, 7_000, 15_000, 40_000]);
        }
        self.one([0, 1, 2, 5, 10, 50, 100, 250, 500, 1_000])
    }

    fn seconds(&mut self, of: [f64; 3]) -> Duration {
        Duration::from_secs_f64(self.one(of))
    }

    fn policy(&mut self) -> ShutdownPolicy {
        ShutdownPolicy {
            lame_duck: self.seconds([0.0, 0.0, 0.5]),
            drain: self.seconds([0.0, 0.2, 5.0]),
            cancel: self.seconds([0.0, 0.1, 1.0]),
            finish: self.seconds([0.0, 0.1, 1.0]),
        }
    }

    fn limits(&mut self, store: bool) -> Limits {
        let mut config = Config::default();
        config.hook_timeout = self.seconds([0.5, 2.0, 10.0]);
        config.max_sessions = if self.chance(20) { self.one([1, 2]) } else { 100 };
        config.max_stateless_requests = if self.chance(10) { self.one([1, 2]) } else { 100 };
        config.max_subscriptions = if self.chance(10) { 1 } else { 100 };
        config.body_timeout = self.seconds([0.3, 5.0, 30.0]);
        let session = &mut config.session;
        session.idle_timeout = self.seconds([4.0, 30.0, 600.0]);
        session.initialize_timeout = self.seconds([1.0, 30.0, 30.0]);
        session.max_age = self.chance(15).then(|| self.seconds([2.0, 10.0, 60.0]));
        session.heartbeat = self.seconds([0.5, 5.0, 15.0]);
        session.ping_interval = self.seconds([2.0, 20.0, 300.0]);
        session.queue_events = self.one([2, 8, 256]);
        session.response_mode = self.one([ResponseMode::Auto, ResponseMode::Auto, ResponseMode::Sse]);
        session.second_stream = self.one([SecondStream::Replace, SecondStream::Refuse]);
        session.cancel_grace = self.seconds([0.0, 0.1, 3.0]);
        session.max_exchanges = if self.chance(20) { self.one([1, 2]) } else { 1_000 };
        session.linger = self.seconds([0.0, 0.05, 0.25]);
        session.terminate.drain = self.seconds([0.0, 0.1, 2.0]);
        session.terminate.cancel = self.seconds([0.0, 0.1, 1.0]);
        session.terminate.finish = self.seconds([0.1, 1.0, 2.0]);
        let mut replay = ReplayConfig::default();
        replay.events = self.one([2, 16, 1_000, 1_000]);
        replay.age = self.seconds([2.0, 60.0, 300.0]);
        replay.retry = self.seconds([0.01, 0.1, 1.0]);
        session.replay = (store || self.chance(75)).then_some(replay);
        let pipe = self.one([1, 4, 64]);
        Limits { config, pipe, last: self.policy() }
    }

    fn store(&mut self) -> StorePlan {
        let only_slow = StoreFaults { slow: 50, ..StoreFaults::default() };
        let faults = StoreFaults {
            slow: self.store_rate(),
            fails: self.store_rate(),
            fails_after: self.store_rate(),
            hangs: self.store_rate() / 4,
            panics: self.store_rate() / 4,
            loses: self.store_rate() / 4,
            late_messages: self.store_rate(),
            repeats_messages: self.store_rate(),
        };
        StorePlan {
            // Some invariants hold only if nothing is worse than slow.
            faults: self.one([only_slow, StoreFaults::default(), faults, faults, faults]),
            seed: self.rng.u64(..),
            lease: self.seconds([0.5, 2.0, 10.0]),
            timeout: self.seconds([0.2, 1.0, 2.0]),
            patience: self.seconds([0.5, 2.0, 10.0]),
            touch_interval: self.seconds([0.5, 1.0, 1.0]),
        }
    }

    fn store_rate(&mut self) -> Percent {
        if self.chance(self.swarm.store) { self.one([2, 10, 30]) } else { 0 }
    }

    fn client(&mut self, clients: usize) -> ClientPlan {
        use ProtocolVersion as V;
        let legacy = self.one([V::V2025_11_25, V::V2025_11_25, V::V2025_06_18, V::V2025_03_26]);
        let kind = match self.below(10) {
            0..=5 => Kind::Session { version: legacy, initialized: self.chance(80) },
            6 | 7 => Kind::Stateless(legacy),
            _ => Kind::Modern,
        };
        let hooks = Hooks {
            initialize: self.hook(),
            session_data: if self.chance(self.swarm.hooks / 4) { Hook::Panics } else { Hook::Returns },
            initialized: self.hook(),
            adopted: self.hook(),
            terminated: self.hook(),
        };
        let starts = if self.chance(50) { 0 } else { self.time() };
        let steps = 2 + self.below(9);
        let steps = (0..steps).map(|_| self.step(kind, clients)).collect();
        ClientPlan { kind, hooks, starts, steps }
    }

    fn hook(&mut self) -> Hook {
        if !self.chance(self.swarm.hooks) {
            return Hook::Returns;
        }
        match self.below(5) {
            0 | 1 => Hook::Sleeps(self.time()),
            2 => Hook::Panics,
            3 => Hook::Refuses,
            _ => Hook::Hangs,
        }
    }

    fn step(&mut self, kind: Kind, clients: usize) -> Step {
        let luck = self.rng.u64(..);
        let act = match (kind, self.below(20)) {
            (_, 0..=8) => self.call(),
            (_, 9) => Act::List,
            (_, 10 | 11) => Act::Sleep(self.time()),
            (Kind::Modern, 12..=15) => Act::Listen(self.reader()),
            (Kind::Modern, _) => Act::Sleep(self.time()),
            (Kind::Session { .. }, 12) if self.chance(50) => Act::Get(self.reader()),
            (_, 12) => Act::Ping,
            (Kind::Session { .. }, 13 | 14) => Act::Get(self.reader()),
            (_, 15) => Act::Cancel,
            (_, 16) => Act::Notify(if self.chance(50) { self.time() } else { 0 }),
            (Kind::Session { .. }, 17) if self.chance(self.swarm.deletes) => Act::Delete,
            (Kind::Session { .. }, 18) if self.chance(self.swarm.joins) => Act::Join(self.below(clients)),
            (Kind::Session { .. }, 19) if self.chance(10) => Act::Reinitialize,
            (Kind::Session { .. }, 19) => Act::Cancel,
            _ => self.call(),
        };
        Step { luck, act }
    }

    fn call(&mut self) -> Act {
        let upload = match self.below(4) {
            _ if !self.chance(self.swarm.uploads) => Upload::Whole,
            0 | 1 => Upload::Slow(self.time()),
            2 => Upload::Broken(self.time()),
            _ => Upload::Abandoned(self.time()),
        };
        let id = if self.chance(self.swarm.duplicates) { CallId::Again } else { CallId::Fresh };
        Act::Call { script: self.script(), reader: self.reader(), waits: self.chance(50), id, upload }
    }

    fn reader(&mut self) -> Reader {
        let pace = if self.chance(self.swarm.slow_readers) { self.one([1, 10, 100, 1_000]) } else { 0 };
        let pause = self.chance(self.swarm.pauses).then(|| (self.below(4), self.one([100, 1_000, 60_000])));
        let cut = self.chance(self.swarm.cuts).then(|| Cut {
            after: self.below(5),
            hidden: self.chance(self.swarm.hidden).then(|| (self.one([10, 1_000, 20_000]), self.chance(50))),
            back: self.chance(70).then(|| self.time()),
        });
        Reader { pace, pause, cut }
    }

    fn script(&mut self) -> Script {
        let ops = self.one([0, 0, 1, 2, 3, 5]);
        let mut ops: Vec<_> = (0..ops).map(|_| self.op()).collect();
        if self.chance(5) {
            // It lets its client poll.
            ops.extend([
                Op::CloseStream(10),
                Op::Sleep(100),
                Op::Notify,
                Op::CloseStream(10),
                Op::Sleep(100),
            ]);
        }
        let end = match self.below(100) {
            0..=4 => End::Fail,
            5..=9 => End::WhenCancelled(self.time()),
            _ if self.chance(self.swarm.panics) => End::Panic,
            _ if self.chance(self.swarm.never) => End::Never,
            _ if self.chance(self.swarm.stubborn) => End::WhenCancelled(self.time()),
            _ => End::Answer,
        };
        Script { ops, end }
    }

    fn op(&mut self) -> Op {
        match self.below(20) {
            0..=6 => Op::Notify,
            7 => Op::Progress,
            9..=12 => Op::Sleep(self.time()),
            8 | 13 => Op::CloseStream(self.one([0, 10, 1_000])),
            14 | 15 => Op::Tell,
            16 => Op::Broadcast,
            17 => Op::Outlive(self.time()),
            18 if self.chance(self.swarm.deletes) => Op::EndSession,
            _ if self.chance(self.swarm.asks) => Op::Ask(self.reply()),
            _ => Op::Notify,
        }
    }

    fn reply(&mut self) -> Reply {
        match self.below(4) {
            _ if !self.chance(self.swarm.late_replies) => Reply::Now,
            0 | 1 => Reply::Late(self.time()),
            2 => Reply::Twice,
            _ => Reply::Never,
        }
    }

    fn event(&mut self, nodes: usize, clients: usize, store: bool) -> Event {
        let what = match self.below(10) {
            0 | 1 if self.chance(self.swarm.shutdowns) => {
                Happening::Shutdown { policy: self.policy(), held: self.chance(50) }
            }
            2 if self.chance(self.swarm.shutdowns) => Happening::Tighten(self.policy()),
            3 if self.chance(self.swarm.shutdowns) => Happening::Escalate,
            4 | 9 if self.chance(self.swarm.vanish) => Happening::Vanish,
            5 if self.chance(self.swarm.pause_node) => Happening::Pause(self.time()),
            6 => Happening::Restart,
            7 if self.chance(self.swarm.deletes) => Happening::End(self.below(clients)),
            8 if store && self.chance(self.swarm.store) => Happening::Failover,
            0 | 1 => Happening::Shutdown { policy: self.policy(), held: true },
            _ => Happening::Broadcast,
        };
        Event { at: self.time(), node: self.below(nodes), what }
    }
}
