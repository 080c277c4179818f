//! [`SessionStore`]: the records. A change is read, made here, and written if the record is still what was read.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::try_join_all, stream};
use mcp_session_core::{
    BoxFuture, SessionId,
    store::{NodeId, Record, SessionStore, Unavailable, Update},
};
use redis::{Cmd, Value};

use crate::{
    config::{TOMBSTONE, millis},
    core::Core,
    error::Trouble,
    record::{self, REMOVED, Stored},
    reply::Reply,
    script,
    store::RedisStore,
};

/// The maximum number of sessions that one call sweeps, as in core.
const SWEPT: usize = 100;

/// How many records are changed at a time by a call for many.
const AT_ONCE: usize = 64;

/// How often a change is tried while others change the same record.
const TRIES: usize = 1_000;

/// What becomes of a record.
enum Change<R> {
    Write(R),
    Keep(R),
    Remove(R),
}

/// A record as it was read.
struct Loaded {
    now: u64,
    value: Vec<u8>,
    stored: Stored,
    /// How long it lives without activity, in ms.
    life: u64,
}

impl Core {
    /// Reads a record; `None` if there is none, or it was removed.
    async fn load(&self, id: SessionId, counts: bool) -> Result<Option<Loaded>, Trouble> {
        let keys = self.keys.session(id);
        let mut load = script::call(&script::LOAD, &[&keys.record, &keys.table, &keys.standalone]);
        load.arg(if counts { millis(self.config().keep()) } else { 0 });
        let reply = Reply::new(self.link.command(load, 0).await?)?;
        let now = reply.number(0)?;
        match reply.bytes(1) {
            Some(REMOVED) => {
                self.known.forget(id);
                Ok(None)
            }
            Some(value) => {
                let life = reply.number(2).unwrap_or(0);
                let stored = Stored::parse(value).inspect_err(|trouble| self.link.note(trouble))?;
                Ok(Some(Loaded { now, value: value.to_vec(), stored, life }))
            }
            None if self.is_unsettled() => Err(Trouble::Busy("other nodes put back what was lost".into())),
            None => Ok(None),
        }
    }

    /// Redis has lost its data, and other nodes may not have put back their sessions yet.
    fn is_unsettled(&self) -> bool {
        let mut known = self.known.lock();
        let now = self.now();
        known.unsettled_until.take_if(|until| *until <= now);
        known.unsettled_until.is_some()
    }

    /// Replaces a record, if it is still the old one. `-` removes it.
    pub(crate) fn swap(&self, id: SessionId, old: &[u8], new: &[u8]) -> Cmd {
        let mut swap = script::call(&script::SWAP, &[&self.keys.session(id).record]);
        swap.arg(old).arg(new).arg(millis(TOMBSTONE));
        swap
    }

    /// A record as this node knows it, if it serves the session.
    fn loaded(&self, id: SessionId) -> Option<Loaded> {
        let value = self.known.get(id)?.to_vec();
        let stored = Stored::parse(&value).ok()?;
        Some(Loaded { now: self.link.millis().saturating_mul(1_000), value, stored, life: 0 })
    }

    /// Changes a record atomically; `None` if there is none. It is read only if it is not what this node knows.
    async fn change<R>(
        &self,
        id: SessionId,
        change: impl Fn(u64, &mut Stored) -> Change<R>,
    ) -> Result<Option<R>, Trouble> {
        let mut known = self.loaded(id);
        for _ in 0..TRIES {
            let is_read = known.is_none();
            let loaded = match known.take() {
                Some(known) => Some(known),
                None => self.load(id, false).await?,
            };
            let Some(Loaded { now, value, mut stored, .. }) = loaded else { return Ok(None) };
            let (new, result) = match change(now, &mut stored) {
                Change::Keep(result) if is_read => return Ok(Some(result)),
                Change::Keep(_) => continue, // perhaps others have changed it
                Change::Write(result) => (stored.write(), result),
                Change::Remove(result) => (REMOVED.to_vec(), result),
            };
            let size = value.len() + new.len();
            if self.link.command(self.swap(id, &value, &new), size).await? == Value::Int(1) {
                if new == REMOVED {
                    self.known.removed(self.now(), id);
                } else {
                    self.known.refresh(id, &new);
                }
                return Ok(Some(result));
            }
        }
        Err(Trouble::Busy("too many changes of one record".into()))
    }

