//! A session and its logs in a [`MemoryStore`](super::MemoryStore).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use event_listener::Event;
use mcp_session_proto::{Position, RequestId, after};

use super::StoreLimits;
use crate::store::{Append, AppendError, LogId, NodeId, Page, ReadError, Record, Update};

pub(super) struct Session {
    record: Record,
    created: Instant,
    /// When a node last adopted it for a client, or a client last used it at a node that has parked it since.
    pub(super) used: Instant,
    /// When a node last reported it as active.
    pub(super) active: Instant,
    logs: BTreeMap<u64, Log>,
    /// The highest token of each node, and the position of its event.
    tokens: HashMap<NodeId, (u64, Position)>,
    /// The number of the last connection of any of its logs.
    connections: u64,
    /// The log and time of each event, in order. The end of a log counts as an event.
    order: VecDeque<(u64, Instant)>,
    bytes: usize,
    /// Notified when one of its logs has changed.
    pub(super) changed: Arc<Event>,
}

/// The time of a call, and the limits.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) now: Instant,
    pub(super) limits: &'a StoreLimits,
}

impl Session {
    pub(super) fn new(now: Instant, record: Record) -> Self {
        Self {
            record,
            created: now,
            used: now,
            active: now,
            logs: BTreeMap::from([(LogId::STANDALONE, Log::new(None))]),
            tokens: HashMap::new(),
            connections: 0,
            order: VecDeque::new(),
            bytes: 0,
            changed: Arc::default(),
        }
    }

    /// The record, with `age` and `unused` as of `now`.
    pub(super) fn record(&self, now: Instant) -> Record {
        let since = |then| now.saturating_duration_since(then);
        Record { age: since(self.created), unused: since(self.used), ..self.record.clone() }
    }

    pub(super) fn members(&self) -> &[Option<NodeId>] {
        &self.record.members
    }

    pub(super) fn update(&mut self, now: Instant, update: Update) {
        let mut record = self.record(now);
        record.apply(update);
        self.used = self.used.max(now.checked_sub(record.unused).unwrap_or(self.used));
        self.active = self.active.max(self.used);
        self.record = record;
    }

    pub(super) fn enlist(&mut self, now: Instant, node: NodeId) -> Option<u32> {
        (self.used, self.active) = (now, now);
        self.record.members.push(Some(node));
        u32::try_from(self.record.members.len() - 1).ok()
    }

    pub(super) fn claim(&mut self, node: NodeId, from: Option<NodeId>) -> bool {
        if self.record.home == from {
            self.record.home = Some(node);
        }
        self.record.home == Some(node)
    }

    pub(super) fn park(&mut self, node: NodeId) {
        self.record.home.take_if(|home| *home == node);
        for member in &mut self.record.members {
            member.take_if(|member| *member == node);
        }
    }

