//! [`run`]: one call, from its POST to its answer.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use mcp_session_testkit::wire::End;
use mcp_session_tests::Caller;
use serde_json::{Value, json};
use tokio::time;

use super::{
    World,
    http::Response,
    send::{PATIENCE, Sent},
    stream::{Next, Stream, Stuck},
};
use crate::seen::{Call, Kind, Outcome};

/// After this step a client cancels its call, or deletes its session.
const ENOUGH: u64 = 2;

/// An answer this long after an accepted cancel is one that did not hear of it.
const UNHEARD: Duration = Duration::from_secs(2);

/// What is called, and with what.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) kind: Kind,
    pub(super) tool: &'static str,
    pub(super) arguments: Value,
    /// The number of steps of a call with progress.
    pub(super) steps: u64,
}

/// Calls, and reads to the end of the stream.
pub(super) async fn run(world: &Arc<World>, caller: &Arc<Caller>, session: &Arc<str>, task: Task) -> Call {
    let id = world.next_id();
    let request = caller.tool(world.address, id, task.tool, &task.arguments, true);
    let mut call = Call::new(id, task.kind, Arc::clone(session));
    let response = match world.send(&request).await {
        Sent::Response(response) => *response,
        Sent::Unknown => return end(call),
        Sent::Refused => {
            call.outcome = Outcome::Lost("503 for too long".to_owned());
            return end(call);
        }
    };
    if response.head.status != 200 {
        call.outcome = Outcome::Lost(format!("{} to a POST", response.head.status));
    } else if response.is_stream() {
        let mut reader = Reader { world, caller, call, task, answered: false, told: None, running: false };
        reader.read(response).await;
        if reader.running {
            world.running.fetch_sub(1, SeqCst);
        }
        call = reader.call;
    } else {
        match response.json().await {
            Some(message) => call.judge(&message),
            None => call.outcome = Outcome::Unknown,
        }
    }
    end(call)
}

fn end(mut call: Call) -> Call {
    call.ended = Instant::now();
    call
}

impl Call {
    /// Takes an answer.
    fn judge(&mut self, message: &Value) {
        if message["id"] != self.id {
            self.foreign.push(format!("an answer to {}", message["id"]));
            return;
        }
        if self.is_answered() {
            self.doubled.push(format!("a second answer: {message}"));
            return;
        }
        self.outcome = match (message.get("result"), message.get("error")) {
            (Some(result), None) if result["isError"] != true => Outcome::Result,
            (None, Some(error)) => {
                let reason = error["data"]["reason"].as_str();
                Outcome::Error(reason.map_or_else(|| error["message"].to_string(), str::to_owned))
            }
            _ => Outcome::Lost(format!("no answer: {message}")),
        };
    }
}

struct Reader<'a> {
    world: &'a Arc<World>,
    caller: &'a Arc<Caller>,
    call: Call,
    task: Task,
    answered: bool,
    /// When the cancel or the DELETE was accepted.
    told: Option<Instant>,
    running: bool,
}

