//! Typed tools, resources and prompts: their log messages, subscriptions and headers.

use std::time::Duration;

use futures::FutureExt;
use http::StatusCode;
use mcp_session_core::{
    Config, Endpoint, LogLevel, RequestContext, Router,
    store::{MemoryStore, Store},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fixture::{Client, META, Modern, Reply, notification, request_with};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_08_a_client_gets_the_log_messages_that_it_wants,
    g_14_a_typed_argument_is_repeated_in_a_header,
    g_54_only_subscribers_of_a_resource_hear_of_it,
    g_61_subscribers_at_other_nodes_hear_of_a_resource,
    a_call_is_named_once_however_its_name_is_written,
    texts_are_read_as_the_types_of_their_fields,
}

const UPDATED: &str = "notifications/resources/updated";

#[derive(Deserialize, JsonSchema)]
struct Region {
    #[schemars(extend("x-mcp-header" = "Region"))]
    region: String,
    #[schemars(extend("x-mcp-header" = "Count"))]
    count: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
struct Uri {
    uri: String,
}

#[derive(Deserialize, JsonSchema)]
struct Row {
    table: String,
    row: u32,
    #[serde(default)]
    all: bool,
}

fn router() -> Router {
    Router::new("typed", "1.0.0")
        .logging()
        .resource_subscriptions()
        .tool("log", "Logs at each level", |cx: RequestContext, (): ()| async move {
            for level in [LogLevel::Debug, LogLevel::Warning, LogLevel::Error] {
                cx.log(level, "half of it is done").await?;
            }
            Ok("logged".to_owned())
        })
        .tool("routed", "Has arguments in headers", |_: RequestContext, at: Region| async move {
            Ok(format!("{} {:?}", at.region, at.count))
        })
        .tool("change", "Changes a resource", |cx: RequestContext, Uri { uri }: Uri| async move {
            cx.resource_updated(&uri);
            Ok("changed".to_owned())
        })
        .resource_template("db://{table}/{row}", "A row", |_: RequestContext, row: Row| async move {
            Ok(format!("{} {}", row.table, row.row + 1))
        })
        .prompt("explain", "Explains a row", |_: RequestContext, row: Row| async move {
            Ok(format!("{} {} {}", row.table, row.row + 1, row.all))
        })
}

/// An endpoint, and the store that it shares with others.
fn endpoint(bed: &impl TestBed, store: Option<&MemoryStore>) -> Endpoint {
    let mut config = Config::default();
    config.store = store.map(|store| Store::new(store.clone()));
    Endpoint::with_config(bed.runtime(), router(), config).unwrap()
}

/// A client in a session.
async fn session(endpoint: &Endpoint) -> Client {
    let mut client = Client::of(endpoint);
    client.initialize("2025-11-25").await;
    assert_eq!(client.post(&notification("notifications/initialized")).await.status, StatusCode::ACCEPTED);
    client
}

fn tool(name: &str, arguments: &Value) -> Value {
    request_with(1, "tools/call", json!({ "name": name, "arguments": arguments }))
}

async fn ask(client: &Client, method: &str, params: Value) -> Value {
    client.post(&request_with(1, method, params)).await.answer().await
}

/// The levels of the log messages of a reply, which ends with a result.
async fn levels(reply: Reply) -> Vec<String> {
    let messages = if reply.is_stream() { reply.messages().await } else { vec![reply.json().await] };
    let (answer, logged) = messages.split_last().unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "logged", "{answer}");
    assert!(logged.iter().all(|message| message["method"] == "notifications/message"));
    logged.iter().map(|message| message["params"]["level"].as_str().unwrap().to_owned()).collect()
}

/// A session gets all until it chooses a level, and the choice is its own. A request of 2026-07-28 says which it wants.
fn g_08_a_client_gets_the_log_messages_that_it_wants(bed: &impl TestBed) {
    let endpoint = endpoint(bed, None);
    bed.block_on(async {
        let (client, other) = (session(&endpoint).await, session(&endpoint).await);
        let log = tool("log", &json!({}));
        assert_eq!(levels(client.post(&log).await).await, ["debug", "warning", "error"]);
        for (level, heard) in [("error", &["error"][..]), ("info", &["warning", "error"]), ("emergency", &[])]
        {
            assert_eq!(
                ask(&client, "logging/setLevel", json!({ "level": level })).await["result"],
                json!({})
            );
            assert_eq!(levels(client.post(&log).await).await, heard);
        }
        let refused = ask(&client, "logging/setLevel", json!({ "level": "loud" })).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert_eq!(levels(client.post(&log).await).await, [] as [&str; 0], "as before");
        assert_eq!(levels(other.post(&log).await).await, ["debug", "warning", "error"]);

        let modern = Modern::of(&endpoint);
        for (level, heard) in
            [(None, &[][..]), (Some("warning"), &["warning", "error"]), (Some("alert"), &[])]
        {
            let client = match level {
                Some(level) => modern.saying("logLevel", level),
                None => modern.clone(),
            };
            let call = client.call_with(1, "tools/call", json!({ "name": "log", "arguments": {} }));
            assert_eq!(levels(client.post(&call).await).await, heard);
        }
    });
}

