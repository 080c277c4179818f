//! Messages through another node than the one that runs the call: the reply to its question, and DELETE.

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use mcp_session_bench::monotonic_nanos;

use super::{
    Target,
    connection::Connection,
    era::Caller,
    fleet::alone,
    message::{Call, delete, open_answering_session, reply},
    stamps::{Event, Stamps},
    streams::open_head,
    times::{histogram, micros},
};

/// Half of the times, and nearly all of them, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Times {
    fn of(times: &Histogram<u64>) -> Self {
        Self { p50: micros(times, 0.5), p99: micros(times, 0.99) }
    }
}

/// A call that has asked its client, and is read by it.
struct Asking {
    session: String,
    /// The id of the question, as JSON.
    question: String,
    connection: Connection,
    stamps: Stamps,
}

/// From the reply that a client sends to `through`, until the handler at `owner` has it.
pub(crate) fn replies(owner: &Target, through: &Target, count: usize) -> Result<Times> {
    alone(owner, async {
        let mut times = histogram();
        let mut other = Connection::open(through.address).await?;
        for _ in 0..count {
            let Asking { session, question, mut connection, mut stamps } = ask(owner).await?;
            let sent = monotonic_nanos();
            other.exchange(&reply(through, &session, &question)).await?;
            let answer = stamps.next(&mut connection).await?.context("a call without an answer")?;
            let Event::Answer { text: Some(text) } = answer else {
                anyhow::bail!("{answer:?} instead of an answer")
            };
            let had: u64 = text.parse()?;
            times.saturating_record(had.checked_sub(sent).context("a reply before it was sent")?);
            other.exchange(&delete(through, &session)).await?;
        }
        Ok(Times::of(&times))
    })
}

/// From the DELETE that a client sends to `through`, until the stream of the call at `owner` has ended.
pub(crate) fn deletes(owner: &Target, through: &Target, count: usize) -> Result<Times> {
    alone(owner, async {
        let mut times = histogram();
        let mut other = Connection::open(through.address).await?;
        for _ in 0..count {
            let Asking { session, mut connection, mut stamps, .. } = ask(owner).await?;
            let request = delete(through, &session);
            let sent = monotonic_nanos();
            let ending = async {
                let mut answers = 0;
                while let Some(event) = stamps.next(&mut connection).await? {
                    answers += usize::from(matches!(event, Event::Answer { text: None }));
                }
                ensure!(answers == 1, "{answers} errors end a call of a session that was deleted");
                Ok(monotonic_nanos())
            };
            let (ended, deleted) = tokio::join!(ending, other.exchange(&request));
            deleted?;
            times.saturating_record(ended? - sent);
        }
        Ok(Times::of(&times))
    })
}

/// Calls `ask` in a session of its own, and reads until the question.
async fn ask(target: &Target) -> Result<Asking> {
    let mut connection = Connection::open(target.address).await?;
    let session = open_answering_session(target, &mut connection).await?;
    let mut call = Call::ask(target, &Caller::Session(session.clone()));
    open_head(&mut connection, call.next()).await?;
    let mut stamps = Stamps::default();
    let question = loop {
        match stamps.next(&mut connection).await?.context("a call that ends without a question")? {
            Event::Request { id } => break id.to_owned(),
            Event::Other => {}
            other => anyhow::bail!("{other:?} instead of a question"),
        }
    };
    Ok(Asking { session, question, connection, stamps })
}
