//! The messages of `messages.jsonl`, to rmcp's own session path and to ours: the same answer, or a difference that has a
//! reason.

mod corpus;
mod server;
mod side;

use std::collections::BTreeSet;

use corpus::{difference, messages};
use side::Side;

/// Why answers differ: the words of `messages.jsonl`.
const REASONS: [(&str, &str); 11] = [
    (
        "not-a-message",
        "rmcp answers 415 with a text; JSON-RPC has -32700 and -32600, which ours sends with 400",
    ),
    (
        "text",
        "rmcp refuses with the same status and a text; ours with an error that has the id of the request",
    ),
    ("words", "the same code in other words"),
    (
        "wrong-params",
        "rmcp tries type after type, so a known method with wrong params is an unknown one to it",
    ),
    (
        "fractions",
        "the specification has strings and integers; ours does not read 1.0 as one, because it answers 1",
    ),
    ("large-ids", "ours keeps any integer as it was written; rmcp has those of 64 bits with a sign"),
    ("nobodys-error", "an error without an id is the answer to nothing: rmcp accepts it, ours does not"),
    ("twice", "a session is initialized once; rmcp answers again"),
    ("oldest-version", "ours does not speak 2024-11-05, which has another transport: it offers its newest"),
    ("no-session", "ours serves clients that name no session"),
    ("server-info", "2026-07-28: ours says in each result whose it is, as the specification recommends"),
];

#[tokio::test]
async fn every_answer_is_that_of_rmcp_or_differs_for_a_reason() {
    let (ours, rmcp) = (Side::ours(), Side::rmcp());
    let (mut wrong, mut used, mut same) = (Vec::new(), BTreeSet::new(), 0);
    let messages = messages();
    for message in &messages {
        let (of_ours, of_rmcp) = (ours.answer(message).await, rmcp.answer(message).await);
        let found = difference(&of_ours, &of_rmcp);
        let (expected, why) = message.differs.clone().unwrap_or_default();
        if found != expected {
            wrong.push(format!(
                "{}: {found:?}, not {expected:?}\n  {}\n  ours {} {}\n  rmcp {} {}",
                message.name,
                message.body,
                of_ours.status,
                serde_json::to_string(&of_ours.messages).expect("JSON"),
                of_rmcp.status,
                serde_json::to_string(&of_rmcp.messages).expect("JSON"),
            ));
        }
        if found.is_empty() {
            same += 1;
        } else {
            used.insert(why);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), messages.len(), wrong.join("\n"));
    let reasons: BTreeSet<_> = REASONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(used, reasons, "each reason is needed, and each difference has one");
    assert_eq!(messages.len(), 200);
    assert_eq!(same, 106, "answers that are the same");
}