/// What `schemars` is told of a field is compared with the headers.
fn g_14_a_typed_argument_is_repeated_in_a_header(bed: &impl TestBed) {
    let endpoint = endpoint(bed, None);
    bed.block_on(async {
        let client = Modern::of(&endpoint);
        let (region, count) = ("mcp-param-region", "mcp-param-count");
        let call = |arguments: &Value| {
            client.call_with(1, "tools/call", json!({ "name": "routed", "arguments": arguments }))
        };
        for (arguments, headers) in [
            (json!({ "region": "eu" }), vec![]),
            (json!({ "region": "eu" }), vec![(region, Some("us"))]),
            (json!({ "region": "eu" }), vec![(region, Some("eu")), (count, Some("1"))]),
            (json!({ "region": "eu", "count": 1 }), vec![(region, Some("eu"))]),
            (json!({ "region": "eu", "count": 1 }), vec![(region, Some("eu")), (count, Some("2"))]),
        ] {
            let reply = client.post_with(&call(&arguments), &headers).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{arguments} {headers:?}");
            assert_eq!(reply.json().await["error"]["code"], -32020);
        }
        for (arguments, headers, said) in [
            (json!({ "region": "eu" }), vec![(region, Some("eu"))], "eu None"),
            (
                json!({ "region": "eu", "count": 7 }),
                vec![(region, Some("eu")), (count, Some("7"))],
                "eu Some(7)",
            ),
        ] {
            let answer = client.post_with(&call(&arguments), &headers).await.answer().await;
            assert_eq!(answer["result"]["content"][0]["text"], said, "{answer}");
        }
        // A session has no such headers.
        let in_session = session(&endpoint).await;
        let answer = in_session.post(&tool("routed", &json!({ "region": "eu" }))).await.answer().await;
        assert_eq!(answer["result"]["content"][0]["text"], "eu None", "{answer}");
    });
}

/// Sessions and listeners that have subscribed to this URI, and no longer than they want.
fn g_54_only_subscribers_of_a_resource_hear_of_it(bed: &impl TestBed) {
    let endpoint = endpoint(bed, None);
    bed.block_on(async {
        let (client, other) = (session(&endpoint).await, session(&endpoint).await);
        let (mut stream, mut silent) = (client.get().await, other.get().await);
        stream.opened().await;
        silent.opened().await;
        let modern = Modern::of(&endpoint);
        let (mut listener, honoured) =
            modern.listen("l", json!({ "resourceSubscriptions": ["db://t/1"] })).await;
        assert_eq!(honoured["resourceSubscriptions"], json!(["db://t/1"]));
        assert_eq!(
            ask(&client, "resources/subscribe", json!({ "uri": "db://t/1" })).await["result"],
            json!({})
        );
        for uri in ["db://t/2", "db://t/1"] {
            client.post(&tool("change", &json!({ "uri": uri }))).await.answer().await;
        }
        for stream in [&mut stream, &mut listener] {
            let heard = stream.message().await.unwrap();
            assert_eq!((&heard["method"], &heard["params"]["uri"]), (&json!(UPDATED), &json!("db://t/1")));
            assert!(stream.is_silent());
        }
        assert_eq!(
            ask(&client, "resources/unsubscribe", json!({ "uri": "db://t/1" })).await["result"],
            json!({})
        );
        other.post(&tool("change", &json!({ "uri": "db://t/1" }))).await.answer().await;
        assert_eq!(listener.message().await.unwrap()["params"]["uri"], "db://t/1");
        assert!(stream.is_silent() && silent.is_silent());
    });
}

