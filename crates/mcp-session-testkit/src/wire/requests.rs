//! Requests arrive as their client sent them.

use mcp_session_core::AllowedHosts;
use serde_json::json;

use super::{Connection, End, SHORT, ServeHarness, Server, call, initialized};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    a_19_a_chunked_body_is_read,
    a_19_chunk_extensions_are_ignored: ChunkExtensions,
    b_05_b_07_b_12_header_fields_arrive_as_sent,
    a_handler_finds_the_address_of_its_client: PeerAddr,
    b_07_a_request_without_a_readable_host_is_refused,
    a_client_that_expects_100_gets_it,
    answers_without_a_body_have_none,
    pipelined_requests_have_their_answers_in_order: Pipelining,
    a_pipelined_request_does_not_hide_a_client_that_leaves: Pipelining,
}

/// chunks are joined, however they are split.
async fn a_19_a_chunked_body_is_read(harness: &impl ServeHarness) {
    chunked(harness, "").await;
}

/// RFC 9112, 7.1.1.
async fn a_19_chunk_extensions_are_ignored(harness: &impl ServeHarness) {
    // The second one could be read as more digits of the size.
    for extension in [";name=value", ";1f"] {
        chunked(harness, extension).await;
    }
}

async fn chunked(harness: &impl ServeHarness, extension: &str) {
    let server = Server::start(harness);
    let client = server.client().await;
    let params = json!({ "text": "x".repeat(5000), "a": [1, "2"] });
    let body = call(1, "echo", params.clone()).to_string();
    let mut connection = client.send(&client.head_with("POST", "transfer-encoding: chunked\r\n")).await;
    for part in body.as_bytes().chunks(700) {
        connection.write(format!("{:X}{extension}\r\n", part.len())).await.expect("an open connection");
        connection.write(part).await.expect("an open connection");
        connection.write("\r\n").await.expect("an open connection");
    }
    connection.write("0\r\n\r\n").await.expect("an open connection");
    let reply = connection.reply().await;
    assert_eq!((reply.head.status, reply.end, &reply.json()["result"]), (200, End::Complete, &params));
    connection.write(client.request(&call(2, "ping", json!({})))).await.expect("a kept connection");
    assert_eq!(connection.reply().await.head.status, 200, "the next request is where it should be");
    assert!(server.stop().await.is_clean());
}

/// B-05, B-07, B-12: core sees every field line, with its name in any case, and the client sees the field lines of
/// the answer.
async fn b_05_b_07_b_12_header_fields_arrive_as_sent(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let good = client.request(&call(1, "echo", json!({})));
    let session = format!("mcp-session-id: {}\r\n", client.session);
    let host = format!("host: {}\r\n", client.addr);
    for (request, status) in [
        (good.clone(), 200),
        (good.replace("mcp-session-id", "MCP-Session-ID").replace("host:", "HOST:"), 200),
        (good.replace(&session, &format!("{session}{session}")), 400),
        (good.replace(&host, "host: rebound.example\r\n"), 403),
        (good.replace(&host, &format!("{host}origin: http://rebound.example\r\n")), 403),
        (good.replace("POST", "PUT"), 405),
    ] {
        assert!(status == 200 || request != good);
        let reply = client.send(&request).await.reply().await;
        assert_eq!((reply.head.status, reply.end), (status, End::Complete), "{request}: {reply:?}");
        assert_eq!(reply.head.get("allow").is_some(), status == 405, "{reply:?}");
    }
    assert!(server.stop().await.is_clean());
}

/// Handlers can get the address of their client: for limits by address, and for logs.
async fn a_handler_finds_the_address_of_its_client(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    for id in 1..=2 {
        let mut connection = client.send(&client.request(&call(id, "whence", json!({})))).await;
        let own = connection.local_addr().to_string();
        assert_eq!(connection.reply().await.json()["result"], json!({ "address": own }));
    }
    assert!(server.stop().await.is_clean());
}

