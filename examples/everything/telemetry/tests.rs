//! A collector of our own, which speaks OTLP over HTTP, gets what clients of both eras make the server do.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use mcp_session_core::{Config, Endpoint, Runtime, ShutdownPolicy};
use mcp_session_testkit::TestClient;
use mcp_session_tokio::TokioRuntime;
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value as AnyValue},
    metrics::v1::{Metric, metric::Data, number_data_point::Value as Number},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use serde_json::{Value, json};

use super::Telemetry;
use crate::handler::Everything;

const ERAS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// What the collector has got.
#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<Signals>>);

#[derive(Debug, Default)]
struct Signals {
    spans: Vec<Span>,
    /// By name, as last sent.
    metrics: BTreeMap<String, Metric>,
}

impl Collected {
    /// The routes of a collector: the latest state of each metric, which is cumulative, and all spans.
    fn routes(&self) -> Router {
        async fn traces(State(Collected(collected)): State<Collected>, body: Bytes) {
            let request = ExportTraceServiceRequest::decode(body).expect("spans");
            let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
            collected.lock().expect("no panic in here").spans.extend(scopes.flat_map(|it| it.spans));
        }
        async fn metrics(State(Collected(collected)): State<Collected>, body: Bytes) {
            let request = ExportMetricsServiceRequest::decode(body).expect("metrics");
            let scopes = request.resource_metrics.into_iter().flat_map(|it| it.scope_metrics);
            let metrics = scopes.flat_map(|it| it.metrics).map(|it| (it.name.clone(), it));
            collected.lock().expect("no panic in here").metrics.extend(metrics);
        }
        Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .with_state(self.clone())
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().expect("no panic in here").spans.clone()
    }

