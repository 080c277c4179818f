//! Checks `Host` and `Origin` (B-04 to B-07).

use http::{Version, request::Parts, uri::Authority};

use super::{disconnect::DisconnectCancels, headers::Field, peer::PeerAddr, rejection::Rejection};
use crate::config::{AllowedHosts, AllowedOrigins};

/// Checks the `Host` of a request (B-07; RFC 9112, 3.2). A repeated or malformed one always gets 400. So does HTTP/1.1
/// without one, if the request came over a connection: a request made inside this process may omit it, and so does
/// HTTP/2, which has `:authority`.
pub(crate) fn check_host(allowed: &AllowedHosts, parts: &Parts, host: Field<'_>) -> Result<(), Rejection> {
    let is_repeated = host.is_repeated;
    let Some(host) = host.first else {
        // The client of a Unix socket has no address.
        let over_a_connection = || {
            parts.extensions.get::<PeerAddr>().is_some()
                || parts.extensions.get::<DisconnectCancels>().is_some()
        };
        let required = parts.version == Version::HTTP_11 && over_a_connection();
        return match parts.uri.authority() {
            _ if required => Err(Rejection::BadHost),
            None => Ok(()),
            Some(authority) if allowed.allows(authority.as_str()) => Ok(()),
            Some(authority) => Err(Rejection::ForbiddenHost(named(authority.as_str()))),
        };
    };
    if !is_repeated && parts.uri.authority().is_none() && allowed.spells(host.as_bytes()) {
        return Ok(()); // as almost all
    }
    let (Ok(host), false) = (host.to_str(), is_repeated) else { return Err(Rejection::BadHost) };
    // A host on the list is well-formed. An empty one belongs to a target without authority.
    let on_the_list = !allowed.is_any() && allowed.allows(host);
    if !on_the_list && !host.is_empty() && !AllowedHosts::is_host(host) {
        return Err(Rejection::BadHost);
    }
    let authority = parts.uri.authority().map(Authority::as_str);
    match authority.filter(|authority| !allowed.allows(authority)) {
        Some(authority) => Err(Rejection::ForbiddenHost(named(authority))),
        None if on_the_list || allowed.is_any() => Ok(()),
        None => Err(Rejection::ForbiddenHost(named(host))),
    }
}

/// Checks the `Origin` of a request (B-04 to B-06).
pub(crate) fn check_origin(allowed: &AllowedOrigins, origin: Field<'_>) -> Result<(), Rejection> {
    let is_repeated = origin.is_repeated;
    match origin.first.map(|value| value.to_str().unwrap_or_default()) {
        None => Ok(()),
        Some(origin) if !is_repeated && allowed.allows(origin) => Ok(()),
        Some(origin) => Err(Rejection::ForbiddenOrigin(named(origin))),
    }
}

/// A refused value, shortened for the error text: no host name is longer than 253 characters.
fn named(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
mod tests;
