//! [`Args`]: the command line.

use std::{convert::Infallible, error::Error, fmt, net::SocketAddr, str::FromStr, time::Duration};

use clap::{Parser, ValueEnum};
use mcp_session_core::{
    AllowedHosts, AllowedOrigins, Config, Eras, InvalidEntry, Sessions, ShutdownPolicy, StateKeys,
};
use mcp_session_redis::{Config as RedisConfig, ConfigError};

use crate::oauth::OauthArgs;

/// An MCP server with one of everything, at /mcp, for clients of every revision. /readyz and /healthz are for probes.
#[derive(Debug, Parser)]
#[command(
    name = "everything",
    after_help = "Exit code: 0 when nothing was forced, 1 otherwise, 2 for bad arguments."
)]
pub(crate) struct Args {
    /// Address and port; port 0 picks a free one. The first line on stdout is the URL
    #[arg(long, default_value = "127.0.0.1:8000", value_parser = address)]
    pub(crate) bind: SocketAddr,
    /// The runtime. async-std is available in a build with `--features async-std`
    #[arg(long, value_enum, default_value_t = Executor::Tokio)]
    pub(crate) runtime: Executor,
    /// Format of the shutdown report, the last output on stdout
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) report: Format,
    /// The revisions to serve: those that open with `initialize` (legacy), 2026-07-28 (modern), or both
    #[arg(long, value_enum, default_value_t = Era::Both)]
    eras: Era,
    /// Legacy clients: whether they get a session, and need one
    #[arg(long, value_enum, default_value_t = SessionMode::Optional)]
    sessions: SessionMode,
    /// A key that seals what a modern client carries between two rounds: 64 hex digits, as `openssl rand -hex 32`
    /// prints, or base64 of 32 bytes. May be repeated: the first key seals, all of them open. Without it, a key is
    /// made at start; several nodes need the same ones. Other users of this machine can see a command line
    #[arg(long, value_name = "KEY")]
    state_key: Vec<Secret>,
    /// A Redis that keeps the sessions, so that several nodes serve them: redis://[USER:PASSWORD@]HOST[:PORT][/DB].
    /// Without it, they live in this process. Other users of this machine can see a command line
    #[arg(long, value_name = "URL")]
    store: Option<Secret>,
    /// The name of this node, as Redis shows it in CLIENT LIST
    #[arg(long, value_name = "NAME", requires = "store", value_parser = node)]
    node: Option<String>,
    /// How long the store may be away before /readyz returns 503
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "store", value_parser = time)]
    pub(crate) store_grace: Duration,
    /// Serve /metrics, for Prometheus
    #[arg(long)]
    pub(crate) metrics: bool,
    /// Send spans and metrics to the collector of OpenTelemetry at this URL (OTLP over HTTP, usually on port 4318)
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    #[command(flatten)]
    pub(crate) oauth: OauthArgs,
    /// A Host to serve besides the loopback names. May be repeated
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
    allow_host: Vec<String>,
    /// An Origin to serve besides the loopback ones. May be repeated
    #[arg(long, value_name = "SCHEME://HOST[:PORT]", value_parser = origin)]
    allow_origin: Vec<String>,
    /// Shutdown: how long to keep serving while /readyz returns 503
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    lame_duck: Duration,
    /// Shutdown: how long running calls may take to finish
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = time)]
    grace: Duration,
    /// Shutdown: how long calls may take to answer once they are told to stop
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = time)]
    cancel: Duration,
    /// Shutdown: how long clients may take to read queued events
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    finish: Duration,
    /// How long a stream may be silent before it gets a comment
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = time)]
    heartbeat: Duration,
    /// How long an unused session lives
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    idle: Duration,
    /// How long a new session may take until its client first uses it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    first_use: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Executor {
    Tokio,
    Smol,
    #[cfg(feature = "async-std")]
    AsyncStd,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Era {
    /// 2025-03-26 to 2025-11-25 only
    Legacy,
    /// 2026-07-28 only
    Modern,
    /// All of them, at the same URL
    Both,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SessionMode {
    /// `initialize` opens one; a request that does not name it is served by itself
    Optional,
    /// `initialize` opens one, and every other request must name it
    Stateful,
    /// No client gets one
    Stateless,
}

/// An option that is shown nowhere. Parsing it cannot fail: clap would print the value.
#[derive(Clone)]
struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Args {
    /// The shutdown policy: how long each phase may take.
    pub(crate) fn policy(&self) -> ShutdownPolicy {
        ShutdownPolicy {
            lame_duck: self.lame_duck,
            drain: self.grace,
            cancel: self.cancel,
            finish: self.finish,
        }
    }

    /// The endpoint's configuration.
    ///
    /// # Errors
    ///
    /// If a state key is no key, or a limit cannot work.
    pub(crate) fn config(&self) -> Result<Config, Box<dyn Error + Send + Sync>> {
        let mut config = Config::default();
        config.eras = match self.eras {
            Era::Legacy => Eras::Legacy,
            Era::Modern => Eras::Modern,
            Era::Both => Eras::Both,
        };
        config.sessions = match self.sessions {
            SessionMode::Optional => Sessions::Optional,
            SessionMode::Stateful => Sessions::Stateful,
            SessionMode::Stateless => Sessions::Stateless,
        };
        if !self.state_key.is_empty() {
            let keys = StateKeys::parse(self.state_key.iter().map(|Secret(key)| key));
            config.state_keys = Some(keys.map_err(|error| format!("--state-key: {error}"))?);
        }
        config.session.heartbeat = self.heartbeat;
        config.session.idle_timeout = self.idle;
        config.session.initialize_timeout = self.first_use;
        for host in &self.allow_host {
            config.allowed_hosts.allow(host).expect("its parser has tried it");
        }
        for origin in &self.allow_origin {
            config.allowed_origins.allow(origin).expect("its parser has tried it");
        }
        config.check()?;
        Ok(config)
    }
}

impl Args {
    /// The configuration of the store, if there is one.
    ///
    /// # Errors
    ///
    /// If its URL is none of a Redis.
    pub(crate) fn store(&self) -> Result<Option<RedisConfig>, Box<dyn Error + Send + Sync>> {
        let Some(Secret(url)) = &self.store else { return Ok(None) };
        let named = |error: ConfigError| format!("--store: {error}");
        let mut config = RedisConfig::new(url).map_err(named)?;
        config.client_name.clone_from(&self.node);
        config.idle = self.idle.max(LEAST_IDLE);
        config.check().map_err(named)?;
        Ok(Some(config))
    }
}

/// Nodes report their sessions every minute: what was not reported for longer is not served any more.
const LEAST_IDLE: Duration = Duration::from_secs(3 * 60);

fn node(text: &str) -> Result<String, &'static str> {
    let is_name = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_name
        .then(|| text.to_owned())
        .ok_or("write up to 64 letters, digits and signs without spaces, such as node-1")
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:8000 or [::1]:0")
}

