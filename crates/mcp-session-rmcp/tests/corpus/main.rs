//! The messages of `messages.jsonl`, to rmcp's own session path and to ours: the same answer, or a difference that has a
//! reason.

mod corpus;
mod server;
mod side;

use std::collections::BTreeSet;

use corpus::{difference, messages};
use side::Side;

/// The reasons.
const REASONS: &[(&str, &str)] = &[];

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
    assert!(same > 0, "{same} answers are the same");
}