    /// The points of a metric, added up: of numbers their value, of histograms their count. 0 if nothing was recorded.
    fn sum(&self, name: &str, is_counted: impl Fn(&[KeyValue]) -> bool) -> u64 {
        let collected = self.0.lock().expect("no panic in here");
        let Some(metric) = collected.metrics.get(name) else { return 0 };
        let number = |value: &Option<Number>| match value {
            Some(Number::AsInt(value)) => u64::try_from(*value).expect("it is a count"),
            other => panic!("{name}: {other:?}"),
        };
        let numbers = match metric.data.as_ref().expect("it has data") {
            Data::Gauge(gauge) => &gauge.data_points,
            Data::Sum(sum) => &sum.data_points,
            Data::Histogram(histogram) => {
                let points = histogram.data_points.iter().filter(|it| is_counted(&it.attributes));
                return points.map(|it| it.count).sum();
            }
            other => panic!("{name}: {other:?}"),
        };
        numbers.iter().filter(|it| is_counted(&it.attributes)).map(|it| number(&it.value)).sum()
    }
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The field of `Stats` that each metric has. Phases are names there.
const STATS: [(&str, &str); 18] = [
    ("mcp.server.sessions", "sessions"),
    ("mcp.server.requests", "exchanges"),
    ("mcp.server.streams", "streams"),
    ("mcp.server.subscriptions", "subscriptions"),
    ("mcp.server.sessions.created", "sessions_created"),
    ("mcp.server.sessions.terminated", "sessions_terminated"),
    ("mcp.server.sessions.evicted", "sessions_evicted"),
    ("mcp.server.requests.admitted", "exchanges_admitted"),
    ("mcp.server.requests.answered", "exchanges_answered"),
    ("mcp.server.requests.synthesized", "exchanges_synthesized"),
    ("mcp.server.requests.cancelled", "exchanges_cancelled"),
    ("mcp.server.requests.forced", "exchanges_forced"),
    ("mcp.server.requests.orphaned", "exchanges_orphaned"),
    ("mcp.server.requests.refused", "requests_refused"),
    ("mcp.server.streams.ended", "streams_ended"),
    ("mcp.server.streams.cut", "streams_cut"),
    ("mcp.server.responses.stalled", "responses_stalled"),
    ("mcp.server.pings.unanswered", "pings_unanswered"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_spans_with_the_right_parents_and_metrics_that_are_the_stats() {
    let collected = Collected::default();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = tokio::net::TcpListener::bind(loopback).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let collector = tokio::spawn(axum::serve(listener, collected.routes()).into_future());

    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current());
    let telemetry = Telemetry::start(false, Some(&url)).expect("it starts").expect("somebody listens");
    let handler = telemetry.observe(Everything::new(Arc::clone(&runtime)), Arc::clone(&runtime));
    let mut config = Config::default();
    telemetry.configure(&mut config);
    let endpoint = Endpoint::with_config(Arc::clone(&runtime), handler, config).expect("it can work");
    telemetry.watch(&endpoint, &runtime);

    let trace_of = |era: usize| format!("{:032x}", 0xfeed + era);
    let parent_of = |era: usize| format!("{:016x}", 0xbeef + era);
    let mut clients = Vec::new();
    for (number, era) in ERAS.into_iter().enumerate() {
        let client = TestClient::builder(&endpoint).version(era).open().await;
        let parent = format!("00-{}-{}-01", trace_of(number), parent_of(number));
        let params = json!({ "name": "echo", "arguments": { "message": "hello" }, "_meta": { "traceparent": parent } });
        client.request("tools/call", params).await.expect("a result");
        client.request("tools/list", json!({})).await.expect("a result");
        client
            .request("tools/call", json!({ "name": "nobody", "arguments": {} }))
            .await
            .expect_err("no such tool");
        clients.push(client);
    }
    for _ in 0..3 {
        let foreign = http::Request::post("/mcp").header("host", "mcp.example.com").body(String::new());
        assert_eq!(endpoint.handle(foreign.expect("a request")).await.status(), 403);
    }
    let stats = endpoint.stats();
    let flushing = telemetry.clone();
    tokio::task::spawn_blocking(move || flushing.flush()).await.expect("it is sent");

    let spans = collected.spans();
    for (number, era) in ERAS.into_iter().enumerate() {
        let of_era = |span: &&Span| attribute(&span.attributes, "mcp.protocol.version") == Some(era);
        let calls: Vec<_> = spans.iter().filter(|it| it.name == "tools/call echo").filter(of_era).collect();
        let [call] = calls[..] else { panic!("{era}: {spans:#?}") };
        assert_eq!(hex(&call.trace_id), trace_of(number), "{era}");
        assert_eq!(hex(&call.parent_span_id), parent_of(number), "{era}");
        assert_eq!(call.kind(), SpanKind::Server);
        assert_eq!(attribute(&call.attributes, "gen_ai.tool.name"), Some("echo"));
        let session = attribute(&call.attributes, "mcp.session.id");
        assert_eq!(session.is_some(), number == 0, "{era} has sessions, or not: {session:?}");
        let lists: Vec<_> = spans.iter().filter(|it| it.name == "tools/list").filter(of_era).collect();
        assert_eq!(
            (lists.len(), lists[0].parent_span_id.len()),
            (1, 0),
            "without a parent it begins a trace"
        );
    }

    let stats = serde_json::to_value(stats).expect("it is data");
    let fields: Vec<_> = stats.as_object().expect("an object").keys().filter(|key| *key != "phase").collect();
    for (metric, field) in STATS {
        assert_eq!(Value::from(collected.sum(metric, |_| true)), stats[field], "{metric}");
    }
    assert!(fields.iter().all(|field| STATS.iter().any(|(_, known)| known == *field)), "{fields:?}");
    assert_eq!(collected.sum("mcp.server.shutdown.phase", |_| true), 0);
    assert_eq!(stats["requests_refused"], 3);
    let by_host = |it: &[KeyValue]| attribute(it, "error.type") == Some("forbidden_host");
    assert_eq!(collected.sum("mcp.server.refusals", by_host), 3);
    assert_eq!(collected.sum("mcp.server.refusals", |_| true), 3);
    // Each admitted request reached the handler once, and nothing else has an id.
    let requests = |it: &[KeyValue]| {
        attribute(it, "mcp.method.name").is_some_and(|method| !method.starts_with("notifications/"))
    };
    let handled = collected.sum("mcp.server.operation.duration", requests);
    assert_eq!(Value::from(handled), stats["exchanges_admitted"]);

    endpoint.shutdown(ShutdownPolicy::default()).await;
    collector.abort();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
