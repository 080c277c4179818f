//! Access: a client never gets a byte of another client's session.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use fastrand::Rng;
use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
    future::{join_all, pending},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, request::Parts};
use mcp_session_core::{
    AllowedOrigins, AuthError, Authenticate, BoxFuture, Config, Cors, Principal, Runtime, SessionId,
    Sessions, authenticate_fn,
};
use serde_json::{Value, json};

use super::fixture::{Client, Fixture, NEVER, Reply, SOON, Work, cancel, initialize, notification, request};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    e_07_a_foreign_principal_finds_nothing,
    e_07_a_foreign_principal_keeps_no_session_alive,
    e_15_sessions_of_one_principal_are_capped,
    e_15_what_has_expired_makes_room,
    e_02_e_03_e_04_session_ids,
    b_40_cors_for_allowed_origins,
    b_40_cors_answers_and_credentials,
    b_44_the_first_check_that_fails_answers,
    b_12_a_repeated_credential,
    e_07_a_thousand_foreign_principals,
    f_23_a_thousand_foreign_replies,
    f_09_a_thousand_foreign_cancels,
    b_09_a_credential_that_lacks_a_scope,
    b_09_a_check_of_the_credential_that_waits,
}

/// Status, headers and body of a response.
type Whole = (StatusCode, HeaderMap, Vec<u8>);

/// The whole response to this client. A session that it opens is another one; it is ended, and its id, which is random,
/// is replaced.
async fn whole(client: &Client, reply: Reply) -> Whole {
    if let Some(opened) = reply.session() {
        assert_ne!(opened, client.id());
        assert_eq!(client.with_session(Some(opened)).delete().await.status, StatusCode::NO_CONTENT);
    }
    let mut headers = reply.headers.clone();
    if let Some(id) = headers.get_mut("mcp-session-id") {
        *id = HeaderValue::from_static("its own");
    }
    (reply.status, headers, reply.bytes().await)
}

/// One request of each kind that a client can send with a session id.
async fn everything(client: &Client) -> Vec<Whole> {
    let mut replies = Vec::new();
    for message in [
        request(1, "echo"),
        request("x", "ping"),
        request(3, "no/such/method"),
        notification("notifications/initialized"),
        notification("anything"),
        cancel(1),
        json!({ "jsonrpc": "2.0", "id": 0, "result": {} }),
        json!([request(1, "echo")]),
        json!([]),
        initialize("2025-11-25", "client"),
        request(4, "initialize"),             // without params
        json!({ "jsonrpc": "2.0", "id": 9 }), // no message: the same answer for every client
    ] {
        replies.push(whole(client, client.post(&message).await).await);
    }
    for (name, value) in [("mcp-protocol-version", "1999-01-01"), ("last-event-id", "0-0"), ("accept", "x/y")]
    {
        for method in [Method::GET, Method::DELETE, Method::POST] {
            let mut http = client.request(method).body(request(1, "echo").to_string()).unwrap();
            http.headers_mut().insert(name, value.parse().unwrap());
            replies.push(whole(client, client.send(http).await).await);
        }
    }
    replies.push(whole(client, client.get().await).await);
    replies.push(whole(client, client.delete().await).await);
    replies
}

/// The modes with sessions. Where sessions are optional, `initialize` with an unknown id opens another one (E-28).
const MODES: [Sessions; 2] = [Sessions::Stateful, Sessions::Optional];

/// E-06, E-07: for another principal, or without one, a session is as unknown as an id that was never issued: byte
/// for byte, on every method. The session is not affected, and its owner can still use it.
fn e_07_a_foreign_principal_finds_nothing(bed: &impl TestBed) {
    for sessions in MODES {
        let fixture = Fixture::new(bed, |config| config.sessions = sessions);
        bed.block_on(a_foreign_principal_finds_nothing(fixture, sessions));
    }
}