    /// Removes what is left of a session.
    pub(crate) async fn purge(&self, id: SessionId) -> Result<(), Trouble> {
        let keys = self.keys.session(id);
        let mut purge = redis::pipe();
        let mut script = script::call(&script::PURGE, &[&keys.record, &keys.table, &keys.standalone]);
        script.arg(millis(TOMBSTONE)).arg(&keys.logs);
        purge.add_command(script).cmd("ZREM").arg(self.keys.activity()).arg(id.to_string());
        self.link.pipeline(&purge, 0).await?;
        self.known.removed(self.now(), id);
        Ok(())
    }

    /// Removes a node from a record.
    async fn park(&self, node: NodeId, id: SessionId) -> Result<(), Trouble> {
        let parked = self
            .change(id, |_, stored| if leave(stored, node) { Change::Write(()) } else { Change::Keep(()) });
        parked.await?;
        self.known.forget(id);
        Ok(())
    }

    /// Sweeps a session, if it is over.
    async fn sweep_one(&self, id: SessionId, idle: Duration) -> Result<Option<Record>, Trouble> {
        let active = |score: u64| {
            let mut active = redis::cmd("ZADD");
            active.arg(self.keys.activity()).arg(score).arg(id.to_string());
            active
        };
        let Some(Loaded { now, value, stored, life }) = self.load(id, false).await? else {
            let mut forget = redis::cmd("ZREM");
            forget.arg(self.keys.activity()).arg(id.to_string());
            self.link.command(forget, 0).await?;
            return Ok(None);
        };
        let mut served = false;
        for node in stored.record.nodes() {
            served |= !self.is_gone(node).await?;
        }
        // Each activity begins its life anew.
        let inactive = millis(self.config().keep()).saturating_sub(life).saturating_mul(1_000);
        let last = stored.used.max(now.saturating_sub(inactive));
        if served || now.saturating_sub(last) < micros(idle) {
            let last = if served { now } else { last };
            self.link.command(active(last / 1_000), 0).await?;
            return Ok(None);
        }
        let swept = self.link.command(self.swap(id, &value, REMOVED), value.len()).await? == Value::Int(1);
        if swept {
            self.known.removed(self.now(), id);
        }
        Ok(swept.then(|| stored.at(now)))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Removes a node from a record. Returns `true` if it was in it.
fn leave(stored: &mut Stored, node: NodeId) -> bool {
    let record = &mut stored.record;
    let mut left = record.home.take_if(|home| *home == node).is_some();
    for member in &mut record.members {
        left |= member.take_if(|member| *member == node).is_some();
    }
    left
}

impl SessionStore for RedisStore {
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>> {
        let created = async move {
            let core = self.core();
            for node in record.nodes() {
                core.join(node).await?;
            }
            let (id, json) = (record.id, record::json(&record));
            let mut create = redis::pipe();
            let mut script = script::call(&script::CREATE, &[&core.keys.session(id).record]);
            script.arg(&json[..]).arg(millis(core.config().keep()));
            create.add_command(script);
            create.cmd("ZADD").arg(core.keys.activity()).arg(core.link.millis()).arg(id.to_string());
            core.link.pipeline(&create, json.len()).await?;
            let now = core.link.millis().saturating_mul(1_000);
            core.known.keep(id, &Stored { created: now, used: now, record }.write());
            Ok(())
        };
        created.map(unavailable).boxed()
    }

    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>> {
        let loaded = async move {
            let loaded = self.core().load(id, true).await?;
            Ok(loaded.map(|loaded| {
                self.core().known.refresh(id, &loaded.value);
                loaded.stored.at(loaded.now)
            }))
        };
        loaded.map(unavailable).boxed()
    }

    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>> {
        let updated = async move {
            let updated = self.core().change(id, |now, stored| {
                stored.update(now, update);
                Change::Write(())
            });
            Ok(updated.await?.is_some())
        };
        updated.map(unavailable).boxed()
    }

    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        let touched = async move {
            let core = self.core();
            for ids in ids.chunks(SWEPT * 5) {
                let mut touch = redis::pipe();
                for id in ids {
                    let keys = core.keys.session(*id);
                    let mut script =
                        script::call(&script::TOUCH, &[&keys.record, &keys.table, &keys.standalone]);
                    script.arg(millis(core.config().keep()));
                    touch.add_command(script);
                    touch.cmd("ZADD").arg(core.keys.activity()).arg(core.link.millis()).arg(id.to_string());
                }
                core.link.pipeline(&touch, 256 * ids.len()).await?;
            }
            Ok(())
        };
        touched.map(unavailable).boxed()
    }

    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>> {
        let removed = async move {
            let removed = self.core().change(id, |_, stored| Change::Remove(stored.record.nodes())).await;
            self.core().watchers.notify_all();
            removed
        };
        removed.map(unavailable).boxed()
    }

    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>> {
        let enlisted = async move {
            let core = self.core();
            core.join(node).await?;
            if core.is_unsettled() {
                return Err(Trouble::Busy("numbers of nodes may not be back yet".into()));
            }
            let enlisted = core.change(id, |now, stored| {
                stored.used = now;
                stored.record.members.push(Some(node));
                let number = u32::try_from(stored.record.members.len() - 1).ok();
                Change::Write((number, stored.write()))
            });
            let Some((number, value)) = enlisted.await? else { return Ok(None) };
            core.known.keep(id, &value);
            Ok(number)
        };
        enlisted.map(unavailable).boxed()
    }

    fn claim(
        &self,
        id: SessionId,
        node: NodeId,
        from: Option<NodeId>,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        let claimed = async move {
            let claimed = self.core().change(id, |_, stored| {
                let home = &mut stored.record.home;
                if *home == from && *home != Some(node) {
                    *home = Some(node);
                    return Change::Write(true);
                }
                Change::Keep(*home == Some(node))
            });
            Ok(claimed.await?.unwrap_or(false))
        };
        claimed.map(unavailable).boxed()
    }

    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        let parked = async move {
            for ids in ids.chunks(AT_ONCE) {
                try_join_all(ids.iter().map(|id| self.core().park(node, *id))).await?;
            }
            Ok(())
        };
        parked.map(unavailable).boxed()
    }

