//! `cargo xtask gateway`: what `mcp-session-gateway` does with real servers and clients, and beside other gateways.

mod abandoned;
mod client;
mod cost;
mod programs;
mod real;
mod stop;
mod suite;
mod tree;

use std::path::Path;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use self::programs::Programs;
use crate::process::Unavailable;
use crate::workspace::Workspace;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this part. May be repeated
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    #[command(flatten)]
    abandoned: abandoned::Amount,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// Real servers, driven by the real Python and TypeScript clients
    Servers,
    /// SIGTERM while 20 calls run, beside other gateways
    Stop,
    /// Memory, and calls a second, beside other gateways
    Cost,
    /// Sessions that nobody ends: their processes, descriptors and memory
    Abandoned,
    /// The official conformance suite, with the gateway and without it
    Conformance,
}

/// Runs the parts; returns `true` if each came out as it must.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    ensure!(
        Path::new("/proc/self/stat").exists(),
        Unavailable("no /proc: processes cannot be counted".to_owned())
    );
    let programs = Programs::find(workspace)?;
    let mut all_ok = true;
    for &part in Part::value_variants() {
        if args.only.is_empty() || args.only.contains(&part) {
            let ok = match part {
                Part::Servers => real::run(workspace, &programs),
                Part::Stop => stop::run(&programs),
                Part::Cost => cost::run(&programs),
                Part::Abandoned => abandoned::run(&programs, &args.abandoned),
                Part::Conformance => suite::run(workspace, &programs),
            };
            all_ok &= ok.unwrap_or_else(|error| {
                println!("{part:?}: FAILED: {error:#}");
                false
            });
        }
    }
    Ok(all_ok)
}
