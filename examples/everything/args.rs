//! [`Args`]: the command line.

use std::{net::SocketAddr, time::Duration};

use clap::{Parser, ValueEnum};
use mcp_session_core::{AllowedHosts, AllowedOrigins, Config, InvalidEntry, ShutdownPolicy};

/// An MCP server with one of everything, at /mcp. /readyz and /healthz are for probes.
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
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.session.heartbeat = self.heartbeat;
        config.session.idle_timeout = self.idle;
        for host in &self.allow_host {
            config.allowed_hosts.allow(host).expect("its parser has tried it");
        }
        for origin in &self.allow_origin {
            config.allowed_origins.allow(origin).expect("its parser has tried it");
        }
        config
    }
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
        let config = parse("--allow-host", "mcp.example.com").unwrap().config();
        assert!(config.allowed_hosts.allows("mcp.example.com:8443"));
        assert_eq!(parse("--allow-host", "a/b").unwrap_err().exit_code(), 2);
        let config = parse("--allow-origin", "https://app.example.com").unwrap().config();
        assert!(config.allowed_origins.allows("https://app.example.com"));
        assert_eq!(parse("--allow-origin", "app.example.com").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn b_08_it_listens_on_loopback_unless_told() {
        assert!(Args::parse_from(["everything"]).bind.ip().is_loopback());
    }

    #[test]
    fn the_defaults_are_those_of_core() {
        let args = Args::parse_from(["everything"]);
        assert_eq!(args.policy(), ShutdownPolicy::default());
        assert_eq!(format!("{:?}", args.config()), format!("{:?}", Config::default()));
    }
}
