//! Calls: each is handled at most once, and gets exactly one answer.

use std::time::{Duration, Instant};

use mcp_session_core::{Json, RequestContext, RequestError, RpcError, Runtime, SendError, SessionId};
use serde_json::Value;

use super::Book;
use crate::simulation::plan::{Cut, End, Kind, Op, Reader, Reply, Script, Upload};

/// One call of a client.
#[derive(Debug)]
pub(super) struct Call {
    id: u64,
    pub(super) session: Option<SessionId>,
    kind: Kind,
    script: Script,
    reader: Reader,
    upload: Upload,
    /// Where it is handled: a node and which of its processes.
    pub(super) at: Option<(usize, usize)>,
    times_handled: u32,
    handler_runs: bool,
    /// Since when its handler waits until it is cancelled, to return so much later.
    obeys: Option<(Instant, Duration)>,
    /// When its handler returned, and whether with a result.
    returned: Option<(Instant, bool)>,
    /// The client has sent `notifications/cancelled`.
    pub(super) cancelled: bool,
    /// The number of notes that the handler has made, and that were accepted.
    notes: u64,
    accepted: u64,
    progress: u64,
    /// The number of notes that the client has seen.
    seen: u64,
    seen_progress: Option<f64>,
    answers: u32,
    /// The client got what the handler returned.
    has_result: bool,
    /// It was cancelled before its handler returned.
    cancelled_in_time: bool,
    /// Its client came back to a node that sent it on, so it was away for longer than it wanted.
    sent_on: bool,
    /// How it was for its client.
    pub(super) outcome: Option<Answer>,
}

/// How a call ended for its client.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::simulation) enum Answer {
    /// It was refused with this status.
    Refused(u16),
    /// The stream ended, after an answer.
    Whole,
    /// The client has cancelled it, and the stream ended.
    Cancelled,
    /// The client went away, or could not come back.
    Left(&'static str),
}

impl Answer {
    /// The client came back, and its session was over.
    pub(in crate::simulation) const NO_SESSION: Self = Self::Left("no session");
}

/// A question of a handler to its client.
#[derive(Debug)]
pub(super) struct Ask {
    token: usize,
    reply: Reply,
    asked: Instant,
    /// When the reply was accepted.
    replied: Option<Instant>,
    answered: bool,
}

impl Book {
    pub(in crate::simulation) fn calls(
        &mut self,
        client: usize,
        id: u64,
        session: Option<SessionId>,
        script: &Script,
        reader: Reader,
        upload: Upload,
    ) -> usize {
        // A cancel may arrive at the node of a later call with the same id.
        let cancelled = self.cancels.contains(&(session, id));
        self.calls.push(Call {
            id,
            session,
            kind: self.plan.clients[client].kind,
            script: script.clone(),
            reader,
            upload,
            at: None,
            times_handled: 0,
            handler_runs: false,
            obeys: None,
            returned: None,
            cancelled,
            notes: 0,
            accepted: 0,
            progress: 0,
            seen: 0,
            seen_progress: None,
            answers: 0,
            has_result: false,
            cancelled_in_time: false,
            sent_on: false,
            outcome: None,
        });
        self.calls.len() - 1
    }

