//! [`Metrics`]: `/metrics`, for Prometheus.

use std::{error::Error, sync::Arc};

use mcp_session_core::{Endpoint, Handler, Runtime};
use mcp_session_otel::{Observed, Telemetry};
use opentelemetry::{global, metrics::MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

/// What a scraper gets.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    telemetry: Telemetry,
    registry: Registry,
    _meters: SdkMeterProvider,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
        let meters = SdkMeterProvider::builder().with_reader(exporter).build();
        let telemetry = Telemetry::new(global::tracer("everything"), meters.meter("everything"));
        Ok(Self { telemetry, registry, _meters: meters })
    }

    pub(crate) fn observe<H: Handler>(&self, handler: H, runtime: Arc<dyn Runtime>) -> Observed<H> {
        self.telemetry.observe(handler, runtime)
    }

    pub(crate) fn watch(&self, endpoint: &Endpoint, runtime: &Arc<dyn Runtime>) {
        self.telemetry.watch(endpoint, runtime);
    }

    /// The metrics as they are now, in the text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        let written = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        written.map_or_else(|error| format!("# {error}\n"), |()| String::from_utf8_lossy(&text).into_owned())
    }
}
