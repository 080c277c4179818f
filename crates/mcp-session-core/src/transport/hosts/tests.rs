use http::{
    HeaderValue,
    header::{HOST, ORIGIN},
};

use super::{super::headers::Fields, *};

fn check_host(allowed: &AllowedHosts, parts: &Parts) -> Result<(), Rejection> {
    super::check_host(allowed, parts, Fields::of(&parts.headers).host)
}

fn check_origin(allowed: &AllowedOrigins, parts: &Parts) -> Result<(), Rejection> {
    super::check_origin(allowed, Fields::of(&parts.headers).origin)
}

#[test]
fn repeated_hosts_and_origins_are_refused() {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    assert!(check_host(&AllowedHosts::default(), &parts).is_ok());
    parts.headers.append(HOST, HeaderValue::from_static("localhost"));
    parts.headers.append(ORIGIN, HeaderValue::from_static("http://localhost"));
    assert!(check_host(&AllowedHosts::default(), &parts).is_ok());
    assert!(check_origin(&AllowedOrigins::default(), &parts).is_ok());
    parts.headers.append(HOST, HeaderValue::from_static("localhost"));
    parts.headers.append(ORIGIN, HeaderValue::from_static("http://localhost"));
    for allowed in [AllowedHosts::default(), AllowedHosts::any()] {
        assert_eq!(check_host(&allowed, &parts), Err(Rejection::BadHost));
    }
    assert!(check_origin(&AllowedOrigins::default(), &parts).is_err());
}

#[test]
fn b_07_http_1_1_over_a_connection_needs_a_valid_host() {
    let request = |version, host: Option<&'static str>, peer: bool| {
        let mut request = http::Request::builder().version(version).uri("/mcp");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        if peer {
            parts.extensions.insert(PeerAddr(([127, 0, 0, 1], 1).into()));
        }
        parts
    };
    let bad = Err(Rejection::BadHost);
    for allowed in [AllowedHosts::default(), AllowedHosts::any()] {
        assert_eq!(check_host(&allowed, &request(Version::HTTP_11, None, true)), bad);
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(check_host(&allowed, &request(version, None, true)), Ok(()));
        }
        assert_eq!(check_host(&allowed, &request(Version::HTTP_11, None, false)), Ok(()));
        let mut without_address = request(Version::HTTP_11, None, false);
        without_address.extensions.insert(DisconnectCancels::default());
        assert_eq!(check_host(&allowed, &without_address), bad);
        assert_eq!(check_host(&allowed, &request(Version::HTTP_11, Some("[::1]:80"), true)), Ok(()));
        for host in
            ["a b", "a/b", "me@localhost", "localhost:x", "localhost:99999", "[::1", "h\u{e4}st", ":80"]
        {
            let mut parts = request(Version::HTTP_11, None, true);
            parts.headers.insert(HOST, HeaderValue::from_bytes(host.as_bytes()).expect("a value"));
            assert_eq!(check_host(&allowed, &parts), bad, "{host}");
        }
    }
    let empty = request(Version::HTTP_11, Some(""), true);
    assert!(matches!(check_host(&AllowedHosts::default(), &empty), Err(Rejection::ForbiddenHost(_))));
    assert_eq!(check_host(&AllowedHosts::any(), &empty), Ok(()));
    let mut foreign = request(Version::HTTP_2, None, true);
    foreign.uri = http::Uri::from_static("http://evil.example.com/mcp");
    assert!(matches!(check_host(&AllowedHosts::default(), &foreign), Err(Rejection::ForbiddenHost(_))));
}