/// RFC 9112, 3.2: an HTTP/1.1 request has exactly one valid `Host`. A parser that checks this itself may close the
/// connection instead.
async fn b_07_a_request_without_a_readable_host_is_refused(harness: &impl ServeHarness) {
    for any in [false, true] {
        let server = Server::with(harness, |setup| {
            if any {
                setup.config.allowed_hosts = AllowedHosts::any();
            }
        });
        let client = server.client().await;
        let good = client.request(&call(1, "echo", json!({})));
        let host = format!("host: {}\r\n", client.addr);
        let bad =
            [String::new(), format!("{host}{host}"), "host: a b\r\n".into(), "host: me@localhost\r\n".into()];
        for bad in bad {
            let mut connection = client.send(&good.replace(&host, &bad)).await;
            match connection.head().await {
                Ok(head) => assert_eq!(head.status, 400, "{bad:?}"),
                Err(end) => assert!(matches!(end, End::Closed | End::Reset), "{bad:?}"),
            }
        }
        assert_eq!(client.ask(&call(1, "echo", json!({}))).await.head.status, 200);
        assert!(server.stop().await.is_clean());
    }
}

/// RFC 9110, 10.1.1: curl does this before it sends a large body.
async fn a_client_that_expects_100_gets_it(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let body = call(1, "echo", json!({ "text": "x".repeat(100_000) })).to_string();
    let fields = format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len());
    let mut connection = client.send(&client.head_with("POST", &fields)).await;
    assert_eq!(connection.head().await.expect("leave to go on").status, 100);
    connection.write(&body).await.expect("an open connection");
    assert_eq!(connection.reply().await.head.status, 200);
    assert!(server.stop().await.is_clean());
}

/// B-17, B-38: after 202, 204 and the answer to HEAD, the next answer begins at the right place.
async fn answers_without_a_body_have_none(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let mut connection = Connection::open(client.addr).await;
    let ping = client.request(&call(1, "ping", json!({})));
    let with_a_body = (&ping, 200);
    for (request, status) in [
        (&client.request(&initialized()), 202),
        with_a_body,
        (&client.head_with("HEAD", ""), 405),
        with_a_body,
        (&client.head_with("DELETE", ""), 204),
        (&ping, 404),
    ] {
        connection.write(request).await.expect("a kept connection");
        let head = connection.head().await.expect("an answer");
        assert_eq!(head.status, status, "{request}: {head:?}");
        if !request.starts_with("HEAD") {
            let (body, end) = connection.rest().await;
            assert_eq!((body.is_empty(), end), (matches!(status, 202 | 204), End::Complete), "{head:?}");
        }
    }
    assert!(server.stop().await.is_clean());
}

/// `pipelining`: also after a slow request.
async fn pipelined_requests_have_their_answers_in_order(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let request = |id, method| client.request(&call(id, method, json!({ "id": id })));
    let requests = [request(1, "gated"), request(2, "ping"), request(3, "quiet"), request(4, "echo")];
    let mut connection = client.send(&requests.concat()).await;
    assert_eq!(connection.head().await.expect("an answer").status, 200);
    assert_eq!(connection.message().await.expect("a message")["params"]["data"], "started");
    server.open_gate();
    assert_eq!(connection.message().await.expect("the answer")["id"], 1);
    assert_eq!(connection.message().await, Err(End::LastChunk));
    for id in 2..=4 {
        let reply = connection.reply().await;
        assert_eq!((reply.head.status, &reply.json()["id"]), (200, &json!(id)), "{reply:?}");
    }
    assert!(server.stop().await.is_clean());
}

/// `pipelining`, D-12: bytes of a next request may hide the end of the connection, but only until something is
/// written.
async fn a_pipelined_request_does_not_hide_a_client_that_leaves(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.config.session.heartbeat = SHORT);
    let client = server.client().await;
    let mut listening = client.listen().await;
    server.reach_counts(0, 1).await;
    listening.write(client.request(&call(1, "ping", json!({})))).await.expect("an open connection");
    drop(listening);
    server.reach_counts(0, 0).await;
    assert!(server.stop().await.is_clean());
}
