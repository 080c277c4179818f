//! `compare`: SIGTERM in the middle of running calls, for each server, and a table of what came of them.

use std::{
    fmt,
    time::{Duration, Instant},
};

use mcp_session_examples::client::Error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::timeout;

use crate::{
    args::{Compare, With},
    child::Child,
    load::{Answers, Load},
};

/// How long opening the sessions may take. Normally less than a second; longer in a debug build on a busy machine.
const OPENING: Duration = Duration::from_secs(30);

/// How long a server and its clients may take beyond the time of a call.
const SPARE: Duration = Duration::from_secs(20);

/// What became of the calls of one server.
#[derive(Debug)]
struct Row {
    with: With,
    calls: u64,
    answers: Answers,
    /// From SIGTERM to the end of the process. `None`: it did not end, and was killed.
    ended: Option<Duration>,
}

/// Prints a row for each server. Returns `true` if ours answered every call with its result, and ended.
pub(crate) async fn run(args: &Compare) -> Result<bool, Error> {
    raise_limit();
    let ours = row(With::Ours, args).await?;
    let mut rows = vec![row(With::Rmcp, args).await?];
    if args.waits {
        rows.push(row(With::RmcpWaits, args).await?);
    }
    println!("{ours}");
    for row in rows {
        println!("{row}");
    }
    Ok(ours.is_complete())
}

/// One connection for each session and each call, here and in the server, which inherits the limit: most systems allow
/// 1,024 files.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

async fn row(with: With, args: &Compare) -> Result<Row, Error> {
    let server = Child::start(with).await?;
    let mut load = timeout(OPENING, Load::open(server.address, args))
        .await
        .map_err(|_| format!("{with}: the sessions were not open after {OPENING:?}"))?
        .map_err(|error| format!("{with}: cannot open the sessions: {error}"))?;

    eprintln!("{with}: {} sessions, {} running calls, SIGTERM", args.sessions, args.calls);
    server.terminate()?;
    let begun = Instant::now();
    let limit = Duration::from_secs(args.seconds) + SPARE;
    let (answers, ended) = tokio::join!(load.answers(limit), async {
        server.ended(limit).await.map(|report| (report, begun.elapsed()))
    });
    let (report, took) = ended.map_err(|error| format!("{with}: {error}"))?;
    for line in report.iter().flat_map(|report| report.lines()) {
        eprintln!("    {line}");
    }
    Ok(Row { with, calls: args.calls, answers, ended: report.map(|_| took) })
}

impl Row {
    fn is_complete(&self) -> bool {
        self.answers.results == self.calls && self.ended.is_some()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answers { results, errors, nothing } = self.answers;
        write!(
            f,
            "{} {results} of {} results, {errors} errors, {nothing} without an answer; ",
            self.with, self.calls
        )?;
        match self.ended {
            Some(took) => write!(f, "ended after {:.1} s", took.as_secs_f64()),
            None => f.write_str("killed: it did not end"),
        }
    }
}