    /// The number of events, and of their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.order.len(), self.bytes)
    }

    pub(super) fn log(&self, stream: u64) -> Option<&Log> {
        self.logs.get(&stream)
    }

    pub(super) fn append(&mut self, append: Append, at: Moment<'_>) -> Result<(), AppendError> {
        let stream = append.log.stream;
        let log = self.logs.entry(stream).or_insert_with(|| Log::new(Some((append.owner, append.request))));
        if log.sealed {
            return Err(AppendError::Sealed);
        }
        let next = log.next();
        let known = next.checked_sub(append.at).ok_or(AppendError::Behind { next })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        if log.ended {
            return Ok(());
        }
        let ends = append.ends && known <= append.events.len();
        for event in append.events.into_iter().skip(known) {
            self.push(stream, event, at);
        }
        if ends {
            self.end(stream, at);
        }
        Ok(())
    }

    pub(super) fn publish(&mut self, node: NodeId, token: u64, event: Bytes, at: Moment<'_>) -> Position {
        if let Some((_, position)) = self.tokens.get(&node).filter(|(last, _)| token <= *last) {
            return *position;
        }
        let position = Position::from(self.log(LogId::STANDALONE).map_or(1, Log::next));
        self.tokens.insert(node, (token, position));
        self.push(LogId::STANDALONE, event, at);
        position
    }

    pub(super) fn attach(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    pub(super) fn seal(&mut self, stream: u64, last: Option<Bytes>, at: Moment<'_>) -> Option<Position> {
        let log = self.logs.get_mut(&stream)?;
        let last = last.filter(|_| !log.ended);
        log.sealed |= !log.ended;
        let end = log.next() - u64::from(last.is_none());
        if let Some(last) = last {
            self.push(stream, last, at);
        }
        self.end(stream, at);
        Some(end.into())
    }

    /// Loses the events of a log after a position, and its end. Of the standalone log all events are lost, and no position is
    /// given again.
    pub(super) fn lose(&mut self, stream: u64, after: Position) {
        let Some(log) = self.logs.get_mut(&stream) else { return };
        let after = if log.owner.is_some() { after } else { log.oldest() };
        let next = log.next();
        let kept = log.index(after).map_or(log.events.len(), |index| index.min(log.events.len()));
        let lost: Vec<_> = log.events.drain(kept..).collect();
        if log.owner.is_none() {
            log.first = next;
        }
        let entries = lost.len() + usize::from(log.ended);
        (log.ended, log.sealed) = (false, false);
        self.bytes -= lost.iter().map(Bytes::len).sum::<usize>();
        for _ in 0..entries {
            if let Some(last) = self.order.iter().rposition(|(of, _)| *of == stream) {
                self.order.remove(last);
            }
        }
    }

    pub(super) fn purge(&mut self) {
        self.logs.clear();
        self.order.clear();
        self.bytes = 0;
    }

    /// Drops events beyond the limits, the oldest first.
    pub(super) fn trim(&mut self, Moment { now, limits }: Moment<'_>) {
        while let Some((stream, since)) = self.order.front().copied() {
            let excess = self.order.len() > limits.events
                || self.bytes > limits.bytes
                || after(since, limits.age) <= now;
            if !excess {
                return;
            }
            self.order.pop_front();
            let Some(log) = self.logs.get_mut(&stream) else { continue };
            match log.events.pop_front() {
                Some(event) => {
                    self.bytes -= event.len();
                    log.first += 1;
                }
                None => _ = self.logs.remove(&stream), // only its end was left
            }
        }
    }

    fn push(&mut self, stream: u64, event: Bytes, at: Moment<'_>) {
        if let Some(log) = self.logs.get_mut(&stream) {
            self.bytes += event.len();
            self.order.push_back((stream, at.now));
            log.events.push_back(event);
            self.trim(at);
        }
    }

    fn end(&mut self, stream: u64, at: Moment<'_>) {
        if let Some(log) = self.logs.get_mut(&stream).filter(|log| !log.ended) {
            log.ended = true;
            self.order.push_back((stream, at.now));
            self.trim(at);
        }
    }
}

pub(super) struct Log {
    /// The owner and its request. `None` if the log is shared.
    pub(super) owner: Option<(NodeId, RequestId)>,
    events: VecDeque<Bytes>,
    /// The position of the first event.
    first: u64,
    ended: bool,
    /// Whether somebody other than the owner ended it.
    sealed: bool,
}

impl Log {
    fn new(owner: Option<(NodeId, RequestId)>) -> Self {
        Self { owner, events: VecDeque::new(), first: 1, ended: false, sealed: false }
    }

    /// The events after a position.
    pub(super) fn page(&self, after: Position, limit: usize) -> Result<Page, ReadError> {
        let behind = self.owner.is_some() && !self.ended && after.epoch == 0 && after.seq >= self.next();
        let index = self.index(after).ok_or(if behind { ReadError::Behind } else { ReadError::Unknown })?;
        let positions = (after.seq + 1..).map(Position::from);
        let events: Vec<_> = positions.zip(self.events.range(index..).cloned()).take(limit).collect();
        let ended = self.ended && index + events.len() == self.events.len();
        Ok(Page { events, ended, request: self.owner.as_ref().map(|(_, request)| request.clone()) })
    }

    /// The position before the oldest event that is kept.
    pub(super) fn oldest(&self) -> Position {
        (self.first - 1).into()
    }

    /// Returns `true` if there is news for a reader at this position: an event, the end, or that the position is unknown.
    pub(super) fn has_news(&self, after: Position) -> bool {
        self.ended || self.index(after).is_none_or(|index| index < self.events.len())
    }

    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn index(&self, after: Position) -> Option<usize> {
        let known = after.epoch == 0 && after.seq < self.next();
        let index = after.seq.checked_add(1)?.checked_sub(self.first).filter(|_| known)?;
        usize::try_from(index).ok()
    }
}
