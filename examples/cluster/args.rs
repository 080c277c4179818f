//! The command line.

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  cargo run --release --example cluster
  cargo run --release --example cluster -- --sessions 1000 --calls 4
  cargo run --release --example cluster -- --store redis://127.0.0.1:6379/5
  cargo run --release --example cluster -- --store memory

Exit code: 0 when nothing was lost, 1 otherwise, 2 for bad arguments, 130 after Ctrl-C.";

/// Three nodes with a common store are replaced one after the other under load, and no client loses anything.
#[derive(Debug, Parser)]
#[command(name = "cluster", after_help = EXAMPLES)] // not the package's
pub(crate) struct Args {
    /// Sessions, each with a call at a time
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=4_000))]
    pub(crate) sessions: u64,
    /// Calls of each session
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) calls: u64,
    /// Where sessions are kept: the URL of a Redis, or `memory`. By default a Redis of its own, if one is installed
    #[arg(long, value_name = "URL|memory")]
    pub(crate) store: Option<String>,
}
