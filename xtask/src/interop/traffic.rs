//! What the requests of a client must look like at the server, by the way that it went.

use anyhow::{Result, ensure};

use super::clients::Way;
use super::wire::Request;

const MODERN: &str = "2026-07-28";

/// Checks all requests of one client. `gives_ids`: whether the server gives session ids.
pub(super) fn check(way: Way, gives_ids: bool, seen: &[Request]) -> Result<String> {
    ensure!(!seen.is_empty(), "the server got no request");
    let all = |what: &str, fits: &dyn Fn(&Request) -> bool| {
        let odd = seen.iter().position(|it| !fits(it));
        ensure!(
            odd.is_none(),
            "{what}, but not request {odd:?} of {}: {:?}",
            seen.len(),
            odd.map(|at| &seen[at])
        );
        Ok(())
    };
    if way == Way::Modern {
        all("each is a POST", &|it| it.http_method == "POST")?;
        all("each has the version in its header", &|it| it.version.as_deref() == Some(MODERN))?;
        all("each has the version in its envelope", &|it| {
            !it.is_rpc_request || it.meta_version.as_deref() == Some(MODERN)
        })?;
        all("none has a session id", &|it| !it.has_id && !it.lost_id)?;
        return Ok(format!("{} requests, all {MODERN}, none with a session id", seen.len()));
    }
    all("all are of a legacy version", &|it| {
        it.version.as_deref() != Some(MODERN) && it.meta_version.is_none()
    })?;
    ensure!(seen[0].rpc_method.as_deref() == Some("initialize"), "the first request is {:?}", seen[0]);
    if way == Way::Sessions {
        all("all but `initialize` have the session's id", &|it| {
            it.has_id != (it.rpc_method.as_deref() == Some("initialize"))
        })?;
        for method in ["GET", "DELETE"] {
            ensure!(seen.iter().any(|it| it.http_method == method), "no {method}");
        }
        return Ok(format!("{} requests, all but the first with the session's id", seen.len()));
    }
    all("none has a session id", &|it| !it.has_id)?;
    let lost = seen.iter().filter(|it| it.lost_id).count();
    ensure!((lost > 0) == gives_ids, "{lost} requests of {} lost a session id", seen.len());
    Ok(format!("{} requests, {lost} lost the session's id", seen.len()))
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
