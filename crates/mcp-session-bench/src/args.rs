//! [`ServerArgs`].

use std::net::SocketAddr;

use clap::Parser;
use rustix::process::{Resource, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

/// What every server of the benchmark takes.
#[derive(Debug, Parser)]
pub struct ServerArgs {
    /// Address and port; port 0 picks a free one. The first line on stdout is the URL
    #[arg(long, default_value = "127.0.0.1:0")]
    pub bind: SocketAddr,
    /// Ends with the process that started it
    #[arg(long)]
    with_parent: bool,
}

impl ServerArgs {
    /// Reads the command line and does what it says about the process.
    pub fn read() -> Self {
        let args = Self::parse();
        // Best effort, both: a load that is too big for the limit will say so.
        if args.with_parent {
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
        }
        raise_open_files();
        args
    }

    /// Tells whoever started the server where it is.
    pub fn announce(address: SocketAddr) {
        println!("http://{address}/mcp");
    }
}

/// Raises the limit of open files as far as the process may: a stream is a socket.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
}
