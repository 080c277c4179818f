//! Run with `cargo run --release --example rmcp_server --features rmcp -- compare`.
//!
//! A counter written with rmcp's macros, served by rmcp's own transport or, without a change to its tools, by mcp-session.
//! `serve --with ours` and `serve --with rmcp` serve until SIGTERM or Ctrl-C. `compare` starts both as processes of their
//! own, opens sessions, stops each server in the middle of running calls, and counts the answers. Exit code 0 means that
//! ours answered every call.

mod args;
mod child;
mod compare;
mod counter;
mod load;
mod serve;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use crate::args::{Command, Serve, With};

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Command::read() {
        Command::Serve(Serve { with: With::Ours, bind }) => serve::ours(bind).await.map(|()| true),
        Command::Serve(Serve { with, bind }) => serve::rmcp(bind, with == With::Rmcp).await.map(|()| true),
        Command::Compare(args) => compare::run(&args).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
