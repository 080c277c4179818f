//! What spans and metrics say, in both eras, in virtual time.

use std::{sync::Arc, time::Duration};

use mcp_session_core::{
    Config, Endpoint, Handler, InitializeResult, Json, RequestContext, RpcError, Runtime, ShutdownPolicy,
    store::{MemoryStore, Store},
};
use mcp_session_otel::Telemetry;
use mcp_session_testkit::{SimRuntime, TestClient};
use opentelemetry::{
    Value as Recorded,
    global::{self, BoxedTracer},
    metrics::MeterProvider as _,
    trace::{SpanId, SpanKind, Status, TraceContextExt, TracerProvider as _},
};
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
    },
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use serde_json::{Value, json};

const ERAS: [&str; 2] = ["2025-11-25", "2026-07-28"];
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Tools that end in each way.
struct Tools(Arc<dyn Runtime>);

impl Handler for Tools {
    fn info(&self) -> InitializeResult {
        InitializeResult::new("tools", "1").with_capabilities(json!({ "tools": {}, "resources": {} }))
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        let params: Value = cx.params()?;
        let text = |text: &str| Ok(json!({ "content": [{ "type": "text", "text": text }] }).into());
        match (cx.method(), params["name"].as_str()) {
            ("tools/call", Some("slow")) => {
                self.0.sleep_until(self.0.now() + Duration::from_secs(2)).await;
                text("done")
            }
            // What the handler sees as current.
            ("tools/call", Some("trace")) => {
                text(&opentelemetry::Context::current().span().span_context().span_id().to_string())
            }
            ("tools/call", Some("fails")) => Ok(json!({ "content": [], "isError": true }).into()),
            ("tools/call", Some("panics")) => {
                std::panic::resume_unwind(Box::new("the plan wants it"));
            }
            ("tools/call", Some(other)) => Err(RpcError::invalid_params(format!("no tool {other}"))),
            ("resources/read", _) => Ok(json!({ "contents": [] }).into()),
            (other, _) => Err(RpcError::method_not_found(other)),
        }
    }
}

struct World {
    runtime: SimRuntime,
    endpoint: Endpoint,
    spans: InMemorySpanExporter,
    tracers: SdkTracerProvider,
    metrics: InMemoryMetricExporter,
    meters: SdkMeterProvider,
}

impl World {
    fn new() -> Self {
        Self::with_store(false)
    }

    fn with_store(with_store: bool) -> Self {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let (spans, metrics) = (InMemorySpanExporter::default(), InMemoryMetricExporter::default());
        let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let reader = PeriodicReader::builder(metrics.clone()).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        let telemetry =
            Telemetry::new(BoxedTracer::new(Box::new(tracers.tracer("test"))), meters.meter("test"));
        let runtime = SimRuntime::new(1);
        let shared: Arc<dyn Runtime> = Arc::new(runtime.clone());
        let handler = telemetry.observe(Tools(Arc::clone(&shared)), Arc::clone(&shared));
        let mut config = Config::default();
        config.observer = Some(Arc::new(telemetry.clone()));
        config.store = with_store.then(|| Store::new(MemoryStore::new(Arc::clone(&shared))));
        let endpoint = Endpoint::with_config(Arc::clone(&shared), handler, config).expect("it can work");
        telemetry.watch(&endpoint, &shared);
        Self { runtime, endpoint, spans, tracers, metrics, meters }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.tracers.force_flush().expect("it is flushed");
        self.spans.get_finished_spans().expect("they are kept")
    }

    /// The span of this name.
    fn span(&self, name: &str) -> SpanData {
        let spans = self.spans();
        let found = spans.iter().find(|span| span.name == name);
        found
            .unwrap_or_else(|| panic!("no {name}: {:?}", spans.iter().map(|it| &it.name).collect::<Vec<_>>()))
            .clone()
    }

