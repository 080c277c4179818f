//! The dashboard and the alerts name what there is, as Prometheus gets it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mcp_session_core::{
    Config, Endpoint, Observer, Router, Runtime, ShutdownPolicy,
    store::{MemoryStore, Store},
};
use mcp_session_otel::Telemetry;
use mcp_session_testkit::{SimRuntime, TestClient};
use opentelemetry::{global, metrics::MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::{Value, json};

const DASHBOARD: &str = include_str!("../deploy/grafana.json");
const ALERTS: &str = include_str!("../deploy/alerts.yaml");

/// What a scraper gets of a server that has had a session.
fn exposition() -> String {
    let registry = Registry::new();
    let exporter =
        opentelemetry_prometheus::exporter().with_registry(registry.clone()).build().expect("an exporter");
    let meters = SdkMeterProvider::builder().with_reader(exporter).build();
    let telemetry = Telemetry::new(global::tracer("test"), meters.meter("test"));
    let runtime = SimRuntime::new(1);
    let shared: Arc<dyn Runtime> = Arc::new(runtime.clone());
    let router = Router::new("test", "1");
    let handler = telemetry.observe(router, Arc::clone(&shared));
    let mut config = Config::default();
    config.observer = Some(Arc::new(telemetry.clone()));
    let endpoint = Endpoint::with_config(Arc::clone(&shared), handler, config.clone()).expect("it can work");
    config.store = Some(Store::new(MemoryStore::new(Arc::clone(&shared))));
    let stored = Endpoint::with_config(Arc::clone(&shared), Router::new("test", "1"), config);
    telemetry.watch(&endpoint, &shared);
    runtime.block_on(async {
        let client = TestClient::new(&endpoint).await;
        client.request("tools/call", json!({ "name": "nobody" })).await.expect_err("there is none");
        let foreign = http::Request::post("/mcp").header("host", "mcp.example.com").body(String::new());
        assert_eq!(endpoint.handle(foreign.expect("a request")).await.status(), 403);
        TestClient::new(&stored.expect("it can work")).await;
        // What no handler does here.
        telemetry.slow_poll("tools/call", Duration::from_millis(101));
        telemetry.panicked("tools/call");
        endpoint.shutdown(ShutdownPolicy::default()).await;
    });
    runtime.run_until_stalled();
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).expect("text");
    String::from_utf8(text).expect("text")
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_';
    text.split(|it| !is_part(it)).filter(|word| word.starts_with("mcp_server_")).collect()
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let exposition = exposition();
    let known = names(&exposition);
    for (file, text) in [("grafana.json", DASHBOARD), ("alerts.yaml", ALERTS)] {
        let used = names(text);
        assert!(used.len() > 3, "{file} uses {used:?}");
        let missing: Vec<_> = used.difference(&known).collect();
        assert!(missing.is_empty(), "{file} uses what there is not: {missing:?}\n{exposition}");
    }
}

#[test]
fn every_label_of_the_dashboard_and_the_alerts_is_an_attribute() {
    let exposition = exposition();
    for text in [DASHBOARD, ALERTS] {
        let grouped = text.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
        for label in grouped.flat_map(|labels| labels.split(", ")) {
            let is_attribute = exposition.contains(&format!("{label}=\""));
            // The first is Prometheus's own, the second is that of a tool that somebody called.
            assert!(is_attribute || ["instance", "gen_ai_tool_name"].contains(&label), "{label}");
        }
    }
}

#[test]
fn the_dashboard_has_a_query_in_each_panel() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].as_str().is_some_and(|it| !it.is_empty())));
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
}
