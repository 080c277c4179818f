//! [`Head`]: the head of a request.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use http::{Uri, uri::Authority};
use httparse::Status;
use tide::http::{Method, Request, Url, Version, headers};

use super::framing::Framing;

/// The maximum number of fields in a head or trailer section, as in `async-h1`.
const MOST_FIELDS: usize = 128;

/// `http-types` has text that is ASCII only.
const NOT_ASCII: &str = "the target or a field is not ASCII";

/// Why a request cannot be parsed. It is unknown where the next one would begin, so its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The status to refuse it with.
    pub(crate) status: u16,
    /// What is wrong, for the client.
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

/// The lines of a head or trailers, up to an empty line.
#[derive(Debug, Default)]
pub(super) struct Section {
    bytes: Vec<u8>,
    /// Where the current line begins.
    line: usize,
}

impl Section {
    /// Takes the bytes of this section from `input`. Never keeps more than `limit` bytes, even within a line. Returns `true`
    /// once the section is complete.
    ///
    /// # Errors
    ///
    /// If it is longer, or a line does not end in CR LF.
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

    /// Checks that the section consists of well-formed fields.
    pub(super) fn check_trailers(&self) -> Result<(), Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        match httparse::parse_headers(&self.bytes, &mut fields) {
            Ok(Status::Complete((length, _))) if length == self.bytes.len() => Ok(()),
            _ => Err(Malformed::bad("the trailers cannot be read")),
        }
    }
}

/// A request without its body, and the framing of the body.
#[derive(Debug)]
pub(crate) struct Head {
    /// The request. If its target is in absolute form, the authority of the target replaces `Host` (RFC 9112, 3.2.2).
    pub(crate) request: Request,
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

impl Head {
    /// Takes a head of at most `limit` bytes from `input`; `section` holds the earlier bytes. Returns it once it is
    /// complete.
    pub(super) fn read(
        section: &mut Section,
        input: &mut Bytes,
        limit: usize,
    ) -> Result<Option<Self>, Malformed> {
        while section.read(input, limit)? {
            if section.line > 0 {
                return Self::parse(&section.bytes).map(Some);
            }
            *section = Section::default(); // empty lines before a request are skipped (RFC 9112, 2.2)
        }
        Ok(None)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut head = httparse::Request::new(&mut fields);
        match head.parse(bytes) {
            Ok(Status::Complete(length)) if length == bytes.len() && bytes.is_ascii() => {}
            Ok(Status::Complete(length)) if length == bytes.len() => return Err(Malformed::bad(NOT_ASCII)),
            Err(httparse::Error::Version) => {
                return Err(Malformed { status: 505, reason: "only HTTP/1.0 and HTTP/1.1 are supported" });
            }
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Malformed { status: 431, reason: "the head has too many fields" });
            }
            _ => return Err(Malformed::bad("the head cannot be read")),
        }
        let (Some(name), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
            return Err(Malformed::bad("the head cannot be read"));
        };
        // `http-types` ignores case, but HTTP methods are case-sensitive.
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
            request.append_header(field.name, value.map_err(|_| Malformed::bad(NOT_ASCII))?);
        }
        if let Some(authority) = target.authority {
            request.insert_header(headers::HOST, authority.as_str());
        }
        Ok(Self { request, framing, expects_continue: expects && minor == 1 })
    }
}

/// The target of a request.
struct Target {
    /// `http-types` requires a host, so a request without one gets `localhost`. The endpoint does not see it: it uses
    /// `Host`.
    url: Url,
    /// The authority of the target, if it is in absolute form.
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
        // A host has no credentials, and a target no fragment, which others might read as part of the path.
        if named.contains('@')
            || target.contains('#')
            || !matches!(uri.scheme_str(), None | Some("http" | "https"))
        {
            return Err(BAD);
        }
        // `Url` would resolve these segments; a proxy that decides by the path may not.
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
mod tests;