    /// The points of a metric: their attributes, and their value or count.
    fn points(&self, name: &str) -> Vec<(Vec<(String, String)>, f64)> {
        self.metrics.reset();
        self.meters.force_flush().expect("it is flushed");
        let all = self.metrics.get_finished_metrics().expect("they are kept");
        let metrics = all.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
        let metric =
            metrics.filter(|it| it.name() == name).last().unwrap_or_else(|| panic!("no metric {name}"));
        let attributes = |all: &mut dyn Iterator<Item = &opentelemetry::KeyValue>| {
            let mut all: Vec<_> = all.map(|it| (it.key.to_string(), it.value.to_string())).collect();
            all.sort();
            all
        };
        match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(it)) => {
                it.data_points().map(|it| (attributes(&mut it.attributes()), it.count() as f64)).collect()
            }
            AggregatedMetrics::U64(MetricData::Gauge(it)) => {
                it.data_points().map(|it| (attributes(&mut it.attributes()), it.value() as f64)).collect()
            }
            AggregatedMetrics::U64(MetricData::Sum(it)) => {
                it.data_points().map(|it| (attributes(&mut it.attributes()), it.value() as f64)).collect()
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    fn value(&self, name: &str) -> u64 {
        let points = self.points(name);
        assert_eq!(points.len(), 1, "{name}: {points:?}");
        points[0].1 as u64
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|it| it.key.as_str() == key)?;
    Some(match &found.value {
        Recorded::String(text) => text.to_string(),
        other => other.to_string(),
    })
}

fn call(name: &str) -> Value {
    json!({ "name": name, "arguments": {} })
}

#[test]
fn a_call_has_a_span_below_that_of_its_client() {
    for era in ERAS {
        let world = World::new();
        world.runtime.block_on(async {
            let client = TestClient::builder(&world.endpoint).version(era).open().await;
            let mut params = call("trace");
            params["_meta"] = json!({ "traceparent": PARENT });
            let result = client.request("tools/call", params).await.expect("a result");
            let span = world.span("tools/call trace");
            assert_eq!(span.span_kind, SpanKind::Server);
            assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
            assert_eq!(
                result["content"][0]["text"],
                span.span_context.span_id().to_string(),
                "it is current"
            );
            for (key, value) in [
                ("mcp.method.name", "tools/call"),
                ("gen_ai.tool.name", "trace"),
                ("gen_ai.operation.name", "execute_tool"),
                ("mcp.protocol.version", era),
                ("network.protocol.name", "http"),
            ] {
                assert_eq!(attribute(&span, key).as_deref(), Some(value), "{key}");
            }
            assert!(attribute(&span, "jsonrpc.request.id").is_some());
            assert_eq!(attribute(&span, "mcp.session.id").map(|id| id.len()), (era == ERAS[0]).then_some(8));
            assert_eq!((attribute(&span, "error.type"), span.status), (None, Status::Unset));
            // Without a client's span it begins a trace.
            client.request("tools/call", call("slow")).await.expect("a result");
            assert_eq!(world.span("tools/call slow").parent_span_id, SpanId::INVALID);
            client.request("resources/read", json!({ "uri": "file:///a" })).await.expect("a result");
            assert_eq!(
                attribute(&world.span("resources/read"), "mcp.resource.uri").as_deref(),
                Some("file:///a")
            );
        });
    }
}

#[test]
fn the_trace_context_of_the_http_request_is_the_parent_if_the_message_has_none() {
    let world = World::new();
    world.runtime.block_on(async {
        for (meta, expected) in [
            (json!({}), "00f067aa0ba902b7"),
            (
                json!({ "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01" }),
                "1111111111111111",
            ),
            (json!({ "traceparent": "nonsense" }), "00f067aa0ba902b7"),
        ] {
            world.spans.reset();
            let mut meta = meta;
            meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
            let params = json!({ "name": "trace", "arguments": {}, "_meta": meta });
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
            let request = http::Request::post("/mcp")
                .header("host", "127.0.0.1")
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream")
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/call")
                .header("mcp-name", "trace")
                .header("traceparent", PARENT)
                .body(body.to_string())
                .expect("a request");
            assert_eq!(world.endpoint.handle(request).await.status(), 200);
            assert_eq!(world.span("tools/call trace").parent_span_id.to_string(), expected);
        }
    });
}

#[test]
fn each_way_to_fail_has_its_error_type() {
    for era in ERAS {
        let world = World::new();
        world.runtime.block_on(async {
            let client = TestClient::builder(&world.endpoint).version(era).open().await;
            client.request("tools/call", call("fails")).await.expect("a result that is an error");
            client.request("tools/call", call("panics")).await.expect_err("a panic");
            client.request("tools/call", call("nobody-knows-1")).await.expect_err("no such tool");
            client.request("tools/call", call("nobody-knows-2")).await.expect_err("no such tool");
        });
        for (name, error, code) in [
            ("fails", "tool_error", None),
            ("panics", "panic", None),
            ("nobody-knows-1", "-32602", Some("-32602")),
        ] {
            let span = world.span(&format!("tools/call {name}"));
            assert_eq!(attribute(&span, "error.type").as_deref(), Some(error), "{name}");
            assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), code, "{name}");
            assert!(matches!(span.status, Status::Error { .. }), "{name}");
        }
        // A client cannot make up series.
        let points = world.points("mcp.server.operation.duration");
        let unknown = points.iter().filter(|(it, _)| it.contains(&("error.type".into(), "-32602".into())));
        let unknown: Vec<_> = unknown.collect();
        assert_eq!((unknown.len(), unknown[0].1), (1, 2.0), "{points:?}");
        assert!(!unknown[0].0.iter().any(|(key, _)| key == "gen_ai.tool.name"), "{points:?}");
    }
}

