//! The result: a row per step, a column per client, and in each cell the number of servers on which the step succeeded.

use std::fmt;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The results of one client with one server.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    /// The name of a step, and the details of its success or failure.
    steps: Vec<(String, Result<String, String>)>,
    /// Further output to print if a step failed.
    pub(super) log: String,
}

impl Meeting {
    /// Adds the steps from the client's report.
    pub(super) fn add_report(&mut self, report: &Value) -> Result<()> {
        for step in report["steps"].as_array().context("a report has steps")? {
            let name = step["name"].as_str().context("a step has a name")?;
            let detail = step["detail"].as_str().unwrap_or_default().to_owned();
            let ok = step["ok"].as_bool().context("a step is ok or not")?;
            self.add(name, if ok { Ok(detail) } else { Err(detail) });
        }
        Ok(())
    }

    pub(super) fn add(&mut self, step: &str, result: Result<String, String>) {
        self.steps.push((step.to_owned(), result));
    }

    pub(super) fn is_ok(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|(_, result)| result.is_ok())
    }

    fn find(&self, step: &str) -> Option<bool> {
        self.steps.iter().find(|(name, _)| name == step).map(|(_, result)| result.is_ok())
    }
}

impl fmt::Display for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, result) in &self.steps {
            match result {
                Ok(detail) => writeln!(f, "    ok     {step}: {detail}")?,
                Err(why) => writeln!(f, "    FAILED {step}: {why}")?,
            }
        }
        f.write_str(&self.log)
    }
}

/// All meetings, by server and client.
#[derive(Debug, Default)]
pub(super) struct Table {
    meetings: Vec<(String, String, Meeting)>,
}

impl Table {
    pub(super) fn add(&mut self, server: &str, client: &str, meeting: Meeting) {
        self.meetings.push((server.to_owned(), client.to_owned(), meeting));
    }

    pub(super) fn is_ok(&self) -> bool {
        !self.meetings.is_empty() && self.meetings.iter().all(|(.., meeting)| meeting.is_ok())
    }

    fn servers(&self) -> Vec<&str> {
        distinct(self.meetings.iter().map(|(server, ..)| server.as_str()))
    }

    fn clients(&self) -> Vec<&str> {
        distinct(self.meetings.iter().map(|(_, client, _)| client.as_str()))
    }

    /// Every step that any meeting has, in the order of their first appearance.
    fn steps(&self) -> Vec<&str> {
        distinct(self.meetings.iter().flat_map(|(.., meeting)| &meeting.steps).map(|(step, _)| step.as_str()))
    }

    /// The result of a step for a client: the number of servers on which it succeeded, or those on which it failed.
    fn cell(&self, step: &str, client: &str) -> String {
        let (mut well, mut badly) = (0, Vec::new());
        for (server, _, meeting) in self.meetings.iter().filter(|(_, name, _)| name == client) {
            match meeting.find(step) {
                Some(true) => well += 1,
                Some(false) => badly.push(server.as_str()),
                None => {}
            }
        }
        match (well, badly.as_slice()) {
            (0, []) => "-".to_owned(),
            (well, []) => format!("{well} ok"),
            (_, servers) => format!("FAILED on {}", servers.join(", ")),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "servers: {}", self.servers().join(", "))?;
        let (steps, clients) = (self.steps(), self.clients());
        let mut columns = vec![[""].iter().chain(&steps).map(ToString::to_string).collect::<Vec<_>>()];
        for client in clients {
            let cells = steps.iter().map(|step| self.cell(step, client));
            columns.push(std::iter::once(client.to_owned()).chain(cells).collect());
        }
        for row in 0..=steps.len() {
            let mut line = String::new();
            for column in &columns {
                let width = column.iter().map(String::len).max().unwrap_or_default();
                line += &format!("{:<width$}  ", column[row]);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Each text once, in the order of their first appearance.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    texts.for_each(|text| {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    });
    distinct
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Meeting, Table};

    #[test]
    fn a_failed_step_fails_the_table() {
        let report = json!({"steps": [{"name": "echo", "ok": true, "detail": "hello"}]});
        let (mut table, mut meeting) = (Table::default(), Meeting::default());
        assert!(!table.is_ok(), "nobody has met");
        meeting.add_report(&report).unwrap();
        table.add("tokio", "mcp 2.3.0", meeting);
        assert!(table.is_ok());
        let mut meeting = Meeting::default();
        meeting.add_report(&report).unwrap();
        meeting.add("SIGTERM", Err("exit status: 1".to_owned()));
        table.add("smol", "mcp 2.3.0", meeting);
        assert!(!table.is_ok());
        let text = table.to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["servers:", "tokio,", "smol"]);
        assert_eq!(lines[2], ["echo", "2", "ok"]);
        assert_eq!(lines[3], ["SIGTERM", "FAILED", "on", "smol"]);
        assert!(!Meeting::default().is_ok(), "a client without a step has shown nothing");
    }
}
