//! Run with `mcp-session-gateway -- COMMAND [ARG]...`, stop with Ctrl-C.

use std::{
    env,
    io::{self, Write},
    process::{Command, ExitCode},
};

use clap::Parser;
use mcp_session_gateway::{args::Args, config::GatewayConfig, run, supervisor};

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(printed) = args.print(&mut io::stdout().lock()) {
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let config = match args.gateway() {
        Ok(config) => config,
        Err(error) => return complain(&error, 2),
    };
    let ended = if supervisor::is_supervised() { gateway(&config) } else { supervise(&config) };
    ended.unwrap_or_else(|error| complain(&error, 1))
}

/// This process becomes the parent of the gateway, which is the same program with the same arguments.
fn supervise(config: &GatewayConfig) -> io::Result<ExitCode> {
    let mut gateway = Command::new(env::current_exe()?);
    gateway.args(env::args_os().skip(1));
    let budgets = config.servers.iter().map(|server| server.budgets);
    let longest = budgets.max_by_key(|budgets| budgets.total()).unwrap_or_default();
    supervisor::supervise(gateway, longest).map(ExitCode::from)
}

fn gateway(config: &GatewayConfig) -> io::Result<ExitCode> {
    supervisor::follow()?;
    let report = run::gateway(config)?;
    Ok(if report.is_orderly() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the error to stderr and returns the exit code. A closed stderr is ignored.
fn complain(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::from(code)
}
