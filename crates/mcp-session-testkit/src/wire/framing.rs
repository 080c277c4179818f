//! Where a request ends, in bytes: RFC 9112, and its section 11.2 on parsers that disagree on it.

use serde_json::json;

use super::{End, ServeHarness, Server, call};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    nothing_after_an_ambiguous_request_is_served,
    nothing_after_a_request_with_two_lengths_is_served,
    a_19_trailers_are_passed_over,
    a_line_that_never_ends_has_a_limit,
    b_07_the_host_of_an_absolute_target_counts,
}

/// More bytes than any server should accept without the end of a line.
const ENDLESS: usize = 128 * 1024 * 1024;

/// RFC 9112, 11.2: a request that a proxy in front could see end elsewhere is refused, and the bytes after it are not
/// read as a request. Here they would end the session.
async fn nothing_after_an_ambiguous_request_is_served(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let message = call(1, "echo", json!({})).to_string();
    let length = message.len();
    let chunked = "transfer-encoding: chunked\r\n";
    let size = format!("{length:x}");
    let doubtful = [
        (format!("content-length: +{length}\r\n"), message.clone()),
        (format!("content-length: -{length}\r\n"), message.clone()),
        (format!("content-length: 0x{length:x}\r\n"), message.clone()),
        (format!("content-length: {length} {length}\r\n"), message.clone()),
        (format!("content-length: {length}, 0\r\n"), message.clone()),
        (format!("content-length: {length}\r\ncontent-length: 0\r\n"), message.clone()),
        (format!("content-length : {length}\r\n"), message.clone()),
        (format!("content-length:\r\n {length}\r\n"), message.clone()),
        ("content-length: 18446744073709551616\r\n".to_owned(), message.clone()),
        ("transfer-encoding: chunked, gzip\r\n".to_owned(), message.clone()),
        ("transfer-encoding: xchunked\r\n".to_owned(), message.clone()),
        ("transfer-encoding : chunked\r\n".to_owned(), message.clone()),
        (chunked.to_owned(), format!("0x{size}\r\n{message}\r\n0\r\n\r\n")),
        (chunked.to_owned(), format!("+{size}\r\n{message}\r\n0\r\n\r\n")),
        (chunked.to_owned(), format!("-{size}\r\n{message}\r\n0\r\n\r\n")),
        (chunked.to_owned(), format!(" {size}\r\n{message}\r\n0\r\n\r\n")),
        (chunked.to_owned(), format!(";{size}\r\n{message}\r\n0\r\n\r\n")),
        (chunked.to_owned(), format!("{size}\n{message}\r\n0\r\n\r\n")),
        (chunked.to_owned(), format!("{size};x\n{message}\r\n0\r\n\r\n")),
        (chunked.to_owned(), format!("{size}\r\n{message}\n0\r\n\r\n")),
        (chunked.to_owned(), format!("{size}\r\n{message}0\r\n\r\n")),
        (chunked.to_owned(), format!("1{size:0>16}\r\n{message}\r\n0\r\n\r\n")),
    ];
    for (fields, body) in doubtful {
        let request = client.head_with("POST", &fields) + &body;
        let mut connection = client.send(&(request.clone() + &client.head_with("DELETE", ""))).await;
        match connection.head().await {
            Ok(head) => assert_eq!(head.status, 400, "{request}"),
            Err(end) => assert!(matches!(end, End::Closed | End::Reset), "{request}"),
        }
        connection.drained().await;
        assert_eq!(client.ask(&call(2, "ping", json!({}))).await.head.status, 200, "{request}");
    }
    assert!(server.stop().await.is_clean());
}

/// RFC 9112, 6.1: a request with `Content-Length` and `Transfer-Encoding` is refused, or read by its chunks. Either way its
/// connection closes, and the bytes after it are not read as a request. Here they would end the session.
async fn nothing_after_a_request_with_two_lengths_is_served(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let message = call(1, "echo", json!({})).to_string();
    let body = format!("{:x}\r\n{message}\r\n0\r\n\r\n", message.len());
    let chunked = "transfer-encoding: chunked\r\n";
    for length in [0, message.len(), body.len()].map(|length| format!("content-length: {length}\r\n")) {
        for fields in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
            let request = client.head_with("POST", &fields) + &body;
            let mut connection = client.send(&(request.clone() + &client.head_with("DELETE", ""))).await;
            match connection.head().await {
                Ok(head) => assert!(matches!(head.status, 200 | 400), "{request}: {head:?}"),
                Err(end) => assert!(matches!(end, End::Closed | End::Reset), "{request}"),
            }
            connection.drained().await;
            assert_eq!(client.ask(&call(2, "ping", json!({}))).await.head.status, 200, "{request}");
        }
    }
    assert!(server.stop().await.is_clean());
}

/// RFC 9112, 7.1.2: trailers are read, however many, and the next request begins after them.
async fn a_19_trailers_are_passed_over(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let head = client.head_with("POST", "transfer-encoding: chunked\r\ntrailer: a, b\r\n");
    let message = call(1, "echo", json!({ "text": "x" })).to_string();
    for trailers in ["", "a: 1\r\n", "a: 1\r\nb: 2\r\nc: 3\r\n"] {
        let request = format!("{head}{:x}\r\n{message}\r\n0\r\n{trailers}\r\n", message.len());
        let mut connection = client.send(&(request + &client.request(&call(2, "ping", json!({}))))).await;
        for id in 1..=2 {
            let reply = connection.reply().await;
            assert_eq!(
                (reply.head.status, &reply.json()["id"]),
                (200, &json!(id)),
                "{trailers:?}: {reply:?}"
            );
        }
    }
    assert!(server.stop().await.is_clean());
}

/// Everything without a length has a limit: a line of a head or of trailers, and the extension of a chunk.
async fn a_line_that_never_ends_has_a_limit(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let head = client.head_with("POST", "transfer-encoding: chunked\r\n");
    for begin in [
        "GET /",
        "GET /mcp HTTP/1.1\r\nhost: localhost\r\nx: ",
        &format!("{head}0\r\nx: "),
        &format!("{head}1;x="),
    ] {
        let mut endless = client.send(begin).await;
        let (piece, mut sent) = ("x".repeat(64 * 1024), 0);
        while endless.write(&piece).await.is_ok() {
            sent += piece.len();
            assert!(sent < ENDLESS, "{sent} bytes were taken after {begin:?}");
        }
        endless.drained().await;
    }
    assert_eq!(client.ask(&call(1, "echo", json!({}))).await.head.status, 200);
    assert!(server.stop().await.is_clean());
}

/// B-07; RFC 9112, 3.2.2: if the target contains a host, `Host` is ignored.
async fn b_07_the_host_of_an_absolute_target_counts(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let request = client.request(&call(1, "echo", json!({})));
    let absolute = |host: &str| request.replace("POST /mcp", &format!("POST http://{host}/mcp"));
    for host in ["rebound.example", "rebound.example:80", "localhost.rebound.example"] {
        let reply = client.send(&absolute(host)).await.reply().await;
        assert_eq!(reply.head.status, 403, "{host}: {reply:?}");
    }
    let reply = client.send(&absolute(&client.addr.to_string())).await.reply().await;
    assert_eq!(reply.head.status, 200, "{reply:?}");
    assert!(server.stop().await.is_clean());
}
