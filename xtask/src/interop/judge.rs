//! The tables of the results, and whether all is well.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::clients::Way;
use crate::table;

/// A step of a client with a server, as in the client's report.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) ok: bool,
    #[serde(default)]
    pub(super) detail: String,
}

/// What one client did with one server.
#[derive(Debug)]
pub(super) struct Meeting<'a> {
    pub(super) server: &'a str,
    pub(super) client: &'a str,
    pub(super) way: Way,
    pub(super) steps: Vec<Step>,
}

/// A table for each way, with a row per step, a column per client, and in each cell the number of servers on which the step
/// succeeded; and whether all did.
pub(super) fn judge(meetings: &[Meeting<'_>]) -> (String, bool) {
    // A client without a step has shown nothing.
    let mut all_ok = !meetings.is_empty() && meetings.iter().all(|meeting| !meeting.steps.is_empty());
    let mut tables = Vec::new();
    for way in Way::ALL {
        let (mut cells, mut seen) = (Vec::new(), BTreeSet::new());
        let of_way = || meetings.iter().filter(|meeting| meeting.way == way);
        for meeting in of_way() {
            for step in meeting.steps.iter().filter(|step| seen.insert((meeting.client, &step.name))) {
                let of_client = of_way().filter(|it| it.client == meeting.client);
                let same = of_client.flat_map(|it| it.steps.iter().map(move |step| (it.server, step)));
                let (well, badly): (Vec<_>, Vec<_>) =
                    same.filter(|it| it.1.name == step.name).partition(|it| it.1.ok);
                let badly: Vec<&str> = badly.into_iter().map(|(server, _)| server).collect();
                all_ok &= badly.is_empty();
                let good = format!("{} ok", well.len());
                let text = if badly.is_empty() { good } else { format!("FAILED on {}", badly.join(", ")) };
                cells.push((step.name.clone(), meeting.client.to_owned(), text));
            }
        }
        if !cells.is_empty() {
            tables.push(table::grid(way.word(), &cells));
        }
    }
    (tables.join("\n"), all_ok)
}

#[cfg(test)]
mod tests {
    use super::{Meeting, Way, judge};

    fn meeting(server: &'static str, client: &'static str, way: Way, steps: &str) -> Meeting<'static> {
        Meeting { server, client, way, steps: serde_json::from_str(steps).unwrap() }
    }

    #[test]
    fn a_failed_step_fails_the_table() {
        const WELL: &str = r#"[{ "name": "echo", "ok": true, "detail": "hello" }]"#;
        const BADLY: &str = r#"[{ "name": "echo", "ok": true }, { "name": "wire", "ok": false }]"#;
        let good = || meeting("tokio", "mcp 2", Way::Sessions, WELL);
        assert!(judge(&[good()]).1);
        assert!(!judge(&[]).1, "nobody has met");
        assert!(!judge(&[good(), meeting("smol", "mcp 2", Way::Sessions, "[]")]).1);
        let (table, ok) = judge(&[
            good(),
            meeting("smol", "mcp 2", Way::Sessions, BADLY),
            meeting("smol", "sdk 1", Way::Sessions, WELL),
            meeting("smol", "mcp 2", Way::Modern, WELL),
        ]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(!ok);
        assert_eq!(
            lines,
            [
                &["sessions", "mcp", "2", "sdk", "1"][..],
                &["echo", "2", "ok", "1", "ok"],
                &["wire", "FAILED", "on", "smol", "-"],
                &[],
                &["modern", "mcp", "2"],
                &["echo", "1", "ok"],
            ]
        );
    }
}