    fn retire(
        &self,
        id: SessionId,
        node: NodeId,
        idle: Duration,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        let retired = async move {
            let retired = self.core().change(id, |now, stored| {
                let left = leave(stored, node);
                // A lost node may have known of later uses: its sessions are swept instead.
                let unserved = stored.record.members.iter().all(Option::is_none);
                if unserved && now.saturating_sub(stored.used) >= micros(idle) {
                    Change::Remove(true)
                } else if left {
                    Change::Write(false)
                } else {
                    Change::Keep(false)
                }
            });
            let retired = retired.await?.unwrap_or(false);
            self.core().known.forget(id);
            Ok(retired)
        };
        retired.map(unavailable).boxed()
    }

    fn agree(&self, name: &str, value: Bytes) -> BoxFuture<'_, Result<Bytes, Unavailable>> {
        let key = self.core().keys.agreed(name);
        let agreed = async move {
            let mut agree = redis::pipe();
            agree.cmd("SET").arg(&key).arg(&value[..]).arg("NX");
            agree.cmd("GET").arg(&key);
            match self.core().link.pipeline(&agree, value.len()).await?.pop() {
                Some(Value::BulkString(kept)) => Ok(kept.into()),
                _ => Err(Trouble::Unreadable),
            }
        };
        agreed.map(unavailable).boxed()
    }

    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>> {
        let swept = async move {
            let core = self.core();
            let idle = idle.min(core.config().idle);
            let mut candidates = redis::cmd("ZRANGEBYSCORE");
            let before = core.link.millis().saturating_sub(millis(idle));
            candidates.arg(core.keys.activity()).arg("-inf").arg(before).arg("LIMIT").arg(0).arg(SWEPT);
            let candidates: Vec<String> = redis::from_redis_value(core.link.command(candidates, 0).await?)
                .map_err(|_| Trouble::Unreadable)?;
            let ids: Vec<SessionId> = candidates.iter().filter_map(|id| id.parse().ok()).collect();
            // A failure of one must not lose those that are swept already.
            let swept = stream::iter(ids).map(|id| core.sweep_one(id, idle)).buffer_unordered(AT_ONCE);
            Ok(swept.filter_map(async |swept| swept.ok().flatten()).collect().await)
        };
        swept.map(unavailable).boxed()
    }
}

/// The reason is in [`RedisStore::trouble`], and in the log.
fn unavailable<T>(result: Result<T, Trouble>) -> Result<T, Unavailable> {
    result.map_err(|_| Unavailable)
}
