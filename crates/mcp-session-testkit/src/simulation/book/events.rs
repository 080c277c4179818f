//! Events: an id names one event, for every reader and at every node.

use std::collections::HashMap;

use mcp_session_core::{SessionId, proto::EventId};
use serde_json::Value;

use super::Book;
use crate::simulation::plan::{Happening, StorePlan};

/// What clients have received.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The data of each event, by its session, its stream, and its position there.
    events: HashMap<(SessionId, EventId), String>,
    /// The numbers of the questions of each session, by their JSON-RPC ids.
    questions: HashMap<(SessionId, String), usize>,
}

impl Book {
    /// A client received this event of a session.
    pub(in crate::simulation) fn receives(&mut self, session: SessionId, id: EventId, data: &str) {
        let known = self.received.events.entry((session, id)).or_insert_with(|| data.to_owned());
        if known != data {
            let known = known.clone();
            self.violation("ids", || format!("{id:?} of {session} was {known}, and is {data}"));
        }
    }

    /// A client got a question with this id.
    pub(in crate::simulation) fn question_has_id(&mut self, number: usize, session: SessionId, id: &Value) {
        let known = *self.received.questions.entry((session, id.to_string())).or_insert(number);
        if known != number {
            self.violation("ids", || {
                format!("the questions {known} and {number} of {session} have the id {id}")
            });
        }
    }

    /// Returns `true` if the store may lose events that it acknowledged.
    pub(in crate::simulation) fn may_lose_events(&self) -> bool {
        let failover = self.plan.events.iter().any(|event| matches!(event.what, Happening::Failover));
        failover || self.plan.store.as_ref().is_some_and(|store| store.faults.loses > 0)
    }

    /// Returns `true` if the store has every event that a client has, for as long as its session lives.
    pub(in crate::simulation) fn stores_events(&self) -> bool {
        // After its patience, a node goes on without the store.
        self.keeps_events()
            && !self.may_lose_events()
            && self.plan.store.as_ref().is_some_and(StorePlan::is_slow_at_most)
    }
}
