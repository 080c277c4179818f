//! Which `Host` and `Origin` are served: [`AllowedHosts`], [`AllowedOrigins`].

use http::uri::Authority;

/// The loopback names.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// An entry of [`AllowedHosts`] or [`AllowedOrigins`] is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is not {expected}")]
pub struct InvalidEntry {
    entry: String,
    expected: &'static str,
}

/// A host in lower case, or all of its subdomains.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostRule {
    host: String,
    /// `*.`: the subdomains, not the host itself.
    below: bool,
    /// `None`: with any port or without one.
    port: Option<u16>,
}

impl HostRule {
    /// This host, on any port.
    fn exactly(host: &str) -> Self {
        Self { host: host.to_owned(), below: false, port: None }
    }

    /// Parses an entry of a list. `default` is the port of an entry that names none.
    fn parse(entry: &str, default: Option<u16>) -> Option<Self> {
        let (below, entry) = entry.strip_prefix("*.").map_or((false, entry), |rest| (true, rest));
        let (any, entry) = entry.strip_suffix(":*").map_or((false, entry), |rest| (true, rest));
        let (host, port) = split(entry)?;
        if (any && port.is_some()) || (below && host.starts_with('[')) {
            return None;
        }
        Some(Self { host, below, port: if any { None } else { port.or(default) } })
    }

    /// Returns `true` if `text` is exactly this host, with a port (or none) that the rule allows. `false` does not mean
    /// a mismatch: the host may be spelled differently.
    fn is_spelled(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(self.host.as_bytes()).filter(|_| !self.below) else {
            return false;
        };
        match rest {
            [] => self.port.is_none(),
            [b':', port @ ..] => parse_port(port).is_some_and(|port| self.port.is_none_or(|own| own == port)),
            _ => false,
        }
    }

    /// Returns `true` if the rule covers this host, in lower case, and port.
    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let named = if self.below {
            let left = host.strip_suffix(&self.host).and_then(|left| left.strip_suffix('.'));
            left.is_some_and(|left| left.split('.').all(|label| !label.is_empty()))
        } else {
            self.host == host
        };
        named && (self.port.is_none() || self.port == port)
    }
}

/// Which `Host` (or HTTP/2 `:authority`) values are served. Anything else gets 403 (B-07).
///
/// This stops a web page from reaching a server on the visitor's own machine through a name that the page's owner
/// points at 127.0.0.1 (DNS rebinding).
///
/// | entry | serves | does not serve |
/// |---|---|---|
/// | `mcp.example.com` | that name, with any port or without one | its subdomains and parent domains |
/// | `mcp.example.com:8443` | that name with that port | the name without a port |
/// | `*.example.com` | all subdomains at any depth, on any port | `example.com` itself |
/// | `*.example.com:8443` | all subdomains at any depth, on that port | |
/// | `[2001:db8::1]` | that address; IPv6 in brackets, as in the header | |
///
/// Names are case-insensitive. Addresses are compared as they are written; nothing is resolved. There is no `*`: to allow
/// any host, use [`AllowedHosts::any`]. A repeated or malformed `Host` always gets 400, and so does an HTTP/1.1 request
/// without one that came over a connection ([`PeerAddr`](crate::PeerAddr) or
/// [`DisconnectCancels`](crate::DisconnectCancels)).
///
/// ```
/// use mcp_session_core::AllowedHosts;
///
/// let mut hosts = AllowedHosts::default(); // localhost, 127.0.0.1, [::1], on any port
/// assert!(hosts.allows("localhost:8000"));
/// assert!(!hosts.allows("mcp.example.com"));
/// hosts.allow("mcp.example.com:8443")?;
/// assert!(hosts.allows("MCP.example.com:8443"));
/// assert!(!hosts.allows("mcp.example.com:80"));
/// hosts.allow("*.preview.example.com")?;
/// assert!(hosts.allows("pr-7.preview.example.com:443"));
/// assert!(!hosts.allows("preview.example.com"));
/// assert!(hosts.allow("*").is_err());
/// # Ok::<(), mcp_session_core::InvalidEntry>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHosts {
    any: bool,
    rules: Vec<HostRule>,
}

impl Default for AllowedHosts {
    fn default() -> Self {
        Self { any: false, rules: LOOPBACK.map(HostRule::exactly).into() }
    }
}

impl AllowedHosts {
    /// Allows any host. For a server behind a proxy that checks it.
    pub fn any() -> Self {
        Self { any: true, rules: Vec::new() }
    }

    /// Allows no host, not even loopback: an empty list to add to.
    pub fn none() -> Self {
        Self { any: false, rules: Vec::new() }
    }

    /// Adds an entry of the table above.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] if `host` is not a host.
    pub fn allow(&mut self, host: &str) -> Result<&mut Self, InvalidEntry> {
        let invalid = || InvalidEntry {
            entry: host.to_owned(),
            expected: "a host such as mcp.example.com, mcp.example.com:8443 or *.example.com",
        };
        self.rules.push(HostRule::parse(host, None).ok_or_else(invalid)?);
        Ok(self)
    }

    pub(crate) fn is_any(&self) -> bool {
        self.any
    }

