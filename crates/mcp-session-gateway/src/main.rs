//! Run with `mcp-session-gateway -- COMMAND [ARG]...`, stop with Ctrl-C.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use mcp_session_gateway::{args::Args, run};

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(printed) = args.print(&mut io::stdout().lock()) {
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let config = match args.gateway() {
        Ok(config) => config,
        Err(error) => return complain(&error, 2),
    };
    match run::gateway(&config) {
        Ok(report) if report.is_orderly() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => complain(&error, 1),
    }
}

/// Writes the error to stderr and returns the exit code. A closed stderr is ignored.
fn complain(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::from(code)
}
