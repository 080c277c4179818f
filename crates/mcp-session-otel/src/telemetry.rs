//! [`Telemetry`]: where spans and metrics go.

use std::{fmt, sync::Arc};

use mcp_session_core::{Endpoint, Handler, Runtime};
use opentelemetry::{
    global::{self, BoxedTracer},
    metrics::{Histogram, Meter},
};

use crate::{handler::Observed, names, observer::Instruments, sessions, stats};

/// The name of the instrumentation scope.
const SCOPE: &str = "mcp-session";

/// Bounds of the durations of operations, in seconds: those of the conventions.
const OPERATION_BOUNDS: [f64; 14] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Bounds of the durations of sessions, in seconds: those of the conventions, and up to a day.
const SESSION_BOUNDS: [f64; 13] =
    [0.1, 1.0, 10.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 43_200.0, 86_400.0];

/// Where spans and metrics go: to the global providers of the crate `opentelemetry`, or to those that it is given. Cheap to
/// clone.
///
/// ```
/// use std::sync::Arc;
/// use mcp_session_core::{Config, Endpoint, Handler, Runtime};
/// use mcp_session_otel::Telemetry;
///
/// fn endpoint(runtime: Arc<dyn Runtime>, handler: impl Handler) -> Endpoint {
///     let telemetry = Telemetry::global();
///     let handler = telemetry.observe(handler, Arc::clone(&runtime));
///     let mut config = Config::default();
///     config.observer = Some(Arc::new(telemetry.clone()));
///     let endpoint = Endpoint::with_config(Arc::clone(&runtime), handler, config).expect("it can work");
///     telemetry.watch(&endpoint, &runtime);
///     endpoint
/// }
/// # let _ = |runtime, router: mcp_session_core::Router| endpoint(runtime, router);
/// ```
#[derive(Clone)]
pub struct Telemetry(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) tracer: BoxedTracer,
    pub(crate) meter: Meter,
    pub(crate) operations: Histogram<f64>,
    pub(crate) sessions: Histogram<f64>,
    pub(crate) observed: Instruments,
}

impl Telemetry {
    /// With the global providers as they are now: set them before.
    pub fn global() -> Self {
        Self::new(global::tracer(SCOPE), global::meter(SCOPE))
    }

    /// With providers of your own.
    pub fn new(tracer: BoxedTracer, meter: Meter) -> Self {
        let histogram = |name, text, bounds: &[f64]| {
            let builder = meter.f64_histogram(name).with_unit("s").with_description(text);
            builder.with_boundaries(bounds.to_vec()).build()
        };
        let operations = histogram(
            names::OPERATION_DURATION,
            "From the time a request or a notification reached its handler until its result",
            &OPERATION_BOUNDS,
        );
        let sessions = histogram(
            names::SESSION_DURATION,
            "From the time a session was opened, or came to this node, until its end",
            &SESSION_BOUNDS,
        );
        let observed = Instruments::new(&meter);
        Self(Arc::new(Parts { tracer, meter, operations, sessions, observed }))
    }

    /// A handler that does what this one does, with a span and a duration for each of its requests and notifications. It measures
    /// time by this runtime.
    pub fn observe<H: Handler>(&self, handler: H, runtime: Arc<dyn Runtime>) -> Observed<H> {
        Observed::new(handler, self.clone(), runtime)
    }

    /// Reports the [`Stats`](mcp_session_core::Stats) of an endpoint whenever metrics are collected, and the durations of its
    /// sessions. A task of this runtime does the latter; it ends with the endpoint.
    ///
    /// The meter keeps the endpoint as long as it lives: its last numbers can be collected after the shutdown.
    pub fn watch(&self, endpoint: &Endpoint, runtime: &Arc<dyn Runtime>) {
        stats::report(&self.0.meter, endpoint);
        sessions::watch(self.clone(), endpoint, runtime);
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
