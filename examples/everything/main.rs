//! Run with `cargo run --example everything -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
//!
//! The server for trying things out: every feature of MCP with canned answers, and tools that take their time or
//! never end. It is what `cargo xtask interop` drives with real clients.

mod args;
mod fixtures;
mod handler;
mod server;
mod tools;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use args::{Args, Format};
use clap::Parser;
use mcp_session_core::ShutdownReport;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(
            EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy(),
        )
        .init();
    match server::run(&args) {
        Ok(report) => {
            say(&written(&report, args.report));
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn written(report: &ShutdownReport, format: Format) -> String {
    match format {
        Format::Table => report.to_string(),
        Format::Json => serde_json::to_string(report).expect("a report has only strings for keys"),
    }
}

/// Writes a line to stdout, at once. Whoever reads it may have gone, which is no reason to fail.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
