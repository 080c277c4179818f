//! The TypeScript clients, pinned in `xtask/node/package.json`: two packages of the MCP SDK, and that of Vercel's AI SDK.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Client;
use crate::node::{MANIFEST, Node};
use crate::unavailable::Prepared;
use crate::workspace::Workspace;

/// The packages, each with the module that drives it: the release lines after and before the SDK's client got its own
/// package, and a client that accepts an event only if it has `event: message`.
const PACKAGES: [(&str, &str); 3] = [
    ("@modelcontextprotocol/client", "client.mjs"),
    ("@modelcontextprotocol/sdk", "client.mjs"),
    ("@ai-sdk/mcp", "ai-sdk.mjs"),
];

/// The modules; they must be where the packages can be found.
const MODULES: [(&str, &str); 3] = [
    ("client.mjs", include_str!("client.mjs")),
    ("proxy.mjs", include_str!("proxy.mjs")),
    ("ai-sdk.mjs", include_str!("ai-sdk.mjs")),
];

pub(super) fn clients(workspace: &Workspace) -> Prepared<Vec<Client>> {
    let node = match Node::prepare(workspace)? {
        Ok(node) => node,
        Err(unavailable) => return Ok(Err(unavailable)),
    };
    for (name, text) in MODULES {
        node.write(name, text)?;
    }
    let clients: Result<Vec<Client>> =
        PACKAGES.into_iter().map(|(package, module)| client(&node, package, module)).collect();
    clients.map(Ok)
}

fn client(node: &Node, package: &'static str, module: &str) -> Result<Client> {
    let manifest: Value = serde_json::from_str(MANIFEST)?;
    let version = manifest["dependencies"][package].as_str().context("the manifest pins it")?.to_owned();
    let words = ["node", module, package].map(Into::into).to_vec();
    Ok(Client { package, version, words, directory: Some(node.directory().to_owned()) })
}
