//! [`serve`]: the nodes for clients from outside, who have one URL while node after node is replaced.

use anyhow::Result;
use futures::FutureExt as _;

use crate::{
    args::{Args, Play},
    directory,
    nodes::{NODES, Nodes},
};

/// Prints the URL of the balancer, and replaces one node after the other until `stopped` resolves. Returns `true` if each of
/// them ended well.
pub(crate) async fn serve(args: &Args, stopped: impl Future<Output = ()>) -> Result<bool> {
    let directory = directory();
    std::fs::create_dir_all(&directory)?;
    let mut nodes = Nodes::start(Play::Rolling, args.bind, &directory).await?;
    println!(
        "http://{}/mcp is served by {NODES} nodes, each of which is replaced in turn",
        nodes.balancer.address
    );
    let mut unclean = Vec::new();
    let (mut stopped, mut replaced) = (Box::pin(stopped.fuse()), 0);
    for slot in (0..NODES).cycle() {
        unclean.extend(nodes.stop(slot).await?.1);
        nodes.launch(slot).await?;
        nodes.all_ready().await?;
        replaced += 1;
        if (&mut stopped).now_or_never().is_some() {
            break;
        }
    }
    for slot in 0..NODES {
        unclean.extend(nodes.stop(slot).await?.1);
    }
    println!("{replaced} nodes were replaced");
    for unclean in &unclean {
        println!("{unclean}; logs in {}", directory.display());
    }
    if unclean.is_empty() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(unclean.is_empty())
}