#[test]
fn a_call_that_is_cancelled_says_so() {
    let world = World::new();
    world.runtime.block_on(async {
        let client = TestClient::builder(&world.endpoint).version(ERAS[0]).open().await;
        let calling = client.request("tools/call", call("slow"));
        futures::pin_mut!(calling);
        assert!(futures::FutureExt::now_or_never(calling.as_mut()).is_none());
        let policy =
            ShutdownPolicy { drain: Duration::ZERO, cancel: Duration::ZERO, ..ShutdownPolicy::default() };
        let (answer, _) = futures::join!(calling, client.shutdown(policy));
        answer.expect_err("it gets an error");
    });
    assert_eq!(attribute(&world.span("tools/call slow"), "error.type").as_deref(), Some("cancelled"));
}

#[test]
fn metrics_agree_with_the_stats_of_the_endpoint() {
    let world = World::new();
    world.runtime.block_on(async {
        for era in ERAS {
            let client = TestClient::builder(&world.endpoint).version(era).open().await;
            for name in ["slow", "fails", "trace"] {
                client.request("tools/call", call(name)).await.expect("a result");
            }
        }
        let stats = world.endpoint.stats();
        assert_eq!((stats.sessions, stats.exchanges_answered >= 6), (1, true));
        for (name, expected) in [
            ("mcp.server.sessions", stats.sessions),
            ("mcp.server.sessions.created", stats.sessions_created),
            ("mcp.server.requests.admitted", stats.exchanges_admitted),
            ("mcp.server.requests.answered", stats.exchanges_answered),
            ("mcp.server.requests.refused", stats.requests_refused),
            ("mcp.server.streams", stats.streams),
            ("mcp.server.shutdown.phase", 0),
        ] {
            assert_eq!(world.value(name), expected, "{name}");
        }
        let calls = world.points("mcp.server.operation.duration");
        let of = |tool: &str| {
            let is_it = |(it, _): &&(Vec<(String, String)>, f64)| {
                it.contains(&("gen_ai.tool.name".into(), tool.into()))
            };
            calls.iter().filter(is_it).map(|(_, count)| count).sum::<f64>()
        };
        assert_eq!((of("slow"), of("fails"), of("trace")), (2.0, 2.0, 2.0), "{calls:?}");
        world.endpoint.shutdown(ShutdownPolicy::default()).await;
        world.runtime.sleep_until(world.runtime.now() + Duration::from_secs(1)).await;
        assert_eq!(world.value("mcp.server.shutdown.phase"), 5);
        assert_eq!(world.value("mcp.server.sessions.terminated"), 1);
        assert_eq!(world.value("mcp.server.session.duration"), 1);
    });
}

