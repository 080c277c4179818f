//! [`Report`]: what happened, step by step.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// A step is a handful of requests on the loopback interface.
const STEP: Duration = Duration::from_secs(15);

/// One entry per step: a step that fails is recorded, and the next one still runs.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Value>);

impl Report {
    /// Performs a step within its time limit; returns whether it succeeded.
    pub(crate) async fn step(&mut self, name: &str, action: impl Future<Output = Result<String>>) -> bool {
        let limit = || format!("no end within {STEP:?}");
        let ended = tokio::time::timeout(STEP, action).await.with_context(limit).and_then(|it| it);
        let ok = ended.is_ok();
        let detail = ended.unwrap_or_else(|error| format!("{error:#}"));
        self.0.push(json!({ "name": name, "ok": ok, "detail": detail }));
        ok
    }

    /// Prints the report; returns whether every step succeeded.
    pub(crate) fn print(&self) -> bool {
        let ok = !self.0.is_empty() && self.0.iter().all(|step| step["ok"] == true);
        println!("{}", json!({ "client": "rmcp", "ok": ok, "steps": self.0 }));
        ok
    }
}
