//! The wire form of what a store keeps and sends.

use std::{convert::Infallible, fmt::Debug, time::Duration};

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use mcp_session_core::{
    ClientCapabilities, Json, Principal, ProtocolVersion, RequestId, SessionId, TerminateReason,
    proto::Position,
    store::{
        Append, Listener, LogId, NodeId, Page, PeerMessage, PeerRequest, Receipt, Record, Update, Wakeup,
        wire::VERSION,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The input is the JSON of a value, and the parts of one.
///
/// # Panics
///
/// If a value is not read as it was written, a text is read as a value that is written differently, or another version of the
/// form is read.
pub fn run(input: &[u8]) {
    read::<Record>(input);
    read::<Listener>(input);
    read::<Update>(input);
    read::<LogId>(input);
    read::<Append>(input);
    read::<Page>(input);
    read::<Wakeup>(input);
    read::<PeerRequest>(input);
    read::<PeerMessage>(input);
    if let Ok(node) = serde_json::from_slice::<NodeId>(input) {
        assert_eq!(serde_json::from_str::<NodeId>(&text(&node)).ok(), Some(node));
    }
    let mut parts = Parts(Unstructured::new(input));
    while !parts.0.is_empty() {
        if parts.write().is_err() {
            return;
        }
    }
}

/// What is read is written as something that is read as the same.
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(input) {
        written(&value);
    }
}

/// What is written is read as it was, by nodes of this version only.
fn written<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = text(value);
    let read = serde_json::from_str::<T>(&text);
    assert_eq!(read.as_ref().ok(), Some(value), "{text}: {read:?}");
    assert_eq!(self::text(&read.expect("it was compared")), text);

    let mut other: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(other["v"], VERSION);
    for version in [0, VERSION + 1, u64::MAX] {
        other["v"] = version.into();
        let error = serde_json::from_value::<T>(other.clone()).expect_err("another version").to_string();
        let both = format!("version {version} of the wire form, but this node reads version {VERSION}");
        assert_eq!(error, both);
    }
    other.as_object_mut().expect("a map").remove("v");
    let error = serde_json::from_value::<T>(other).expect_err("no version").to_string();
    assert_eq!(error, "`v` is missing");
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it can be written")
}

/// Makes values of the input.
struct Parts<'a>(Unstructured<'a>);

impl Parts<'_> {
    /// Makes a value, and checks its form.
    fn write(&mut self) -> Result<()> {
        match self.0.int_in_range(0..=6_u8)? {
            0 => written(&self.record()?),
            1 => written(&self.update()?),
            2 => written(&self.append()?),
            3 => written(&self.page()?),
            4 => written(&PeerMessage::new(self.session()?, self.request()?)),
            5 => written(&self.listener()?),
            _ => written(self.0.choose(&[Wakeup::Grown, Wakeup::OwnerGone])?),
        }
        Ok(())
    }

    fn any<T: for<'b> Arbitrary<'b>>(&mut self) -> Result<T> {
        self.0.arbitrary()
    }

    fn list<T>(&mut self, mut make: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        (0..self.0.int_in_range(0..=4_u8)?).map(|_| make(self)).collect()
    }

    fn session(&mut self) -> Result<SessionId> {
        Ok(SessionId::from_bits(self.any()?))
    }

    fn node(&mut self) -> Result<NodeId> {
        Ok(NodeId(self.any()?))
    }

    fn position(&mut self) -> Result<Position> {
        Ok(Position { epoch: self.any()?, seq: self.any()? })
    }

    fn duration(&mut self) -> Result<Duration> {
        Ok(Duration::new(self.any()?, self.0.int_in_range(0..=999_999_999)?))
    }

    fn bytes(&mut self) -> Result<Bytes> {
        Ok(self.any::<Vec<u8>>()?.into())
    }

    fn id(&mut self) -> Result<RequestId> {
        Ok(if self.any()? {
            RequestId::Integer(self.any()?)
        } else {
            let text: String = self.any()?;
            RequestId::from(text.chars().take(RequestId::MAX_LEN / 4).collect::<String>().as_str())
        })
    }

    fn listener(&mut self) -> Result<Listener> {
        let mut listener = Listener::default();
        listener.number = self.any()?;
        listener.node = if self.any()? { Some(self.node()?) } else { None };
        listener.settled = self.any()?;
        Ok(listener)
    }

    fn record(&mut self) -> Result<Record> {
        let version = *self.0.choose(ProtocolVersion::WITH_HANDSHAKE)?;
        let mut record = Record::new(self.session()?, version);
        record.principal = self.any::<Option<String>>()?.map(Principal::new);
        let flags: u8 = self.any()?;
        let mut bit = 0;
        let flag = |_| {
            bit += 1;
            Ok::<_, Infallible>(flags >> bit & 1 == 1)
        };
        record.capabilities = ClientCapabilities::from_flags(flag).expect("it cannot fail");
        record.initialize = serde_json::json!({ self.any::<String>()?: self.any::<Option<i64>>()? }).into();
        if let Ok(json) = Json::from_text(self.bytes()?) {
            record.initialize = if json.is_object() { json } else { record.initialize };
        }
        record.initialized = self.any()?;
        record.age = self.duration()?;
        record.unused = self.duration()?;
        record.home = if self.any()? { Some(self.node()?) } else { None };
        record.members = self.list(|parts| Ok(if parts.any()? { Some(parts.node()?) } else { None }))?;
        record.heard = self.position()?;
        record.listener = self.listener()?;
        Ok(record)
    }

    fn update(&mut self) -> Result<Update> {
        Ok(match self.0.int_in_range(0..=4_u8)? {
            0 => Update::Initialized,
            1 => Update::Heard(self.position()?),
            2 => Update::Used(self.duration()?),
            3 => Update::Listens(self.node()?, self.any()?),
            _ => Update::Settled(self.any()?, self.position()?),
        })
    }

    fn append(&mut self) -> Result<Append> {
        let log = LogId { session: self.session()?, stream: self.any()? };
        let mut append = Append::new(log, self.node()?, self.id()?, self.any()?);
        append.events = self.list(Self::bytes)?;
        append.ends = self.any()?;
        Ok(append)
    }

    fn page(&mut self) -> Result<Page> {
        let events = self.list(|parts| Ok((parts.position()?, parts.bytes()?)))?;
        let request = if self.any()? { Some(self.id()?) } else { None };
        Ok(Page::new(events, self.any()?, request))
    }

    fn request(&mut self) -> Result<PeerRequest> {
        Ok(match self.0.int_in_range(0..=5_u8)? {
            0 => {
                let (node, number) = (NodeId(self.any()?), self.any()?);
                let receipt = if self.any()? { Some(Receipt::new(node, number)) } else { None };
                PeerRequest::Posted { message: self.bytes()?, receipt }
            }
            1 => PeerRequest::TakenOver { stream: self.any()?, number: self.any()? },
            2 => PeerRequest::Listens(self.any()?),
            3 => PeerRequest::Initialized,
            4 => PeerRequest::Taken(self.any()?),
            _ => PeerRequest::Terminated(*self.0.choose(TerminateReason::ALL)?),
        })
    }
}