#[test]
fn refusals_have_a_reason_and_add_up_to_those_of_the_endpoint() {
    let world = World::new();
    world.runtime.block_on(async {
        for host in ["a.example.com", "b.example.com"] {
            let request = http::Request::post("/mcp").header("host", host).body(String::new());
            assert_eq!(world.endpoint.handle(request.expect("a request")).await.status(), 403);
        }
        let request = http::Request::put("/mcp").body(String::new()).expect("a request");
        assert_eq!(world.endpoint.handle(request).await.status(), 405);
    });
    let mut refusals = world.points("mcp.server.refusals");
    refusals.sort_by(|(a, _), (b, _)| a.cmp(b));
    let of = |reason: &str, status: &str| {
        [("error.type", reason), ("http.response.status_code", status)]
            .map(|(a, b)| (a.into(), b.into()))
            .to_vec()
    };
    assert_eq!(refusals, [(of("forbidden_host", "403"), 2.0), (of("method_not_allowed", "405"), 1.0)]);
    assert_eq!(world.endpoint.stats().requests_refused, 3);
}

#[test]
fn calls_of_the_store_are_measured_by_operation() {
    let world = World::with_store(true);
    world.runtime.block_on(async {
        let client = TestClient::builder(&world.endpoint).version(ERAS[0]).open().await;
        client.request("tools/call", call("slow")).await.expect("a result");
    });
    let calls = world.points("mcp.server.store.duration");
    for operation in ["create", "append"] {
        let is_it = |(it, count): &(Vec<(String, String)>, f64)| {
            *it == [("mcp.server.store.operation".to_owned(), operation.to_owned())] && *count >= 1.0
        };
        assert!(calls.iter().any(is_it), "{operation}: {calls:?}");
    }
}

/// Clients cannot make up series: neither by methods that nobody knows, nor by notifications.
#[test]
fn methods_that_nobody_knows_are_one_series() {
    let world = World::new();
    world.runtime.block_on(async {
        let client = TestClient::builder(&world.endpoint).version(ERAS[0]).open().await;
        for method in ["made/up", "made/up/too"] {
            client.request(method, json!({})).await.expect_err("no such method");
        }
        let post = |session: Option<&http::HeaderValue>, body: Value| {
            let request = http::Request::post("/mcp")
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream");
            let request = match session {
                Some(session) => request.header("mcp-session-id", session),
                None => request,
            };
            world.endpoint.handle(request.body(body.to_string()).expect("a request"))
        };
        let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": ERAS[0], "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } } });
        let opened = post(None, initialize).await;
        let session = &opened.headers()["mcp-session-id"];
        for method in
            ["notifications/initialized", "notifications/made/up", "made/up", "notifications/roots/list_changed"]
        {
            let answer = post(Some(session), json!({ "jsonrpc": "2.0", "method": method })).await;
            assert_eq!(answer.status(), 202);
        }
        client.request("tools/call", call("panics")).await.expect_err("a panic");
    });
    let points = world.points("mcp.server.operation.duration");
    let methods = points.iter().flat_map(|(it, _)| it).filter(|(key, _)| key == "mcp.method.name");
    let methods: std::collections::BTreeSet<_> = methods.map(|(_, method)| &**method).collect();
    for known in ["_OTHER", "tools/call", "notifications/roots/list_changed"] {
        assert!(methods.contains(known), "{known}: {methods:?}");
    }
    assert!(!methods.iter().any(|method| method.contains("made")), "{methods:?}");
    let panics = world.points("mcp.server.panics");
    assert_eq!(panics, [(vec![("mcp.method.name".to_owned(), "tools/call".to_owned())], 1.0)]);
}
