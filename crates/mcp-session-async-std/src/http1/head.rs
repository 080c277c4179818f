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
mod tests;
