//! Values at random: each comes back as it was, and damaged ones are refused or read.

use std::{convert::Infallible, fmt::Debug, time::Duration};

use bytes::Bytes;
use mcp_session_proto::{
    ClientCapabilities, Position, ProtocolVersion, RequestId, SessionId, TerminateReason,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    principal::Principal,
    store::{Append, Listener, LogId, NodeId, Page, PeerMessage, PeerRequest, Receipt, Record, Update},
};

/// Enough for each combination of what a value may lack, and little enough for a debug build.
const ROUNDS: u32 = 300;

/// `SplitMix64` (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    /// A number of any magnitude, with the bounds.
    fn count(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            _ => {
                let shift = self.below(64);
                self.next() >> shift
            }
        }
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn list<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }

    fn text(&mut self) -> String {
        const PARTS: [&str; 12] = [
            "a",
            "\"",
            "\\",
            "\n",
            "\r",
            "\u{0}",
            "\u{7f}",
            "\u{2028}",
            "\u{e9}",
            "\u{1f980}",
            "{\"v\":2}",
            "null",
        ];
        (0..self.below(6)).map(|_| PARTS[self.below(12) as usize]).collect()
    }

    fn bytes(&mut self) -> Bytes {
        match self.below(4) {
            0 => (0..self.below(5)).map(|_| self.next() as u8).collect(),
            _ => self.text().into(),
        }
    }

    fn session(&mut self) -> SessionId {
        SessionId::from_bits(u128::from(self.count()) << 64 | u128::from(self.count()))
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.count())
    }

    fn position(&mut self) -> Position {
        Position { epoch: self.count() as u32, seq: self.count() }
    }

    fn duration(&mut self) -> Duration {
        Duration::new(self.count(), self.below(1_000_000_000) as u32)
    }

    fn request(&mut self) -> RequestId {
        match self.below(4) {
            0 => RequestId::Integer(i128::MIN),
            1 => RequestId::Integer(i128::from(self.count()) * -3),
            2 => RequestId::Integer(i128::from(self.count()) << 60),
            _ => RequestId::from(&*self.text()),
        }
    }

    fn log(&mut self) -> LogId {
        LogId { session: self.session(), stream: self.count() }
    }

    fn listener(&mut self) -> Listener {
        Listener { number: self.count(), node: self.maybe(Self::node), settled: self.count() }
    }

    fn record(&mut self) -> Record {
        let version = ProtocolVersion::WITH_HANDSHAKE[self.below(3) as usize];
        let mut record = Record::new(self.session(), version);
        record.principal = self.maybe(|random| Principal::new(random.text()));
        record.capabilities = ClientCapabilities::from_flags(|_| Ok::<_, Infallible>(self.flag())).unwrap();
        record.initialize = json!({ self.text(): self.text(), "n": self.count() }).into();
        record.initialized = self.flag();
        (record.age, record.unused) = (self.duration(), self.duration());
        record.home = self.maybe(Self::node);
        record.members = self.list(|random| random.maybe(Self::node));
        record.heard = self.position();
        record.listener = self.listener();
        record
    }

    fn append(&mut self) -> Append {
        let mut append = Append::new(self.log(), self.node(), self.request(), self.count());
        (append.events, append.ends) = (self.list(Self::bytes), self.flag());
        append
    }

    fn page(&mut self) -> Page {
        let events = self.list(|random| (random.position(), random.bytes()));
        Page::new(events, self.flag(), self.maybe(Self::request))
    }

    fn update(&mut self) -> Update {
        match self.below(5) {
            0 => Update::Initialized,
            1 => Update::Heard(self.position()),
            2 => Update::Used(self.duration()),
            3 => Update::Listens(self.node(), self.count()),
            _ => Update::Settled(self.count(), self.position()),
        }
    }

    fn peer(&mut self) -> PeerMessage {
        let request = match self.below(6) {
            0 => {
                let receipt = (self.below(2) == 0).then(|| Receipt::new(NodeId(self.count()), self.count()));
                PeerRequest::Posted { message: self.bytes(), receipt }
            }
            1 => PeerRequest::TakenOver { stream: self.count(), number: self.count() },
            2 => PeerRequest::Listens(self.count()),
            3 => PeerRequest::Initialized,
            4 => PeerRequest::Taken(self.count()),
            _ => PeerRequest::Terminated(TerminateReason::ALL[self.below(7) as usize]),
        };
        PeerMessage::new(self.session(), request)
    }
}

/// As text and as a tree, the value is what it was. Equal values have equal texts.
fn returns<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Vec<u8> {
    let text = serde_json::to_vec(value).unwrap();
    let read = serde_json::from_slice::<T>(&text).unwrap();
    assert_eq!(read, *value);
    assert_eq!(serde_json::to_vec(&read).unwrap(), text);
    let tree = serde_json::to_value(value).unwrap();
    assert_eq!(T::deserialize(&tree).unwrap(), *value);
    assert_eq!(serde_json::to_vec(&tree).unwrap(), text); // its fields are in order
    text
}

#[test]
fn every_value_comes_back_as_it_was() {
    let mut random = Random(1);
    for _ in 0..ROUNDS {
        returns(&random.record());
        returns(&random.append());
        returns(&random.page());
        returns(&random.update());
        returns(&random.peer());
        returns(&random.peer().request);
        returns(&random.listener());
        returns(&random.log());
        returns(&random.node());
    }
}

/// What was damaged on its way is read as some value, or refused. Nothing panics, and what was read is a value.
#[test]
fn damaged_values_are_refused_or_read() {
    fn damaged<T: Serialize + DeserializeOwned + PartialEq + Debug>(
        random: &mut Random,
        text: &[u8],
    ) -> bool {
        let mut text = text.to_vec();
        for _ in 0..=random.below(2) {
            let at = random.below(text.len() as u64) as usize;
            match random.below(4) {
                0 => text.truncate(at.max(1)),
                1 => _ = text.remove(at),
                2 => text.insert(at, b"{}[]\",:0-9\\\xff"[random.below(12) as usize]),
                _ => text[at] = random.next() as u8,
            }
            if text.is_empty() {
                return false;
            }
        }
        serde_json::from_slice::<T>(&text).is_ok_and(|read| !returns(&read).is_empty())
    }
    let mut random = Random(2);
    let (mut read, mut all) = (0, 0);
    for _ in 0..ROUNDS {
        let text = returns(&random.record());
        read += u32::from(damaged::<Record>(&mut random, &text));
        let text = returns(&random.append());
        read += u32::from(damaged::<Append>(&mut random, &text));
        let text = returns(&random.page());
        read += u32::from(damaged::<Page>(&mut random, &text));
        let text = returns(&random.update());
        read += u32::from(damaged::<Update>(&mut random, &text));
        let text = returns(&random.peer());
        read += u32::from(damaged::<PeerMessage>(&mut random, &text));
        all += 5;
    }
    assert!(read > all / 100 && read < all / 2, "{read} of {all} were read: that is too few or too many");
}
