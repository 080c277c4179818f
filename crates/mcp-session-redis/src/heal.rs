//! What happens with each new connection: Redis may be another one, or may have lost data.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_session_core::{
    SessionId,
    proto::{REWRITABLE, after},
};
use redis::Value;

use crate::{
    config::{TOMBSTONE, millis},
    connection::Connection,
    core::{self, Core},
    error::Trouble,
    record::{REMOVED, Stored},
};

/// How many records are put back in one write.
const CHUNK: usize = 200;

/// The shortest and longest pause between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

impl Core {
    /// Keeps the link connected, for ever.
    pub(crate) async fn keep_connected(&self) {
        let mut pause = PAUSES.0;
        loop {
            let opened = match self.link.dialer.open().await {
                Ok(mut connection) => self.heal(&mut connection).await.map(|()| connection),
                Err(trouble) => Err(trouble),
            };
            match opened {
                Ok(connection) => {
                    pause = PAUSES.0;
                    self.link.connected(connection.clone());
                    self.watchers.notify_all();
                    self.nodes.joined.notify(usize::MAX); // a sign of life at once
                    self.link.until_down(&connection).await;
                    self.link.disconnected(None);
                }
                Err(trouble) => {
                    self.link.disconnected(Some(trouble));
                    self.sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Puts back what this node knows and Redis does not, before any other command is sent. A record that is there stays, with
    /// what it lacks.
    ///
    /// A Redis that has lost all its data has lost the marker too: then tombstones come first, and for a lease sessions that
    /// nobody knows count as not put back yet.
    async fn heal(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let mut look = redis::pipe();
        look.cmd("TIME").cmd("GET").arg(self.keys.boot());
        let mut answers = self.run(connection, &look).await?.into_iter();
        if let Some(micros) = answers.next().and_then(core::time) {
            self.link.set_clock(micros);
        }
        let marker: Option<String> =
            answers.next().and_then(|answer| redis::from_redis_value(answer).ok().flatten());
        let (lost, records, removed) = {
            let mut known = self.known.lock();
            let lost = known.boot.is_some() && known.boot != marker;
            if lost {
                known.unsettled_until = Some(self.now() + self.config().lease);
            }
            let records: Vec<_> = known.records.iter().map(|(id, value)| (*id, value.clone())).collect();
            // A replica that was behind has not heard of the last ones.
            let now = self.now();
            let unheard = |removed: &&(Instant, SessionId)| lost || now < after(removed.0, REWRITABLE);
            let removed: Vec<_> = known.removed.iter().filter(unheard).map(|(_, id)| *id).collect();
            (lost, records, removed)
        };
        for chunk in removed.chunks(CHUNK) {
            let mut bury = redis::pipe();
            for id in chunk {
                let record = self.keys.session(*id).record;
                bury.cmd("SET").arg(record).arg(REMOVED).arg("PX").arg(millis(TOMBSTONE));
            }
            self.run(connection, &bury).await?;
        }
        let mut older = Vec::new();
        for chunk in records.chunks(CHUNK) {
            let mut put = redis::pipe();
            for (id, value) in chunk {
                let record = self.keys.session(*id).record;
                put.cmd("SET")
                    .arg(record)
                    .arg(&value[..])
                    .arg("NX")
                    .arg("PX")
                    .arg(millis(self.config().keep()));
            }
            let there = self.run(connection, &put).await?;
            older.extend(
                chunk.iter().zip(there).filter(|(_, put)| *put == Value::Nil).map(|((id, _), _)| *id),
            );
        }
        self.merge_all(connection, &older, lost).await?;
        self.restore_all(connection, &records).await?;
        self.mark(connection).await
    }

    /// Puts back what this node knows of standalone logs: their last positions, so that none is given twice, and what this node
    /// has published lately.
    async fn restore_all(
        &self,
        connection: &mut Connection,
        records: &[(SessionId, Arc<[u8]>)],
    ) -> Result<(), Trouble> {
        let mut logs = self.known.lock().published.all(self.now());
        for (id, record) in records {
            let heard = Stored::parse(record).map_or(0, |stored| stored.record.heard.seq);
            if heard > 0 {
                let (top, _) = logs.entry(*id).or_default();
                *top = heard.max(*top);
            }
        }
        let logs: Vec<_> = logs.into_iter().collect();
        for chunk in logs.chunks(CHUNK) {
            let mut restore = redis::pipe();
            for (id, log) in chunk {
                restore.add_command(self.restore(*id, log));
            }
            self.run(connection, &restore).await?;
        }
        Ok(())
    }

    /// Adds what this node knows to records that are there: other nodes have put them back, or a replica became the primary
    /// that had not heard of the last changes.
    async fn merge_all(
        &self,
        connection: &mut Connection,
        ids: &[SessionId],
        all: bool,
    ) -> Result<(), Trouble> {
        for chunk in ids.chunks(CHUNK) {
            let mut get = redis::pipe();
            for id in chunk {
                get.cmd("GET").arg(self.keys.session(*id).record);
            }
            let there = self.run(connection, &get).await?;
            for (id, there) in chunk.iter().zip(there) {
                self.merge(connection, *id, there, all).await?;
            }
        }
        Ok(())
    }

    async fn merge(
        &self,
        connection: &mut Connection,
        id: SessionId,
        mut there: Value,
        all: bool,
    ) -> Result<(), Trouble> {
        let Some(known) = self.known.get(id) else { return Ok(()) };
        for _ in 0..10 {
            let Value::BulkString(stored) = there else { break };
            let Some(merged) = merged(&stored, &known, all) else { break };
            let mut swap = redis::pipe();
            swap.add_command(self.swap(id, &stored, &merged));
            if self.run(connection, &swap).await?.pop() == Some(Value::Int(1)) {
                self.known.refresh(id, &merged);
                break;
            }
            let mut get = redis::pipe();
            get.cmd("GET").arg(self.keys.session(id).record);
            there = self.run(connection, &get).await?.pop().unwrap_or(Value::Nil);
        }
        Ok(())
    }

    /// Sets the marker if there is none, and remembers which one there is.
    async fn mark(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let random = self.link.dialer.runtime.random().map_err(|error| Trouble::Other(error.to_string()))?;
        let random = format!("{:032x}", u128::from_le_bytes(random));
        let mut mark = redis::pipe();
        mark.cmd("SET").arg(self.keys.boot()).arg(random).arg("NX");
        mark.cmd("GET").arg(self.keys.boot());
        let marker = self.run(connection, &mark).await?.pop();
        let marker: Option<String> = marker.and_then(|marker| redis::from_redis_value(marker).ok().flatten());
        self.known.lock().boot = marker;
        Ok(())
    }

    async fn run(
        &self,
        connection: &mut Connection,
        commands: &redis::Pipeline,
    ) -> Result<Vec<Value>, Trouble> {
        let dialer = &self.link.dialer;
        dialer.within(dialer.config.timeout, connection.run(commands)).await
    }
}

/// The record that is there, with what the other one knows; `None` if that is nothing, or the session was removed.
fn merged(there: &[u8], known: &[u8], all: bool) -> Option<Vec<u8>> {
    let (mut stored, known) = (Stored::parse(there).ok()?, Stored::parse(known).ok()?);
    stored.merge(&known, all);
    Some(stored.write()).filter(|merged| merged != there)
}
