//! A supervised gateway without HTTP, for tests: it starts children, and ends them at SIGTERM.
//!
//! Run with `cargo run -p mcp-session-gateway --example supervised -- COUNT [SWITCH]...`: that many children of `stdio_child`
//! with these switches. With `end-one` in place of the first switch it ends its first child at once. Writes the id of the
//! gateway's process to stdout, and `ended` when its children have ended.

use std::{env, io, process::ExitCode, time::Duration};

use mcp_session_gateway::{
    child::{
        command::CommandLine,
        ladder::LadderBudgets,
        spawn::{Spawned, spawn},
    },
    supervisor,
};
use tokio::signal::unix::{SignalKind, signal};

const BUDGETS: LadderBudgets = LadderBudgets::new(Duration::from_millis(200), Duration::from_millis(200));

fn main() -> io::Result<ExitCode> {
    if !supervisor::is_supervised() {
        let mut gateway = std::process::Command::new(env::current_exe()?);
        gateway.args(env::args_os().skip(1));
        return Ok(supervisor::supervise(gateway, BUDGETS)?.into());
    }
    supervisor::follow()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(gateway())
}

async fn gateway() -> io::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut args = env::args().skip(1).peekable();
    let count: usize = args.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let ends_one = args.next_if_eq("end-one").is_some();
    let program = env::current_exe()?.with_file_name("stdio_child");
    let command = CommandLine::new(program, args);
    let mut children = (0..count).map(|_| spawn(&command, [], 1_000)).collect::<io::Result<Vec<_>>>()?;
    println!("{}", std::process::id());
    if ends_one {
        let Spawned { mut process, input, .. } = children.remove(0);
        process.end(&input, BUDGETS, std::future::pending()).await;
    }
    // Whatever a test does, it ends.
    let _ = tokio::time::timeout(Duration::from_secs(60), terminate.recv()).await;
    let all = children.into_iter().map(async |Spawned { mut process, input, .. }| {
        process.end(&input, BUDGETS, std::future::pending()).await
    });
    futures::future::join_all(all).await;
    println!("ended");
    Ok(ExitCode::SUCCESS)
}