async fn a_foreign_principal_finds_nothing(mut fixture: Fixture, sessions: Sessions) {
    let opening = usize::from(sessions == Sessions::Optional); // one `initialize` of `everything`
    let alice = fixture.stranger().known_as(Some("alice"));
    for version in ["2025-03-26", "2025-11-25"] {
        let mut alice = alice.clone();
        alice.initialize(version).await;
        assert_eq!(alice.post(&notification("notifications/initialized")).await.status, 202);
        let mut get = alice.get().await;
        assert!(get.event().await.is_some());
        let running = alice.start(&request(1, "work"));
        let work = fixture.work().await;
        let stats = fixture.endpoint.stats();
        for foreign in [Some("bob"), Some("alice "), Some(""), None] {
            let foreign = alice.known_as(foreign);
            let unknown = foreign.with_session(Some(SessionId::from_bits(7)));
            let told = everything(&foreign).await;
            assert_eq!(told, everything(&unknown).await);
            let served = told.iter().filter(|(status, ..)| status.is_success()).count();
            let opened = told.iter().filter(|(_, headers, _)| headers.contains_key("mcp-session-id"));
            let opened = opened.count();
            assert_eq!((served, opened), (opening, opening), "{sessions:?}");
            assert_eq!(foreign.post(&request(1, "echo")).await.status, StatusCode::NOT_FOUND);
        }
        assert_eq!((work.cx.cancel_reason(), get.is_silent()), (None, true));
        let now = fixture.endpoint.stats();
        let opened = (4 + 4) * opening as u64; // by the foreign ones and the unknown ones
        assert_eq!(
            (now.sessions, now.exchanges_admitted),
            (stats.sessions, stats.exchanges_admitted + opened)
        );
        assert_eq!(work.cx.principal().map(Principal::as_str), Some("alice")); // E-19
        work.finish(json!({}));
        assert_eq!(running.head().await.answer().await["id"], 1);
        assert_eq!(alice.delete().await.status, StatusCode::NO_CONTENT);
    }
    // A session without a principal does not belong to a client with one.
    let nobody = fixture.client().await;
    assert_eq!(nobody.session().principal(), None);
    let somebody = nobody.known_as(Some("alice"));
    let unknown = somebody.with_session(Some(SessionId::from_bits(7)));
    assert_eq!(everything(&somebody).await, everything(&unknown).await);
    assert_eq!(nobody.post(&request(1, "echo")).await.status, StatusCode::OK);
}

/// E-07: requests of a foreign principal do not keep a session from expiring.
fn e_07_a_foreign_principal_keeps_no_session_alive(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.idle_timeout = SOON);
    bed.block_on(async {
        let mut alice = fixture.stranger().known_as(Some("alice"));
        alice.initialize("2025-11-25").await;
        alice.post(&notification("notifications/initialized")).await;
        let bob = alice.known_as(Some("bob"));
        while fixture.endpoint.stats().sessions == 1 {
            assert_eq!(bob.post(&request(1, "ping")).await.status, StatusCode::NOT_FOUND);
            fixture.elapse(SOON / 8).await;
        }
    });
}

/// E-15: the number of sessions of one principal is capped. Other principals are not affected.
fn e_15_sessions_of_one_principal_are_capped(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.max_sessions_per_principal = 2);
    bed.block_on(async {
        let open = |name: &'static str| {
            let client = fixture.stranger().known_as(Some(name));
            async move {
                let opened = client.post(&initialize("2025-11-25", "client")).await;
                let used = client.with_session(opened.session());
                used.post(&notification("notifications/initialized")).await; // otherwise it would be ended to make room
                opened
            }
        };
        let first = open("alice").await;
        assert_eq!(open("alice").await.status, 200);
        let refused = open("alice").await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
        assert_eq!((open("bob").await.status.as_u16(), fixture.endpoint.stats().sessions), (200, 3));
        let alice = fixture.stranger().known_as(Some("alice")).with_session(first.session());
        assert_eq!(alice.delete().await.status, 204);
        while open("alice").await.status != 200 {
            fixture.elapse(SOON / 8).await; // its place is free once nothing of the session is left
        }
    });
}

/// A runtime that never runs its first task: the one that keeps an endpoint's deadlines.
#[derive(Debug)]
struct Neglectful(Arc<dyn Runtime>, AtomicBool);

impl Runtime for Neglectful {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if self.1.swap(true, Relaxed) {
            self.0.spawn(task);
        }
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.0.random()
    }
}

