//! Run with `cargo run --example everything -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
//!
//! A server for trying things out: every feature of MCP with canned answers, and tools that take a while or never
//! end. Clients of every revision use the same URL at the same time; `--eras` and `--sessions` restrict that. With
//! `--store redis://127.0.0.1:6379`, several of them behind a load balancer serve the same sessions.
//! `cargo xtask conformance` drives it with the official suite, `cargo xtask interop` with real clients.

mod args;
mod fixtures;
mod handler;
mod log;
mod oauth;
mod server;
mod telemetry;
mod tools;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use args::{Args, Format};
use clap::Parser;
use mcp_session_core::ShutdownReport;
use telemetry::Telemetry;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = args.config().and(args.store()).and(args.oauth.check(args.bind)) {
        return complain(&*error, 2);
    }
    let log = log::start();
    let telemetry = match Telemetry::start(args.metrics, args.otlp.as_deref()) {
        Ok(telemetry) => telemetry,
        Err(error) => return complain(&*error, 2),
    };
    match server::run(&args, telemetry.as_ref()) {
        Ok(report) => {
            say(&written(&report, args.report));
            if let Some(telemetry) = telemetry {
                telemetry.flush();
            }
            log.flush();
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            log.flush();
            complain(&error, 1)
        }
    }
}

/// Writes the error to stderr and returns the exit code. A closed stderr is ignored.
fn complain(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::from(code)
}

fn written(report: &ShutdownReport, format: Format) -> String {
    match format {
        Format::Table => report.to_string(),
        Format::Json => serde_json::to_string(report).expect("a report has only strings for keys"),
    }
}

/// Writes a line to stdout and flushes it. A closed stdout is ignored.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
