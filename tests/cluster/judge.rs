//! [`judge`]: what clients saw against what is promised.
//!
//! In every play: each call has one answer, its steps 1 to n once and in order, nothing on a foreign stream, and its log in
//! Redis is what its client saw. Where no node is lost, the answer is a result. Where one is, each call that it ran gets one
//! error, and what came of a request whose client has no event id yet is unknown.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    args::Play,
    plays::Happened,
    seen::{Call, Kind, Listened, Outcome, Seen},
};

/// The sums of a run.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) calls: usize,
    pub(crate) results: usize,
    /// Cancelled by clients, or ended with their session.
    pub(crate) given_up: usize,
    /// Errors by kind, without those of deleted sessions.
    pub(crate) errors: BTreeMap<String, usize>,
    /// Cut before the client had an event id, or without a session.
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) lost: Vec<String>,
    pub(crate) doubled: Vec<String>,
    pub(crate) different: Vec<String>,
    /// Everything else that is wrong.
    pub(crate) wrong: Vec<String>,
    pub(crate) attach: Vec<Duration>,
    pub(crate) next: Vec<Duration>,
    /// From the fault to each error.
    pub(crate) error_after: Vec<Duration>,
}

/// Judges a run.
pub(crate) fn judge(play: Play, seen: &Seen, different: Vec<String>, happened: &Happened) -> Judged {
    let mut judged =
        Judged { calls: seen.calls.len(), refused: seen.refused, different, ..Judged::default() };
    for call in &seen.calls {
        judged.call(play, call, happened);
    }
    for listened in &seen.listened {
        judged.listened(play, listened);
    }
    judged.wrong.extend(happened.unclean.iter().chain(&seen.odd).cloned());
    judged
}

impl Judged {
    /// Whether nothing is wrong.
    pub(crate) fn is_well(&self) -> bool {
        [&self.lost, &self.doubled, &self.different, &self.wrong].iter().all(|list| list.is_empty())
    }

    fn call(&mut self, play: Play, call: &Call, happened: &Happened) {
        let who = || {
            format!("call {} ({:?}, session {}, stream {:?})", call.id, call.kind, call.session, call.stream)
        };
        self.attach.extend(call.moves.iter().map(|moved| moved.attach));
        self.next.extend(call.moves.iter().filter_map(|moved| moved.next));
        self.doubled.extend(call.doubled.iter().map(|what| format!("{}: {what}", who())));
        self.wrong.extend(call.foreign.iter().map(|what| format!("{}: foreign: {what}", who())));
        if call.ignored {
            self.wrong.push(format!("{}: cancelled, and answered much later", who()));
        }
        match &call.outcome {
            Outcome::Result => self.results += 1,
            Outcome::Ended => self.given_up += 1,
            Outcome::Error(_) if call.kind == Kind::Deletes => self.given_up += 1,
            Outcome::Error(reason) => {
                *self.errors.entry(reason.clone()).or_default() += 1;
                if let Some(at) = happened.at {
                    self.error_after.push(call.ended.saturating_duration_since(at));
                }
                if !play.loses_a_node() {
                    self.lost.push(format!("{}: an error: {reason}", who()));
                }
            }
            Outcome::Unknown => {
                self.unknown += 1;
                if !play.loses_a_node() {
                    self.lost.push(format!("{}: its connection ended without an answer", who()));
                }
            }
            Outcome::Lost(why) => self.lost.push(format!("{}: {why}", who())),
        }
    }

    fn listened(&mut self, play: Play, listened: &Listened) {
        let Listened { session, events, told, perhaps, doubled, lost, deleted } = listened;
        let who = || format!("GET stream of {session}");
        self.doubled.extend(doubled.iter().map(|what| format!("{}: {what}", who())));
        self.lost.extend(lost.iter().map(|what| format!("{}: {what}", who())));
        let have = events.len();
        if have > told + perhaps {
            self.doubled.push(format!("{}: {have} events of {told}", who()));
        }
        // A node that is lost may have answered before the store had the event.
        if have < *told && !deleted && !play.loses_a_node() && lost.is_empty() {
            self.lost.push(format!("{}: {have} events of {told}", who()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use super::*;

    fn call(outcome: Outcome) -> Call {
        let session: Arc<str> = Arc::from("s");
        Call { outcome, ..Call::new(1, Kind::Slow, session) }
    }

    fn of(play: Play, call: Call) -> Judged {
        let seen = Seen { calls: vec![call], ..Seen::default() };
        let happened = Happened { at: Some(Instant::now()), ..Happened::default() };
        judge(play, &seen, Vec::new(), &happened)
    }

    #[test]
    fn an_error_is_a_loss_unless_its_node_was_lost() {
        assert!(of(Play::Rolling, call(Outcome::Result)).is_well());
        for outcome in [Outcome::Error("gone".into()), Outcome::Unknown] {
            assert!(of(Play::Kill, call(outcome.clone())).is_well());
            assert!(!of(Play::Rolling, call(outcome)).is_well());
        }
        assert!(!of(Play::Kill, call(Outcome::Lost("hung".into()))).is_well());
    }

    #[test]
    fn what_is_doubled_foreign_or_ignored_is_never_well() {
        let with = |change: fn(&mut Call)| {
            let mut call = call(Outcome::Result);
            change(&mut call);
            of(Play::Kill, call).is_well()
        };
        assert!(with(|_| {}));
        assert!(!with(|call| call.doubled.push("step 1 after 1".into())));
        assert!(!with(|call| call.foreign.push("an event of stream 2".into())));
        assert!(!with(|call| call.ignored = true));
    }

    #[test]
    fn a_get_stream_has_what_was_announced() {
        let listened = |events: usize, told, perhaps| {
            let session = Arc::from("s");
            let (doubled, lost) = (Vec::new(), Vec::new());
            let listened =
                Listened { session, events: vec![0; events], told, perhaps, doubled, lost, deleted: false };
            let seen = Seen { listened: vec![listened], ..Seen::default() };
            judge(Play::Rolling, &seen, Vec::new(), &Happened::default()).is_well()
        };
        assert!(listened(2, 2, 0) && listened(3, 2, 1));
        assert!(!listened(1, 2, 0) && !listened(3, 2, 0));
    }
}