/// E-15: at the cap, expired sessions are removed first, even if the driver has not noticed them yet.
fn e_15_what_has_expired_makes_room(bed: &impl TestBed) {
    let runtime = Arc::new(Neglectful(bed.runtime(), AtomicBool::new(false)));
    let fixture = Fixture::on(runtime, |config| {
        config.max_sessions = 2;
        config.session.idle_timeout = SOON;
        config.session.initialize_timeout = NEVER;
    });
    bed.block_on(async {
        let (first, second) = (fixture.client().await, fixture.client().await);
        fixture.elapse(SOON).await;
        assert_eq!(fixture.endpoint.stats().sessions, 2);
        let third = fixture.client().await;
        assert_eq!(fixture.endpoint.stats().sessions, 1);
        for gone in [first, second] {
            assert_eq!(gone.post(&request(1, "ping")).await.status, 404);
        }
        assert_eq!(third.post(&request(1, "ping")).await.status, 200);
    });
}

/// E-02 to E-04: ids have 128 random bits in visible ASCII, are unique, and are not ordered.
fn e_02_e_03_e_04_session_ids(bed: &impl TestBed) {
    const SESSIONS: usize = 128;
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut ids: Vec<u128> = Vec::new();
        for _ in 0..SESSIONS {
            let opened = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
            let id = opened.header("mcp-session-id");
            assert!(id.len() == 32 && id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{id}");
            ids.push(u128::from_str_radix(id, 16).unwrap());
        }
        // Every bit is set in some ids and clear in others. With random bits, this fails once in 2^120 runs.
        let (all, any) = ids.iter().fold((u128::MAX, 0), |(all, any), id| (all & id, any | id));
        assert_eq!((all, any), (0, u128::MAX), "a bit that never changes");
        assert!(!ids.is_sorted());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), SESSIONS);
    });
}

const APP: &str = "https://app.example.com";

