//! A whole endpoint, with several clients, until it has stopped.

use std::collections::HashMap;

use mcp_session_core::{
    RequestId,
    proto::{EventId, Message, Position},
};
use serde_json::Value;

use super::{
    script::{Script, Step},
    server::{Got, Sent, Server},
    table::check_refusal,
    whatwg::Decoder,
};

/// The input is a [`Script`].
///
/// # Panics
///
/// If an admitted request does not get its one answer, a refusal is not in the table, an event id does not increase, the
/// shutdown is late, or something is left after it.
pub fn run(input: &[u8]) {
    let script = Script::parse(input);
    let mut server = Server::new(&script.options);
    script.steps.iter().for_each(|step| server.step(step));
    server.finish();

    let excused = is_excused(&script);
    server.sent.iter().for_each(|sent| check(sent, excused));
    let stats = server.endpoint.stats();
    assert_eq!(
        (stats.sessions, stats.exchanges, stats.streams, stats.subscriptions),
        (0, 0, 0, 0),
        "{stats:?}"
    );
    let ended = stats.exchanges_answered
        + stats.exchanges_synthesized
        + stats.exchanges_cancelled
        + stats.exchanges_forced;
    assert_eq!(stats.exchanges_admitted, ended, "{stats:?}");
    let Server { sim, endpoint, sent, report, .. } = server;
    let report = report.lock().expect("nothing panicked").take().expect("it has ended");
    let totals = report.exchanges;
    assert_eq!(
        totals.total,
        totals.answered + totals.synthesized + totals.cancelled + totals.forced,
        "{report}"
    );
    drop((endpoint, sent));
    sim.run_until_stalled();
    assert_eq!((sim.tasks(), sim.timers(), sim.panics()), (0, 0, Vec::new()), "nothing is left");
}

/// Whether the answer to a request may be missing from its own response: somebody cancelled, went, or was sent away to read on
/// with another request.
fn is_excused(script: &Script<'_>) -> bool {
    let in_bodies = |text: &str| {
        script.steps.iter().any(|step| match step {
            Step::Request(call) => call.body.windows(text.len()).any(|window| window == text.as_bytes()),
            _ => false,
        })
    };
    // An escape may hide the words.
    in_bodies("cancelled")
        || in_bodies("close")
        || in_bodies("\\u")
        || script.steps.iter().any(|step| match step {
            Step::Cut(_) => true,
            Step::Request(call) => call.is_slow || call.headers.contains_key("last-event-id"),
            _ => false,
        })
}

/// Checks what a client has got for its request.
fn check(sent: &Sent, excused: bool) {
    let got = sent.got();
    let Some(status) = got.status else {
        assert!(sent.is_cut);
        return;
    };
    let message = Message::parse(&sent.body);
    let id = match &message {
        Ok(Message::Request(request)) => Some(&request.id),
        Err(mcp_session_core::proto::ParseError::Invalid { id, .. }) => id.as_ref(),
        _ => None,
    };
    match status.as_u16() {
        200 if sent.method == "POST" => {
            let is_batch = sent.body.trim_ascii_start().starts_with(b"[");
            let answers = answers(&got);
            if !is_batch {
                assert!(answers.iter().all(|answer| answer.as_ref() == id), "only its own answer: {got:?}");
                assert!(answers.len() <= 1, "one answer (S5): {got:?}");
                assert!(answers.is_empty() || ends_with_answer(&got), "nothing after the answer: {got:?}");
            }
            assert!(excused || sent.is_cut || !answers.is_empty(), "an answer (S5): {:?} {got:?}", sent.body);
            assert!(excused || sent.is_cut || got.ended == Some(true), "the body ends (S7): {got:?}");
        }
        200 if sent.method == "GET" => drop(answers(&got)),
        200 => assert!(got.body.is_empty() || sent.method != "DELETE", "{got:?}"),
        202 | 204 => assert!(got.body.is_empty(), "{got:?}"),
        status => {
            assert!(status >= 400, "{got:?}");
            // Whoever leaves after the head may have nothing of the body.
            let unread = sent.is_cut && got.body.is_empty();
            if sent.method != "HEAD" && !unread {
                check_refusal(status, &got.body, id);
            }
            assert_eq!(got.headers.contains_key("retry-after"), status == 503, "{got:?}");
        }
    }
}

/// The ids of the answers in a response.
fn answers(got: &Got) -> Vec<Option<RequestId>> {
    let answers = messages(got).into_iter().filter(is_answer).map(|message| {
        assert!(message.get("result").is_some() != message.get("error").is_some(), "{message}");
        RequestId::from_json(&message["id"].to_string())
    });
    answers.collect()
}

fn is_answer(message: &Value) -> bool {
    message.get("method").is_none()
}

fn ends_with_answer(got: &Got) -> bool {
    messages(got).last().is_some_and(is_answer)
}

/// The messages in a response.
fn messages(got: &Got) -> Vec<Value> {
    let is_stream = got.headers.get("content-type").is_some_and(|value| value == "text/event-stream");
    if is_stream {
        let mut decoder = Decoder::default();
        decoder.push(&got.body);
        assert!(got.ended != Some(true) || !decoder.is_within_event(), "a body ends with an event: {got:?}");
        check_ids(&decoder);
        let data = decoder.events.iter().filter(|event| !event.data.is_empty());
        return data.map(|event| serde_json::from_str(&event.data).expect("events are JSON")).collect();
    }
    if got.ended != Some(true) {
        return Vec::new();
    }
    match serde_json::from_slice(&got.body).unwrap_or_else(|error| panic!("{error}: {got:?}")) {
        Value::Array(messages) => messages,
        message => vec![message],
    }
}

/// Ids of events increase in each stream.
fn check_ids(decoder: &Decoder) {
    let mut last: HashMap<u64, Position> = HashMap::new();
    let mut seen = "";
    for event in decoder.events.iter().filter(|event| !event.id.is_empty()) {
        if event.id == seen {
            continue; // an event without an id
        }
        seen = &event.id;
        let EventId { stream, position } = EventId::parse(&event.id).expect("an id of this server");
        let before = last.insert(stream, position);
        assert!(before.is_none_or(|before| before < position), "ids increase: {:?}", decoder.events);
    }
}
