//! [`FrontSettings`] and [`ServerSettings`]: what can be set, by options and in the file under the same names.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::values::{Bind, HeaderVariable, OsText, Size, Time, Variable, header_variables, variables};
use crate::server::config::{Mode, Restart, StderrTo};

/// The gateway's own settings.
#[expect(clippy::doc_markdown, reason = "the docs of the fields are the help, which is no Markdown")]
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct FrontSettings {
    /// Where to listen: HOST:PORT (port 0 picks a free one) or unix:PATH [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<Bind>,
    /// How long running calls may take to finish after SIGTERM; those that take longer get an error [default: 15s]
    #[arg(long, value_name = "TIME")]
    pub(crate) grace: Option<Time>,
    /// How long to keep serving after SIGTERM while /readyz returns 503, so that load balancers notice [default: 0s]
    #[arg(long, value_name = "TIME")]
    pub(crate) lame_duck: Option<Time>,
    /// A Host to serve besides the loopback names, such as mcp.example.com or *.example.com. May be repeated
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Access")]
    pub(crate) allow_host: Vec<String>,
    /// An Origin to serve besides the loopback ones, such as https://app.example.com. May be repeated
    #[arg(long, value_name = "SCHEME://HOST[:PORT]", help_heading = "Access")]
    pub(crate) allow_origin: Vec<String>,
    /// Let web pages of the allowed origins read the answers (CORS)
    #[arg(long, help_heading = "Access")]
    pub(crate) cors: bool,
    /// Serve only requests with a bearer token of this file: one a line, as TOKEN or NAME TOKEN. It is read again when
    /// it changes
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// The certificate chain for TLS, in PEM. It is read again when it changes
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Format of the report at the end, on stdout [default: table]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) report: Option<ReportFormat>,
    /// Format of the log, on stderr. Its level is set by RUST_LOG [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) log_format: Option<LogFormat>,
    /// No live view, also at a terminal
    #[arg(long, help_heading = "Output")]
    pub(crate) no_view: bool,
    /// The servers, by name. Only in the file: the command line has one.
    #[arg(skip)]
    pub(crate) servers: BTreeMap<String, ServerSettings>,
}

/// The settings of one stdio server. With a file, they belong into it.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[group(conflicts_with = "config")]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ServerSettings {
    /// The program and its arguments. On the command line they stand after `--`.
    #[arg(skip)]
    pub(crate) command: Vec<OsText>,
    /// Which client gets which child process [default: session]
    #[arg(long, value_enum)]
    pub(crate) mode: Option<ModeSetting>,
    /// A variable for the children. May be repeated. Other users of this machine can see a command line
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Children")]
    #[serde(deserialize_with = "variables")]
    pub(crate) env: Vec<Variable>,
    /// A variable of the gateway that the children get too, besides PATH, HOME and a few others. May be repeated
    #[arg(long, value_name = "NAME", help_heading = "Children")]
    pub(crate) inherit_env: Vec<String>,
    /// A header of `initialize` whose value a session's own child gets as a variable. May be repeated
    #[arg(long, value_name = "HEADER=VARIABLE", help_heading = "Children")]
    #[serde(deserialize_with = "header_variables")]
    pub(crate) header_env: Vec<HeaderVariable>,
    /// The working directory of the children
    #[arg(long, value_name = "DIRECTORY", help_heading = "Children")]
    pub(crate) cwd: Option<PathBuf>,
    /// Where the children's stderr goes [default: log]
    #[arg(long, value_enum, value_name = "TO", help_heading = "Children")]
    pub(crate) stderr: Option<StderrSetting>,
    /// When a shared child that has ended is started again [default: always]
    #[arg(long, value_enum, value_name = "WHEN", help_heading = "Children")]
    pub(crate) restart: Option<RestartSetting>,
    /// How many children are started before they are needed, in --mode request [default: 2]
    #[arg(long, value_name = "CHILDREN", help_heading = "Children")]
    pub(crate) warm: Option<usize>,
    /// How long a child has to end after its stdin was closed, before SIGTERM [default: 2s]
    #[arg(long, value_name = "TIME", help_heading = "Children")]
    pub(crate) close_timeout: Option<Time>,
    /// How long a child has to end after SIGTERM, before SIGKILL [default: 2s]
    #[arg(long, value_name = "TIME", help_heading = "Children")]
    pub(crate) terminate_timeout: Option<Time>,
    /// The maximum number of sessions; more get 503 [default: 1000]
    #[arg(long, value_name = "SESSIONS", help_heading = "Limits")]
    pub(crate) max_sessions: Option<usize>,
    /// The maximum number of child processes; more get 503 [default: 1000]
    #[arg(long, value_name = "CHILDREN", help_heading = "Limits")]
    pub(crate) max_children: Option<usize>,
    /// The maximum number of calls that run at the same time [default: 10000]
    #[arg(long, value_name = "CALLS", help_heading = "Limits")]
    pub(crate) max_in_flight: Option<usize>,
    /// The maximum length of a line of a child [default: 16MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) max_line: Option<Size>,
    /// The maximum length of a request body [default: 16MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) max_body: Option<Size>,
    /// How long a child may take to answer `initialize` [default: 60s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(crate) init_timeout: Option<Time>,
    /// How long a call may take; then it is cancelled and gets an error [default: no limit]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(crate) call_timeout: Option<Time>,
    /// How long an unused session lives [default: 30m]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(crate) idle: Option<Time>,
    /// The maximum lifetime of a session, however busy [default: no limit]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(crate) max_life: Option<Time>,
}

/// Format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ReportFormat {
    /// For a reader.
    #[default]
    Table,
    /// One line of JSON.
    Json,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LogFormat {
    /// For a reader.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// See [`Mode`].
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ModeSetting {
    /// A child for each session
    Session,
    /// One child for all clients. It must keep nothing for a single client
    Shared,
    /// A child for each request, started before it comes. For servers without state
    Request,
}

impl From<ModeSetting> for Mode {
    fn from(mode: ModeSetting) -> Self {
        match mode {
            ModeSetting::Session => Self::Session,
            ModeSetting::Shared => Self::Shared,
            ModeSetting::Request => Self::Request,
        }
    }
}

/// See [`StderrTo`].
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StderrSetting {
    /// Into the log, with the server's name and the session
    Log,
    /// To the client, as `notifications/message`
    Client,
    /// Nowhere
    Discard,
}

impl From<StderrSetting> for StderrTo {
    fn from(to: StderrSetting) -> Self {
        match to {
            StderrSetting::Log => Self::Log,
            StderrSetting::Client => Self::Client,
            StderrSetting::Discard => Self::Discard,
        }
    }
}

/// See [`Restart`].
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RestartSetting {
    /// Never
    Never,
    /// If it has failed
    OnFailure,
    /// However it has ended
    Always,
}

impl From<RestartSetting> for Restart {
    fn from(restart: RestartSetting) -> Self {
        match restart {
            RestartSetting::Never => Self::Never,
            RestartSetting::OnFailure => Self::OnFailure,
            RestartSetting::Always => Self::Always,
        }
    }
}
