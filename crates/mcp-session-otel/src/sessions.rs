//! How long sessions live.

use std::{collections::HashMap, sync::Arc, time::Instant};

use futures::FutureExt;
use mcp_session_core::{Endpoint, Runtime, SessionEvent, SessionId, TerminateReason};
use opentelemetry::KeyValue;

use crate::{names, telemetry::Telemetry};

/// How many events may wait. Those that find no room are lost, and the durations with them.
const WAITING: usize = 1_024;

/// Records the duration of each session at its end.
pub(crate) fn watch(telemetry: Telemetry, endpoint: &Endpoint, runtime: &Arc<dyn Runtime>) {
    let (sessions, events) = (endpoint.manager().downgrade(), endpoint.manager().events(WAITING));
    let clock = Arc::clone(runtime);
    let work = async move {
        let mut began: HashMap<SessionId, Instant> = HashMap::new();
        let mut limit = WAITING;
        while let Some(event) = events.recv().await {
            match event {
                SessionEvent::Created(id) | SessionEvent::Adopted(id) => {
                    began.insert(id, clock.now());
                }
                SessionEvent::Parked(id) => {
                    began.remove(&id); // it lives on at another node
                }
                SessionEvent::Terminated(id, reason) => {
                    if let Some(began) = began.remove(&id) {
                        let lasted = clock.now().saturating_duration_since(began).as_secs_f64();
                        telemetry.parts().sessions.record(lasted, &attributes(reason));
                    }
                }
                _ => {}
            }
            if began.len() >= limit {
                let Some(sessions) = sessions.upgrade() else { return };
                began.retain(|id, _| sessions.get(id).is_some()); // events may have been lost
                limit = WAITING + 2 * began.len();
            }
        }
    };
    runtime.spawn_keeper(work.boxed());
}

/// A session that ends as its client or its configuration wants it is no error.
fn attributes(reason: TerminateReason) -> Vec<KeyValue> {
    let protocol = KeyValue::new(names::PROTOCOL, "http");
    match reason {
        TerminateReason::Error | TerminateReason::InitializeTimeout => {
            vec![protocol, KeyValue::new(names::ERROR_TYPE, reason.to_string())]
        }
        _ => vec![protocol],
    }
}
