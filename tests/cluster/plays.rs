//! [`perform`]: what happens to the nodes while their clients go on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::{task::block_in_place, time};

use crate::{
    args::{Args, Play},
    clients::{self, Clients},
    nodes::{NODES, Nodes},
};

/// How long the load may take to run as many calls as are wanted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than the lease of a node: 3 s by default.
const THREE_LEASES: Duration = Duration::from_secs(9);

/// How long the load goes on after a fault.
const AFTER: Duration = Duration::from_secs(4);

/// What has happened.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    /// When the first fault began.
    pub(crate) at: Option<Instant>,
    /// How long each node took to exit.
    pub(crate) exits: Vec<Duration>,
    /// The reports of nodes that did not end well.
    pub(crate) unclean: Vec<String>,
    /// The number of calls that ran at a node when it was stopped.
    pub(crate) running: Vec<u64>,
}

/// Performs the play.
pub(crate) async fn perform(
    play: Play,
    args: &Args,
    nodes: &mut Nodes,
    clients: &Clients,
) -> Result<Happened> {
    let mut happened = Happened::default();
    loaded(args, clients).await?;
    if play != Play::Rolling {
        happened.at = Some(Instant::now());
    }
    let ms = Duration::from_millis;
    match play {
        Play::Rolling => {
            for slot in (0..args.rounds).flat_map(|_| 0..NODES) {
                loaded(args, clients).await?;
                happened.count(nodes, slot).await?;
                let (took, unclean) = nodes.stop(slot).await?;
                happened.exits.push(took);
                happened.unclean.extend(unclean);
                nodes.launch(slot).await?;
                nodes.all_ready().await?;
            }
        }
        Play::Kill => {
            happened.count(nodes, 0).await?;
            happened.at = Some(Instant::now());
            nodes.kill(0).await?;
            time::sleep(AFTER).await;
            nodes.launch(0).await?;
            nodes.all_ready().await?;
        }
        Play::Pause => {
            happened.count(nodes, 0).await?;
            happened.at = Some(Instant::now());
            nodes.signal(0, "STOP").await?;
            time::sleep(THREE_LEASES).await;
            nodes.signal(0, "CONT").await?;
        }
        Play::CutShort => cut(nodes, ms(1_500)).await,
        Play::CutLong => cut(nodes, ms(12_000)).await,
        Play::Late => {
            for round in 0..4 {
                let link = &nodes.links[round % NODES];
                link.hold();
                time::sleep(ms(400)).await;
                link.cut_late();
                time::sleep(ms(900)).await;
                link.heal();
                time::sleep(ms(1_500)).await;
            }
            let late: usize = nodes.links.iter().map(mcp_session_tests::Link::late).sum();
            ensure!(late > 0, "nothing was late");
        }
        Play::Stall => block_in_place(|| drop(nodes.redis.run(&["DEBUG", "SLEEP", "5"]))),
        Play::RestartAof | Play::RestartEmpty => block_in_place(|| {
            nodes.redis.kill();
            nodes.redis.restart();
        }),
        Play::Failover => failover(nodes).await?,
    }
    if play != Play::Rolling {
        time::sleep(AFTER).await;
    }
    nodes.all_ready().await?;
    let begun = Instant::now();
    while clients.made() < args.calls {
        ensure!(begun.elapsed() < 5 * PATIENCE, "{} of {} calls", clients.made(), args.calls);
        time::sleep(ms(50)).await;
    }
    Ok(happened)
}

impl Happened {
    async fn count(&mut self, nodes: &Nodes, slot: usize) -> Result<()> {
        self.running.push(clients::active(nodes.address(slot)?).await.context("the tool `active`")?);
        Ok(())
    }
}

/// Waits until four in five sessions run a call.
async fn loaded(args: &Args, clients: &Clients) -> Result<()> {
    let (begun, wanted) = (Instant::now(), args.sessions as usize * 4 / 5);
    while clients.running() < wanted {
        let running = clients.running();
        ensure!(begun.elapsed() < PATIENCE, "{running} calls run, and not {wanted}");
        time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn cut(nodes: &Nodes, time: Duration) {
    nodes.links[0].cut();
    time::sleep(time).await;
    nodes.links[0].heal();
}

/// The replica misses the last 300 ms, and becomes the primary.
async fn failover(nodes: &mut Nodes) -> Result<()> {
    let (replica, link) = nodes.replica.as_ref().context("a replica")?;
    link.cut();
    time::sleep(Duration::from_millis(300)).await;
    block_in_place(|| {
        nodes.redis.kill();
        replica.run(&["REPLICAOF", "NO", "ONE"]);
    });
    for link in &nodes.links {
        link.switch(replica.port);
    }
    Ok(())
}
