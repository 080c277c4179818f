//! A call, from its request to its answer, however often its client has to come back for it.

use http::Method;
use mcp_session_core::ShutdownPhase;
use serde_json::Value;

use super::{
    Client, Head, TRIES, envelope, phase_name,
    reading::{Progress, Read, Sink, read},
    status_name,
};
use crate::simulation::{
    book::Answer,
    network::{self, sleep},
    plan::{Kind, Reader, Reply, Upload},
};

pub(super) struct Call {
    pub(super) client: Client,
    pub(super) token: usize,
    pub(super) id: u64,
    pub(super) luck: u64,
    pub(super) reader: Reader,
}

impl Call {
    pub(super) async fn run(self, upload: Upload) {
        let (world, token, id) = (self.client.world.clone(), self.token, self.id);
        let (sent, session) = (world.book().moment(), self.client.session());
        let node = world.balance(self.luck);
        let phase = world.phase(node);
        let arguments = format!(r#""name":"act","arguments":{{"token":{token}}},"#);
        let params = match self.client.kind() {
            Kind::Modern => {
                let whole = envelope(&arguments);
                whole.replace("\"_meta\":{", &format!("\"_meta\":{{\"progressToken\":{token},"))
            }
            _ => format!(r#"{{{arguments}"_meta":{{"progressToken":{token}}}}}"#),
        };
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
        let line = self.client.post(node, message, upload, "tools/call");
        let head = self.client.head(line, node);
        let head = match upload {
            Upload::Abandoned(time) => {
                let gone = Box::pin(sleep(&world.sim, time));
                match futures::future::select(Box::pin(head), gone).await {
                    futures::future::Either::Left((head, _)) => head,
                    futures::future::Either::Right(_) => return self.over(Answer::Left("gave up")),
                }
            }
            _ => head.await,
        };
        let Some(head) = head else { return self.over(Answer::Left("broken")) };
        world.book().coverage.reach("request", phase_name(phase), status_name(head.status));
        let status = head.status.as_u16();
        world.book().note(|| format!("call {token} at node {node}: {status}"));
        if status == 200 {
            if let Some(session) = session {
                world.book().used(session, sent);
                world.book().is_called(session);
            }
            if phase.is_some_and(|(phase, _)| phase >= ShutdownPhase::Draining) {
                world
                    .book()
                    .violation("admitted-late", || format!("call {token} was admitted at node {node}"));
            }
            return self.read(head).await;
        }
        if let Some(session) = session.filter(|_| upload == Upload::Whole && self.client.runs(node, phase)) {
            world.book().refused(session, sent, status);
        }
        self.refused(status, head.node, phase, upload);
        self.over(Answer::Refused(status));
    }

    fn refused(&self, status: u16, node: usize, sent: Option<(ShutdownPhase, usize)>, upload: Upload) {
        let world = &self.client.world;
        let never_opened =
            matches!(self.client.kind(), Kind::Session { .. }) && self.client.session().is_none();
        match (status, self.client.session()) {
            (404, Some(session)) => world.book().unknown(session, node),
            (503, _) => self.client.check_unavailable(node, sent, "a call"),
            (400, _)
                if world.book().shares_id(self.token)
                    || never_opened
                    || matches!(upload, Upload::Broken(_)) => {}
            (408, _) if matches!(upload, Upload::Slow(_) | Upload::Broken(_)) => {}
            _ => world.book().violation("status", || format!("call {} got {status}", self.token)),
        }
    }

    async fn read(self, head: Head) {
        let mut progress = Progress::default();
        let mut reader = self.reader;
        let mut head = Some(head);
        let mut attempt = 0;
        loop {
            let (node, outcome) = match head.take() {
                Some(Head { line, node, headers, .. }) => {
                    let events =
                        headers.get("content-type").is_some_and(|value| value == "text/event-stream");
                    let mut sink = Answers { token: self.token, id: self.id, luck: self.luck };
                    (node, read(&self.client, line, events, reader, &mut progress, &mut sink).await)
                }
                None => match self.resume(&progress, &mut attempt).await {
                    Ok(resumed) => {
                        head = Some(resumed);
                        continue;
                    }
                    Err(answer) => return self.over(answer),
                },
            };
            let resumed = attempt > 0;
            reader = Reader::default();
            let world = &self.client.world;
            let answered = world.book().is_answered(self.token);
            match outcome {
                Read::Cut | Read::Broken if answered => {
                    // The answer is there; only the end is missing.
                    if let Read::Cut = outcome {
                        world.book().cut(node, || format!("call {}, after its answer", self.token));
                    }
                    return self.over(Answer::Whole);
                }
                Read::Ended if answered => return self.over(Answer::Whole),
                Read::Ended if world.book().is_cancelled(self.token) => return self.over(Answer::Cancelled),
                // Whoever was primed comes back, with or without `retry` (D-06), and so does who has come back before.
                Read::Ended if progress.last.is_some() && (resumed || progress.primed) => {
                    if !progress.invited {
                        world.book().ends_uninvited(self.token);
                    }
                }
                Read::Ended => {
                    world
                        .book()
                        .violation("no-answer", || format!("call {} ended without an answer", self.token));
                    return self.over(Answer::Whole);
                }
                Read::Cut => {
                    if self.reader.is_fast() && !resumed {
                        world.book().cut(node, || format!("call {}", self.token));
                    }
                    return self.over(Answer::Left("cut"));
                }
                Read::Broken => {
                    world.book().broken(node);
                    if progress.last.is_none() {
                        return self.over(Answer::Left("broken"));
                    }
                }
                Read::Left(cut) => match cut.back {
                    Some(time) if progress.last.is_some() => sleep(&world.sim, time).await,
                    _ => return self.over(Answer::Left("went away")),
                },
            }
        }
    }

    /// Comes back for the rest of the stream.
    async fn resume(&self, progress: &Progress, attempt: &mut u64) -> Result<Head, Answer> {
        let world = &self.client.world;
        let Some(last) = &progress.last else { return Err(Answer::Left("went away")) };
        let mut refused = 0;
        loop {
            *attempt += 1;
            sleep(&world.sim, progress.retry.unwrap_or(100).max(1)).await;
            let node = world.balance(self.luck ^ *attempt);
            let session = self.client.session();
            let request = self.client.request(Method::GET, session).header("last-event-id", last);
            let line = network::send(world, node, request, bytes::Bytes::new(), Upload::Whole);
            let phase = world.phase(node);
            let Some(head) = self.client.head(line, node).await else {
                refused += 1;
                if refused > TRIES * 4 {
                    return Err(Answer::Left("nowhere to go"));
                }
                continue;
            };
            world
                .book()
                .note(|| format!("call {} resumed at node {node} after {last}: {}", self.token, head.status));
            world.book().coverage.reach("resume", phase_name(phase), status_name(head.status));
            match head.status.as_u16() {
                200 => return Ok(head),
                400 => {
                    world.book().expired(self.token);
                    return Err(Answer::Left("expired"));
                }
                404 => {
                    if let Some(session) = session {
                        world.book().unknown(session, node);
                    }
                    return Err(Answer::NO_SESSION);
                }
                // A draining node serves who comes back for a call that runs (F-37), as long as its session lives.
                503 if world.plan.store.is_none()
                    && !session.is_some_and(|session| world.book().has_ended(session))
                    && phase == world.phase(node)
                    && !world.book().has_returned(self.token) =>
                {
                    world.book().violation("status", || format!("resuming call {} got 503", self.token));
                    return Err(Answer::Left("refused"));
                }
                409 | 503 if refused < TRIES * 4 => {
                    refused += 1;
                    world.book().sent_on(self.token);
                }
                409 | 503 => return Err(Answer::Left("nowhere to go")),
                status => {
                    world.book().violation("status", || format!("resuming call {} got {status}", self.token));
                    return Err(Answer::Left("refused"));
                }
            }
        }
    }

    fn over(&self, answer: Answer) {
        let left = matches!(answer, Answer::Left("went away" | "gave up"));
        let hidden = self.reader.cut.is_some_and(|cut| cut.hidden.is_some());
        if left && !hidden && !matches!(self.client.kind(), Kind::Session { .. }) {
            self.client.stops(self.token, 0); // who has no session cancels by leaving (G-32, E-30)
        }
        self.client.world.book().call_ends(self.token, answer);
    }
}

/// The messages on the stream of a call.
struct Answers {
    token: usize,
    id: u64,
    luck: u64,
}

impl Sink for Answers {
    fn message(&mut self, client: &Client, message: Value, _: Option<&str>) {
        let world = &client.world;
        let mut book = world.book();
        let token = self.token;
        if book.is_answered(token) {
            return book.violation("after-end", || format!("call {token} got {message} after its answer"));
        }
        match (message["method"].as_str(), message["id"].as_u64()) {
            (None, Some(id)) if id == self.id => book.sees_answer(token, &message),
            (Some("notifications/note"), None) => book.sees_note(token, &message["params"]),
            (Some("notifications/progress"), None) => book.sees_progress(token, &message["params"]),
            (Some("notifications/cancelled" | "notifications/late"), None) => {} // of a question, of a task beside the handler
            (Some("sampling/createMessage"), _) => {
                let number = message["params"]["ask"].as_u64().unwrap_or(u64::MAX) as usize;
                let asked = book.asked(number, token);
                if let Some(session) = client.began_with.flatten() {
                    book.question_has_id(number, session, &message["id"]);
                }
                drop(book);
                if let Some(reply) = asked {
                    self.reply(client, &message["id"], number, reply);
                }
            }
            _ => book.violation("foreign", || format!("call {token} with the id {} got {message}", self.id)),
        }
    }
}

impl Answers {
    /// Replies to a question, beside the reading of the stream.
    fn reply(&self, client: &Client, id: &Value, number: usize, reply: Reply) {
        let (delay, times) = match reply {
            Reply::Now => (0, 1),
            Reply::Late(time) => (time, 1),
            Reply::Twice => (0, 2),
            Reply::Never => return,
        };
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"ask":{number}}}}}"#);
        let (client, luck) = (client.clone(), self.luck);
        let replies = client.clone();
        drop(client.background(async move {
            let world = &replies.world;
            sleep(&world.sim, delay).await;
            for time in 0..times {
                let node = world.balance(luck ^ (number as u64 + time));
                let line = replies.post(node, message.clone(), Upload::Whole, "");
                if let Some(head) = replies.head(line, node).await {
                    if head.status == 202 {
                        world.book().replied(number);
                    }
                }
            }
        }));
    }
}