fn with(client: &Client, method: Method, headers: &[(&str, &str)]) -> http::Request<String> {
    let mut http = client.request(method).body(request(9, "echo").to_string()).unwrap();
    for (name, value) in headers {
        http.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    http
}

/// The names in a header that contains a list.
fn names(reply: &Reply, header: &str) -> Vec<String> {
    reply.header(header).split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// B-40: with CORS on, every response tells a page of an allowed origin what it may send and read. Other origins are
/// refused as without CORS.
fn b_40_cors_for_allowed_origins(bed: &impl TestBed) {
    let refuse = |_: &mut Parts| -> Result<(), AuthError> {
        Err(AuthError::Unauthorized(HeaderValue::from_static("Bearer")))
    };
    let fixture = Fixture::new(bed, |config| {
        config.allowed_origins.allow(APP).unwrap();
        let mut cors = Cors::default();
        cors.request_headers.push(http::HeaderName::from_static("x-api-key"));
        config.cors = Some(cors);
        config.authenticate = Some(Arc::new(refuse) as Arc<dyn Authenticate>);
    });
    bed.block_on(async {
        let page = fixture.stranger();
        // Before the credential is checked: a preflight request has none.
        for asked in ["POST", "GET", "DELETE"] {
            let asks = [("origin", APP), ("access-control-request-method", asked)];
            let told = page.send(with(&page, Method::OPTIONS, &asks)).await;
            assert_eq!((told.status.as_u16(), told.header("access-control-allow-origin")), (204, APP));
            assert_eq!(names(&told, "access-control-allow-methods"), ["get", "post", "delete"]);
            let allowed = names(&told, "access-control-allow-headers");
            for name in [
                "mcp-session-id",
                "mcp-protocol-version",
                "last-event-id",
                "mcp-method",
                "mcp-name",
                "authorization",
                "content-type",
                "x-api-key",
            ] {
                assert!(allowed.iter().any(|allowed| allowed == name), "{name}: {allowed:?}");
            }
            assert_eq!((told.header("access-control-max-age"), told.header("vary")), ("7200", "origin"));
            assert_eq!(told.header("access-control-allow-credentials"), "");
            assert!(told.bytes().await.is_empty());
        }
        // Errors are readable too, so that a page can learn that it must log in.
        let refused = page.send(with(&page, Method::POST, &[("origin", APP)])).await;
        assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (401, APP));
        let exposed = names(&refused, "access-control-expose-headers");
        assert!(["mcp-session-id", "www-authenticate"].iter().all(|name| exposed.iter().any(|n| n == name)));
        // Without an origin there are no CORS headers, but a cache must know that the response depends on it.
        let other = page.send(with(&page, Method::POST, &[])).await;
        assert_eq!((other.header("access-control-allow-origin"), other.header("vary")), ("", "origin"));
        for (origin, host) in [("https://evil.example.com", "localhost"), ("null", "localhost")] {
            for method in [Method::OPTIONS, Method::POST] {
                let asks = [("origin", origin), ("host", host), ("access-control-request-method", "POST")];
                let refused = page.send(with(&page, method, &asks)).await;
                assert_eq!(
                    (refused.status.as_u16(), refused.header("access-control-allow-origin")),
                    (403, "")
                );
            }
        }
        let asks = [("origin", APP), ("host", "evil.example.com"), ("access-control-request-method", "POST")];
        assert_eq!(page.send(with(&page, Method::OPTIONS, &asks)).await.status, 403);
        // An OPTIONS that is no preflight gets the same as every method that is not offered.
        assert_eq!(page.send(with(&page, Method::OPTIONS, &[("origin", APP)])).await.status, 405);
    });
}

/// B-40: CORS on the responses themselves; and credentials, which cannot be combined with a wildcard.
fn b_40_cors_answers_and_credentials(bed: &impl TestBed) {
    let any = |config: &mut Config| config.allowed_origins = AllowedOrigins::any();
    for (everybody, credentials, told) in [(false, true, "true"), (false, false, ""), (true, true, "")] {
        let fixture = Fixture::new(bed, |config| {
            config.allowed_origins.allow(APP).unwrap();
            everybody.then(|| any(config));
            let mut cors = Cors::default();
            cors.credentials = credentials;
            config.cors = Some(cors);
            config.standalone_streams = false;
        });
        bed.block_on(async {
            let client = fixture.client().await;
            let answer = client.send(with(&client, Method::POST, &[("origin", APP)])).await;
            assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, APP));
            assert_eq!(answer.header("access-control-allow-credentials"), told);
            assert!(names(&answer, "access-control-expose-headers").contains(&"mcp-session-id".to_owned()));
            let asks = [("origin", APP), ("access-control-request-method", "GET")];
            let told = client.send(with(&client, Method::OPTIONS, &asks)).await;
            assert_eq!(names(&told, "access-control-allow-methods"), ["post", "delete"]); // the offered methods
        });
    }
    // Off, the default: no CORS header at all.
    let fixture = Fixture::new(bed, |config| {
        config.allowed_origins.allow(APP).unwrap();
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let asks = [("origin", APP), ("access-control-request-method", "POST")];
        for (method, status) in [(Method::POST, 200), (Method::OPTIONS, 405)] {
            let reply = client.send(with(&client, method, &asks)).await;
            assert_eq!((reply.status.as_u16(), reply.header("vary")), (status, ""));
            assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
        }
    });
}