    /// Returns `true` if `host` is well-formed.
    pub(crate) fn is_host(host: &str) -> bool {
        split(host).is_some()
    }

    /// Returns `true` if the list has this host, spelled like this: it is served then. Otherwise it may still be.
    pub(crate) fn spells(&self, host: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.is_spelled(host))
    }

    /// Returns `true` if requests for this host are served.
    pub fn allows(&self, host: &str) -> bool {
        self.any
            || self.spells(host.as_bytes())
            || split(host).is_some_and(|(host, port)| self.rules.iter().any(|rule| rule.matches(&host, port)))
    }
}

/// Which `Origin` values are served. Anything else gets 403 (B-05).
///
/// | entry | serves | does not serve |
/// |---|---|---|
/// | `https://app.example.com` | that origin on its default port, 443 | other ports, `http` |
/// | `http://localhost:5173` | that origin on that port | |
/// | `http://localhost:*` | that origin on any port | `https` |
/// | `https://*.example.com` | all subdomains at any depth, on 443 | `https://example.com` itself |
/// | `https://*.example.com:*` | the same on any port | |
/// | `null` | sandboxed and local pages | |
///
/// Scheme and name are case-insensitive. A request without `Origin` does not come from a browser and passes; one with
/// two of them never passes (B-06). There is no `*`: to allow any origin, use [`AllowedOrigins::any`].
///
/// ```
/// use mcp_session_core::AllowedOrigins;
///
/// let mut origins = AllowedOrigins::default(); // http and https on loopback names, any port
/// assert!(origins.allows("http://localhost:5173"));
/// assert!(!origins.allows("https://app.example.com"));
/// assert!(!origins.allows("null"));
/// origins.allow("https://app.example.com")?;
/// assert!(origins.allows("https://app.example.com:443")); // the default port, spelled out
/// assert!(!origins.allows("http://app.example.com"));
/// origins.allow("https://*.preview.example.com")?;
/// assert!(origins.allows("https://pr-7.preview.example.com"));
/// assert!(!origins.allows("https://preview.example.com.evil.com"));
/// # Ok::<(), mcp_session_core::InvalidEntry>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigins {
    any: bool,
    null: bool,
    rules: Vec<(String, HostRule)>,
}

impl Default for AllowedOrigins {
    fn default() -> Self {
        let rule = |scheme: &str, host: &str| (scheme.to_owned(), HostRule::exactly(host));
        let rules = LOOPBACK.iter().flat_map(|host| [rule("http", host), rule("https", host)]);
        Self { any: false, null: false, rules: rules.collect() }
    }
}

impl AllowedOrigins {
    /// Allows any origin: every web page may talk to this server.
    pub fn any() -> Self {
        Self { any: true, null: true, rules: Vec::new() }
    }

    /// Allows no origin, not even loopback: an empty list to add to.
    pub fn none() -> Self {
        Self { any: false, null: false, rules: Vec::new() }
    }

    pub(crate) fn is_any(&self) -> bool {
        self.any
    }

    /// Adds an entry of the table above.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] if `origin` is not an origin.
    pub fn allow(&mut self, origin: &str) -> Result<&mut Self, InvalidEntry> {
        if origin == "null" {
            self.null = true;
            return Ok(self);
        }
        let rule = origin.split_once("://").and_then(|(scheme, host)| {
            let scheme = scheme.to_ascii_lowercase();
            let rule = HostRule::parse(host, default_port(&scheme))?;
            let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            (!scheme.is_empty() && scheme.bytes().all(valid)).then_some((scheme, rule))
        });
        self.rules.push(rule.ok_or_else(|| InvalidEntry {
            entry: origin.to_owned(),
            expected: "an origin such as https://app.example.com or https://*.example.com",
        })?);
        Ok(self)
    }

    /// Returns `true` if requests from this origin are served.
    pub fn allows(&self, origin: &str) -> bool {
        if self.any || (self.null && origin == "null") {
            return true;
        }
        split_origin(origin).is_some_and(|(scheme, host, port)| {
            self.rules.iter().any(|(allowed, rule)| *allowed == scheme && rule.matches(&host, port))
        })
    }
}

fn split(host: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = host.parse().ok()?;
    // The host of a request has no wildcard, and the wildcard of an entry was stripped before.
    let plain = !authority.as_str().contains(['@', '*']) && !authority.host().is_empty();
    // `Authority` ignores what stands between the bracket of an address and a port.
    let port = match &authority.as_str()[authority.host().len()..] {
        "" => None,
        rest => Some(parse_port(rest.strip_prefix(':')?.as_bytes())?),
    };
    plain.then(|| (authority.host().to_ascii_lowercase(), port))
}

/// Accepts digits only: `parse` would accept `+80` too.
fn parse_port(text: &[u8]) -> Option<u16> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let port = text.iter().try_fold(0_u16, |port, byte| port.checked_mul(10)?.checked_add(digit(*byte)?));
    port.filter(|_| !text.is_empty())
}

fn split_origin(origin: &str) -> Option<(String, String, Option<u16>)> {
    let (scheme, rest) = origin.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = split(rest)?;
    let port = port.or(default_port(&scheme));
    Some((scheme, host, port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
