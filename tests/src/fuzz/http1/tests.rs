use std::fs;

use super::{Seen, Verdict, compare, differences::STRICTER, seen_by_adapter, seen_by_hyper};
use crate::fuzz::tests::fails;

fn request(target: &str, body: Result<&str, &str>) -> Seen {
    Seen {
        method: "POST".to_owned(),
        target: target.to_owned(),
        is_old: false,
        fields: Vec::new(),
        body: body.map(|body| body.as_bytes().to_vec()).map_err(str::to_owned),
    }
}

fn verdict<const N: usize>(requests: [Seen; N], refused: Option<&str>) -> Verdict {
    Verdict { requests: requests.into(), refused: refused.map(str::to_owned) }
}

#[test]
fn a_difference_that_is_not_in_the_table_is_found() {
    let one = || request("/a", Ok("x"));
    let known = Some("a line has to end in CR LF");
    compare(&verdict([one()], None), &verdict([one()], None));
    compare(&verdict([one()], known), &verdict([one(), one()], None));
    compare(&verdict([], Some("the head cannot be read")), &verdict([], Some("invalid")));
    for (what, ours, theirs) in [
        ("smuggled", verdict([one(), one()], None), verdict([one()], None)),
        ("accepted", verdict([one()], None), verdict([], Some("invalid"))),
        ("refused", verdict([], Some("the head cannot be read")), verdict([one()], None)),
        ("lost", verdict([one()], None), verdict([one(), one()], None)),
        ("target", verdict([request("/b", Ok("x"))], None), verdict([one()], None)),
        ("body", verdict([request("/a", Ok("y"))], None), verdict([one()], None)),
        ("body accepted", verdict([one()], None), verdict([request("/a", Err("no"))], None)),
        ("body refused", verdict([request("/a", Err("odd"))], None), verdict([one()], None)),
        ("rest", verdict([one()], Some("odd")), verdict([one()], None)),
    ] {
        assert!(fails(|| compare(&ours, &theirs)), "{what}");
    }
}

#[test]
fn both_servers_see_the_whole_connection() {
    let input =
        b"POST /a?b HTTP/1.1\r\nHost: localhost\r\nX: 1\r\nContent-Length: 2\r\n\r\nhiPOST /c HTTP/1.1\r\n\
        Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET / HTTP/2.0\r\n\r\n";
    for size in [1, 7, 4096] {
        for seen in [seen_by_adapter(input, size), seen_by_hyper(input, size)] {
            let requests: Vec<_> =
                seen.requests.iter().map(|it| (&*it.method, &*it.target, it.body.as_deref().ok())).collect();
            assert_eq!(requests, [("POST", "/a?b", Some(&b"hi"[..])), ("POST", "/c", Some(b"x"))]);
            assert!(seen.refused.is_some());
            assert!(seen.requests[0].fields.contains(&("x".to_owned(), b"1".to_vec())), "{seen:?}");
        }
    }
}

/// Each entry of the table is needed: an input of the corpus is refused for it by the adapter, and not by hyper.
#[test]
fn the_table_has_no_difference_that_does_not_occur() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/http1");
    let inputs =
        fs::read_dir(folder).expect("it is there").map(|file| fs::read(file.expect("a file").path()));
    let verdicts: Vec<_> = inputs
        .map(|input| input.expect("it can be read"))
        .map(|input| (seen_by_adapter(&input, 4096), seen_by_hyper(&input, 4096)))
        .collect();
    let missing: Vec<_> = STRICTER
        .iter()
        .map(|(reason, _)| *reason)
        .filter(|reason| {
            let occurs = verdicts.iter().any(|(ours, theirs)| {
                let is_it = |own: Option<&str>| own == Some(*reason);
                let in_body = ours.requests.iter().zip(&theirs.requests).any(|(own, other)| {
                    is_it(own.body.as_ref().err().map(String::as_str)) && other.body.is_ok()
                });
                in_body || (is_it(ours.refused.as_deref()) && theirs.requests.len() > ours.requests.len())
            });
            !occurs
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
