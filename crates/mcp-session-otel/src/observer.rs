//! What an endpoint tells of itself: refusals, calls of its store, handlers that block or panic.

use std::time::Duration;

use mcp_session_core::{Observer, Refused, StoreCall, StoreOutcome};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};

use crate::{names, operation, telemetry::Telemetry};

/// Bounds of the durations of store calls, in seconds: a store in the same network takes a millisecond, and a call that takes longer
/// than `Store::timeout`, two seconds by default, is dropped.
const STORE_BOUNDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The instruments.
pub(crate) struct Instruments {
    refusals: Counter<u64>,
    store: Histogram<f64>,
    slow_polls: Counter<u64>,
    panics: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name, text| meter.u64_counter(name).with_description(text).build();
        let store = meter.f64_histogram(names::STORE_DURATION).with_unit("s");
        Self {
            refusals: counter(names::REFUSALS, "Requests that were not admitted, by reason"),
            store: store
                .with_description("Calls of the store")
                .with_boundaries(STORE_BOUNDS.to_vec())
                .build(),
            slow_polls: counter(
                names::SLOW_POLLS,
                "Polls in which a handler blocked its thread for more than 100 ms",
            ),
            panics: counter(names::PANICS, "Panics of handlers and hooks"),
        }
    }
}

/// Counts refusals by reason (`mcp.server.refusals`), measures the calls of the store (`mcp.server.store.duration`), and counts
/// polls that block and panics.
impl Observer for Telemetry {
    fn refused(&self, refused: &Refused) {
        let reason = KeyValue::new(names::ERROR_TYPE, refused.reason);
        let status = KeyValue::new(names::HTTP_STATUS, i64::from(refused.status.as_u16()));
        self.parts().observed.refusals.add(1, &[reason, status]);
    }

    fn store_called(&self, call: &StoreCall) {
        let mut attributes = vec![KeyValue::new(names::STORE_OPERATION, call.operation)];
        let error = match call.outcome {
            StoreOutcome::Answered => None,
            StoreOutcome::Unavailable => Some("unavailable"),
            StoreOutcome::Panicked => Some(names::PANIC),
            StoreOutcome::Dropped => Some("dropped"),
            _ => Some("_OTHER"),
        };
        attributes.extend(error.map(|error| KeyValue::new(names::ERROR_TYPE, error)));
        self.parts().observed.store.record(call.took.as_secs_f64(), &attributes);
    }

    fn slow_poll(&self, method: &str, _took: Duration) {
        let method = KeyValue::new(names::METHOD, operation::known(method));
        self.parts().observed.slow_polls.add(1, &[method]);
    }

    fn panicked(&self, method: &str) {
        let method = KeyValue::new(names::METHOD, operation::known(method));
        self.parts().observed.panics.add(1, &[method]);
    }
}