/// B-44: if several things are wrong with a request, the first check that fails determines the answer.
fn b_44_the_first_check_that_fails_answers(bed: &impl TestBed) {
    let check = |parts: &mut Parts| match parts.headers.contains_key("x-stranger") {
        true => Err(AuthError::Unauthorized(HeaderValue::from_static("Bearer"))),
        false => Ok(()),
    };
    let mut fixture = Fixture::new(bed, |config| {
        config.body_limit = 2_000;
        config.session.max_exchanges = 1;
        config.authenticate = Some(Arc::new(check) as Arc<dyn Authenticate>);
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        // The faults, in the order of the checks. Each is added to all that follow it.
        type Fault = fn(&mut http::Request<String>);
        fn set(http: &mut http::Request<String>, name: &'static str, value: &'static str) {
            http.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let faults: [(u16, i64, Fault); 12] = [
            (403, -32600, |http| set(http, "host", "evil.example.com")),
            (403, -32600, |http| set(http, "origin", "null")),
            (405, -32600, |http| *http.method_mut() = Method::PATCH),
            (401, -32600, |http| set(http, "x-stranger", "1")),
            (406, -32600, |http| set(http, "accept", "text/html")),
            (415, -32600, |http| set(http, "content-type", "text/plain")),
            (413, -32600, |http| *http.body_mut() = " ".repeat(2_001)),
            (400, -32700, |http| *http.body_mut() = "{".into()),
            (400, -32600, |http| *http.body_mut() = r#"{"jsonrpc":"2.0","id":9}"#.into()),
            (404, -32001, |http| set(http, "mcp-session-id", "x")),
            (400, -32600, |http| set(http, "mcp-protocol-version", "x")),
            (503, -32000, |_| {}), // the limit of running requests is reached
        ];
        for first in 0..faults.len() {
            let mut http = client.request(Method::POST).body(request(9, "echo").to_string()).unwrap();
            // From the last to the first, so that of several bodies the first one is sent.
            for (_, _, fault) in faults[first..].iter().rev() {
                fault(&mut http);
            }
            let (status, code, _) = faults[first];
            let reply = client.send(http).await;
            assert_eq!(reply.status.as_u16(), status, "fault {first}");
            assert_eq!(reply.json().await["error"]["code"], code, "fault {first}");
        }
        assert_eq!(fixture.endpoint.stats().exchanges_admitted, 2); // none of these requests was dispatched
        work.finish(json!({}));
        assert_eq!(running.head().await.answer().await["id"], 1);
    });
}

/// B-12: a repeated credential is refused, whatever its values.
fn b_12_a_repeated_credential(bed: &impl TestBed) {
    let good = |parts: &mut Parts| match parts.headers.get("authorization") {
        Some(value) if value == "Bearer good" => Ok(()),
        _ => Err(AuthError::Forbidden),
    };
    let fixture = Fixture::new(bed, |config| {
        config.authenticate = Some(Arc::new(good) as Arc<dyn Authenticate>);
    });
    bed.block_on(async {
        let client = fixture.stranger();
        let mut http = with(&client, Method::POST, &[("authorization", "Bearer good")]);
        *http.body_mut() = initialize("2025-11-25", "client").to_string();
        http.headers_mut().append("authorization", "Bearer other".parse().unwrap());
        assert_eq!(client.send(http.clone()).await.status, 400);
        http.headers_mut().insert("authorization", "Bearer good".parse().unwrap());
        assert_eq!(client.send(http).await.status, 200);
    });
}

/// Attempts of each kind.
const ATTEMPTS: usize = 1_000;

/// A client, its open GET stream, its running call, and a secret that the call sends. No other client may see the
/// secret.
struct Victim {
    client: Client,
    name: String,
    secret: String,
    get: Reply,
    call: Reply,
    work: Work,
}

impl Victim {
    /// Creates busy sessions of a few principals, some without a principal.
    async fn some(fixture: &mut Fixture, n: usize) -> Vec<Self> {
        let mut victims = Vec::new();
        for number in 0..n {
            let name = format!("principal {}", number % 4);
            let mut client = fixture.stranger().known_as((number % 4 != 0).then_some(name.as_str()));
            client.initialize(["2025-03-26", "2025-06-18", "2025-11-25"][number % 3]).await;
            client.post(&notification("notifications/initialized")).await;
            let get = client.get().await;
            let running = client.start(&request(1, "work"));
            let work = fixture.work().await;
            let secret = format!("secret {number} of many");
            work.cx.notify("notifications/message", Some(&json!({ "data": secret }))).await.unwrap();
            client.session().notify("notifications/message", Some(&json!({ "data": secret }))).await.unwrap();
            victims.push(Self { client, name, secret, get, call: running.head().await, work });
        }
        victims
    }

    /// Finishes the call and asserts that the client has received exactly its own messages, each once.
    async fn finds_itself_unharmed(mut self) {
        assert_eq!(self.work.cx.cancel_reason(), None);
        self.work.finish(json!({ "data": self.secret }));
        let mut seen = self.call.messages().await;
        assert_eq!(
            (&seen[0]["params"]["data"], &seen[1]["result"]["data"]),
            (&json!(self.secret), &json!(self.secret))
        );
        assert_eq!(seen.split_off(2), [json!(null); 0]);
        assert_eq!(self.get.message().await.unwrap()["params"]["data"], self.secret);
        assert!(self.get.is_silent());
        assert_eq!(self.client.post(&request(2, "echo")).await.status, StatusCode::OK);
    }
}

/// E-07: a client with another client's session id but without its credential gets the answer for an unknown id, byte
/// for byte, for every kind of request.
fn e_07_a_thousand_foreign_principals(bed: &impl TestBed) {
    for sessions in MODES {
        let fixture = Fixture::new(bed, |config| config.sessions = sessions);
        bed.block_on(a_thousand_foreign_principals(fixture, sessions));
    }
}

async fn a_thousand_foreign_principals(mut fixture: Fixture, sessions: Sessions) {
    let victims = Victim::some(&mut fixture, 12).await;
    let mut rng = Rng::with_seed(7);
    let mut attempt = 0;
    while attempt < ATTEMPTS {
        let (victim, thief) = (&victims[rng.usize(..12)], &victims[rng.usize(..12)]);
        let foreign = match rng.usize(..4) {
            0 => victim.client.known_as(Some(&format!("{}{attempt}", victim.name))),
            1 => victim.client.known_as(None),
            _ => thief.client.with_session(Some(victim.client.id())),
        };
        if foreign.principal() == victim.client.principal() {
            continue; // the owner itself
        }
        attempt += 1;
        let unknown = foreign.with_session(Some(SessionId::from_bits(u128::from(rng.u64(..)))));
        let id = rng.usize(..4);
        let message = match rng.usize(..8) {
            0 => json!({ "jsonrpc": "2.0", "id": id, "result": {} }),
            1 => cancel(id),
            2 => request(id, "ping"),
            3 => initialize("2025-11-25", "client"),
            4 => notification("notifications/initialized"),
            5 => json!([request(id, "echo"), cancel(1)]),
            _ => request(id, ["echo", "work", "no/such"][rng.usize(..3)]),
        };
        let method =
            [Method::POST, Method::POST, Method::POST, Method::GET, Method::DELETE][rng.usize(..5)].clone();
        let mut answers = Vec::new();
        for client in [&foreign, &unknown] {
            let http = client.request(method.clone()).body(message.to_string()).unwrap();
            answers.push(whole(client, client.send(http).await).await);
        }
        assert_eq!(answers[0], answers[1], "attempt {attempt}: {method} {message}");
        let opens = sessions == Sessions::Optional
            && (&method, &message["method"]) == (&Method::POST, &json!("initialize"));
        let status = if opens { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(answers[0].0, status, "attempt {attempt}: {method} {message}");
    }
    for victim in victims {
        victim.finds_itself_unharmed().await;
    }
}

/// F-23, B-19: a reply counts only in its own session. A thousand replies from other sessions, with the right ids,
/// are accepted, dropped, and change nothing.
fn f_23_a_thousand_foreign_replies(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let victims = Victim::some(&mut fixture, 12).await;
        let mut rng = Rng::with_seed(23);
        // The first six ask their clients something. The others, which were asked nothing, reply.
        let asking =
            victims[..6].iter().map(|victim| victim.work.cx.request("roots/list", None::<&()>, NEVER));
        let asking = join_all(asking);
        let attacks = async {
            for _ in 0..ATTEMPTS {
                let thief = &victims[6 + rng.usize(..6)].client;
                let (id, outcome) = (rng.usize(..3), ["result", "error"][rng.usize(..2)]);
                let content = json!({ "code": -1, "message": "stolen" });
                let reply = json!({ "jsonrpc": "2.0", "id": id, outcome: content });
                assert_eq!(thief.post(&reply).await.status, StatusCode::ACCEPTED);
                let named = thief.with_session(Some(SessionId::from_bits(u128::from(rng.u64(..)))));
                assert_eq!(named.post(&reply).await.status, StatusCode::NOT_FOUND);
            }
            for victim in &victims[..6] {
                let roots = json!({ "roots": [victim.secret] });
                let own = json!({ "jsonrpc": "2.0", "id": 0, "result": roots });
                assert_eq!(victim.client.post(&own).await.status, StatusCode::ACCEPTED);
            }
        };
        let (replies, ()) = futures::join!(asking, attacks);
        for (reply, victim) in replies.iter().zip(&victims) {
            assert_eq!(reply.as_ref().unwrap().parse::<Value>().unwrap()["roots"][0], victim.secret);
        }
        for mut victim in victims {
            let asked = victim.call.message().await.unwrap();
            assert_eq!(asked["params"]["data"], victim.secret);
            victim.work.finish(json!({}));
            let rest = victim.call.messages().await;
            assert!(rest.iter().all(|message| !message.to_string().contains("stolen")), "{rest:?}");
        }
    });
}

/// F-09: a cancel is effective only within its own session.
fn f_09_a_thousand_foreign_cancels(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let victims = Victim::some(&mut fixture, 6).await;
        let (thief, mut rng) = (fixture.client().await, Rng::with_seed(9));
        for _ in 0..ATTEMPTS {
            let id = [json!(1), json!("1"), json!(0), json!(rng.usize(..9))][rng.usize(..4)].clone();
            assert_eq!(thief.post(&cancel(id)).await.status, StatusCode::ACCEPTED);
        }
        for victim in victims {
            victim.finds_itself_unharmed().await;
        }
    });
}

