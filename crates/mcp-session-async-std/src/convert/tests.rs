use std::time::Duration;

use async_std::task::block_on;
use futures::AsyncReadExt;
use http_body_util::BodyExt;
use mcp_session_core::{Endpoint, Json, RequestContext, Router, RpcError, ShutdownPolicy};
use serde_json::{Value, json};
use tide::http::{Method, Url};

use super::*;
use crate::AsyncStdRuntime;

fn request(body: http_types::Body) -> Request {
    let url = Url::parse("http://user@example.com:81/a%20b/mcp?x=1&y=%C3%A4").expect("a URL");
    let mut request = Request::new(Method::Post, url);
    request.set_body(body);
    request
}

/// A body of unknown length, in pieces of `size`.
fn pieces(text: &'static str, size: usize) -> http_types::Body {
    let pieces = futures::stream::iter(text.as_bytes().chunks(size).map(Ok));
    http_types::Body::from_reader(pieces.into_async_read(), None)
}

#[test]
fn a_request_keeps_its_target_and_its_headers() {
    let mut request = request("{}".into());
    request.insert_header("host", "localhost:81");
    for value in ["text/html", "", "a;q=\"b,\tc\"", "text/html"] {
        request.append_header("Accept", value);
    }
    let converted = to_http(request).expect("it converts");
    assert_eq!((converted.method().as_str(), converted.version()), ("POST", http::Version::HTTP_11));
    assert_eq!(converted.uri(), "/a%20b/mcp?x=1&y=%C3%A4"); // without an authority: `Host` has it
    assert_eq!(converted.headers()["host"], "localhost:81");
    let accept: Vec<_> = converted.headers().get_all("accept").iter().collect();
    assert_eq!(accept, ["text/html", "", "a;q=\"b,\tc\"", "text/html"]);
}

#[test]
fn middleware_changes_are_passed_on_or_refused() {
    let mut with = request("{}".into());
    let mut extensions = http::Extensions::new();
    extensions.insert(7_u32);
    with.ext_mut().insert(extensions);
    assert_eq!(to_http(with).expect("it converts").extensions().get(), Some(&7_u32));

    let mut odd = request("{}".into());
    odd.insert_header("origin", "http://localhost\nx: y");
    assert!(to_http(odd).is_err());
}

#[test]
fn the_body_of_a_request_tells_its_length_and_ends_as_it_should() {
    let collect = |body| block_on(to_http(request(body)).expect("it converts").into_body().collect());
    for body in ["hello", ""] {
        let converted = to_http(request(body.into())).expect("it converts");
        assert_eq!(converted.body().size_hint().exact(), Some(body.len() as u64));
        assert_eq!(collect(body.into()).expect("a whole body").to_bytes(), body);
    }
    let unknown = to_http(request(pieces("hello", 2))).expect("it converts");
    assert_eq!(unknown.body().size_hint().exact(), None);
    assert_eq!(collect(pieces("hello", 2)).expect("a whole body").to_bytes(), "hello");

    let short = http_types::Body::from_reader(pieces("hello", 2), Some(6));
    assert_eq!(collect(short).expect_err("a byte is missing").kind(), io::ErrorKind::UnexpectedEof);
    let none = Request::new(Method::Get, Url::parse("http://localhost/mcp").expect("a URL"));
    assert_eq!(to_http(none).expect("it converts").body().size_hint().exact(), Some(0));
}

#[test]
fn a_response_keeps_its_headers_and_its_length() {
    let response = http::Response::builder().status(401);
    let response = response.header("www-authenticate", "Basic").header("www-authenticate", "Bearer");
    let body = ReplyBody::full(Bytes::from_static(b"{}"));
    let response = response.header("content-type", "application/json").body(body).expect("a response");
    let mut converted = to_http_types(response).expect("it converts");
    assert_eq!((u16::from(converted.status()), converted.len()), (401, Some(2)));
    let values: Vec<_> = converted["www-authenticate"].iter().map(HeaderValue::as_str).collect();
    assert_eq!(values, ["Basic", "Bearer"]);
    assert_eq!(converted["content-type"], "application/json");
    assert_eq!(block_on(converted.body_string()).expect("text"), "{}");

    let empty = to_http_types(http::Response::new(ReplyBody::empty())).expect("it converts");
    assert!(empty.len() == Some(0) && empty.header("content-type").is_none());
    let odd = http::Response::builder().header("x", "\u{e4}").body(ReplyBody::empty());
    assert!(to_http_types(odd.expect("a response")).is_err());
}

/// The body of a call that sends two notifications, and then ends or never ends.
async fn events(endpoint: &Endpoint, ends: bool) -> http_types::Body {
    let client = json!({ "name": "client", "version": "1" });
    let client = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    let params = json!({ "ends": ends, "_meta": { "progressToken": 1 } });
    let mut session = String::new();
    for message in [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "work", "params": params }),
    ] {
        let mut request = http::Request::post("/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if !session.is_empty() {
            request = request.header("mcp-session-id", &session);
        }
        let response = endpoint.handle(request.body(message.to_string()).expect("a request")).await;
        let mut response = to_http_types(response).expect("it converts");
        if let Some(id) = response.header("mcp-session-id") {
            session = id.as_str().to_owned();
        }
        if response.len().is_none() {
            return response.take_body();
        }
    }
    panic!("the call was not answered with events")
}

async fn work(cx: RequestContext) -> Result<Json, RpcError> {
    let params: Value = cx.params()?;
    for step in 1..=2 {
        cx.progress(f64::from(step), None, None).await?;
    }
    if params["ends"] == false {
        std::future::pending::<()>().await;
    }
    Ok(json!({}).into())
}

#[test]
fn one_read_takes_whole_events_and_after_the_last_the_body_ends() {
    block_on(async {
        let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("convert", "0").request("work", work));
        let mut body = events(&endpoint, true).await;
        let mut text = String::new();
        while !text.contains("\"result\"") {
            let mut bytes = [0; 1024];
            let length = body.read(&mut bytes).await.expect("an event");
            text += std::str::from_utf8(&bytes[..length]).expect("text");
            assert!(length > 0 && text.ends_with("\n\n"), "{text:?}");
        }
        assert_eq!(text.matches("\n\n").count(), 3, "{text:?}");
        assert_eq!(body.read(&mut [0; 1024]).await.expect("a clean end"), 0);
    });
}

#[test]
fn a_stream_that_was_cut_has_no_clean_end() {
    block_on(async {
        let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("convert", "0").request("work", work));
        let mut body = events(&endpoint, false).await;
        let mut policy = ShutdownPolicy::default();
        (policy.drain, policy.cancel, policy.finish) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        endpoint.shutdown(policy).await;
        assert!(body.read_to_end(&mut Vec::new()).await.is_err());
    });
}
