//! Foreign code that panics: only the one call fails.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Method, StatusCode, request::Parts};
use http_body::{Body, Frame};
use mcp_session_core::{
    AuthError, BoxFuture, ShutdownPolicy,
    store::{MemoryStore, Store},
};
use serde_json::{Value, json};

use super::{
    fixture::{Client, Fixture, NEVER, Reply, SOON, initialize, notification, planted, request},
    intercepted::{Intercept, Intercepted},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_8_s_13_a_store_that_panics_is_asked_again,
    b_43_a_credential_check_that_panics,
    b_43_a_body_that_panics,
    a_21_a_batch_whose_extensions_panic,
}

/// A store panics once, at the next call of this method.
#[derive(Debug)]
struct Panicky {
    at: &'static str,
    /// Whether it panics in the call itself or when the returned future is polled.
    early: bool,
    armed: AtomicBool,
}

impl Panicky {
    fn shake(&self, method: &str) {
        if method == self.at && self.armed.swap(false, SeqCst) {
            planted("foreign code panics");
        }
    }
}

impl Intercept for Panicky {
    fn called(&self, method: &str) {
        if self.early {
            self.shake(method);
        }
    }

    fn polled(&self, method: &'static str) -> BoxFuture<'_, ()> {
        async move { self.shake(method) }.boxed()
    }
}

/// POSTs again while the store does not answer, as a client does.
async fn post_again(client: &Client, message: &Value) -> Reply {
    let reply = client.post(message).await;
    if reply.status != StatusCode::SERVICE_UNAVAILABLE {
        return reply;
    }
    client.post(message).await
}

const BROADCAST: &str = "notifications/z";

/// The next message that is not broadcast.
async fn next(listening: &mut Reply) -> Option<Value> {
    loop {
        match listening.message().await {
            Some(message) if message["method"] == BROADCAST => {}
            other => return other,
        }
    }
}

/// Uses a session at two nodes.
async fn visit(a: &mut Fixture, b: &Fixture) {
    a.endpoint.notify(BROADCAST, None::<&()>).expect("it has no params"); // for all who are at `b` when it arrives there

    let opened = post_again(&a.stranger(), &initialize("2025-11-25", "client")).await;
    assert_eq!(opened.status, StatusCode::OK);
    let client = a.stranger().with_session(opened.session());
    let elsewhere = client.at(b);
    assert_eq!(post_again(&client, &notification("notifications/initialized")).await.status, 202);

    // A call runs at `a` and is read at `b`; a standalone notification is sent at `a` and read at `b`.
    assert_eq!(post_again(&elsewhere, &request(9, "ping")).await.status, StatusCode::OK);
    let mut listening = elsewhere.get().await;
    listening.opened().await;
    let started = client.start(&request(1, "work"));
    let work = a.work().await;
    work.cx.notify("notifications/x", None::<&()>).await.expect("the call goes on");
    client.session().notify("notifications/y", None::<&()>).await.expect("the session goes on");
    work.finish(json!({}));
    let messages = started.head().await.messages().await;
    assert_eq!((messages.len(), &messages[1]["id"]), (2, &json!(1)), "{messages:?}");
    assert_eq!(next(&mut listening).await.expect("it goes on")["method"], "notifications/y");

    // Deleted at one node, it has ended at the other.
    assert_eq!(elsewhere.delete().await.status, StatusCode::NO_CONTENT);
    assert_eq!(next(&mut listening).await, None);
    while client.post(&request(2, "ping")).await.status != StatusCode::NOT_FOUND {
        a.elapse(Duration::from_millis(1)).await;
    }
}

/// S8, S13: a store call that panics counts as a call that was not answered. It is repeated, and no session, node or
/// stream is lost.
fn s_8_s_13_a_store_that_panics_is_asked_again(bed: &impl TestBed) {
    bed.block_on(async {
        for (at, early) in [
            "append",
            "publish",
            "read",
            "watch",
            "failover",
            "create",
            "load",
            "update",
            "touch",
            "sweep",
            "remove",
            "enlist",
            "send",
            "receive",
            "announce",
            "announced",
            "park",
            "leave",
            "agree",
        ]
        .into_iter()
        .flat_map(|at| [(at, false), (at, true)])
        {
            let by = Panicky { at, early, armed: AtomicBool::new(false) };
            let panicky = Arc::new(Intercepted { store: MemoryStore::new(bed.runtime()), by });
            let mut store = Store::new(MemoryStore::new(bed.runtime()));
            store.events = Arc::clone(&panicky) as _;
            store.sessions = Arc::clone(&panicky) as _;
            store.peers = Arc::clone(&panicky) as _;
            store.touch_interval = SOON;
            let fixture = || Fixture::new(bed, |config| config.store = Some(store.clone()));
            // Calls that a node waits on panic when the wait begins.
            panicky.by.armed.store(matches!(at, "failover" | "receive" | "announced" | "agree"), SeqCst);
            let (mut a, b) = (fixture(), fixture());
            visit(&mut a, &b).await;
            panicky.by.armed.store(!matches!(at, "failover" | "park" | "leave" | "agree"), SeqCst);
            visit(&mut a, &b).await;
            visit(&mut a, &b).await;
            if matches!(at, "touch" | "sweep") {
                a.until(|_| !panicky.by.armed.load(SeqCst)).await;
            }
            let parked = a.client().await;
            panicky.by.armed.fetch_or(matches!(at, "park" | "leave"), SeqCst);
            let policy =
                ShutdownPolicy { lame_duck: Duration::ZERO, drain: NEVER, cancel: NEVER, finish: NEVER };
            let report = a.endpoint.shutdown(policy).await;
            assert!(report.is_clean(), "{at}: {report}");
            assert_eq!(parked.at(&b).post(&request(1, "echo")).await.status, StatusCode::OK, "{at}");
            b.until(|_| !panicky.by.armed.load(SeqCst)).await; // wait until it has panicked
        }
    });
}

/// A credential check that panics refuses its request with 500 and -32603. The next request is served.
fn b_43_a_credential_check_that_panics(bed: &impl TestBed) {
    let armed = Arc::new(AtomicBool::new(false));
    let fixture = Fixture::new(bed, |config| {
        let armed = Arc::clone(&armed);
        config.authenticate = Some(Arc::new(move |_: &mut Parts| -> Result<(), AuthError> {
            if armed.swap(false, SeqCst) { planted("foreign code panics") } else { Ok(()) }
        }));
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let refused_before = fixture.endpoint.stats().requests_refused;
        for method in [Method::POST, Method::GET, Method::DELETE] {
            armed.store(true, SeqCst);
            let body = request(1, "echo").to_string();
            let reply = client.send(client.request(method).body(body).expect("a request")).await;
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(reply.json().await["error"]["code"], -32603);
        }
        assert_eq!(fixture.endpoint.stats().requests_refused, refused_before + 3);
        assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
    });
}

/// A body, as from a layer in front, that panics at this frame.
struct PanickyBody {
    frames: u32,
}

impl Body for PanickyBody {
    type Data = Bytes;
    type Error = PanickyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PanickyError>>> {
        match self.frames.checked_sub(1) {
            None => planted("foreign code panics"),
            Some(left) => {
                self.frames = left;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{")))))
            }
        }
    }
}

/// An error whose text cannot be formatted.
struct PanickyError;

impl std::fmt::Display for PanickyError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        planted("foreign code panics")
    }
}

