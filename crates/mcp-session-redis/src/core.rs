//! [`Core`]: what all parts of a store share, and its background tasks.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::select};
use mcp_session_core::{
    SessionId,
    store::{LogId, NodeId},
};
use redis::{Cmd, Script, Value};

use crate::{
    config::{Config, NOTICES, TOMBSTONE, millis},
    connection::Dialer,
    error::Trouble,
    keys::{Keys, SessionKeys},
    link::{Link, Ready},
    nodes::Nodes,
    published::{KnownLog, Publication, Published},
    reply::Reply,
    script,
    watchers::{Absences, Watchers},
};

/// How many tombstones are kept here, to set them again in a Redis that has lost its data.
const TOMBSTONES: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) nodes: Nodes,
    pub(crate) watchers: Watchers,
    pub(crate) absences: Absences,
    pub(crate) known: Known,
}

/// What this node can put back into a Redis that has lost data.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Knowledge>);

#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    /// The records of the sessions that this node serves, as they were last written or read.
    pub(crate) records: HashMap<SessionId, Arc<[u8]>>,
    /// The sessions that were removed here lately, and when.
    pub(crate) removed: VecDeque<(Instant, SessionId)>,
    /// Their standalone logs.
    pub(crate) published: Published,
    /// The marker of Redis's data.
    pub(crate) boot: Option<String>,
    /// Until then, other nodes put back what Redis has lost.
    pub(crate) unsettled_until: Option<Instant>,
}

impl Known {
    pub(crate) fn keep(&self, id: SessionId, value: &[u8]) {
        self.lock().records.insert(id, value.into());
    }

    /// Keeps the value, if this node serves the session.
    pub(crate) fn refresh(&self, id: SessionId, value: &[u8]) {
        if let Some(known) = self.lock().records.get_mut(&id) {
            *known = value.into();
        }
    }

    pub(crate) fn forget(&self, id: SessionId) {
        self.lock().forget(id);
    }

    pub(crate) fn removed(&self, now: Instant, id: SessionId) {
        let mut known = self.lock();
        known.forget(id);
        known.removed.push_back((now, id));
        if known.removed.len() > TOMBSTONES {
            known.removed.pop_front();
        }
    }

    /// This node has published an event.
    pub(crate) fn published(&self, now: Instant, id: SessionId, publication: Publication) {
        self.reached(id, publication.position);
        self.lock().published.add(now, id, publication);
    }

