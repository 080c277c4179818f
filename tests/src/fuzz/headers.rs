//! The headers of a request: one verdict, from the table.

use http::HeaderMap;
use mcp_session_core::{
    AllowedHosts, AllowedOrigins, ProtocolVersion,
    proto::{EventId, Message, ParseError},
};

use super::{
    script::{Call, Script, Step},
    server::{Got, Server},
    table::check_refusal,
};

/// The input is the options of a server and one request, as in a [`Script`]. Sessions are opened before.
///
/// # Panics
///
/// If a refusal is not in the table, a second server says something else, or a request is served that has a header against one of
/// the rules below.
pub fn run(input: &[u8]) {
    let script = Script::parse(input);
    let Some(Step::Request(call)) = script.steps.into_iter().find(|step| matches!(step, Step::Request(_)))
    else {
        return;
    };
    let got = answer(&script.options, &call);
    assert_eq!(got, answer(&script.options, &call), "the same request has the same answer");
    let Some((headers, body, got)) = got else { return };
    let status = got.status.expect("nothing here waits").as_u16();
    let parsed = Message::parse(&body);
    let id = match &parsed {
        Ok(Message::Request(request)) => Some(&request.id),
        Err(ParseError::Invalid { id, .. }) => id.as_ref(),
        _ => None,
    };
    if status >= 400 {
        let code = check_refusal(status, &got.body, id);
        assert_eq!(code == -32700, matches!(parsed, Err(ParseError::NotJson(_))) && code == -32700);
        assert_eq!(got.headers["content-type"], "application/json");
    }
    if status < 300 {
        check_served(&script.options, &call, &headers, &parsed);
    }
}

/// What a new server with one session answers, and the headers as they were sent. `None` if the request cannot be sent.
fn answer(options: &[&str], call: &Call<'_>) -> Option<(HeaderMap, bytes::Bytes, Got)> {
    let mut server = Server::new(options);
    server.step(&Step::Open("2025-11-25"));
    let before = server.sent.len();
    let call = Call { is_slow: false, headers: call.headers.clone(), ..*call };
    server.step(&Step::Request(call));
    let sent = server.sent.get(before)?;
    let (headers, body, mut got) = (sent.headers.clone(), sent.body.clone(), sent.got());
    got.headers.remove("date");
    server.finish();
    Some((headers, body, got))
}

/// What a served request has, by rules that are simpler than the real ones.
fn check_served(
    options: &[&str],
    call: &Call<'_>,
    headers: &HeaderMap,
    parsed: &Result<Message, ParseError>,
) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let count = |name: &str| headers.get_all(name).iter().count();
    let preflight = options.contains(&"cors") && call.method == "OPTIONS";
    assert!(count("host") <= 1, "one `Host`");
    assert!(count("origin") <= 1, "one `Origin` (B-06)");
    if let Some(host) = headers.get("host") {
        let host = host.to_str().expect("a host is ASCII");
        let is_in_target = call.target.contains("://");
        assert!(is_in_target || AllowedHosts::default().allows(host), "{host} (B-07)");
    }
    if let Some(origin) = headers.get("origin") {
        assert!(AllowedOrigins::default().allows(origin.to_str().unwrap_or_default()), "{origin:?} (B-05)");
    }
    if preflight {
        return;
    }
    assert!(
        matches!(call.method, "POST" | "GET" | "DELETE" | "post" | "get" | "delete" | "modern"),
        "(B-38)"
    );
    if matches!(call.method, "POST" | "post" | "modern") {
        let essence = text("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        assert!(
            count("content-type") == 1 && essence.trim().eq_ignore_ascii_case("application/json"),
            "(B-15)"
        );
        let accept = headers.get_all("accept").iter().map(|value| value.as_bytes().to_ascii_lowercase());
        let accept = accept.collect::<Vec<_>>().concat();
        let covers = |wanted: &[u8]| accept.windows(wanted.len()).any(|window| window == wanted);
        let any = [&b"*/*"[..], b"application/json", b"application/*", b"text/event-stream", b"text/*"];
        assert!(count("accept") == 0 || any.into_iter().any(covers), "(B-45)");
        assert!(parsed.is_ok() || matches!(parsed, Err(ParseError::Batch)), "{parsed:?} (A-16)");
    }
    for name in ["mcp-protocol-version", "last-event-id", "mcp-method", "mcp-name", "mcp-session-id"] {
        assert!(count(name) <= 1, "{name} is not repeated (B-12)");
    }
    if let Some(version) = headers.get("mcp-protocol-version") {
        let version = version.to_str().unwrap_or_default().trim_matches([' ', '\t']);
        let is_initialize = matches!(parsed, Ok(Message::Request(request)) if request.method == "initialize");
        assert!(ProtocolVersion::parse(version).is_some() || is_initialize, "{version:?} (B-26)");
    }
    let resumes =
        text("last-event-id").filter(|id| matches!(call.method, "GET" | "get") && !id.trim().is_empty());
    if let Some(id) = resumes {
        assert!(EventId::parse(id).is_some(), "{id:?} is no id of this server (D-29)");
    }
}
