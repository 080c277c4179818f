//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{draw::Adapter, leaks::Load};

/// Trials of real servers that are stopped under a mixed load.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos")]
pub(crate) struct Args {
    /// Number of trials on each adapter
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) trials: u64,
    /// The adapter to test (may be repeated); all by default
    #[arg(long = "adapter", value_enum)]
    pub(crate) adapters: Vec<Adapter>,
    /// The seed of the first trial; each further one has the next number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many trials run at once: they mostly wait
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,
    /// The executable of `everything`; built in the profile of this program by default
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// For a busy machine: clients have more time to read, and the time of the exit is not judged
    #[arg(long)]
    pub(crate) patient: bool,
    /// Print each trial
    #[arg(long, short)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) other: Option<Other>,
}

/// What this program does besides trials.
#[derive(Debug, Subcommand)]
pub(crate) enum Other {
    /// Measures the memory of a server after many sessions, exchanges and listeners. Used by `cargo xtask leaks`
    Leaks {
        /// The adapter to test (may be repeated); all by default
        #[arg(long = "adapter", value_enum)]
        adapters: Vec<Adapter>,
        /// The load to measure (may be repeated); all by default
        #[arg(long = "load", value_enum)]
        loads: Vec<Load>,
        /// Number of sessions, and of exchanges without one; of listeners there are a tenth
        #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
        count: u64,
    },
    /// The clients of a trial that have a process of their own
    #[command(hide = true)]
    Clients {
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        address: SocketAddr,
    },
}