    /// The handler of a call begins.
    pub(in crate::simulation) fn begins(
        &mut self,
        token: usize,
        node: usize,
        generation: usize,
        cx: &RequestContext,
    ) -> Option<Script> {
        self.note(|| format!("call {token}: handled at node {node}, session {:?}", cx.session_id()));
        let call = self.calls.get_mut(token)?;
        (call.times_handled, call.handler_runs) = (call.times_handled + 1, true);
        call.at = Some((node, generation));
        let (times, script, session) = (call.times_handled, call.script.clone(), call.session);
        if times > 1 {
            self.violation("handled-twice", || format!("call {token} reached a handler {times} times"));
        }
        if session != cx.session_id() {
            self.violation("foreign", || {
                format!("call {token} of {session:?} was handled as of {:?}", cx.session_id())
            });
        }
        let id = self.calls[token].id;
        let twin = self.calls.iter().enumerate().find(|(other, call)| {
            let same = session.is_some() && (call.session, call.id) == (session, id);
            *other != token
                && same
                && call.handler_runs
                && !call.cancelled
                && !matches!(call.outcome, Some(Answer::Left(_)))
                && !self.may_be_given_up(call)
                && call.at == Some((node, generation))
        });
        if let Some(text) =
            twin.map(|(other, _)| format!("call {token} has the id {id} of call {other}, which runs"))
        {
            self.violation("twin", || text);
        }
        let name = cx.client_info().parse::<Value>().unwrap_or_default()["name"].as_str().map(str::to_owned);
        let opener = session.and_then(|session| self.opener(session)).map(|client| client.to_string());
        if opener.is_some() && opener != name {
            self.violation("foreign", || {
                format!("call {token} of client {opener:?} was handled as of {name:?}")
            });
        }
        if let Some(Answer::Refused(status)) = self.calls[token].outcome {
            self.violation("refused-and-handled", || format!("call {token} got {status} and was handled"));
        }
        Some(script)
    }

    pub(in crate::simulation) fn returns(&mut self, token: usize, result: &Result<Json, RpcError>) {
        self.note(|| format!("call {token}: its handler returns {result:?}"));
        let now = self.sim.now();
        self.calls[token].returned = Some((now, result.is_ok()));
    }

    pub(in crate::simulation) fn has_returned(&self, token: usize) -> bool {
        !self.calls[token].handler_runs
    }

    pub(in crate::simulation) fn handler_is_gone(&mut self, token: usize) {
        let now = self.sim.now();
        let call = &mut self.calls[token];
        call.handler_runs = false;
        if call.returned.is_some() {
            return;
        }
        let (at, obeys) = (call.at, call.obeys);
        self.note(|| format!("call {token}: its handler is dropped"));
        let cancels = at.and_then(|at| self.cancelling_since(at));
        if let (Some((since, time)), Some(cancels)) = (obeys, cancels) {
            if now > since.max(cancels) + time && !self.may_stop_late(token) {
                self.violation("not-cancelled", || {
                    format!("the handler of call {token} was never asked to stop")
                });
            }
        }
    }

    /// The handler of a call waits until it is cancelled, and returns so much later.
    pub(in crate::simulation) fn obeys(&mut self, token: usize, time: Duration) {
        self.calls[token].obeys = Some((self.sim.now(), time));
    }

    pub(in crate::simulation) fn notes_accepted(&self, token: usize) -> u64 {
        self.calls[token].accepted
    }

    pub(in crate::simulation) fn next_note(&mut self, token: usize) -> u64 {
        let call = &mut self.calls[token];
        call.notes += 1;
        call.notes - 1
    }

    pub(in crate::simulation) fn next_progress(&mut self, token: usize) -> u64 {
        self.calls[token].progress += 1;
        self.calls[token].progress
    }

    /// A note of a handler was accepted, or not.
    pub(in crate::simulation) fn noted(&mut self, token: usize, n: u64, sent: Result<(), SendError>) {
        self.note(|| format!("call {token}: note {n}: {sent:?}"));
        let call = &mut self.calls[token];
        match sent {
            Ok(()) => call.accepted += 1,
            Err(SendError::Closed) => {}
            Err(other) => {
                self.violation("note-failed", || format!("call {token}: a note failed with {other:?}"));
            }
        }
    }

    /// A handler asks its client. Returns the number of the question.
    pub(in crate::simulation) fn asks(&mut self, token: usize, reply: Reply) -> usize {
        let asked = self.sim.now();
        self.asks.push(Ask { token, reply, asked, replied: None, answered: false });
        self.asks.len() - 1
    }

    /// A client got a question. Returns how it replies.
    pub(in crate::simulation) fn asked(&mut self, number: usize, token: usize) -> Option<Reply> {
        match self.asks.get(number) {
            Some(ask) if ask.token == token => Some(ask.reply),
            other => {
                let other = format!("{other:?}");
                self.violation("foreign", || format!("call {token} got the question {number}: {other}"));
                None
            }
        }
    }

