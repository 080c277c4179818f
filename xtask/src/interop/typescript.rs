//! The TypeScript clients: two packages of one project, as `xtask/node/package.json` pins them.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Client;
use crate::node::{MANIFEST, Node};
use crate::unavailable::Prepared;
use crate::workspace::Workspace;

/// The line before and after the client became a package of its own.
const PACKAGES: [&str; 2] = ["@modelcontextprotocol/client", "@modelcontextprotocol/sdk"];

/// They have to lie where the packages can be found.
const MODULES: [(&str, &str); 2] =
    [("client.mjs", include_str!("client.mjs")), ("proxy.mjs", include_str!("proxy.mjs"))];

pub(super) fn clients(workspace: &Workspace) -> Prepared<Vec<Client>> {
    let node = match Node::prepare(workspace)? {
        Ok(node) => node,
        Err(unavailable) => return Ok(Err(unavailable)),
    };
    for (name, text) in MODULES {
        node.write(name, text)?;
    }
    let clients: Result<Vec<Client>> = PACKAGES.into_iter().map(|package| client(&node, package)).collect();
    clients.map(Ok)
}

fn client(node: &Node, package: &'static str) -> Result<Client> {
    let manifest: Value = serde_json::from_str(MANIFEST)?;
    let version = manifest["dependencies"][package].as_str().context("the manifest pins it")?.to_owned();
    let words = ["node", "client.mjs", package].map(Into::into).to_vec();
    Ok(Client { package, version, words, directory: Some(node.directory().to_owned()) })
}
