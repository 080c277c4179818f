//! Requests of two clients on two threads, one after the other: what the first writes and the second sees as well is what two
//! cores would pass back and forth. `valgrind --tool=lackey --trace-mem=yes` lists what is written and read.

use std::{
    fs,
    future::Future as _,
    pin::pin,
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Waker},
    thread,
};

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use mcp_session_core::Endpoint;

use crate::{tools::endpoint_that_shares_nothing, work::Echo};

/// The number of requests of the first client: each is between two marks.
pub const REQUESTS: usize = 16;

/// The number of requests of the second client: so many that they use all stripes and shards that requests are spread over by
/// their numbers.
const OTHERS: usize = 64;

/// Written between the requests, so that they are found in the trace.
static MARK: AtomicU64 = AtomicU64::new(0);

/// How the clients use the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each in sessions of its own.
    Session,
    /// Without a session.
    Stateless,
    /// As 2026-07-28 does.
    Modern,
}

/// Plays the requests of both clients, and prints the addresses of the mark and of the program, in hexadecimal. The handler
/// shares nothing. Returns the number of requests that were answered.
///
/// # Panics
///
/// If a request is not answered at once.
pub fn play(kind: Kind) -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = maps.split('-').next().unwrap_or_default();
    println!("{:x} {program}", MARK.as_ptr().addr());
    let echo = Echo::with(endpoint_that_shares_nothing);
    thread::scope(|scope| {
        let clients = [(REQUESTS, true), (OTHERS, false)].map(|(requests, marks_each)| {
            let ((ready, is_ready), (go, goes)) = (channel(), channel());
            let echo = &echo;
            scope.spawn(move || client(echo, kind, requests, marks_each, &ready, &goes));
            (is_ready, go)
        });
        let wait = |is_ready: &Receiver<()>| is_ready.recv().expect("the client is there");
        clients.iter().for_each(|(is_ready, _)| wait(is_ready));
        for (is_ready, go) in &clients {
            go.send(()).expect("the client waits");
            wait(is_ready);
        }
    });
    echo.endpoint().stats().exchanges_answered
}

/// Sends each request once, then tells that it is ready, waits, sends them again, between marks, and tells that it is done.
fn client(echo: &Echo, kind: Kind, requests: usize, marks_each: bool, ready: &Sender<()>, go: &Receiver<()>) {
    let sessions: Vec<_> = match kind {
        Kind::Session => (0..requests).map(|_| echo.open()).collect(),
        Kind::Stateless | Kind::Modern => vec![HeaderValue::from_static("none"); requests],
    };
    let request = |session: &HeaderValue| match kind {
        Kind::Session => echo.request_in(session),
        Kind::Stateless => echo.stateless_request(),
        Kind::Modern => echo.modern_request(),
    };
    sessions.iter().map(request).for_each(|request| answer(echo.endpoint(), request));
    let requests: Vec<_> = sessions.iter().map(request).collect();
    ready.send(()).expect("somebody waits");
    go.recv().expect("somebody goes on");
    for (index, request) in requests.into_iter().enumerate() {
        if marks_each || index == 0 {
            MARK.store(1, Relaxed);
        }
        answer(echo.endpoint(), request);
    }
    MARK.store(2, Relaxed);
    ready.send(()).expect("somebody waits");
}

fn answer(endpoint: &Endpoint, request: Request<Full<Bytes>>) {
    let response = pin!(endpoint.handle(request)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(response.is_ready(), "the response is ready at once");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_requests_of_each_kind_are_answered() {
        // Each twice, and `initialize` for each session. One session is there from the beginning.
        let clients = (REQUESTS + OTHERS) as u64;
        let answered = [Kind::Session, Kind::Stateless, Kind::Modern].map(play);
        assert_eq!(answered, [1 + 3 * clients, 1 + 2 * clients, 1 + 2 * clients]);
    }
}