    /// The reply to a question was accepted.
    pub(in crate::simulation) fn replied(&mut self, number: usize) {
        let now = self.sim.now();
        self.asks[number].replied.get_or_insert(now);
    }

    /// A handler got the reply to its question, or an error.
    pub(in crate::simulation) fn answered(&mut self, number: usize, got: Result<Value, RequestError>) {
        self.note(|| format!("question {number}: {got:?}"));
        let patience = crate::simulation::handler::PATIENCE;
        let ask = &mut self.asks[number];
        ask.answered = true;
        let in_time = ask.replied.is_some_and(|replied| replied < ask.asked + patience);
        match got {
            Ok(value) if value["ask"].as_u64() == Some(number as u64) => {}
            Ok(value) => {
                self.violation("foreign", || format!("question {number} got the reply {value}"));
            }
            // Whatever a store loses: it was accepted when the node that asked had it.
            Err(RequestError::TimedOut) if in_time && !self.any_paused && !self.any_vanished => {
                self.violation("reply-lost", || {
                    format!("question {number} timed out, and its reply was accepted")
                });
            }
            Err(_) => {}
        }
    }

    /// A client cancels the call with this id; its session may have had several.
    pub(in crate::simulation) fn cancels(&mut self, session: Option<SessionId>, id: u64) {
        self.cancels.insert((session, id));
        for call in self.calls.iter_mut().filter(|call| call.session == session && call.id == id) {
            call.cancelled = true;
        }
    }

    /// A call was cancelled. If its handler still runs, nothing that it returns counts.
    pub(in crate::simulation) fn is_cancelled_in_time(&mut self, token: usize) {
        let call = &mut self.calls[token];
        call.cancelled_in_time |= call.handler_runs && call.returned.is_none();
    }

    /// How many calls of a process have ended with a result, and how many were cancelled before.
    pub(super) fn outcomes(&self, at: (usize, usize)) -> (u64, u64) {
        let count = |of: fn(&Call) -> bool| {
            self.calls.iter().filter(|call| call.at == Some(at) && of(call)).count() as u64
        };
        (count(|call| call.has_result), count(|call| call.cancelled_in_time))
    }

    /// How many handlers of this process have returned at this very moment.
    pub(super) fn returned_just_now(&self, at: (usize, usize)) -> u64 {
        let now = self.sim.now();
        let just_now =
            |call: &&Call| call.at == Some(at) && call.returned.is_some_and(|(then, _)| then == now);
        self.calls.iter().filter(just_now).count() as u64
    }

    /// The call with this id, if its handler runs now and it is the only one with this id.
    pub(in crate::simulation) fn running(&self, session: Option<SessionId>, id: u64) -> Option<usize> {
        let same = |token: &usize| (self.calls[*token].session, self.calls[*token].id) == (session, id);
        let mut calls = (0..self.calls.len()).filter(same);
        let one = calls.next().filter(|token| self.calls[*token].handler_runs);
        one.filter(|_| calls.next().is_none())
    }

    /// Returns `true` if another call of the session has the same id: whichever comes second is refused.
    pub(in crate::simulation) fn shares_id(&self, token: usize) -> bool {
        let id = |call: &Call| (call.session, call.id);
        self.calls.iter().filter(|call| id(call) == id(&self.calls[token])).count() > 1
    }

    /// The time is over in which the handler of this call had to stop.
    pub(in crate::simulation) fn must_be_gone(&mut self, token: usize) {
        if self.calls[token].handler_runs && !self.may_stop_late(token) {
            self.violation("not-cancelled", || format!("the handler of call {token} goes on"));
        }
    }

    /// Returns `true` if a call that was cancelled may run on for a while. If its session ends as well, the cancel may find
    /// no record that names the node of the call; the end of the session then stops it, within its own budget.
    fn may_stop_late(&self, token: usize) -> bool {
        self.may_be_late() || self.calls[token].session.is_some_and(|session| self.has_to_end(session))
    }

