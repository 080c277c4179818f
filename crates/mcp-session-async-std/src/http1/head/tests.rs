use super::*;

const LIMIT: usize = 64 * 1024;

/// Reads `text` in pieces of `size`. Returns the head, and the number of bytes left.
fn read(text: &str, size: usize) -> Result<(Option<Head>, usize), Malformed> {
    let (mut section, mut input) = (Section::default(), Bytes::copy_from_slice(text.as_bytes()));
    while !input.is_empty() {
        let mut piece = input.split_to(size.min(input.len()));
        if let Some(head) = Head::read(&mut section, &mut piece, LIMIT)? {
            return Ok((Some(head), input.len() + piece.len()));
        }
    }
    Ok((None, 0))
}

fn head(text: &str) -> Head {
    read(text, 3).expect("a head").0.expect("a whole head")
}

fn refusal(text: &str) -> u16 {
    let refused = [1, 7, usize::MAX].map(|size| read(text, size).expect_err(text).status);
    assert!(refused.iter().all(|status| *status == refused[0]), "{refused:?} for {text:?}");
    refused[0]
}

#[test]
fn a_head_is_the_same_in_any_pieces_and_takes_nothing_of_what_follows() {
    let text = "\r\n\r\nPOST /a%20b?x=1 HTTP/1.1\r\nHOST: localhost:81\r\nX: 1\r\nx:\t2 \r\nContent-Length: 2\r\n\r\n";
    for size in 1..text.len() + 4 {
        let (head, left) = read(&format!("{text}{{}}"), size).expect("a head");
        let Head { request, framing, .. } = head.expect("a whole head");
        assert_eq!((left, framing.length()), (2, Some(2)));
        assert_eq!((request.method(), request.version()), (Method::Post, Some(Version::Http1_1)));
        assert_eq!(request.url().as_str(), "http://localhost:81/a%20b?x=1");
        let x: Vec<_> = request["x"].iter().map(headers::HeaderValue::as_str).collect();
        assert_eq!((request["host"].as_str(), x), ("localhost:81", vec!["1", "2"]));
    }
    assert!(read("GET / HTTP/1.1\r\nhost: localhost\r\n", 5).expect("no error").0.is_none());
}

#[test]
fn a_target_says_which_host_is_meant() {
    let of = |target: &str, fields: &str| {
        let request = head(&format!("GET {target} HTTP/1.1\r\n{fields}\r\n")).request;
        (request.url().as_str().to_owned(), request.header("host").map(|host| host.as_str().to_owned()))
    };
    let (url, host) = of("http://evil.example:81/mcp?a", "host: localhost\r\n");
    assert_eq!((url.as_str(), host.as_deref()), ("http://evil.example:81/mcp?a", Some("evil.example:81")));
    assert_eq!(of("/mcp", "").1, None, "the endpoint sees that there was none");
    assert_eq!(of("/mcp", "host:\r\n").1.as_deref(), Some(""));
    assert_eq!(of("/mcp", "host: [::1]:80\r\n").1.as_deref(), Some("[::1]:80"));
    let connect = head("CONNECT example.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n").request;
    assert_eq!((connect.url().path(), connect["host"].as_str()), ("/", "example.com:443"));

    for bad in [
        "*",
        "mcp",
        "localhost:80",
        "http://",
        "ftp://localhost/",
        "http://me@localhost/",
        "/mcp#x",
        "/\u{7f}",
        "http:/mcp",
        "/a/../mcp",
        "/.",
        "/%2E%2e/mcp?x",
        "/a\\mcp",
    ] {
        assert_eq!(refusal(&format!("GET {bad} HTTP/1.1\r\nhost: localhost\r\n\r\n")), 400, "{bad}");
    }
    for bad in ["a b", "a/b", "me@localhost", "localhost:x", "localhost:99999", "[::1", "a\r\nhost: a"] {
        assert_eq!(refusal(&format!("GET / HTTP/1.1\r\nhost: {bad}\r\n\r\n")), 400, "{bad}");
    }
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    for (bad, status) in [
        ("GET / HTTP/1.1\nhost: localhost\n\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\n\n", 400),
        ("\nGET / HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n x: a\r\nhost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost : localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\n: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx: \u{e4}\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nhost: localhost\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("get / HTTP/1.1\r\nhost: localhost\r\n\r\n", 501),
        ("BREW / HTTP/1.1\r\nhost: localhost\r\n\r\n", 501),
        ("GET / HTTP/1.2\r\nhost: localhost\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\n", 505),
    ] {
        assert_eq!(refusal(bad), status, "{bad:?}");
    }
    let framed = |fields: &str| refusal(&format!("POST / HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n"));
    for length in
        ["", "+5", "-5", "5, 5", "5,6", "5 5", "0x5", "5.0", "18446744073709551616", "5\r\ncontent-length: 5"]
    {
        assert_eq!(framed(&format!("Content-Length: {length}\r\n")), 400, "{length}");
    }
    for coding in [
        "",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked\r\ntransfer-encoding: chunked",
        "xchunked",
        "\"chunked\"",
    ] {
        assert_eq!(framed(&format!("Transfer-Encoding: {coding}\r\n")), 400, "{coding}");
    }
    assert_eq!(framed("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
    assert_eq!(framed("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400);
    assert_eq!(refusal("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn no_more_of_a_head_is_kept_than_its_limit() {
    let begin = "GET / HTTP/1.1\r\nhost: localhost\r\nx: ";
    let longest = format!("{begin}{}\r\n\r\n", "x".repeat(LIMIT - begin.len() - 4));
    assert_eq!(head(&longest)["x"].as_str().len(), LIMIT - begin.len() - 4);
    assert_eq!(refusal(&longest.replacen('x', "xx", 1)), 431);
    let endless = format!("{begin}{}", "x".repeat(LIMIT));
    assert_eq!(refusal(&endless), 431);
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: 1\r\n".repeat(MOST_FIELDS));
    assert_eq!(refusal(&many), 431);
}

#[test]
fn only_http_1_1_clients_expect_100_continue() {
    let expects = |version| {
        head(&format!("POST / HTTP/{version}\r\nhost: a\r\nExpect: 100-Continue\r\n\r\n")).expects_continue
    };
    assert!(expects("1.1") && !expects("1.0"));
}

impl std::ops::Index<&str> for Head {
    type Output = headers::HeaderValues;

    fn index(&self, name: &str) -> &Self::Output {
        &self.request[name]
    }
}
