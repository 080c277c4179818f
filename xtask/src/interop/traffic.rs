//! What the requests of a client must look like at the server, by the way that it went.

use anyhow::{Context as _, Result, ensure};

use super::clients::Way;
use super::wire::Request;

const MODERN: &str = "2026-07-28";

/// Checks all requests of one client. `gives_ids`: whether the server gives session ids.
pub(super) fn check(way: Way, gives_ids: bool, seen: &[Request]) -> Result<String> {
    match way {
        Way::Modern => modern(seen),
        Way::Sessions => sessions(seen),
        Way::Fallback => fallback(seen),
        Way::WithoutId | Way::Refused => without_id(gives_ids, seen),
    }
}

fn modern(seen: &[Request]) -> Result<String> {
    all(seen, "each is a POST", |it| it.http_method == "POST")?;
    all(seen, "each has the version in its header", |it| it.version.as_deref() == Some(MODERN))?;
    all(seen, "each has the version in its envelope", |it| {
        !it.is_rpc_request || it.meta_version.as_deref() == Some(MODERN)
    })?;
    all(seen, "none has a session id", |it| !it.has_id && !it.lost_id)?;
    Ok(format!("{} requests, all {MODERN}, none with a session id", seen.len()))
}

fn sessions(seen: &[Request]) -> Result<String> {
    legacy(seen)?;
    let begin = seen.iter().position(|it| it.has_id).context("no request has a session id")?;
    let (before, in_session) = seen.split_at(begin);
    // One of the clients tries to open a GET stream first.
    all(before, "before there is an id, only `initialize` and GET", |it| {
        it.rpc_method.as_deref() == Some("initialize") || it.http_method == "GET"
    })?;
    all(in_session, "once there is an id, all have it", |it| it.has_id)?;
    for method in ["GET", "DELETE"] {
        ensure!(in_session.iter().any(|it| it.http_method == method), "no {method} in the session");
    }
    Ok(format!("{} requests, {} of them in the session", seen.len(), in_session.len()))
}

/// A client that asks for the modern era first, and then has a session.
fn fallback(seen: &[Request]) -> Result<String> {
    let is_probe = |it: &Request| it.rpc_method.as_deref() == Some("server/discover");
    let (probes, rest): (Vec<_>, Vec<_>) = seen.iter().cloned().partition(is_probe);
    ensure!(seen.first().is_some_and(is_probe), "the first request is {:?}", seen.first());
    modern(&probes)?;
    Ok(format!("declined, then {}", sessions(&rest)?))
}

fn without_id(gives_ids: bool, seen: &[Request]) -> Result<String> {
    legacy(seen)?;
    all(seen, "none has a session id", |it| !it.has_id)?;
    let lost = seen.iter().filter(|it| it.lost_id).count();
    ensure!((lost > 0) == gives_ids, "{lost} requests of {} lost a session id", seen.len());
    Ok(format!("{} requests, {lost} lost the session's id", seen.len()))
}

fn legacy(seen: &[Request]) -> Result<()> {
    let has_initialize = seen.iter().any(|it| it.rpc_method.as_deref() == Some("initialize"));
    ensure!(has_initialize, "no initialize");
    all(seen, "all are of a legacy version", |it| {
        it.version.as_deref() != Some(MODERN) && it.meta_version.is_none()
    })
}

/// Fails with the first request that does not fit, or without any.
fn all(seen: &[Request], what: &str, fits: impl Fn(&Request) -> bool) -> Result<()> {
    ensure!(!seen.is_empty(), "{what}, but the server got none");
    let odd = seen.iter().position(|it| !fits(it));
    ensure!(
        odd.is_none(),
        "{what}, but not request {odd:?} of {}: {:?}",
        seen.len(),
        odd.map(|at| &seen[at])
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Request, Way, check};

    fn post(method: &str, version: &str) -> Request {
        let version = (!version.is_empty()).then(|| version.to_owned());
        let http_method = "POST".to_owned();
        Request { http_method, version, rpc_method: Some(method.to_owned()), ..Request::default() }
    }

    fn modern() -> Request {
        let meta_version = Some("2026-07-28".to_owned());
        Request { is_rpc_request: true, meta_version, ..post("server/discover", "2026-07-28") }
    }

    #[test]
    fn each_sign_of_another_way_is_found() {
        let with_id = |request: Request| Request { has_id: true, ..request };
        let lost_id = |request: Request| Request { lost_id: true, ..request };
        let http =
            |method: &str| Request { http_method: method.to_owned(), has_id: true, ..Request::default() };
        let (init, list) = (post("initialize", ""), post("tools/list", "2025-11-25"));

        assert!(check(Way::Modern, true, &[modern()]).is_ok());
        let bare = Request { meta_version: None, ..modern() };
        for odd in [with_id(modern()), lost_id(modern()), http("GET"), bare, list.clone()] {
            assert!(check(Way::Modern, true, &[modern(), odd.clone()]).is_err(), "{odd:?}");
        }

        let session = [init.clone(), with_id(list.clone()), http("GET"), http("DELETE")];
        assert!(check(Way::Sessions, true, &session).is_ok());
        for odd in [list.clone(), with_id(modern()), lost_id(list.clone())] {
            assert!(check(Way::Sessions, true, &[&session[..], &[odd]].concat()).is_err());
        }
        assert!(check(Way::Sessions, true, &session[..3]).is_err(), "no DELETE");
        assert!(check(Way::Sessions, true, &session[1..]).is_err(), "no initialize");

        let declined = [&[modern()][..], &session].concat();
        assert!(check(Way::Fallback, true, &declined).is_ok());
        for odd in [list.clone(), modern(), Request { rpc_method: None, ..modern() }] {
            let after =
                [&declined[..], &[Request { rpc_method: Some("tools/list".to_owned()), ..odd }]].concat();
            assert!(check(Way::Fallback, true, &after).is_err(), "{after:?}");
        }
        assert!(check(Way::Fallback, true, &session).is_err(), "it did not ask");
        assert!(check(Way::Fallback, true, &[modern()]).is_err(), "it has no session");

        assert!(check(Way::WithoutId, true, &[init.clone(), lost_id(list.clone())]).is_ok());
        assert!(check(Way::WithoutId, false, &[init.clone(), list.clone()]).is_ok());
        assert!(check(Way::WithoutId, true, &[init.clone(), list.clone()]).is_err(), "nothing was lost");
        assert!(
            check(Way::WithoutId, false, &[init.clone(), lost_id(list.clone())]).is_err(),
            "it got an id"
        );
        assert!(check(Way::Refused, true, &[init, with_id(list)]).is_err());
        assert!(check(Way::Modern, true, &[]).is_err());
    }
}