    /// The client of a call reads a note.
    pub(in crate::simulation) fn sees_note(&mut self, token: usize, params: &Value) {
        let (of, n) = (params["token"].as_u64(), params["n"].as_u64());
        let call = &mut self.calls[token];
        let expected = call.seen;
        call.seen += 1;
        if of != Some(token as u64) {
            self.violation("foreign", || format!("call {token} got a note of call {of:?}"));
        } else if n < Some(expected) {
            self.violation("repeated", || format!("call {token} got note {n:?} again, after {expected}"));
        } else if n > Some(expected) {
            self.violation("lost", || format!("call {token} got note {n:?}, and not {expected}"));
        }
    }

    pub(in crate::simulation) fn sees_progress(&mut self, token: usize, params: &Value) {
        let (of, progress) = (params["progressToken"].as_u64(), params["progress"].as_f64());
        let last = std::mem::replace(&mut self.calls[token].seen_progress, progress);
        if of != Some(token as u64) || progress.is_none() || progress <= last {
            self.violation("progress", || format!("call {token} got {params} after {last:?}"));
        }
    }

    /// The client of a call reads an answer.
    pub(in crate::simulation) fn sees_answer(&mut self, token: usize, message: &Value) {
        self.note(|| format!("call {token}: answer {message}"));
        let now = self.sim.now();
        let late = self.may_be_late();
        let call = &mut self.calls[token];
        call.answers += 1;
        call.has_result = message.get("result").is_some();
        let (answers, returned, seen) = (call.answers, call.returned, call.seen);
        let (fast, ends) = (call.reader.is_fast(), call.script.end);
        if answers > 1 {
            self.violation("answered-twice", || format!("call {token} got {answers} answers"));
        }
        if let Some(result) = message.get("result") {
            if result["token"].as_u64() != Some(token as u64) {
                self.violation("foreign", || format!("call {token} got the answer {message}"));
            } else if !matches!(returned, Some((_, true))) {
                self.violation("invented", || {
                    format!("call {token} got {message}; its handler did not return it")
                });
            } else if result["notes"].as_u64() != Some(seen) {
                self.violation("lost", || format!("call {token} got {message} after {seen} notes"));
            }
        } else if message["error"]["code"].as_i64() == Some(crate::simulation::handler::FAILS) {
            if ends != End::Fail {
                self.violation("invented", || format!("call {token} got {message}"));
            }
        } else if matches!(returned, Some((_, true))) && !self.may_lose(token) {
            self.violation("result-lost", || {
                format!("call {token} got {message}; its handler returned a result")
            });
        } else if returned.is_none() && ends != End::Panic && !self.may_lose(token) {
            self.violation("given-up", || {
                format!("call {token} got {message}; its handler runs, and nobody has asked for an end")
            });
        } else if message["error"]["code"].as_i64().is_none() {
            self.violation("malformed", || format!("call {token} got {message}"));
        }
        let at_once = matches!(returned, Some((at, _)) if at < now);
        if at_once && fast && !late && !self.is_moved(token) {
            self.violation("answer-late", || {
                format!("call {token}: the answer came later than its handler returned")
            });
        }
    }

    fn closes_stream(&self, token: usize) -> bool {
        self.calls[token].script.ops.iter().any(|op| matches!(op, Op::CloseStream(_)))
    }

    /// Returns `true` if the client of a call may have been away when it was answered.
    fn is_moved(&self, token: usize) -> bool {
        let call = &self.calls[token];
        self.closes_stream(token) || self.plan.store.is_some() || call.upload != Upload::Whole
    }

    /// Returns `true` if the result of a handler may come too late.
    fn may_lose(&self, token: usize) -> bool {
        let call = &self.calls[token];
        call.cancelled
            || call.at.is_none_or(|(node, generation)| self.shuts_down(node, generation))
            || call.session.is_some_and(|session| self.may_end_in_use(session))
            || self.may_be_late()
            || self.may_be_given_up(call)
            || call.upload != Upload::Whole
    }

