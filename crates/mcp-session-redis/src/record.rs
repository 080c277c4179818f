//! [`Stored`]: a record as Redis has it: `CREATED USED JSON`, with the two moments in microseconds by the clock of Redis.

use std::time::Duration;

use mcp_session_core::store::{Listener, Record, Update};

use crate::error::Trouble;

/// What stands for a session that was removed.
pub(crate) const REMOVED: &[u8] = b"-";

/// A record and its two moments. The ages in the record mean nothing.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) created: u64,
    pub(crate) used: u64,
    pub(crate) record: Record,
}

impl Stored {
    pub(crate) fn parse(value: &[u8]) -> Result<Self, Trouble> {
        let parts = || {
            let mut parts = value.splitn(3, |byte| *byte == b' ');
            let mut moment = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
            let (created, used) = (moment()?, moment()?);
            let record = serde_json::from_slice(parts.next()?).ok()?;
            Some(Self { created, used, record })
        };
        parts().ok_or(Trouble::Unreadable)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut value = format!("{} {} ", self.created, self.used).into_bytes();
        value.extend(json(&self.record));
        value
    }

    /// The record with its ages at this moment.
    pub(crate) fn at(&self, now: u64) -> Record {
        let since = |then| Duration::from_micros(now.saturating_sub(then));
        let mut record = self.record.clone();
        (record.age, record.unused) = (since(self.created), since(self.used));
        record
    }

    pub(crate) fn update(&mut self, now: u64, update: Update) {
        let mut record = self.at(now);
        record.apply(update);
        let unused = u64::try_from(record.unused.as_micros()).unwrap_or(u64::MAX);
        self.used = self.used.max(now.saturating_sub(unused));
        self.record = record;
    }

    /// Adds what the other one knows and this one does not, after Redis has lost data. Members keep their numbers. Of those that
    /// this one knows to have left, none is added, unless Redis has lost `all`: then this one knows no more than the other.
    pub(crate) fn merge(&mut self, other: &Self, all: bool) {
        let (record, others) = (&mut self.record, &other.record);
        self.created = self.created.min(other.created);
        self.used = self.used.max(other.used);
        record.initialized |= others.initialized;
        record.heard = record.heard.max(others.heard);
        let Listener { number, settled, .. } = others.listener;
        if number > record.listener.number {
            record.listener = others.listener;
        }
        record.listener.settled = record.listener.settled.max(settled);
        let kept = if all { 0 } else { record.members.len() };
        let known = record.members.len().max(others.members.len());
        record.members.resize(known, None);
        for (member, other) in record.members.iter_mut().zip(&others.members).skip(kept) {
            *member = member.or(*other);
        }
    }
}

/// The JSON of a record, without its ages: Redis has the moments.
pub(crate) fn json(record: &Record) -> Vec<u8> {
    let mut record = record.clone();
    (record.age, record.unused) = (Duration::ZERO, Duration::ZERO);
    serde_json::to_vec(&record).expect("a record has strings for keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_session_core::{ProtocolVersion, SessionId, store::NodeId};

    fn stored(members: &[Option<u64>]) -> Stored {
        let mut record = Record::new(SessionId::from_bits(7), ProtocolVersion::LATEST_WITH_HANDSHAKE);
        record.members = members.iter().map(|member| member.map(NodeId)).collect();
        Stored { created: 1_000, used: 2_000, record }
    }

    #[test]
    fn a_record_comes_back_and_damaged_ones_are_errors() {
        let value = stored(&[Some(1), None]).write();
        let read = Stored::parse(&value).unwrap();
        assert_eq!((read.created, read.used, read.write()), (1_000, 2_000, value.clone()));
        assert_eq!(read.at(5_000).age, Duration::from_millis(4));
        for bad in [&value[..value.len() - 1], b"", b"-", b"1 2", b"1 x {}", b"{}"] {
            assert_eq!(Stored::parse(bad).unwrap_err(), Trouble::Unreadable);
        }
        let newer = String::from_utf8(value).unwrap().replace(r#""v":1"#, r#""v":2"#);
        assert_eq!(Stored::parse(newer.as_bytes()).unwrap_err(), Trouble::Unreadable);
    }

    #[test]
    fn a_use_never_moves_back() {
        let mut stored = stored(&[]);
        stored.update(10_000, Update::Used(Duration::from_micros(3_000)));
        assert_eq!(stored.used, 7_000);
        stored.update(10_000, Update::Used(Duration::MAX));
        assert_eq!(stored.used, 7_000);
    }

    #[test]
    fn merged_members_keep_their_numbers() {
        let mut short = stored(&[Some(1)]);
        let mut long = stored(&[None, Some(2), None]);
        long.record.initialized = true;
        short.merge(&long, true);
        assert_eq!(short.record.members, [Some(NodeId(1)), Some(NodeId(2)), None]);
        assert!(short.record.initialized);
        long.merge(&short, true);
        assert_eq!(long.record.members, short.record.members);
        // Who has left stays away, if only the last changes were lost.
        let mut left = stored(&[None]);
        left.merge(&long, false);
        assert_eq!(left.record.members, [None, Some(NodeId(2)), None]);
    }
}
