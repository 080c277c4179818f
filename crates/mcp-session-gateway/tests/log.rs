//! What is in the log: a child's stderr with the prefix of its session, and nothing of headers and bodies.

mod common;

use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex},
};

use common::{
    client::{Client, endpoint, gateway},
    until,
};
use mcp_session_gateway::server::{
    Server,
    config::{HeaderEnv, Mode, ServerConfig},
};
use serde_json::json;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Keeps every event and span as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Log {
    fn text(&self) -> String {
        self.0.lock().expect("not poisoned").clone()
    }

    fn write(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line<'_>)) {
        let mut text = self.0.lock().expect("not poisoned");
        text.push_str(metadata.target());
        record(&mut Line(&mut text));
        text.push('\n');
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.write(span.metadata(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.write(event.metadata(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn stderr_is_in_the_log_and_headers_and_bodies_are_not() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).expect("the only one");
    let (server, endpoint_) = gateway(Mode::Session, &["--stderr", "--noise"], |config| {
        config.header_env = vec![HeaderEnv::new("x-key".parse().expect("a name"), "KEY")];
        config.limits.line = 10_000;
    })
    .await;
    let client = Client::open_with(&endpoint_, json!({}), &[("x-key", "secret-of-a-header")]).await;
    let client = client.expect("a session");
    client.call(1, "echo", json!({ "text": "secret-of-a-body" })).await;
    client.call(2, "env", json!({ "name": "KEY" })).await;
    client.call(3, "long", json!({ "bytes": 20_000 })).await;
    client.call(4, "secret-of-a-tool", json!({})).await;
    client.call(5, "exit", json!({ "code": 7 })).await;
    until("stderr", || log.text().matches("heard notifications/initialized").count() == 2).await;
    until("end of the child", || server.stats().children == 0).await;
    server.close().await;
    let text = log.text();
    // The first child of all had no session yet.
    let of_a_session =
        |line: &&str| line.contains("heard notifications/initialized") && !line.contains("\"request\"");
    let line = text.lines().find(of_a_session).expect("a line");
    assert!(line.starts_with("mcp_session_gateway::stderr"), "{line}");
    let label = line.split("child=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a label");
    assert!(
        label.len() == 8 && label.chars().all(|c| c.is_ascii_hexdigit()),
        "the prefix of a session: {line}"
    );
    assert!(text.contains("exit status: 7") && text.contains("a line is too long"), "{text}");
    assert!(text.contains("\\\\u{1b}[31mready") || text.contains("\\u{1b}[31mready"), "escaped: {text}");
    assert!(!text.contains("secret"), "{text}");

    let failing = Server::new(ServerConfig::new(
        "failing",
        common::stdio_child(&["--exit-at-start", "secret-argument"]),
    ));
    failing.start().await.expect_err("it exits");
    let _ = endpoint(&failing, |_| {});
    assert!(log.text().contains("no child") && !log.text().contains("secret"), "{}", log.text());
}
