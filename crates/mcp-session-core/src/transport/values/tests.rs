use http::HeaderValue;

use super::*;

const X: HeaderName = HeaderName::from_static("mcp-name");

fn headers(values: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(X, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn mismatch<T>(message: &'static str) -> Result<T, Rejection> {
    Err(Rejection::HeaderMismatch(message.into()))
}

#[test]
fn g_11_whitespace_around_a_value_is_stripped() {
    for (value, text) in [
        (b"foo".as_slice(), Some("foo")),
        (b"  foo ", Some("foo")),
        (b"\tfoo\t ", Some("foo")),
        (b"a b\tc", Some("a b\tc")),
        (b"FOO", Some("FOO")),
        (b"  ", Some("")),
        (b"", Some("")),
    ] {
        assert_eq!(header(&headers(&[value]), &X, "Mcp-Name"), Ok(text));
    }
    assert_eq!(header(&headers(&[]), &X, "Mcp-Name"), Ok(None));
}

#[test]
fn b_12_g_10_a_repeated_value_is_refused_even_if_both_agree() {
    let repeated = headers(&[b"foo", b"foo"]);
    assert_eq!(header(&repeated, &X, "Mcp-Name"), mismatch("the header Mcp-Name must not be repeated"));
}

#[test]
fn g_13_a_value_that_is_not_visible_ascii_is_refused() {
    for value in ["é".as_bytes(), b"caf\xe9", b"\x80", "日本語".as_bytes()] {
        assert_eq!(
            header(&headers(&[value]), &X, "Mcp-Name"),
            mismatch("the header Mcp-Name must consist of visible ASCII characters, space and tab")
        );
    }
    for value in [b"~".as_slice(), b"a b", b"a\tb"] {
        assert!(header(&headers(&[value]), &X, "Mcp-Name").is_ok());
    }
}

#[test]
fn g_12_base64_between_the_markers_is_decoded() {
    for (value, text) in [
        ("=?base64?SGVsbG8=?=", "Hello"),
        ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界"),
        ("=?base64?IHBhZGRlZCA=?=", " padded "),
        ("=?base64?bGluZTEKbGluZTI=?=", "line1\nline2"),
        ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?="),
        ("=?base64??=", ""),
    ] {
        assert_eq!(decode("Mcp-Name", value), Ok(text.into()), "{value}");
    }
    // Without both markers, in exactly this form, a value is literal.
    for literal in [
        "Hello",
        "SGVsbG8=",
        "=?base64?SGVsbG8=",
        "SGVsbG8=?=",
        "=?BASE64?SGVsbG8=?=",
        "=?Base64?SGVsbG8=?=",
        "=?base64?=", // one `?` cannot be in both
        "x=?base64?SGVsbG8=?=",
        "",
    ] {
        assert_eq!(decode("Mcp-Name", literal), Ok(literal.into()), "{literal}");
    }
}

#[test]
fn g_12_base64_that_is_not_canonical_or_not_utf_8_is_refused() {
    for (value, why) in [
        ("=?base64?SGVsbG8?=", "no padding"),
        ("=?base64?SGVsbG8==?=", "too much padding"),
        ("=?base64?SGVs!!!bG8=?=", "other characters"),
        ("=?base64? SGVsbG8=?=", "whitespace"),
        ("=?base64?SGVs\tbG8=?=", "whitespace"),
        ("=?base64?SGVsbG9=?=", "bits that belong to no byte"),
        ("=?base64?_-8=?=", "the alphabet of URLs"),
        ("=?base64?S?=", "half a byte"),
        ("=?base64?/w==?=", "not UTF-8"),
        ("=?base64?SGVsbG8=?SGVsbG8=?=", "a marker inside"),
    ] {
        assert_eq!(
            decode("Mcp-Name", value),
            mismatch("the header Mcp-Name must have UTF-8 in padded Base64 between `=?base64?` and `?=`"),
            "{why}"
        );
    }
}

#[test]
fn errors_repeat_a_bounded_and_escaped_beginning() {
    assert_eq!(bounded("2099-01-01"), "2099-01-01");
    assert_eq!(bounded(&"é".repeat(64)), "é".repeat(64));
    assert_eq!(bounded(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    assert_eq!(quoted("a\"b\n\u{1b}[0m"), r#""a\"b\n\u{1b}[0m""#);
    assert!(quoted(&"\u{1b}".repeat(100_000)).len() < 600);
}