/// G-54, G-61: a session, wherever it has subscribed, and a listener.
fn g_61_subscribers_at_other_nodes_hear_of_a_resource(bed: &impl TestBed) {
    let store = MemoryStore::new(bed.runtime());
    let (a, b) = (endpoint(bed, Some(&store)), endpoint(bed, Some(&store)));
    bed.block_on(async {
        let writer = session(&a).await;
        let subscriber = session(&b).await;
        let mut stream = subscriber.get().await;
        stream.opened().await;
        ask(&subscriber, "resources/subscribe", json!({ "uri": "db://t/1" })).await;
        let (mut listener, _) =
            Modern::of(&b).listen("l", json!({ "resourceSubscriptions": ["db://t/1"] })).await;
        // A node that has just started may miss what another one announces.
        loop {
            writer.post(&tool("change", &json!({ "uri": "db://t/1" }))).await.answer().await;
            let now = bed.runtime().now();
            bed.runtime().sleep_until(now + Duration::from_millis(1)).await;
            if let Some(heard) = listener.message().now_or_never() {
                let heard = heard.unwrap();
                assert_eq!(
                    (&heard["method"], &heard["params"]["uri"]),
                    (&json!(UPDATED), &json!("db://t/1"))
                );
                assert_eq!(heard["params"]["_meta"][format!("{META}subscriptionId")], "l");
                break;
            }
        }
        let heard = stream.message().await.unwrap();
        assert_eq!((&heard["method"], &heard["params"]["uri"]), (&json!(UPDATED), &json!("db://t/1")));
    });
}

/// What a message says is found while it is parsed, or later by `serde_json` where a name is escaped or occurs twice.
fn a_call_is_named_once_however_its_name_is_written(bed: &impl TestBed) {
    let endpoint = endpoint(bed, None);
    bed.block_on(async {
        let client = session(&endpoint).await;
        let call = async |params: &str| {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            client.post_text(body).await.answer().await
        };
        for params in [
            r#"{"name":"routed","arguments":{"region":"eu"}}"#,
            r#" { "more":{"name":"log","arguments":[]}, "arguments" : {"region":"eu"} , "name" : "routed" } "#,
            r#"{"name":"rout\u0065d","arguments":{"region":"\u0065u"}}"#,
            r#"{"n\u0061me":"routed","arguments":{"region":"eu"}}"#,
            r#"{"other":1,"other":2,"name":"routed","arguments":{"region":"eu"}}"#,
        ] {
            let answer = call(params).await;
            assert_eq!(answer["result"]["content"][0]["text"], "eu None", "{params}: {answer}");
        }
        for (params, says) in [
            (r#"{"name":"routed","name":"log"}"#, "duplicate field `name`"),
            (r#"{"name":"log","n\u0061me":"routed"}"#, "duplicate field `name`"),
            (r#"{"name":"routed","arguments":{},"arguments":{"region":"eu"}}"#, "duplicate field `arguments`"),
            (r#"{"arguments":{"region":"eu"}}"#, "`params.name` is missing"),
            (r#"{"name":7}"#, "`params.name` must be a string"),
            (r#"{"name":"routed","arguments":["eu"]}"#, "`params.arguments` must be an object"),
            (r#"{"name":"routed","arguments":null}"#, "missing field `region`"),
            (r#"{"name":"other"}"#, "there is no tool `other`"),
        ] {
            let answer = call(params).await;
            assert_eq!(answer["error"]["code"], -32602, "{params}: {answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{params}: {answer}");
        }
        // Texts with and without escapes, short and long.
        for region in ["", "a \"quoted\" \\ path\n\t\u{1}\u{7f}é", &"x".repeat(5_000), &"\"x\n".repeat(2_000)] {
            let answer = client.post(&tool("routed", &json!({ "region": region }))).await.answer().await;
            assert_eq!(answer["result"]["content"][0]["text"], format!("{region} None"));
        }
    });
}

/// The variables of a URI, and the arguments of a prompt.
fn texts_are_read_as_the_types_of_their_fields(bed: &impl TestBed) {
    let endpoint = endpoint(bed, None);
    bed.block_on(async {
        let client = session(&endpoint).await;
        let read = ask(&client, "resources/read", json!({ "uri": "db://7/41" })).await;
        assert_eq!(read["result"]["contents"][0]["text"], "7 42", "{read}");
        let refused = ask(&client, "resources/read", json!({ "uri": "db://t/-1" })).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains("`params.uri.row`"), "{refused}");

        let arguments = json!({ "table": "t", "row": "41", "all": "true" });
        let got = ask(&client, "prompts/get", json!({ "name": "explain", "arguments": arguments })).await;
        assert_eq!(got["result"]["messages"][0]["content"]["text"], "t 42 true", "{got}");
        let arguments = json!({ "table": "t", "row": "many" });
        let refused = ask(&client, "prompts/get", json!({ "name": "explain", "arguments": arguments })).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert!(
            refused["error"]["message"].as_str().unwrap().contains("`params.arguments.row`"),
            "{refused}"
        );
    });
}
