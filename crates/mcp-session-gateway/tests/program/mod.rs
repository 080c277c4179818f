//! [`Gateway`]: the program, as its users start it.

#![allow(dead_code, reason = "each test executable uses its part")]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use mcp_session_testkit::wire::{Client, Reply, call};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::common::{example, wait_for};

/// A running gateway. It is killed when it is dropped.
pub(crate) struct Gateway {
    process: Child,
    /// What it has written to stdout, apart from the lines that were read.
    stdout: BufReader<std::process::ChildStdout>,
    log: Arc<Mutex<String>>,
    reads: Option<JoinHandle<()>>,
    /// The URLs that it has printed.
    pub(crate) urls: Vec<String>,
}

/// How a gateway has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) log: String,
}

impl Ended {
    /// The report, which is JSON.
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn command(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-session-gateway"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("RUST_LOG");
    command
}

/// Runs it to its end, for what does not serve.
pub(crate) fn run(args: &[&str]) -> Ended {
    let output = command(args).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { status: output.status, stdout: text(output.stdout), log: text(output.stderr) }
}

impl Gateway {
    /// Starts it with these options in front of the test child with these switches, on a free port, and waits for its URL.
    pub(crate) fn start(options: &[&str], switches: &[&str]) -> Self {
        let child = example("stdio_child");
        let program = [child.to_str().expect("UTF-8")];
        let report = ["--bind", "127.0.0.1:0", "--report", "json"];
        Self::with(report.iter().chain(options).chain(&["--"]).chain(&program).chain(switches), 1)
    }

    /// Starts it with these arguments, and waits for the URLs of that many servers.
    pub(crate) fn with(args: impl IntoIterator<Item = impl AsRef<OsStr>>, servers: usize) -> Self {
        let mut process = command(args).spawn().expect("it starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let stderr = BufReader::new(process.stderr.take().expect("a pipe"));
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let reads = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = written.lock().expect("no panic");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut urls = Vec::new();
        for _ in 0..servers {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("UTF-8");
            if line.is_empty() {
                let _ = process.wait();
                let _ = reads.join();
                panic!("it has ended: {}", log.lock().expect("no panic"));
            }
            urls.push(line.trim_end().to_owned());
        }
        Self { process, stdout, log, reads: Some(reads), urls }
    }

    /// Its address.
    pub(crate) fn addr(&self) -> SocketAddr {
        let (_, rest) = self.urls[0].split_once("://").expect("a URL");
        rest.split('/').next().and_then(|addr| addr.parse().ok()).expect("an address")
    }

    /// A client with a session.
    pub(crate) async fn client(&self) -> Client {
        Client::open(self.addr()).await
    }

    /// The answer to a GET of this path.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        get(self.addr(), path).await
    }

    /// What it has logged until now.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let mut status = None;
        wait_for("an end", || {
            status = self.process.try_wait().expect("a status");
            status.is_some()
        });
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("UTF-8");
        self.reads.take().map(JoinHandle::join);
        Ended { status: status.expect("an end"), stdout, log: self.log() }
    }

    /// Stops it, and waits for its end.
    pub(crate) fn stop(self) -> Ended {
        self.terminate();
        self.ended()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill(); // most have ended
        let _ = self.process.wait();
    }
}

/// The answer to a GET of this path.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Reply {
    let client = Client { addr, session: String::new() };
    client.send(&format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n\r\n")).await.reply().await
}

/// A call of a tool.
pub(crate) fn tool(id: u64, name: &str, arguments: &Value) -> Value {
    call(id, "tools/call", json!({ "name": name, "arguments": arguments }))
}

/// The text of the first content of a result.
pub(crate) fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}
