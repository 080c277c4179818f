//! [`GatewayConfig`]: what the gateway does, from options and a file, checked.

mod build;
pub(crate) mod settings;
pub(crate) mod values;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use mcp_session_core::{AllowedHosts, AllowedOrigins};

use settings::{FrontSettings, ServerSettings};
pub use settings::{LogFormat, ReportFormat};
pub use values::Bind;

use crate::server::config::ServerConfig;

/// What the gateway does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GatewayConfig {
    /// Where it listens.
    pub bind: Bind,
    /// How long running calls may take to finish.
    pub grace: Duration,
    /// How long it keeps serving while the readiness probe fails.
    pub lame_duck: Duration,
    /// Who may call.
    pub access: Access,
    /// The certificate, if it speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Format of the report.
    pub report: ReportFormat,
    /// Format of the log.
    pub log: LogFormat,
    /// Whether there is a live view at a terminal.
    pub view: bool,
    /// The servers, at least one, each with its own name.
    pub servers: Vec<ServerConfig>,
}

/// Who may call.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Access {
    /// The `Host` values that are served.
    pub hosts: AllowedHosts,
    /// The `Origin` values that are served.
    pub origins: AllowedOrigins,
    /// Whether web pages of these origins may read the answers.
    pub cors: bool,
    /// The file with the tokens, if one is needed.
    pub token_file: Option<PathBuf>,
    /// Whether a host was added to the loopback names.
    pub(crate) has_hosts: bool,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The chain, in PEM.
    pub cert: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
}

/// A setting that cannot work, with what would make it right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The option, or the path in the file, such as `servers.time.mode`.
    place: String,
    problem: String,
}

impl ConfigError {
    pub(crate) fn new(place: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { place: place.into(), problem: problem.to_string() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Where settings stand, for errors.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Options,
    File(&'a Path),
}

impl Place<'_> {
    /// The name of a setting of the gateway.
    fn front(self, setting: &str) -> String {
        match self {
            Self::Options => format!("--{setting}"),
            Self::File(path) => format!("{}: {setting}", path.display()),
        }
    }

    /// The name of a setting of a server.
    fn server(self, server: &str, setting: &str) -> String {
        match self {
            Self::Options => format!("--{setting}"),
            Self::File(path) => format!("{}: servers.{server}.{setting}", path.display()),
        }
    }
}

impl GatewayConfig {
    /// One server, of the command line.
    ///
    /// # Errors
    ///
    /// If a setting cannot work.
    pub(crate) fn of_options(
        options: &FrontSettings,
        name: Option<&str>,
        server: &ServerSettings,
    ) -> Result<Self, ConfigError> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => build::name_of(server),
        };
        let server = build::server(Place::Options, &name, server)?;
        build::gateway(options, &FrontSettings::default(), Place::Options, vec![server])
    }

    /// The servers of a file. Options replace what the file says.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, has a setting that is none, or one that cannot work.
    pub(crate) fn of_file(path: &Path, options: &FrontSettings) -> Result<Self, ConfigError> {
        let place = Place::File(path);
        let text = fs::read_to_string(path).map_err(|error| {
            ConfigError::new("--config", format!("cannot read {}: {error}", path.display()))
        })?;
        let file: FrontSettings = toml::from_str(&text)
            .map_err(|error| ConfigError::new(path.display().to_string(), error.to_string().trim_end()))?;
        if file.servers.is_empty() {
            let problem = "there is no server: add a table such as [servers.time] with command = [\"uvx\", \"mcp-server-time\"]";
            return Err(ConfigError::new(path.display().to_string(), problem));
        }
        let servers = file.servers.iter().map(|(name, server)| build::server(place, name, server));
        let servers = servers.collect::<Result<_, _>>()?;
        build::gateway(options, &file, place, servers)
    }
}
