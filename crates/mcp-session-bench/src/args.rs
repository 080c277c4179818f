//! [`ServerArgs`].

use std::net::SocketAddr;

use clap::Parser;
use rustix::process::{Resource, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

/// The arguments of every server in the benchmark.
#[derive(Debug, Parser)]
pub struct ServerArgs {
    /// Address and port; port 0 picks a free one. The first line on stdout is the URL
    #[arg(long, default_value = "127.0.0.1:0")]
    pub bind: SocketAddr,
    /// Decodes calls of `echo`, and encodes their answers; only for the raw server on tokio
    #[arg(long)]
    pub parse: bool,
    /// The URL of the Redis that keeps the sessions; only for the node of a cluster
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Ends with the process that started it
    #[arg(long)]
    with_parent: bool,
}

impl ServerArgs {
    /// Parses the command line and applies its process settings.
    pub fn read() -> Self {
        let args = Self::parse();
        // Both are best effort: a load that exceeds the limit reports an error.
        if args.with_parent {
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
        }
        raise_open_files();
        args
    }

    /// Prints the server's URL for the parent process.
    pub fn announce(address: SocketAddr) {
        println!("http://{address}/mcp");
    }
}

/// Raises the limit of open files to the hard limit: each stream is a socket.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
}
