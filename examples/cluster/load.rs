//! The clients: each opens a session and calls in it, through whichever node is next.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mcp_session_examples::client::{Error, Event, Events, Refused, resume, send};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{args::Args, node::STEPS, rotation::Rotation};

/// For how long a client asks again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause before it asks another node.
const PAUSE: Duration = Duration::from_millis(100);

/// Counts of what all clients have seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) opened: AtomicU64,
    /// Calls with all steps in order and one result.
    pub(crate) answered: AtomicU64,
    pub(crate) steps: AtomicU64,
    /// Streams that went on at another connection.
    pub(crate) moved: AtomicU64,
    /// Requests that a draining node refused, and another one took.
    pub(crate) refused: AtomicU64,
    pub(crate) lost: AtomicU64,
    losses: Mutex<BTreeMap<String, u64>>,
}

impl Seen {
    fn lose(&self, why: String) {
        self.lost.fetch_add(1, Relaxed);
        *self.losses.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
    }

    /// What was lost, and how often.
    pub(crate) fn losses(&self) -> BTreeMap<String, u64> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs all clients to their end.
pub(crate) async fn run(args: &Args, rotation: &Arc<Rotation>, seen: &Arc<Seen>) {
    let mut clients = JoinSet::new();
    for number in 0..args.sessions {
        let client = Client { rotation: Arc::clone(rotation), seen: Arc::clone(seen) };
        clients.spawn(client.run(number, args.calls));
    }
    while let Some(ended) = clients.join_next().await {
        if let Err(error) = ended {
            seen.lose(format!("a client failed: {error}"));
        }
    }
}

/// What a client sends.
enum What<'a> {
    Message(&'a Value),
    /// Nothing: it resumes the stream after this event.
    After(&'a str),
}

struct Client {
    rotation: Arc<Rotation>,
    seen: Arc<Seen>,
}

impl Client {
    async fn run(self, number: u64, calls: u64) {
        let session = match self.open().await {
            Ok(session) => session,
            Err(error) => return self.seen.lose(format!("no session: {error}")),
        };
        self.seen.opened.fetch_add(1, Relaxed);
        for call in 0..calls {
            // From 60 to 180 ms for a step, so that answers are spread out.
            let pause = 60 + (number * 7 + call * 13) % 120;
            match self.call(&session, call, pause).await {
                Ok(()) => drop(self.seen.answered.fetch_add(1, Relaxed)),
                Err(error) => self.seen.lose(format!("call: {error}")),
            }
        }
    }

    async fn open(&self) -> Result<HeaderValue, Error> {
        let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "cluster", "version": "0.1.0" },
        }});
        let response = self.take(None, What::Message(&initialize)).await?;
        let session = response.headers().get("mcp-session-id").cloned().ok_or("no session id")?;
        response.into_body().collect().await?;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let done = self.take(Some(&session), What::Message(&initialized)).await?;
        done.into_body().collect().await?;
        Ok(session)
    }

    /// Calls the tool. When the connection ends before the answer, the client resumes the stream, at any node.
    async fn call(&self, session: &HeaderValue, id: u64, pause: u64) -> Result<(), Error> {
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": "work",
            "arguments": { "pause_ms": pause },
            "_meta": { "progressToken": id },
        }});
        let response = self.take(Some(session), What::Message(&call)).await?;
        let mut events = Events::new(response)?;
        let (mut step, mut answer) = (0, None);
        loop {
            match events.next().await? {
                Some(Event::Silent) => {}
                Some(Event::Message(message)) if answer.is_some() => {
                    return Err(format!("after the answer: {message}").into());
                }
                Some(Event::Message(message)) if message["method"] == "notifications/progress" => {
                    step += 1;
                    if message["params"]["progress"] != step as f64 {
                        return Err(
                            format!("step {} instead of {step}", message["params"]["progress"]).into()
                        );
                    }
                    self.seen.steps.fetch_add(1, Relaxed);
                }
                Some(Event::Message(message)) => answer = Some(message),
                None if answer.is_some() => break,
                None => {
                    let last = events.last_id.take().ok_or("a stream without an event id ended")?;
                    sleep(events.retry.unwrap_or(PAUSE)).await;
                    events = Events::new(self.take(Some(session), What::After(&last)).await?)?;
                    events.last_id = Some(last);
                    self.seen.moved.fetch_add(1, Relaxed);
                }
            }
        }
        is_result(&answer.unwrap_or_default(), id)?;
        if step == STEPS { Ok(()) } else { Err(format!("a result after step {step}").into()) }
    }

    /// Sends a message, or resumes the stream after this event: at the next node, and at another one if that is draining or
    /// gone.
    async fn take(&self, session: Option<&HeaderValue>, what: What<'_>) -> Result<Response<Incoming>, Error> {
        let begun = Instant::now();
        loop {
            let asked = match self.rotation.connect().await {
                Ok(mut connection) => match (&what, session) {
                    (What::After(id), Some(session)) => resume(&mut connection, session, id).await,
                    (What::After(_), None) => Err("no session".into()),
                    (What::Message(message), session) => send(&mut connection, session, Some(message)).await,
                },
                Err(error) => Err(error),
            };
            let error = match asked {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            // A node that answers 503 has not taken the request, and one that refuses the connection neither.
            let status = error.downcast_ref::<Refused>().map(|refused| refused.status);
            let again = status.map_or_else(|| error.is::<std::io::Error>(), is_unavailable);
            if !again || begun.elapsed() > PATIENCE {
                return Err(error);
            }
            self.seen.refused.fetch_add(1, Relaxed);
            sleep(PAUSE).await;
        }
    }
}

fn is_unavailable(status: StatusCode) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE
}

fn is_result(answer: &Value, id: u64) -> Result<(), Error> {
    if answer["id"] == id && answer["result"].is_object() {
        Ok(())
    } else {
        Err(format!("answered with {answer}").into())
    }
}
