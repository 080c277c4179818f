use super::*;

#[test]
fn b_07_loopback_hosts_only_by_default() {
    let hosts = AllowedHosts::default();
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]", "[::1]:9"] {
        assert!(hosts.allows(host), "{host}");
    }
    for host in [
        "",
        "evil.example.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "a@localhost",
        "localhost:x",
        "localhost:",
        "localhost:65536",
        "localhost:80:80",
        "localhost:+80",
        "::1",
        "[::1]x",
        "[::1].evil.com",
        "[::1]x:80",
        "[::1]:80x",
    ] {
        assert!(!hosts.allows(host), "{host}");
    }
}

#[test]
fn b_05_b_06_origins() {
    let mut origins = AllowedOrigins::default();
    for origin in ["http://localhost", "https://127.0.0.1:8000", "http://[::1]:3000"] {
        assert!(origins.allows(origin), "{origin}");
    }
    for origin in
        ["", "null", "http://evil.example.com", "ftp://localhost", "localhost", "http://localhost/x"]
    {
        assert!(!origins.allows(origin), "{origin}");
    }
    origins.allow("null").unwrap();
    assert!(origins.allows("null"));
    assert!(!AllowedOrigins::none().allows("http://localhost") && !AllowedHosts::none().allows("localhost"));
}

#[test]
fn b_06_b_07_ports_and_wildcards() {
    let mut hosts = AllowedHosts::none();
    for entry in
        ["a.example.com", "b.example.com:8443", "*.Deep.example.com", "*.c.example.com:1", "[2001:db8::1]"]
    {
        hosts.allow(entry).unwrap();
    }
    for (host, allowed) in [
        ("a.example.com", true),
        ("A.example.com:1", true),
        ("x.a.example.com", false),
        ("b.example.com:8443", true),
        ("b.example.com", false),
        ("x.deep.example.com", true),
        ("y.x.DEEP.example.com:9", true),
        ("deep.example.com", false),
        (".deep.example.com", false),
        ("..deep.example.com", false),
        ("x..deep.example.com", false),
        (".x.deep.example.com", false),
        ("xdeep.example.com", false),
        ("x.deep.example.com.evil.com", false),
        ("*.deep.example.com", false),
        ("x.c.example.com:1", true),
        ("x.c.example.com", false),
        ("[2001:db8::1]:443", true),
        ("localhost", false),
    ] {
        assert_eq!(hosts.allows(host), allowed, "{host}");
    }
    let mut origins = AllowedOrigins::none();
    for entry in
        ["https://*.example.com", "http://localhost:*", "HTTPS://*.any.example.org:*", "https://a.b:444"]
    {
        origins.allow(entry).unwrap();
    }
    for (origin, allowed) in [
        ("https://app.example.com", true),
        ("https://x.app.Example.com:443", true),
        ("https://app.example.com:444", false),
        ("http://app.example.com", false),
        ("https://example.com", false),
        ("https://example.com.evil.com", false),
        ("http://localhost:5173", true),
        ("http://localhost", true),
        ("https://localhost", false),
        ("https://x.any.example.org:1", true),
        ("https://a.b", false),
        ("https://a.b:444", true),
        ("https://*.example.com", false),
    ] {
        assert_eq!(origins.allows(origin), allowed, "{origin}");
    }
    for entry in [
        "*",
        "",
        "*.",
        "*:*",
        "a.*.example.com",
        "a:1:*",
        "*.[::1]",
        "ex*mple.com",
        "a@b",
        "a/b",
        "a:x",
        "[::1]x",
    ] {
        assert!(AllowedHosts::none().allow(entry).is_err(), "{entry:?}");
        assert!(AllowedOrigins::none().allow(&format!("https://{entry}")).is_err(), "{entry:?}");
    }
    for entry in ["*", "app.example.com", "://a.b", "*://a.b", "https://"] {
        assert!(AllowedOrigins::none().allow(entry).is_err(), "{entry:?}");
    }
}
