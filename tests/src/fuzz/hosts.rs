//! The lists of hosts and origins: their entries, and what they serve.

use mcp_session_core::{AllowedHosts, AllowedOrigins};

/// The input is text: entries of a list, an empty line, and values of `Host` and `Origin`; one a line.
///
/// # Panics
///
/// If a value is served that is not on the list, or is not served although it is, by the plain definition below.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (entries, values) = text.split_once("\n\n").unwrap_or((text, text));
    let (mut hosts, mut host_rules) = (AllowedHosts::none(), Vec::new());
    let (mut origins, mut origin_rules, mut null) = (AllowedOrigins::none(), Vec::new(), false);
    for entry in entries.lines() {
        let taken = hosts.allow(entry).is_ok();
        match Rule::parse(entry, None) {
            Some(rule) if taken => host_rules.push(rule),
            rule => {
                assert!(!taken && !rule.is_some_and(|rule| rule.is_plain()), "host entry {entry:?}: {taken}");
            }
        }
        let taken = origins.allow(entry).is_ok();
        null |= entry == "null";
        let rule = entry.split_once("://").and_then(|(scheme, host)| {
            Some((scheme.to_ascii_lowercase(), Rule::parse(host, port_of(scheme))?))
        });
        match rule {
            Some(rule) if taken => origin_rules.push(rule),
            rule => assert!(
                taken == (entry == "null")
                    && !rule.is_some_and(|(scheme, rule)| is_scheme(&scheme) && rule.is_plain()),
                "origin entry {entry:?}: {taken}"
            ),
        }
    }
    for value in values.lines() {
        let named = Named::parse(value);
        let listed =
            named.as_ref().is_some_and(|host| host_rules.iter().any(|rule| rule.covers(host, host.port)));
        agree(value, hosts.allows(value), listed, named.as_ref());

        let origin = value.split_once("://");
        let scheme = origin.map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
        let named = origin.and_then(|(_, host)| Named::parse(host));
        let listed = named.as_ref().is_some_and(|host| {
            let port = host.port.or(port_of(&scheme));
            origin_rules.iter().any(|(own, rule)| *own == scheme && rule.covers(host, port))
        });
        let is_null = null && value == "null";
        agree(value, origins.allows(value), listed || is_null, named.as_ref());
    }
    assert!(AllowedHosts::any().allows(text) && AllowedOrigins::any().allows(text));
}

/// What is served is on the list. What is on the list is served, if it is a host as people write it.
fn agree(value: &str, served: bool, listed: bool, named: Option<&Named>) {
    assert!(!served || listed, "{value:?} is served and not on the list");
    assert!(
        served || !listed || !named.is_some_and(Named::is_plain),
        "{value:?} is on the list and not served"
    );
}

fn port_of(scheme: &str) -> Option<u16> {
    match &*scheme.to_ascii_lowercase() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|character| character.is_ascii_alphanumeric())
}

/// A host in lower case, with its port.
struct Named {
    name: String,
    port: Option<u16>,
}

impl Named {
    fn parse(text: &str) -> Option<Self> {
        let end = match text.strip_prefix('[') {
            Some(address) => address.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (name, port) = text.split_at(end);
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { name: name.to_ascii_lowercase(), port })
    }

    /// Letters, digits and hyphens between single dots, or an address of IPv6.
    fn is_plain(&self) -> bool {
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match self.name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => self.name.split('.').all(label),
        }
    }
}

/// An entry of a list.
struct Rule {
    host: Named,
    below: bool,
    any_port: bool,
}

impl Rule {
    fn parse(entry: &str, default: Option<u16>) -> Option<Self> {
        let (below, entry) = entry.strip_prefix("*.").map_or((false, entry), |rest| (true, rest));
        let (starred, entry) = entry.strip_suffix(":*").map_or((false, entry), |rest| (true, rest));
        let mut host = Named::parse(entry)?;
        if (starred && host.port.is_some()) || (below && host.name.starts_with('[')) {
            return None;
        }
        if !starred {
            host.port = host.port.or(default);
        }
        Some(Self { any_port: host.port.is_none(), host, below })
    }

    fn is_plain(&self) -> bool {
        self.host.is_plain()
    }

    fn covers(&self, host: &Named, port: Option<u16>) -> bool {
        let named = if self.below {
            let left = host.name.strip_suffix(&self.host.name).and_then(|left| left.strip_suffix('.'));
            left.is_some_and(|left| left.split('.').all(|label| !label.is_empty()))
        } else {
            host.name == self.host.name
        };
        named && (self.any_port || self.host.port == port)
    }
}
