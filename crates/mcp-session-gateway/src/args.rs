//! [`Args`]: the command line.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::config::{
    ConfigError, GatewayConfig,
    settings::{FrontSettings, ServerSettings},
    values::OsText,
};

const EXAMPLES: &str = "\
Examples:
  One server, a child process per session, at http://127.0.0.1:8000/mcp:
    mcp-session-gateway -- npx -y @modelcontextprotocol/server-everything

  A server without state, one child for all clients:
    mcp-session-gateway --mode shared -- uvx mcp-server-time

  For other machines, with TLS and tokens:
    mcp-session-gateway --bind 0.0.0.0:8443 --allow-host mcp.example.com \\
      --tls-cert cert.pem --tls-key key.pem --bearer-token-file tokens -- uvx mcp-server-time

  Behind a proxy on the same machine:
    mcp-session-gateway --bind unix:/run/mcp/gateway.sock -- uvx mcp-server-time

  Several servers, each at /NAME/mcp:
    mcp-session-gateway --config gateway.toml

  gateway.toml, with the options above as settings of the same names:
    grace = \"10s\"
    [servers.time]
    command = [\"uvx\", \"mcp-server-time\"]
    mode = \"shared\"
    [servers.git]
    command = [\"uvx\", \"mcp-server-git\"]
    max-sessions = 100

Beside /mcp there are /livez, /readyz (503 while it starts or stops, and while no server is ready) and /metrics.

SIGTERM or Ctrl-C: running calls get their results within --grace, after it one error each; then each child's stdin is
closed, then it gets SIGTERM, then SIGKILL. A second signal, a second later or more, ends everything now.

Exit code: 0 after an orderly stop, 1 if it could not start or something of a child is left, 2 for bad arguments.";

/// Puts MCP servers that speak stdio on the network, by Streamable HTTP
#[derive(Debug, Parser)]
#[command(
    name = "mcp-session-gateway",
    version,
    after_long_help = EXAMPLES,
    after_help = "--help shows examples.",
    args_conflicts_with_subcommands = true,
    override_usage = "mcp-session-gateway [OPTIONS] -- COMMAND [ARG]...\n       mcp-session-gateway [OPTIONS] --config FILE\n       mcp-session-gateway completions SHELL\n       mcp-session-gateway man"
)]
pub struct Args {
    #[command(subcommand)]
    print: Option<Print>,
    /// A TOML file with one or several named servers, each at /NAME/mcp
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// The name of the server, in logs and metrics [default: that of its program or package]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    name: Option<String>,
    #[command(flatten)]
    front: FrontSettings,
    #[command(flatten)]
    server: ServerSettings,
    /// The program that speaks stdio, and its arguments. It is started without a shell
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// What is printed instead of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum Print {
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, for `man -l -`
    Man,
}

impl Args {
    /// Prints what is asked for instead of serving, if anything is.
    pub fn print(&self, to: &mut dyn Write) -> Option<io::Result<()>> {
        self.print.map(|print| print.write(to))
    }

    /// What is to be served.
    ///
    /// # Errors
    ///
    /// If there is nothing to serve, or a setting cannot work.
    pub fn gateway(&self) -> Result<GatewayConfig, ConfigError> {
        match (&self.config, self.command.as_slice()) {
            (Some(path), []) => GatewayConfig::of_file(path, &self.front),
            (Some(_), _) => {
                let problem = "there is a command too: put it into the file, as `command` of a server, or leave the file out";
                Err(ConfigError::new("--config", problem))
            }
            (None, []) => Err(ConfigError::new(
                "COMMAND",
                "there is nothing to serve: write `-- COMMAND [ARG]...` at the end, such as `-- uvx mcp-server-time`, or --config FILE",
            )),
            (None, command) => {
                let mut server = self.server.clone();
                server.command = command.iter().cloned().map(OsText).collect();
                GatewayConfig::of_options(&self.front, self.name.as_deref(), &server)
            }
        }
    }
}

impl Print {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    fn write(self, to: &mut dyn Write) -> io::Result<()> {
        let mut command = Args::command();
        match self {
            Self::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut command, "mcp-session-gateway", &mut text);
                to.write_all(&text)
            }
            Self::Man => clap_mangen::Man::new(command).render(&mut &mut *to),
        }
    }
}
