//! [`Telemetry`]: `/metrics` for Prometheus, and spans and metrics for a collector of OpenTelemetry.

mod client;
#[cfg(test)]
mod tests;

use std::{error::Error, sync::Arc, time::Duration};

use mcp_session_core::{Config, Endpoint, Handler, Runtime};
use mcp_session_otel::Observed;
use opentelemetry::{
    global::{self, BoxedTracer},
    metrics::MeterProvider as _,
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    metrics::{PeriodicReader, SdkMeterProvider},
    propagation::TraceContextPropagator,
    trace::SdkTracerProvider,
};
use prometheus::{Encoder, Registry, TextEncoder};

use client::Client;

type BoxError = Box<dyn Error + Send + Sync>;

const SCOPE: &str = "everything";

/// How often metrics are sent. 10 s: an example is looked at; a minute, the usual, is long then.
const EVERY: Duration = Duration::from_secs(10);

/// How long the process waits at exit for the collector to take the last spans and metrics.
const FLUSH: Duration = Duration::from_secs(2);

/// Where spans and metrics go. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    telemetry: mcp_session_otel::Telemetry,
    /// For Prometheus.
    registry: Option<Registry>,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// `otlp` is the URL of a collector that speaks OTLP over HTTP. `None` if nobody wants to see anything.
    pub(crate) fn start(metrics: bool, otlp: Option<&str>) -> Result<Option<Self>, BoxError> {
        if !metrics && otlp.is_none() {
            return Ok(None);
        }
        let mut meters = SdkMeterProvider::builder();
        let registry = metrics.then(Registry::new);
        if let Some(registry) = &registry {
            meters = meters
                .with_reader(opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?);
        }
        let mut tracers = None;
        if let Some(url) = otlp {
            let url = url.trim_end_matches('/');
            let client = Client::new();
            let exporter = MetricExporter::builder().with_http().with_http_client(client.clone());
            let exporter =
                exporter.with_endpoint(format!("{url}/v1/metrics")).with_protocol(Protocol::HttpBinary);
            meters =
                meters.with_reader(PeriodicReader::builder(exporter.build()?).with_interval(EVERY).build());
            let exporter = SpanExporter::builder().with_http().with_http_client(client);
            let exporter =
                exporter.with_endpoint(format!("{url}/v1/traces")).with_protocol(Protocol::HttpBinary);
            tracers = Some(SdkTracerProvider::builder().with_batch_exporter(exporter.build()?).build());
            global::set_text_map_propagator(TraceContextPropagator::new()); // the spans of clients are parents
        }
        let meters = meters.build();
        let tracer = match &tracers {
            Some(tracers) => BoxedTracer::new(Box::new(tracers.tracer(SCOPE))),
            None => global::tracer(SCOPE), // nobody has set one: there are no spans
        };
        let telemetry = mcp_session_otel::Telemetry::new(tracer, meters.meter(SCOPE));
        Ok(Some(Self { telemetry, registry, meters, tracers }))
    }

    /// Hears what the endpoint with this configuration refuses, and how its store does.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.observer = Some(Arc::new(self.telemetry.clone()));
    }

    pub(crate) fn observe<H: Handler>(&self, handler: H, runtime: Arc<dyn Runtime>) -> Observed<H> {
        self.telemetry.observe(handler, runtime)
    }

    pub(crate) fn watch(&self, endpoint: &Endpoint, runtime: &Arc<dyn Runtime>) {
        self.telemetry.watch(endpoint, runtime);
    }

    /// The metrics as they are now, in the text format of Prometheus. `None` if it does not scrape this server.
    pub(crate) fn text(&self) -> Option<String> {
        let registry = self.registry.as_ref()?;
        let mut text = Vec::new();
        let written = TextEncoder::new().encode(&registry.gather(), &mut text);
        Some(
            written.map_or_else(
                |error| format!("# {error}\n"),
                |()| String::from_utf8_lossy(&text).into_owned(),
            ),
        )
    }

    /// Sends what the collector does not have yet. Blocks for some seconds at most.
    pub(crate) fn flush(&self) {
        if let Some(tracers) = &self.tracers {
            let _ = tracers.shutdown_with_timeout(FLUSH); // the collector is away: these spans are lost
            let _ = self.meters.shutdown_with_timeout(FLUSH);
        }
    }
}