    /// Returns `true` if the client of a call may be away for so long that nobody waits for it any more.
    fn may_be_given_up(&self, call: &Call) -> bool {
        let session = &self.plan.limits.config.session;
        let patience =
            session.replay.as_ref().map_or(Duration::ZERO, |replay| replay.age.max(session.idle_timeout));
        let away = |cut: Cut| {
            let (hidden, back) = (cut.hidden.map_or(0, |(time, _)| time), cut.back?);
            // It may have to try at several nodes.
            Some(Duration::from_millis(hidden + back + 1_000))
        };
        let away = call.reader.cut.is_some_and(|cut| away(cut).is_none_or(|away| away >= patience));
        call.session.is_none() && !call.reader.is_fast()
            || away
            || call.sent_on
            || call.reader.pause.is_some()
            || call.reader.pace > 0
    }

    /// A node to which the client of a call came back has sent it on.
    pub(in crate::simulation) fn sent_on(&mut self, token: usize) {
        self.calls[token].sent_on = true;
    }

    /// The client of a call came back with an event id that the node does not know.
    pub(in crate::simulation) fn expired(&mut self, token: usize) {
        let kept = self.keeps_events();
        let ends = self.calls[token].session.is_none_or(|session| self.may_end(session));
        if kept && !ends && !self.may_be_late() && self.plan.nodes == 1 {
            self.violation("expired-event", || format!("the events of call {token} are gone"));
        }
    }

    /// A connection of a call ended, with no answer and no `retry`.
    pub(in crate::simulation) fn ends_uninvited(&mut self, token: usize) {
        // A message about an earlier connection may arrive at the node of a later one, if it is late.
        if self.keeps_events() && !self.faulty_store() {
            self.violation("uninvited", || {
                format!("a connection of call {token} ended, with no answer and no `retry`")
            });
        }
    }

    /// Something follows the answer of a call.
    pub(in crate::simulation) fn is_answered(&self, token: usize) -> bool {
        self.calls[token].answers > 0
    }

    /// Returns `true` if the client has cancelled this call.
    pub(in crate::simulation) fn is_cancelled(&self, token: usize) -> bool {
        self.calls[token].cancelled
    }

    /// The call is over for its client.
    pub(in crate::simulation) fn call_ends(&mut self, token: usize, answer: Answer) {
        self.note(|| format!("call {token}: {answer:?}"));
        let name = match &answer {
            Answer::Refused(_) => "refused",
            Answer::Whole => "answered",
            Answer::Cancelled => "cancelled",
            Answer::Left(why) => why,
        };
        let call = &mut self.calls[token];
        let kind = match call.kind {
            Kind::Session { .. } => "session",
            Kind::Stateless(_) => "stateless",
            Kind::Modern => "modern",
        };
        let times = call.times_handled;
        if let (Answer::Refused(status), 1..) = (&answer, times) {
            let status = *status;
            self.violation("refused-and-handled", || format!("call {token} got {status} and was handled"));
        }
        self.calls[token].outcome = Some(answer);
        self.coverage.reach("call", kind, name);
    }

    /// Returns `true` if no handler runs, of a request or a notification.
    pub(in crate::simulation) fn is_idle(&self) -> bool {
        !self.any_handler_runs() && self.notifications == 0
    }

    pub(super) fn any_handler_runs(&self) -> bool {
        self.calls.iter().any(|call| call.handler_runs)
    }

    pub(super) fn finish_calls(&mut self) {
        for token in 0..self.calls.len() {
            let call = &self.calls[token];
            if call.handler_runs {
                self.violation("left", || format!("the handler of call {token} was never dropped"));
            } else if call.outcome.is_none() {
                self.violation("hangs", || format!("call {token} is not over for its client"));
            }
        }
        for (number, ask) in self.asks.iter().enumerate() {
            let over = ask.answered || !self.calls[ask.token].handler_runs;
            if !over {
                return self.violation("hangs", || format!("the question {number} got no end"));
            }
        }
    }
}
