//! [`Report`]: how the gateway has stopped, as a table or as JSON.

use std::{fmt, time::Duration};

use mcp_session_core::ShutdownReport;
use serde::{Serialize, Serializer};

use crate::{config::ReportFormat, server::state::ChildrenReport};

/// How the gateway has stopped.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Sessions, calls and streams of all servers: core's report.
    pub shutdown: ShutdownReport,
    /// The children of all servers.
    pub children: ChildrenReport,
    /// The children of each server.
    pub servers: Vec<ServerReport>,
    /// From the signal to the end. Serialized as milliseconds.
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub took: Duration,
    /// A second signal has ended it early.
    pub hurried: bool,
}

/// The children of one server.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ServerReport {
    /// The name of the server.
    pub name: String,
    /// Its children.
    #[serde(flatten)]
    pub children: ChildrenReport,
}

impl Report {
    pub(crate) fn new(
        shutdown: ShutdownReport,
        servers: Vec<ServerReport>,
        took: Duration,
        hurried: bool,
    ) -> Self {
        let children = servers.iter().map(|server| server.children);
        let children = children.fold(ChildrenReport::default(), ChildrenReport::plus);
        Self { shutdown, children, servers, took, hurried }
    }

    /// Returns `true` if nothing of a child is left. Calls that got an error because their time was up, and clients that did
    /// not read, are part of an orderly stop.
    pub fn is_orderly(&self) -> bool {
        self.children.left == 0
    }

    /// Its text.
    #[expect(clippy::missing_panics_doc, reason = "its maps have strings for keys")]
    pub fn written(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Table => self.to_string(),
            ReportFormat::Json => serde_json::to_string(self).expect("a report has only strings for keys"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shutdown, children, servers, took, hurried } = self;
        let verdict = match (self.is_orderly(), hurried) {
            (true, false) => "nothing is left",
            (true, true) => "nothing is left; a second signal ended it early",
            (false, _) => "processes are left",
        };
        writeln!(f, "stopped     {:>9.1} ms   {verdict}", took.as_secs_f64() * 1e3)?;
        writeln!(f, "{shutdown}")?;
        write!(f, "children    {:>12}   {}", children.children, Ends(children))?;
        if servers.len() > 1 {
            for ServerReport { name, children } in servers {
                write!(f, "\n  {name}: {} children, {}", children.children, Ends(children))?;
            }
        }
        Ok(())
    }
}

/// How children ended.
struct Ends<'a>(&'a ChildrenReport);

impl fmt::Display for Ends<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChildrenReport { closed, terminated, killed, left, .. } = self.0;
        write!(f, "closed {closed}, terminated {terminated}, killed {killed}, left {left}")
    }
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}