impl Reader<'_> {
    async fn read(&mut self, response: Response) {
        let mut stream = Stream::new(self.world, self.caller);
        stream.read_from(response);
        let mut last = Instant::now();
        loop {
            let waits = PATIENCE.saturating_sub(last.elapsed());
            let next = match time::timeout(waits, stream.next()).await {
                Ok(next) => next,
                Err(_) => {
                    self.lose(format!("nothing for {PATIENCE:?} after step {}", self.call.step));
                    break;
                }
            };
            match next {
                Next::Data(data) => {
                    last = Instant::now();
                    self.take(&data).await;
                }
                Next::End(_) if self.answered => break,
                // A client that has given its call up does not come back for it.
                Next::End(End::LastChunk) if self.told.is_some() => {
                    self.call.outcome = Outcome::Ended;
                    break;
                }
                Next::End(_) if !stream.has_id() => break, // Outcome::Unknown
                Next::End(_) => {
                    if self.resume(&mut stream).await.is_err() {
                        break;
                    }
                }
            }
        }
        self.finish(stream);
    }

    async fn resume(&mut self, stream: &mut Stream<'_>) -> Result<(), ()> {
        match stream.reconnect(false).await {
            Ok(()) => Ok(()),
            Err(Stuck::Status(404)) if self.task.kind == Kind::Deletes && self.told.is_some() => {
                self.call.outcome = Outcome::Ended;
                Err(())
            }
            Err(Stuck::Status(status)) => {
                self.lose(format!("{status} to a GET after step {}", self.call.step));
                Err(())
            }
            Err(Stuck::NoId | Stuck::Nobody) => {
                self.lose(format!("no node took a GET after step {}", self.call.step));
                Err(())
            }
        }
    }

    fn lose(&mut self, why: String) {
        if !self.answered {
            self.call.outcome = Outcome::Lost(why);
        }
    }

    async fn take(&mut self, data: &str) {
        let Ok(message) = serde_json::from_str::<Value>(data) else {
            self.call.foreign.push(format!("no JSON: {data}"));
            return;
        };
        if self.answered && message.get("id").is_none_or(|id| *id != self.call.id) {
            self.call.doubled.push(format!("after the answer: {message}"));
            return;
        }
        match (message["method"].as_str(), message.get("id")) {
            (Some("notifications/progress"), None) => self.step(&message).await,
            (Some(method), Some(id)) => self.reply(method, id),
            (Some(_), None) => self.call.foreign.push(message.to_string()),
            (None, _) => {
                self.call.judge(&message);
                self.answered |= self.call.is_answered();
                if self.call.outcome == Outcome::Result {
                    if self.call.step != self.task.steps {
                        let why =
                            format!("the result came after step {} of {}", self.call.step, self.task.steps);
                        self.call.outcome = Outcome::Lost(why);
                    }
                    self.call.ignored = self.task.kind == Kind::Cancels
                        && self.told.is_some_and(|told| told.elapsed() > UNHEARD);
                }
            }
        }
    }

    async fn step(&mut self, message: &Value) {
        if message["params"]["progressToken"] != self.call.id {
            self.call.foreign.push(message.to_string());
            return;
        }
        let step = message["params"]["progress"].as_f64().unwrap_or_default() as u64;
        if step <= self.call.step {
            self.call.doubled.push(format!("step {step} after {}", self.call.step));
            return;
        }
        if step > self.call.step + 1 {
            self.lose(format!("step {step} after {}", self.call.step));
        }
        if !self.running {
            self.running = true;
            self.world.running.fetch_add(1, SeqCst);
        }
        self.call.step = step;
        if step == ENOUGH && self.told.is_none() {
            self.give_up().await;
        }
    }

    /// Cancels the call or deletes its session, if the task is to do that.
    async fn give_up(&mut self) {
        let (request, expected) = match self.task.kind {
            Kind::Cancels => {
                let params = json!({ "requestId": self.call.id });
                let request =
                    self.caller.notification(self.world.address, "notifications/cancelled", &params);
                (request, [202, 202])
            }
            // The second of two DELETEs finds nothing.
            Kind::Deletes => (self.caller.bare(self.world.address, "DELETE"), [204, 404]),
            Kind::Slow | Kind::Asked | Kind::Announces | Kind::Modern => return,
        };
        match self.world.insist(&request).await.map(|response| response.head.status) {
            Some(status) if expected.contains(&status) => self.told = Some(Instant::now()),
            status => self.world.odd(format!("{status:?} to {:?}", self.task.kind)),
        }
    }

    /// Answers a question, through the balancer: mostly at another node than the one that asks.
    fn reply(&self, method: &str, id: &Value) {
        let result = match method {
            "elicitation/create" => {
                json!({ "action": "accept", "content": { "username": "a", "email": "a@example.com" } })
            }
            "sampling/createMessage" => json!({
                "role": "assistant", "model": "m", "content": { "type": "text", "text": "Paris" },
            }),
            _ => json!({}),
        };
        let (world, request) = (Arc::clone(self.world), self.caller.reply(self.world.address, id, &result));
        tokio::spawn(async move {
            let status = world.insist(&request).await.map(|response| response.head.status);
            if status != Some(202) {
                world.odd(format!("{status:?} to a reply"));
            }
        });
    }

    fn finish(&mut self, stream: Stream<'_>) {
        let call = &mut self.call;
        (call.stream, call.events, call.moves) = (stream.number, stream.events, stream.moves);
        call.doubled.extend(stream.doubled);
        call.foreign.extend(stream.foreign);
        if let (Some(why), false) = (stream.lost.first(), matches!(call.outcome, Outcome::Lost(_))) {
            call.outcome = Outcome::Lost(why.clone());
        }
    }
}
