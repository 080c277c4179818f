use super::*;

fn accept(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
}

#[test]
fn b_45_accept_of_a_post() {
    use ResponseMode::{Json, Sse};
    for (value, form) in [
        ("application/json, text/event-stream", None),
        ("text/event-stream;q=0.5,application/json;q=0.9", None),
        ("*/*", None),
        ("*/*;q=0.1", None),
        ("application/*, text/*", None),
        ("APPLICATION/JSON , Text/Event-Stream; charset=utf-8", None),
        ("application/json", Some(Json)),
        ("application/json; q=1.0, */*; q=0", Some(Json)),
        ("text/html, application/*", Some(Json)),
        ("application/json, text/event-stream;q=0", Some(Json)),
        ("*/*, text/event-stream; q=0.000", Some(Json)),
        ("application/json, text/event-streams", Some(Json)),
        ("text/event-stream", Some(Sse)),
        ("text/*", Some(Sse)),
        ("application/jsonx, text/event-stream", Some(Sse)),
        ("application/json;q=0, */*", Some(Sse)),
    ] {
        assert_eq!(accepted_form(&Fields::of(&accept(value))), Ok(form), "{value}");
    }
    for bad in ["", "text/html", "application/json;q=0", "*/*;q=0", "application/xml, image/*", "json"] {
        assert!(
            matches!(accepted_form(&Fields::of(&accept(bad))), Err(Rejection::NotAcceptable(_))),
            "{bad}"
        );
    }
    assert_eq!(accepted_form(&Fields::of(&HeaderMap::new())), Ok(None)); // anything
    let mut twice = accept("application/json, text/event-stream");
    twice.append(header::ACCEPT, HeaderValue::from_static("*/*;q=0, text/event-stream;q=0"));
    assert_eq!(accepted_form(&Fields::of(&twice)), Ok(None));
    let mut lines = accept("application/json");
    lines.append(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    assert_eq!(accepted_form(&Fields::of(&lines)), Ok(None));
    let mut odd = HeaderMap::new();
    let value = HeaderValue::from_bytes(b"application/json, x/\xe9").unwrap();
    odd.insert(header::ACCEPT, value);
    assert_eq!(accepted_form(&Fields::of(&odd)), Ok(Some(Json)));
    // B-31
    for (value, ok) in [("text/event-stream", true), ("*/*", true), ("application/json", false), ("", false)]
    {
        assert_eq!(check_get_accept(&accept(value)).is_ok(), ok, "{value}");
    }
    assert!(check_get_accept(&accept("*/*, text/event-stream;q=0")).is_err());
    assert!(check_get_accept(&HeaderMap::new()).is_err());
}

#[test]
fn compressed_bodies_are_refused_and_identity_is_accepted() {
    for (value, plain) in [
        ("identity", true),
        ("Identity", true),
        ("", true),
        ("identity, identity", true),
        ("gzip", false),
        ("identity, br", false),
        ("deflate, identity", false),
        ("x", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
        headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
        let expected = if plain { Ok(()) } else { Err(Rejection::UnsupportedEncoding) };
        assert_eq!(check_content_encoding(&Fields::of(&headers)), expected, "{value}");
    }
}

#[test]
fn e_32_an_empty_header_counts_as_absent() {
    for (value, absent) in [("", true), (" ", true), ("x", false)] {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION_ID, HeaderValue::from_static(value));
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static(value));
        let session = if absent { SessionHeader::Absent } else { SessionHeader::Foreign };
        assert_eq!(session_header(&headers), Ok(session), "{value:?}");
        assert_eq!(last_event_id(&headers).is_none(), absent, "{value:?}");
    }
}

#[test]
fn b_15_content_type_is_matched_whole() {
    for (value, ok) in [
        ("application/json", true),
        ("Application/JSON; charset=utf-8", true),
        ("application/json-patch+json", false),
        ("text/plain", false),
        ("text/plain; application/json", false),
    ] {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        assert_eq!(check_content_type(&Fields::of(&headers)).is_ok(), ok, "{value}");
    }
    assert!(check_content_type(&Fields::of(&HeaderMap::new())).is_err());
}

#[test]
fn b_12_repeated_protocol_headers() {
    for name in [SESSION_ID, PROTOCOL_VERSION, LAST_EVENT_ID, METHOD, NAME] {
        let mut headers = HeaderMap::new();
        headers.append(&name, HeaderValue::from_static("x"));
        assert!(session_header(&headers).is_ok());
        headers.append(&name, HeaderValue::from_static("x"));
        assert!(matches!(session_header(&headers), Err(Rejection::RepeatedHeader(_))), "{name}");
    }
}

#[test]
fn g_40_modern_versions_are_recognized() {
    assert!(is_modern(b"2026-07-28"));
    assert!(is_modern(b"2027-01-01"));
    for legacy in ["2025-11-25", "2024-11-05", "garbage", "", "DRAFT-2026"] {
        assert!(!is_modern(legacy.as_bytes()), "{legacy}");
    }
}