fn host(text: &str) -> Result<String, InvalidEntry> {
    AllowedHosts::default().allow(text).map(|_| text.to_owned())
}

fn origin(text: &str) -> Result<String, InvalidEntry> {
    AllowedOrigins::default().allow(text).map(|_| text.to_owned())
}

fn time(text: &str) -> Result<Duration, &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => Some(Duration::from_millis(1)),
        "s" => Some(Duration::from_secs(1)),
        "m" => Some(Duration::from_secs(60)),
        _ => None,
    };
    // 32 bits: even in minutes longer than anybody waits, and such a deadline still fits an `Instant`.
    let number = number.parse::<u32>().ok();
    unit.zip(number)
        .map(|(unit, number)| unit * number)
        .ok_or("write a whole number and a unit, such as 15s, 500ms or 2m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(time("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "15", "s", "-1s", "1.5s", "15 s", "15h", "15S", "4294967296s"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts_and_origins_are_checked_by_the_parser() {
        let parse = |flag, value| Args::try_parse_from(["everything", flag, value]);
        let config = parse("--allow-host", "mcp.example.com").unwrap().config().unwrap();
        assert!(config.allowed_hosts.allows("mcp.example.com:8443"));
        assert_eq!(parse("--allow-host", "a/b").unwrap_err().exit_code(), 2);
        let config = parse("--allow-origin", "https://app.example.com").unwrap().config().unwrap();
        assert!(config.allowed_origins.allows("https://app.example.com"));
        assert_eq!(parse("--allow-origin", "app.example.com").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn eras_and_sessions_are_those_of_the_flags() {
        let config = |args: &[&str]| {
            let args = [&["everything"], args].concat();
            Args::try_parse_from(args).map(|args| args.config().unwrap()).map_err(|error| error.exit_code())
        };
        assert_eq!(config(&["--eras", "legacy"]).unwrap().eras, Eras::Legacy);
        assert_eq!(config(&["--eras", "modern"]).unwrap().eras, Eras::Modern);
        assert_eq!(config(&["--sessions", "stateful"]).unwrap().sessions, Sessions::Stateful);
        assert_eq!(config(&["--sessions", "stateless"]).unwrap().sessions, Sessions::Stateless);
        assert_eq!(config(&["--eras", "modern,legacy"]).unwrap_err(), 2);
        assert_eq!(config(&["--sessions", "none"]).unwrap_err(), 2);
    }

    #[test]
    fn g_67_state_keys_are_checked_and_never_shown() {
        let (one, other) = ("0123456789abcdef".repeat(4), "f0".repeat(32));
        let parse = |keys: &[&str]| {
            let flags = keys.iter().flat_map(|&key| ["--state-key", key]);
            Args::try_parse_from(["everything"].into_iter().chain(flags)).unwrap()
        };
        let (first, second) = (parse(&[&one, &other]), parse(&[&other, &one]));
        let ring = |args: &Args| format!("{:?}", args.config().unwrap().state_keys.unwrap());
        assert_ne!(ring(&first), ring(&second)); // the order counts
        assert!(!format!("{first:?}").contains(&one));
        let error = parse(&[&one, "hunter2"]).config().unwrap_err().to_string();
        assert!(error.starts_with("--state-key: state key 2 is not 32 bytes") && !error.contains("hunter2"));
        assert!(parse(&[&one, &one]).config().is_err());
    }

    #[test]
    fn a_store_is_the_url_of_a_redis_which_is_not_shown() {
        let parse = |args: &[&str]| Args::try_parse_from([&["everything"], args].concat());
        assert!(parse(&[]).unwrap().store().unwrap().is_none());
        let args = parse(&["--store", "redis://me:hunter2@redis:6380/2", "--node", "node-1"]).unwrap();
        assert!(!format!("{args:?}").contains("hunter2"));
        let config = args.store().unwrap().unwrap();
        assert_eq!(
            (config.address().as_str(), config.client_name.as_deref()),
            ("redis:6380", Some("node-1"))
        );
        for (bad, says) in [
            ("localhost", "write redis://"),
            ("rediss://", "write redis://"),
            ("redis://:hunter2@", "write redis://"),
        ] {
            let error = parse(&["--store", bad]).unwrap().store().unwrap_err().to_string();
            assert!(
                error.starts_with("--store: ") && error.contains(says) && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert_eq!(parse(&["--node", "n"]).unwrap_err().exit_code(), 2);
        assert_eq!(parse(&["--store", "redis://h", "--node", "a b"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn b_08_it_listens_on_loopback_unless_told() {
        assert!(Args::parse_from(["everything"]).bind.ip().is_loopback());
    }

    #[test]
    fn the_defaults_are_those_of_core() {
        let args = Args::parse_from(["everything"]);
        assert_eq!(args.policy(), ShutdownPolicy::default());
        assert_eq!(format!("{:?}", args.config().unwrap()), format!("{:?}", Config::default()));
    }
}