/// B-09: a valid credential that lacks a scope gets 403 with a challenge that names the scope: from the credential
/// check, and from a handler as long as the response has not begun. Later, and in a batch, it is an ordinary error.
fn b_09_a_credential_that_lacks_a_scope(bed: &impl TestBed) {
    const CHALLENGE: &str = r#"Bearer error="insufficient_scope", scope="write""#;
    let check = |parts: &mut Parts| match parts.headers.get("authorization") {
        Some(value) if value == "Bearer write" => Ok(()),
        _ => Err(AuthError::insufficient_scope("write")),
    };
    let fixture = Fixture::new(bed, |config| config.authenticate = Some(Arc::new(check)));
    bed.block_on(async {
        let refused = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (StatusCode::FORBIDDEN, CHALLENGE));
        assert_eq!(refused.json().await["error"]["code"], -32600);
        let http = fixture.stranger().request(Method::POST).header("authorization", "Bearer write");
        let opened =
            fixture.stranger().send(http.body(initialize("2025-11-25", "c").to_string()).unwrap()).await;
        assert_eq!(opened.status, StatusCode::OK);
    });

    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let scope = AuthError::insufficient_scope;
        let refused = fixture.stranger().post(&initialize("2025-11-25", "lacks a scope")).await;
        assert_eq!((refused.status, refused.session()), (StatusCode::FORBIDDEN, None));
        assert!(refused.header("www-authenticate").contains(r#"scope="sessions""#));
        assert_eq!(refused.json().await["id"], 0);

        let client = fixture.json_client().await;
        let before = fixture.endpoint.stats();
        for accept in ["application/json, text/event-stream", "application/json", "text/event-stream"] {
            let refused = client.accepting(accept).post(&request(7, "write")).await; // at the first poll of the handler
            assert_eq!(
                (refused.status, refused.header("www-authenticate")),
                (StatusCode::FORBIDDEN, CHALLENGE)
            );
            let error = refused.json().await;
            assert_eq!((&error["id"], &error["error"]["code"]), (&json!(7), &json!(-32600)), "{accept}");
        }
        for (error, status, challenge) in [
            (AuthError::Forbidden, 403, ""),
            (scope("a b"), 403, r#"Bearer error="insufficient_scope", scope="a b""#),
            (AuthError::Unauthorized(HeaderValue::from_static("Bearer")), 401, "Bearer"),
            (AuthError::Malformed, 400, ""),
            (AuthError::Unavailable, 503, ""),
        ] {
            let running = client.start(&request("later", "work"));
            fixture.work().await.fail(error.into()); // later, but before anything was sent
            let refused = running.head().await;
            assert_eq!((refused.status.as_u16(), refused.header("www-authenticate")), (status, challenge));
            assert_eq!(refused.json().await["id"], "later");
        }
        let after = fixture.endpoint.stats();
        assert_eq!(after.exchanges_answered, before.exchanges_answered + 8); // the handler has answered
        // B-21: once the head was sent, the status cannot change.
        let primed = fixture.client().await;
        for (client, sends) in [(&client, true), (&primed, false)] {
            let running = client.start(&request("e", "work"));
            let work = fixture.work().await;
            if sends {
                work.cx.notify("notifications/message", None::<&()>).await.unwrap();
            }
            let reply = running.head().await;
            assert_eq!((reply.status, reply.header("www-authenticate")), (StatusCode::OK, ""));
            work.fail(scope("write").into());
            assert_eq!(reply.answer().await["error"]["code"], -32600);
        }
        let batch = fixture.client_of("2025-03-26").await.accepting("application/json");
        let answers = batch.post(&json!([request(1, "write"), request(2, "echo")])).await;
        assert_eq!((answers.status, answers.header("www-authenticate")), (StatusCode::OK, ""));
        assert_eq!(answers.json().await[0]["error"]["code"], -32600);
    });
}