    /// The standalone log of a session, if this node serves it, has come as far as this.
    pub(crate) fn reached(&self, id: SessionId, position: u64) {
        let mut known = self.lock();
        if known.records.contains_key(&id) {
            known.published.reached(id, position);
        }
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Arc<[u8]>> {
        self.lock().records.get(&id).cloned()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Knowledge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Knowledge {
    fn forget(&mut self, id: SessionId) {
        self.records.remove(&id);
        self.published.forget(id);
    }
}

impl Core {
    pub(crate) fn new(dialer: Dialer) -> Self {
        let keys = Keys::new(&dialer.config.prefix);
        Self {
            link: Link::new(dialer),
            keys,
            nodes: Nodes::default(),
            watchers: Watchers::default(),
            absences: Absences::default(),
            known: Known::default(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.link.dialer.config
    }

    pub(crate) fn now(&self) -> Instant {
        self.link.dialer.runtime.now()
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.link.dialer.sleep(time).await;
    }

    /// Spawns a background task that ends by itself.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.link.dialer.runtime.spawn(work.boxed());
    }

    /// A node acts: waits until it has a lease, so that nobody takes it for gone.
    pub(crate) async fn join(&self, node: NodeId) -> Result<(), Trouble> {
        let dialer = &self.link.dialer;
        let joined = dialer.within(dialer.config.timeout, async {
            loop {
                let changed = self.nodes.changed.listen();
                if self.nodes.join(node, false) {
                    return Ok(());
                }
                changed.await;
            }
        });
        joined.await.map_err(|trouble| self.link.trouble().unwrap_or(trouble))
    }

    /// Whether a node will not run again, as far as can be known now.
    pub(crate) async fn is_gone(&self, node: NodeId) -> Result<bool, Trouble> {
        if let Some(runs) = self.nodes.runs(node) {
            return Ok(!runs);
        }
        let keys = self.keys.node(node);
        let mut look = redis::pipe();
        look.cmd("EXISTS").arg(&keys.left).cmd("EXISTS").arg(&keys.lease);
        match self.link.pipeline(&look, 0).await?[..] {
            [Value::Int(0), Value::Int(1)] => {
                self.absences.present(node);
                Ok(false)
            }
            [Value::Int(0), Value::Int(0)] => {
                let (now, steady) = (self.now(), self.link.steady_since());
                Ok(self.absences.absent(node, now, steady, self.config().lease))
            }
            _ => Ok(true),
        }
    }

    /// Calls a script of a log. If Redis has lost the session, puts it back first.
    pub(crate) async fn call_log(
        &self,
        script: &Script,
        log: LogId,
        size: usize,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Reply, Trouble> {
        self.call_log_when(Ready::Connected, script, log, size, arguments).await
    }

    /// As [`call_log`](Self::call_log), on a link that is ready for it.
    pub(crate) async fn call_log_when(
        &self,
        ready: Ready,
        script: &Script,
        log: LogId,
        size: usize,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Reply, Trouble> {
        let keys = self.keys.session(log.session);
        let stream = keys.log(log.stream);
        let mut call = script::call(script, &[&keys.record, &keys.table, &stream]);
        arguments(&mut call);
        let reply = Reply::new(self.link.command_when(ready, call.clone(), size).await?)?;
        if reply.what() == b"absent" && self.put_back(log.session, &keys).await? {
            return Reply::new(self.link.command_when(ready, call, size).await?);
        }
        Ok(reply)
    }

    /// Puts a session back that this node serves. Returns `true` if it does.
    async fn put_back(&self, id: SessionId, keys: &SessionKeys) -> Result<bool, Trouble> {
        let Some(value) = self.known.get(id) else { return Ok(false) };
        let mut set = redis::cmd("SET");
        set.arg(&keys.record).arg(&value[..]).arg("NX").arg("PX").arg(millis(self.config().keep()));
        self.link.command(set, value.len()).await?;
        let log = self.known.lock().published.log(self.now(), id);
        let size = log.1.iter().map(|publication| publication.event.len()).sum();
        self.link.command(self.restore(id, &log), size).await?;
        Ok(true)
    }

    /// Puts back what this node knows of a standalone log.
    pub(crate) fn restore(&self, id: SessionId, (top, events): &KnownLog) -> Cmd {
        let (keys, config) = (self.keys.session(id), self.config());
        let mut restore = script::call(&script::RESTORE, &[&keys.record, &keys.table, &keys.standalone]);
        restore.arg(top).arg(millis(config.keep())).arg(config.events);
        for Publication { position, source, token, event } in events {
            restore.arg(position).arg(source.to_string()).arg(token).arg(&event[..]);
        }
        restore
    }

    /// A log has grown: wakes those who wait for it here, and tells the nodes that tail it. `tails` are their ids.
    pub(crate) fn grown(self: &Arc<Self>, log: LogId, tails: Option<&str>) {
        self.watchers.notify(log);
        let here = self.nodes.reader();
        let tails = tails.into_iter().flat_map(str::split_whitespace).filter_map(|node| node.parse().ok());
        let others: Vec<NodeId> = tails.filter(|node| Some(*node) != here).collect();
        if !others.is_empty() {
            let core = Arc::clone(self);
            self.spawn(async move { core.notice(log, &others).await });
        }
    }

    /// Tells nodes that a log has grown. A notice that is lost is made up for by the next look.
    async fn notice(&self, log: LogId, nodes: &[NodeId]) {
        let mut tell = redis::pipe();
        for node in nodes {
            let notices = self.keys.node(*node).notices;
            tell.add_command(add_notice(&notices, "g", format!("{}:{}", log.session, log.stream).as_bytes()));
        }
        let Ok(told) = self.link.pipeline(&tell, 128 * nodes.len()).await else { return };
        for (node, _) in nodes.iter().zip(told).filter(|(_, told)| *told == Value::Nil) {
            let table = self.keys.session(log.session).table;
            let mut forget = script::call(&script::UNTAIL, &[&table]);
            forget.arg(log.stream).arg(node.to_string());
            let _ = self.link.command(forget, 0).await; // tried again with the next notice
        }
    }

    /// Renews the leases, for ever.
    pub(crate) async fn beat(&self) {
        let lease = self.config().lease;
        let mut last = self.now();
        loop {
            let joined = self.nodes.joined.listen();
            let running = self.nodes.running();
            let beaten = self.beat_once(&running).await;
            let now = self.now();
            if now.saturating_duration_since(last) > lease / 2 {
                self.link.unsteady();
            }
            if beaten.is_ok() {
                last = now;
                self.nodes.is_up(&running);
            }
            select(joined, std::pin::pin!(self.sleep(lease / 3))).await;
        }
    }

    async fn beat_once(&self, running: &[NodeId]) -> Result<(), Trouble> {
        let config = self.config();
        let mut beat = redis::pipe();
        beat.cmd("TIME");
        for node in running {
            let keys = self.keys.node(*node);
            let mut sign = script::call(&script::BEAT, &[&keys.lease, &keys.inbox, &keys.notices]);
            sign.arg(millis(config.lease)).arg(millis(inbox_life(config)));
            beat.add_command(sign);
            beat.cmd("SADD").arg(self.keys.nodes()).arg(node.to_string());
        }
        let answers = self.link.pipeline(&beat, 256 * running.len()).await?;
        if let Some(micros) = answers.into_iter().next().and_then(time) {
            self.link.set_clock(micros);
        }
        Ok(())
    }
}

/// A notice, if its node runs.
pub(crate) fn add_notice(notices: &str, kind: &str, value: &[u8]) -> Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(notices).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(NOTICES);
    add.arg("*").arg(kind).arg(value);
    add
}

/// How long messages wait for a node that shows no sign of life.
pub(crate) fn inbox_life(config: &Config) -> Duration {
    config.lease.saturating_add(TOMBSTONE)
}

/// The answer to `TIME`, in microseconds.
pub(crate) fn time(answer: Value) -> Option<u64> {
    let [seconds, micros]: [String; 2] = redis::from_redis_value(answer).ok()?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
}
