//! Instructions per request, without a socket and over a connection.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;

use super::{Plan, Scenario};
use crate::{
    build, goals,
    load::{Era, echo_times},
    peer,
    server::Server,
    valgrind::{self, WORK},
};

/// Under valgrind, a server is about fifty times slower.
const END: Duration = Duration::from_secs(60);

/// Counts and prints a table.
pub(super) fn count(plan: &Plan) -> Result<()> {
    build::servers(&[])?;
    let mut peers = plan.quick_peers();
    peers.retain(|peer| peer.can(Scenario::Instructions));
    peer::build(&peers, &plan.target)?;
    println!("\n| work | instructions in user mode |\n|---|---|");
    let mut counts = BTreeMap::new();
    for work in &WORK {
        let count = work.count(&plan.target)?;
        println!("| {} | {count:.0} |", work.what);
        counts.insert(work.name.to_owned(), count);
    }
    for (peer, era) in peers.into_iter().flat_map(|peer| Era::ALL.map(|era| (peer, era))) {
        let (executable, flags) = peer.command(&plan.target, era);
        let instructions = valgrind::each(|times| {
            let mut command = valgrind::command(&plan.target, peer.name(), times);
            command.arg(&executable).args(flags).arg("--with-parent");
            let mut server = Server::start(command, &plan.version, &plan.cores)?;
            echo_times(server.target(), era, 1, times)?;
            server.terminate()?;
            server.wait(END)?;
            valgrind::collected(&plan.target, peer.name(), times)
        })?;
        println!("| an `echo` call {} over a connection, {} | {instructions:.0} |", era.name(), peer.name());
    }
    goals::print_instructions(&counts);
    Ok(())
}