/// B-09, B-10: the credential check may be asynchronous. It runs before anything else of the request is looked at,
/// delays no other request, and has a deadline. Extensions that it adds to the request reach the handler.
fn b_09_a_check_of_the_credential_that_waits(bed: &impl TestBed) {
    let check = |asked: mpsc::UnboundedSender<Question>| {
        authenticate_fn(move |mut parts: Parts| {
            let asked = asked.clone();
            async move {
                let (answer, answered) = oneshot::channel();
                asked.unbounded_send(answer).expect("the scenario goes on");
                match answered.await {
                    Ok(Some(name)) => {
                        parts.extensions.insert(Principal::new(name));
                        Ok(parts)
                    }
                    Ok(None) => Err(AuthError::Unauthorized(HeaderValue::from_static("Bearer"))),
                    Err(oneshot::Canceled) => pending().await,
                }
            }
        })
    };
    let fixture = |timeout| {
        let (asked, questions) = mpsc::unbounded();
        let fixture = Fixture::new(bed, |config| {
            config.authenticate = Some(Arc::new(check(asked)));
            config.authenticate_timeout = timeout;
        });
        (fixture, questions)
    };
    let (late, mut unanswered) = fixture(SOON);
    let (mut fixture, mut questions) = fixture(NEVER);
    bed.block_on(async {
        let (hello, ping, echo) =
            (initialize("2025-11-25", "client"), request(2, "ping"), request(3, "echo"));
        let stranger = fixture.stranger();
        let (opened, ()) = futures::join!(stranger.post(&hello), answer(&mut questions, Some("alice")));
        assert_eq!(opened.status, StatusCode::OK);
        let client = stranger.with_session(opened.session());
        assert_eq!(client.session().principal().map(Principal::as_str), Some("alice"));

        // A check that waits delays no other request.
        let mut waits = client.start(&request(1, "work"));
        let first = questions.next().await.unwrap();
        let (pong, ()) = futures::join!(client.post(&ping), answer(&mut questions, Some("alice")));
        assert_eq!(pong.status, StatusCode::OK);
        assert!(waits.head_now().is_none());
        first.send(Some("alice")).unwrap();
        let work = fixture.work().await;
        assert_eq!(work.cx.extensions().get::<Principal>().map(Principal::as_str), Some("alice"));
        work.finish(json!({}));
        assert_eq!(waits.head().await.answer().await["id"], 1);

        // A refused request is refused before its body is read (B-44); a foreign session is unknown (E-07).
        for (name, garbage, good) in [(None, 401, 401), (Some("bob"), 400, 404)] {
            let (refused, ()) = futures::join!(client.post_text("{"), answer(&mut questions, name));
            assert_eq!(refused.status.as_u16(), garbage, "{name:?}");
            let (refused, ()) = futures::join!(client.post(&echo), answer(&mut questions, name));
            assert_eq!(refused.status.as_u16(), good, "{name:?}");
        }
        assert_eq!(fixture.endpoint.stats().exchanges, 0);

        let (begin, stranger) = (late.runtime.now(), late.stranger());
        let never = async { drop(unanswered.next().await.unwrap()) };
        let (refused, ()) = futures::join!(stranger.post(&hello), never);
        assert!(late.runtime.now() >= begin + SOON);
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
        let error = refused.json().await;
        assert_eq!(error["error"]["data"], json!({ "reason": "authentication", "retryable": true }));
        assert_eq!(late.endpoint.stats().sessions_created, 0);
    });
}

/// Where a waiting credential check receives the name of its principal, or `None`.
type Question = oneshot::Sender<Option<&'static str>>;

async fn answer(questions: &mut mpsc::UnboundedReceiver<Question>, name: Option<&'static str>) {
    questions.next().await.expect("the check goes on").send(name).expect("somebody waits");
}
