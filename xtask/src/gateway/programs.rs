//! The gateways: ours in each mode, and others; how each is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::client::Client;
use crate::installed;
use crate::process::{self, BUILD, Keep, Running};
use crate::workspace::{GATEWAY, Workspace};

/// The releases that are compared, and the servers from `PyPI`. Those from npm are in `xtask/gateway/package.json`.
const MCP_PROXY: (&str, &str) = ("mcp-proxy", "0.13.0");
pub(super) const SERVERS: [(&str, &str); 2] =
    [("mcp-server-time", "2026.10.19"), ("mcp-server-git", "2026.10.19")];

const NODE_FILES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// How long a gateway may take until it answers: the slowest takes two seconds.
const START: Duration = Duration::from_secs(30);

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    /// Ours, built with optimizations.
    pub(super) ours: PathBuf,
    /// The stdio server that is measured with.
    pub(super) child: PathBuf,
    /// The directory whose `node_modules` has the servers and gateways from npm.
    pub(super) node: PathBuf,
    /// The `bin` directories of the servers and of `mcp-proxy` from `PyPI`.
    pub(super) servers: PathBuf,
    proxy: PathBuf,
    /// What keeps servers on Node on the loopback interface.
    pub(super) loopback: PathBuf,
}

/// A gateway, and how it is started.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) name: String,
    words: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Ours,
    Supergateway,
    /// From npm.
    Proxy,
    /// From `PyPI`.
    PyProxy,
}

/// A gateway that runs; killed when dropped.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) process: Running,
    pub(super) address: SocketAddr,
    pub(super) path: &'static str,
}

impl Programs {
    pub(super) fn find(workspace: &Workspace) -> Result<Programs> {
        let build = ["build", "--quiet", "--release", "-p", GATEWAY, "--bins", "--examples"];
        process::succeed(&process::cargo(workspace, build), BUILD)?;
        let release = workspace.target_directory().join("release");
        let bin = |python: PathBuf| python.parent().map(Path::to_owned).context("a directory");
        Ok(Programs {
            ours: release.join(GATEWAY),
            // As /proc shows it.
            child: release.join("examples").join("stdio_child").canonicalize()?,
            node: installed::npm(workspace, "xtask/gateway", &NODE_FILES, "gateway/node")?,
            servers: bin(installed::pip(workspace, "gateway/servers", &SERVERS)?)?,
            loopback: workspace.root().join("xtask/src/gateway/loopback.mjs"),
            proxy: bin(installed::pip(workspace, "gateway/mcp-proxy", &[MCP_PROXY])?)?,
        })
    }

    /// Ours in one mode, with further options.
    pub(super) fn ours(&self, mode: &str, options: &[&str]) -> Gateway {
        let words = [&self.ours.display().to_string(), "--log-format", "json", "--mode", mode];
        let words = words.iter().chain(options).map(|&word| word.to_owned()).collect();
        Gateway { name: format!("ours, {mode}"), words, kind: Kind::Ours }
    }

    /// The others.
    pub(super) fn others(&self) -> [Gateway; 3] {
        let script = |path: &str| {
            let path = self.node.join("node_modules").join(path);
            let loopback = self.loopback.display().to_string();
            vec!["node".to_owned(), "--import".to_owned(), loopback, path.display().to_string()]
        };
        let (npm, pypi) = ("mcp-proxy (npm)".to_owned(), "mcp-proxy (PyPI)".to_owned());
        let python = vec![self.proxy.join("mcp-proxy").display().to_string()];
        [
            Gateway {
                name: "supergateway".to_owned(),
                words: script("supergateway/dist/index.js"),
                kind: Kind::Supergateway,
            },
            Gateway { name: npm, words: script("mcp-proxy/dist/bin/mcp-proxy.mjs"), kind: Kind::Proxy },
            Gateway { name: pypi, words: python, kind: Kind::PyProxy },
        ]
    }
}

impl Gateway {
    /// Starts it on a free port of the loopback interface, in front of a stdio server, and waits until it accepts connections.
    pub(super) fn start(&self, server: &[String]) -> Result<Started> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let port = address.port().to_string();
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        let path = match self.kind {
            Kind::Ours => {
                command.args(["--bind", &address.to_string(), "--"]).args(server);
                "/mcp"
            }
            Kind::Supergateway => {
                let command_line = server.join(" ");
                command.args(["--outputTransport", "streamableHttp", "--stateful", "--logLevel", "none"]);
                command.args(["--port", &port, "--stdio", &command_line]);
                "/mcp"
            }
            Kind::Proxy => {
                command.args(["--host", "127.0.0.1", "--server", "stream", "--port", &port, "--"]);
                command.args(server);
                "/mcp"
            }
            Kind::PyProxy => {
                command.args(["--host", "127.0.0.1", "--log-level", "ERROR", "--port", &port, "--"]);
                command.args(server);
                "/mcp/"
            }
        };
        let started = Started { process: Running::start(&command, Keep::All)?, address, path };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            let ended = started.process.ended_within(Duration::from_millis(20))?;
            if ended.is_some() || Instant::now() > deadline {
                bail!(
                    "{} does not accept connections; ended: {ended:?}\n{}",
                    self.name,
                    started.process.output()
                );
            }
        }
        Ok(started)
    }
}

impl Started {
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }

    /// A client with a session.
    pub(super) fn client(&self) -> Result<Client> {
        let client = Client::open(self.address, self.path);
        client.with_context(|| format!("initialize\n{}", self.process.output()))
    }
}
