//! The result: a row per step, a column per server and client.

use std::fmt;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What one client found out about one server.
#[derive(Debug, Default)]
pub(super) struct Column {
    /// The name of a step and whether it went well.
    steps: Vec<(String, bool)>,
}

impl Column {
    /// Adds the steps in the line that the client printed.
    pub(super) fn add_report(&mut self, report: &Value) -> Result<()> {
        for step in report["steps"].as_array().context("a report has steps")? {
            let name = step["name"].as_str().context("a step has a name")?;
            let detail = step["detail"].as_str().unwrap_or_default();
            let ok = step["ok"].as_bool().context("a step is ok or not")?;
            self.add(name, if ok { Ok(detail) } else { Err(detail) });
        }
        Ok(())
    }

    /// Adds a step and prints what came of it.
    pub(super) fn add(&mut self, step: &str, result: Result<&str, &str>) {
        match result {
            Ok(detail) => println!("    ok     {step}: {detail}"),
            Err(why) => println!("    FAILED {step}: {why}"),
        }
        self.steps.push((step.to_owned(), result.is_ok()));
    }

    pub(super) fn is_ok(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|(_, ok)| *ok)
    }

    fn cell(&self, step: &str) -> &'static str {
        match self.steps.iter().find(|(name, _)| name == step) {
            Some((_, true)) => "ok",
            Some((_, false)) => "FAILED",
            None => "-",
        }
    }
}

/// All columns, with their headings.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<(&'static str, &'static str, Column)>,
}

impl Table {
    pub(super) fn add(&mut self, server: &'static str, client: &'static str, column: Column) {
        self.columns.push((server, client, column));
    }

    pub(super) fn is_ok(&self) -> bool {
        self.columns.iter().all(|(_, _, column)| column.is_ok())
    }

    /// Every step that any column has, in the order of their first appearance.
    fn steps(&self) -> Vec<&str> {
        let mut steps: Vec<&str> = Vec::new();
        for (name, _) in self.columns.iter().flat_map(|(_, _, column)| &column.steps) {
            if !steps.contains(&name.as_str()) {
                steps.push(name);
            }
        }
        steps
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![vec!["server".to_owned()], vec!["client".to_owned()]];
        for (server, client, _) in &self.columns {
            rows[0].push((*server).to_owned());
            rows[1].push(format!("mcp {client}"));
        }
        for step in self.steps() {
            let cells = self.columns.iter().map(|(_, _, column)| column.cell(step).to_owned());
            rows.push(std::iter::once(step.to_owned()).chain(cells).collect());
        }
        for row in rows {
            let cells = row[1..].iter().map(|cell| format!("{cell:<12}")).collect::<Vec<_>>().join("  ");
            writeln!(f, "{:<16}{}", row[0], cells.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Column, Table};

    #[test]
    fn a_failed_step_fails_the_table() {
        let report = json!({"steps": [{"name": "echo", "ok": true, "detail": "hello"}]});
        let (mut table, mut column) = (Table::default(), Column::default());
        column.add_report(&report).unwrap();
        table.add("everything", "2.3.0", column);
        assert!(table.is_ok());
        let mut column = Column::default();
        column.add_report(&report).unwrap();
        column.add("SIGTERM", Err("exit status: 1"));
        table.add("everything", "1.30.0", column);
        assert!(!table.is_ok());
        let text = table.to_string();
        let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(words, ["SIGTERM", "-", "FAILED"]);
        assert!(!Column::default().is_ok(), "a client without a step has shown nothing");
    }
}
