//! Instructions per request, without a socket and over a connection.

use std::time::Duration;

use anyhow::Result;

use super::Plan;
use crate::{
    build,
    load::echo_times,
    peer,
    server::Server,
    valgrind::{self, WORK},
};

/// Under valgrind, a server is about fifty times slower.
const END: Duration = Duration::from_secs(60);

/// Counts and prints a table.
pub(super) fn count(plan: &Plan) -> Result<()> {
    build::servers(&[])?;
    peer::build(&plan.quick_peers(), &plan.target)?;
    println!("\n| work | instructions in user mode |\n|---|---|");
    for work in &WORK {
        println!("| {} | {:.0} |", work.what, work.count(&plan.target)?);
    }
    for peer in plan.quick_peers() {
        let (executable, flags) = peer.command(&plan.target);
        let instructions = valgrind::each(|times| {
            let mut command = valgrind::command(&plan.target, peer.name(), times);
            command.arg(&executable).args(flags).arg("--with-parent");
            let mut server = Server::start(command, &plan.version, &plan.cores)?;
            echo_times(server.target(), times)?;
            server.terminate()?;
            server.wait(END)?;
            valgrind::collected(&plan.target, peer.name(), times)
        })?;
        println!("| an `echo` call over a connection, {} | {instructions:.0} |", peer.name());
    }
    Ok(())
}
