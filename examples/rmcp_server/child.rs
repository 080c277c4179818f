//! [`Child`]: this executable as a server, in a process of its own.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use mcp_session_examples::client::Error;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{self, ChildStdout, Command},
    time::timeout,
};

use crate::args::With;

/// How long a server may take to listen. Normally some milliseconds.
const START: Duration = Duration::from_secs(30);

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) address: SocketAddr,
    process: process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts it, and waits until it listens.
    pub(crate) async fn start(with: With) -> Result<Self, Error> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--bind", "127.0.0.1:0", "--with", &with.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start the server of {with}: {error}"))?;
        let stdout = process.stdout.take().ok_or("the server has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START, lines.next_line())
            .await
            .map_err(|_| format!("the server of {with} does not listen after {START:?}"))??
            .ok_or_else(|| format!("the server of {with} ended before it listened"))?;
        let address = line.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/mcp"));
        let address = address.and_then(|address| address.parse().ok());
        let address =
            address.ok_or_else(|| format!("the server of {with} does not begin with its URL: {line}"))?;
        Ok(Self { address, process, lines })
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> Result<(), Error> {
        let pid = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or("the server has ended already")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Waits for its end, and returns what it has printed after the URL. `None`: it had not ended after `limit`, and was
    /// killed.
    pub(crate) async fn ended(mut self, limit: Duration) -> Result<Option<String>, Error> {
        let end = async {
            let mut printed = Vec::new();
            while let Some(line) = self.lines.next_line().await? {
                printed.push(line);
            }
            let status = self.process.wait().await?;
            if status.success() {
                Ok(printed.join("\n"))
            } else {
                Err(format!("the server failed: {status}").into())
            }
        };
        match timeout(limit, end).await {
            Ok(ended) => ended.map(Some),
            Err(_) => {
                self.process.kill().await?;
                Ok(None)
            }
        }
    }
}
