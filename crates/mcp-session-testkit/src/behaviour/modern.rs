//! Revision 2026-07-28: every request stands alone (A.3, G).

mod cancelling;
mod draining;
mod eras;
mod headers;
mod input;
mod ladder;
mod listen;
mod listeners;
mod results;
mod rounds;
mod sealed;
mod shutdown;
mod streams;

use serde_json::Value;

use super::fixture::{Fixture, Modern, Reply, Work};
use crate::{TestBed, suite::Scenario};

/// Every scenario.
pub(super) fn scenarios<B: TestBed>() -> Vec<Scenario<B>> {
    [
        cancelling::scenarios(),
        draining::scenarios(),
        eras::scenarios(),
        headers::scenarios(),
        input::scenarios(),
        ladder::scenarios(),
        listen::scenarios(),
        listeners::scenarios(),
        results::scenarios(),
        rounds::scenarios(),
        sealed::scenarios(),
        shutdown::scenarios(),
        streams::scenarios(),
    ]
    .concat()
}

/// The endpoint refuses a request, in JSON and with its id, and dispatches nothing (G-10). Returns the error.
async fn refused(fixture: &Fixture, reply: Reply, status: u16, code: i32, message: &Value) -> Value {
    assert_eq!(reply.status.as_u16(), status, "{message}");
    assert_eq!(reply.header("mcp-session-id"), "", "{message}");
    let mut answer = reply.json().await;
    assert_eq!(answer["error"]["code"], code, "{message}: {answer}");
    assert_eq!(answer["id"], message["id"], "{message}: {answer}");
    assert_eq!(answer["jsonrpc"], "2.0");
    assert!(answer.get("result").is_none(), "{answer}");
    let stats = fixture.endpoint.stats();
    assert_eq!(
        stats.exchanges_admitted, stats.sessions_created,
        "only `initialize` was dispatched: {message}"
    );
    answer["error"].take()
}

/// A request that is running, and its handler.
async fn begin(fixture: &mut Fixture, client: &Modern, message: &Value) -> (super::fixture::Started, Work) {
    let started = client.start(message);
    (started, fixture.work().await)
}
