//! [`Stamps`]: the events of `stamped` and `ask`, as they arrive.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use mcp_session_bench::monotonic_nanos;
use memchr::memmem;

use super::connection::Connection;

/// The text of the event stream that has arrived and is not yet read.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    text: Vec<u8>,
    at: usize,
    /// When the last of it has arrived, in nanoseconds.
    arrived: u64,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A progress notification: its event id, its step, and the nanoseconds from its sending to its arrival.
    Step { id: &'a str, step: u64, took: u64 },
    /// A request of the server, with its id as JSON.
    Request { id: &'a str },
    /// The answer: the text of its result, or nothing if it is an error.
    Answer { text: Option<&'a str> },
    /// An event without a message, or with another notification.
    Other,
}

impl Stamps {
    /// The next event; `None` at the proper end of the body.
    pub(super) async fn next(&mut self, connection: &mut Connection) -> Result<Option<Event<'_>>> {
        let event = loop {
            if let Some(end) = memmem::find(&self.text[self.at..], b"\n\n") {
                break self.at..self.at + end;
            }
            self.text.drain(..self.at);
            self.at = 0;
            let Some(chunk) = connection.chunk().await? else {
                ensure!(self.text.is_empty(), "a stream that ends within an event");
                return Ok(None);
            };
            self.text.extend_from_slice(chunk);
            self.arrived = monotonic_nanos();
        };
        self.at = event.end + 2;
        self.parse(event).map(Some)
    }

    fn parse(&self, event: Range<usize>) -> Result<Event<'_>> {
        let text = std::str::from_utf8(&self.text[event])?;
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
        if data.is_empty() {
            return Ok(Event::Other);
        }
        let after = |key: &str| data.split_once(key).map(|(_, rest)| rest);
        let quoted = |key: &str| after(key).and_then(|rest| rest.split('"').next());
        if data.contains("\"notifications/progress\"") {
            let id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or_default();
            let step = after("\"progress\":").map(|rest| rest.split(['.', ',', '}']).next().unwrap_or(rest));
            let step = step.and_then(|step| step.parse().ok()).context("progress without a step")?;
            let sent = quoted("\"message\":\"").and_then(|sent| sent.parse().ok());
            let sent: u64 = sent.context("progress without a stamp")?;
            return Ok(Event::Step { id, step, took: self.arrived.saturating_sub(sent) });
        }
        if data.contains("\"method\":") {
            let id = after("\"id\":").and_then(|rest| rest.split([',', '}']).next());
            return Ok(id.map_or(Event::Other, |id| Event::Request { id }));
        }
        Ok(Event::Answer { text: quoted("\"text\":\"") })
    }

    /// Forgets what was read, for the next body.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.at = 0;
    }
}

/// Checks that no step is lost or comes twice, and keeps the times of those in the window.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    pub(super) last: u64,
    pub(super) times: &'a mut Histogram<u64>,
}

impl Steps<'_> {
    pub(super) fn take(&mut self, step: u64, took: u64, in_window: bool) -> Result<()> {
        ensure!(step == self.last + 1, "step {step} follows {}", self.last);
        self.last = step;
        if in_window {
            self.times.record(took)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_event_is_told_apart() {
        let parse = |text: &str| {
            let stamps = Stamps { text: text.into(), at: 0, arrived: 1_500 };
            let event = format!("{:?}", stamps.parse(0..text.len()).unwrap());
            event
        };
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1000001,"progress":7.0,"message":"1000"}}"#;
        assert_eq!(parse(&format!("id: 3-8\ndata: {progress}")), r#"Step { id: "3-8", step: 7, took: 500 }"#);
        let asked = r#"{"jsonrpc":"2.0","id":"a1","method":"elicitation/create","params":{}}"#;
        assert_eq!(parse(&format!("id: 3-8\ndata: {asked}")), r#"Request { id: "\"a1\"" }"#);
        let answer = r#"{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"12"}]}}"#;
        assert_eq!(parse(&format!("data: {answer}")), r#"Answer { text: Some("12") }"#);
        assert_eq!(parse("id: 3-0\ndata: "), "Other");
        let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":0}}"#;
        assert_eq!(parse(&format!("data: {cancelled}")), "Other");
    }

    #[test]
    fn a_step_that_is_lost_or_doubled_is_an_error() {
        let mut times = Histogram::new(3).unwrap();
        let mut steps = Steps { last: 0, times: &mut times };
        steps.take(1, 10, true).unwrap();
        steps.take(2, 10, false).unwrap();
        assert!(steps.take(2, 10, true).is_err() && steps.take(4, 10, true).is_err());
        assert_eq!(times.len(), 1);
    }
}