impl std::fmt::Debug for PanickyError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        planted("foreign code panics")
    }
}

impl std::error::Error for PanickyError {}

/// A body that fails with an error whose `Display` panics.
struct FailingBody;

impl Body for FailingBody {
    type Data = Bytes;
    type Error = PanickyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PanickyError>>> {
        Poll::Ready(Some(Err(PanickyError)))
    }
}

/// A body that panics while it is read, or whose error panics, is refused with 500. The session continues.
fn b_43_a_body_that_panics(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for frames in [0, 1] {
            let request = client.request(Method::POST).body(PanickyBody { frames }).expect("a request");
            let reply = client.send(request).await;
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(reply.json().await["error"]["code"], -32603);
        }
        let reply = client.send(client.request(Method::POST).body(FailingBody).expect("a request")).await;
        assert!(reply.status.is_client_error() || reply.status.is_server_error());
        assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
    });
}

/// An extension, as from a layer in front, whose `clone` panics. Each request of a batch needs a clone.
struct Unclonable;

impl Clone for Unclonable {
    fn clone(&self) -> Self {
        planted("foreign code panics")
    }
}

/// a batch whose extensions cannot be cloned is refused as a whole, before any of its requests is admitted.
fn a_21_a_batch_whose_extensions_panic(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of("2025-03-26").await;
        let batch = json!([request(1, "echo"), request(2, "echo")]).to_string();
        let request = client.request(Method::POST).extension(Unclonable).body(batch.clone());
        assert_eq!(client.send(request.expect("a request")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(fixture.endpoint.stats().exchanges, 0);
        assert_eq!(client.post_text(batch).await.status, StatusCode::OK);
    });
}
