//! [`Head`]: the head of a request.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use http::{Uri, uri::Authority};
use httparse::Status;
use tide::http::{Method, Request, Url, Version, headers};

use super::framing::Framing;

/// The most fields of a head or trailer section: what `async-h1` took.
const MOST_FIELDS: usize = 128;

/// Why a request cannot be read. Nobody knows where the next one would begin, so its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The status to refuse it with.
    pub(crate) status: u16,
    /// What is wrong, for its sender.
    pub(crate) reason: &'static str,
}

impl Malformed {
    /// A request that breaks the rules of HTTP.
    pub(super) const fn bad(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for Malformed {}

/// Lines up to an empty one: a head, or trailers.
#[derive(Debug, Default)]
pub(super) struct Section {
    bytes: Vec<u8>,
    /// Where the line begins that is being read.
    line: usize,
}

impl Section {
    /// Takes from `input` what belongs to this section, of `limit` bytes at the most: not one more is kept, whether or not a
    /// line has ended. Returns `true` once it is complete.
    ///
    /// # Errors
    ///
    /// When it is longer, or a line ends in anything but CR LF.
    pub(super) fn read(&mut self, input: &mut Bytes, limit: usize) -> Result<bool, Malformed> {
        while !input.is_empty() {
            let end = input.iter().position(|byte| *byte == b'\n').map_or(input.len(), |at| at + 1);
            if self.bytes.len() + end > limit {
                return Err(Malformed { status: 431, reason: "the head or the trailers are too long" });
            }
            self.bytes.extend_from_slice(&input.split_to(end));
            match self.bytes[self.line..].strip_suffix(b"\n") {
                None => {}
                Some(b"\r") => return Ok(true),
                Some([line @ .., b'\r']) if !line.contains(&b'\r') => self.line = self.bytes.len(),
                Some(_) => return Err(Malformed::bad("a line has to end in CR LF")),
            }
        }
        Ok(false)
    }

    /// Whether there are well-formed fields in it and nothing else.
    pub(super) fn check_trailers(&self) -> Result<(), Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        match httparse::parse_headers(&self.bytes, &mut fields) {
            Ok(Status::Complete((length, _))) if length == self.bytes.len() => Ok(()),
            _ => Err(Malformed::bad("the trailers cannot be read")),
        }
    }
}

/// A request without its body, and how that is framed.
#[derive(Debug)]
pub(crate) struct Head {
    /// The request. Its `Host` is the authority of an absolute-form target, where there is one (RFC 9112, 3.2.2).
    pub(crate) request: Request,
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

impl Head {
    /// Takes a head of at most `limit` bytes from `input`; `section` has what came before. Returns it once it is complete.
    pub(super) fn read(
        section: &mut Section,
        input: &mut Bytes,
        limit: usize,
    ) -> Result<Option<Self>, Malformed> {
        while section.read(input, limit)? {
            if section.line > 0 {
                return Self::parse(&section.bytes).map(Some);
            }
            *section = Section::default(); // empty lines before a request are passed over (RFC 9112, 2.2)
        }
        Ok(None)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut head = httparse::Request::new(&mut fields);
        match head.parse(bytes) {
            Ok(Status::Complete(length)) if length == bytes.len() && bytes.is_ascii() => {}
            Err(httparse::Error::Version) => {
                return Err(Malformed { status: 505, reason: "only HTTP/1.1 and HTTP/1.0 are spoken here" });
            }
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Malformed { status: 431, reason: "the head has too many fields" });
            }
            _ => return Err(Malformed::bad("the head cannot be read")),
        }
        let (Some(name), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
            return Err(Malformed::bad("the head cannot be read"));
        };
        // `http-types` ignores case, which HTTP does not.
        let method = Method::from_str(name).ok().filter(|method| method.as_ref() == name);
        let method = method.ok_or(Malformed { status: 501, reason: "the method is unknown" })?;
        let values = |name: headers::HeaderName| {
            let fields =
                head.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name.as_str()));
            fields.map(|field| field.value).collect::<Vec<_>>()
        };

        let target = Target::parse(target, &method, &values(headers::HOST))?;
        let framing =
            Framing::of(&values(headers::CONTENT_LENGTH), &values(headers::TRANSFER_ENCODING), minor)?;
        let expects = values(headers::EXPECT).iter().any(|value| value.eq_ignore_ascii_case(b"100-continue"));
        let mut request = Request::new(method, target.url);
        request.set_version(Some(if minor == 0 { Version::Http1_0 } else { Version::Http1_1 }));
        for field in head.headers.iter() {
            let value = headers::HeaderValue::from_bytes(field.value.to_vec());
            request.append_header(field.name, value.map_err(|_| Malformed::bad("a field is not ASCII"))?);
        }
        if let Some(authority) = target.authority {
            request.insert_header(headers::HOST, authority.as_str());
        }
        Ok(Self { request, framing, expects_continue: expects && minor == 1 })
    }
}

/// What is asked for.
struct Target {
    /// `http-types` wants one with a host, so a request without any gets `localhost`. That is not seen by the endpoint,
    /// which goes by `Host`.
    url: Url,
    /// What the target itself says of it, where it is in absolute form.
    authority: Option<Authority>,
}

impl Target {
    fn parse(target: &str, method: &Method, hosts: &[&[u8]]) -> Result<Self, Malformed> {
        const BAD: Malformed = Malformed::bad("the request target cannot be read");
        const HOST: Malformed = Malformed::bad("`Host` has to be one host");
        let uri: Uri = target.parse().map_err(|_| BAD)?;
        let host = match hosts {
            [] | [b""] => None,
            [host] => Some(Authority::try_from(*host).map_err(|_| HOST)?),
            _ => return Err(HOST),
        };
        let authority = uri.authority().cloned();
        let path = match uri.path_and_query() {
            None if *method == Method::Connect => "/",
            Some(path) if path.as_str().starts_with('/') => path.as_str(),
            _ => return Err(BAD),
        };
        let named = authority.as_ref().or(host.as_ref()).map_or("localhost", Authority::as_str);
        // Credentials are no part of a host, and a fragment none of a target: others might take it for the path.
        if named.contains('@')
            || target.contains('#')
            || !matches!(uri.scheme_str(), None | Some("http" | "https"))
        {
            return Err(BAD);
        }
        // `Url` would resolve these, and a proxy that decides by the path may not.
        let dots =
            |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        let whole = path.split_once('?').map_or(path, |(path, _)| path);
        if whole.contains('\\') || whole.split('/').any(dots) {
            return Err(BAD);
        }
        let url = Url::parse(&format!("http://{named}{path}")).map_err(|_| BAD)?;
        Ok(Self { url, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 * 1024;

    /// Reads `text` in pieces of `size`: the head, and what is left.
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
        assert_eq!(
            (url.as_str(), host.as_deref()),
            ("http://evil.example:81/mcp?a", Some("evil.example:81"))
        );
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
        for length in [
            "",
            "+5",
            "-5",
            "5, 5",
            "5,6",
            "5 5",
            "0x5",
            "5.0",
            "18446744073709551616",
            "5\r\ncontent-length: 5",
        ] {
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
    fn who_waits_for_100_is_one_that_can() {
        let expects = |version| {
            head(&format!("POST / HTTP/{version}\r\nhost: a\r\nExpect: 100-Continue\r\n\r\n"))
                .expects_continue
        };
        assert!(expects("1.1") && !expects("1.0"));
    }

    impl std::ops::Index<&str> for Head {
        type Output = headers::HeaderValues;

        fn index(&self, name: &str) -> &Self::Output {
            &self.request[name]
        }
    }
}
