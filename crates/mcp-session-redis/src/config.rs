//! [`Config`]: where Redis is, and the limits.

use std::{fmt, str::FromStr, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use crate::{error::ConfigError, tls::Tls};

/// How to use a Redis.
///
/// ```
/// use mcp_session_redis::{Config, ConfigError};
///
/// let config: Config = "redis://user:secret@redis.internal:6379/2".parse()?;
/// assert_eq!(config.address(), "redis.internal:6379");
/// assert!(!format!("{config:?}").contains("secret"));
/// assert_eq!("http://redis.internal".parse::<Config>().unwrap_err(), ConfigError::Url);
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: RedisConnectionInfo,
    pub(crate) tls: Tls,
    /// The beginning of all keys. `mcp:` by default. All nodes of one service have the same, two services on one Redis have
    /// different ones. At most 64 bytes, and braces only around a hash tag at its beginning, such as `{mcp}:`, for
    /// [`Cluster`](crate::Cluster).
    pub prefix: String,
    /// The name of the service that the prefix belongs to, such as `orders`, for services that share a Redis: a node whose name
    /// is another one, or that has none, is refused with [`Trouble::Foreign`](crate::Trouble::Foreign). None by default. To give
    /// the prefix to another service, delete the key `PREFIXservice`.
    pub service: Option<String>,
    /// The name of the connections in Redis's `CLIENT LIST`, such as the name of the node. None by default. Best effort.
    pub client_name: Option<String>,
    /// How long one command, or opening a connection, may take. 1.5 seconds: below
    /// [`Store::timeout`](mcp_session_core::store::Store::timeout), so that the reason is known.
    pub timeout: Duration,
    /// After this time without a sign of life, a node counts as gone. 3 seconds: its sign is due every second. At least 300 ms.
    pub lease: Duration,
    /// How long a session that no node serves stays without activity. 30 minutes, as
    /// [`idle_timeout`](mcp_session_core::SessionConfig::idle_timeout). Its record stays as long again, for a node to
    /// end it. Must be longer than [`touch_interval`](mcp_session_core::store::Store::touch_interval).
    pub idle: Duration,
    /// How long the events of a reply stay after its end. 5 minutes, as
    /// [`ReplayConfig::age`](mcp_session_core::ReplayConfig::age).
    pub retain: Duration,
    /// The maximum number of events of a log. 1,000, as
    /// [`ReplayConfig::events`](mcp_session_core::ReplayConfig::events). The oldest go first.
    pub events: usize,
    /// The maximum number of bytes of these events. 4 MiB, as
    /// [`ReplayConfig::bytes`](mcp_session_core::ReplayConfig::bytes). The newest event stays, whatever its size.
    pub bytes: usize,
    /// The maximum number of bytes on their way to Redis. 8 MiB: some milliseconds of a fast network. Whoever would exceed it
    /// waits.
    pub in_flight: usize,
}

/// The life of a tombstone, of the mark of a node that has left, and of an inbox after its lease. 10 minutes: longer than any
/// packet is late.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(600);

/// The maximum number of messages in an inbox. A node that runs reads each at once; these are some 10 MB.
pub(crate) const INBOX: usize = 20_000;

/// The maximum number of notices, about. They may be lost, as each log is looked at from time to time in any case.
pub(crate) const NOTICES: usize = 10_000;

impl Config {
    /// A configuration for the Redis at this URL, with the defaults: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, or the same
    /// with `rediss://` for TLS, which needs the feature `tls`. The certificate must be for `HOST`, and by one of the
    /// authorities of the system, or of the file that `SSL_CERT_FILE` names.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`], or [`ConfigError::Tls`] without that feature.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let (tls, rest) = match url.split_once("://") {
            Some(("redis", rest)) => (Tls::Off, rest),
            Some(("rediss", rest)) => (Tls::system()?, rest),
            _ => return Err(ConfigError::Url),
        };
        let url = format!("redis://{rest}");
        let info = url.into_connection_info().map_err(|_| ConfigError::Url)?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(ConfigError::Url) };
        if host.is_empty() || info.redis_settings().db() < 0 {
            return Err(ConfigError::Url);
        }
        Ok(Self {
            host: host.clone(),
            port: *port,
            login: info.redis_settings().clone().set_skip_set_lib_name(),
            tls,
            prefix: "mcp:".to_owned(),
            service: None,
            client_name: None,
            timeout: Duration::from_millis(1_500),
            lease: Duration::from_secs(3),
            idle: Duration::from_secs(30 * 60),
            retain: Duration::from_secs(5 * 60),
            events: 1_000,
            bytes: 4 * 1024 * 1024,
            in_flight: 8 * 1024 * 1024,
        })
    }

    /// Uses TLS with these settings, whatever the URL says: for authorities of your own, or with a certificate of the client.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use mcp_session_redis::{Config, ConfigError, rustls::{ClientConfig, RootCertStore}};
    ///
    /// fn config(authorities: RootCertStore) -> Result<Config, ConfigError> {
    ///     let tls = ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth();
    ///     let mut config = Config::new("redis://redis.internal:6379")?;
    ///     config.set_tls(Arc::new(tls));
    ///     Ok(config)
    /// }
    /// # let _ = config;
    /// ```
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, config: std::sync::Arc<futures_rustls::rustls::ClientConfig>) {
        self.tls = Tls::With(config);
    }

    /// Host and port, without user and password.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Checks the limits.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Prefix`] or [`ConfigError::TooSmall`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let untagged = match hash_tag(&self.prefix) {
            Some(tag) => &self.prefix[tag.len() + 2..],
            None => &self.prefix,
        };
        if untagged.contains(['{', '}']) || self.prefix.len() > 64 {
            return Err(ConfigError::Prefix);
        }
        let millis = Duration::from_millis;
        for (name, value, least, text) in [
            ("`timeout`", self.timeout, millis(10), "10 ms"),
            ("`lease`", self.lease, millis(300), "300 ms"),
            ("`idle`", self.idle, Duration::from_secs(1), "1 s"),
            ("`retain`", self.retain, Duration::from_secs(1), "1 s"),
        ] {
            if value < least {
                return Err(ConfigError::TooSmall(name, text));
            }
        }
        for (name, value) in
            [("`events`", self.events), ("`bytes`", self.bytes), ("`in_flight`", self.in_flight)]
        {
            if value == 0 {
                return Err(ConfigError::TooSmall(name, "1"));
            }
        }
        Ok(())
    }

    /// The life of a record and its logs without activity.
    pub(crate) fn keep(&self) -> Duration {
        self.idle.saturating_mul(2)
    }
}

/// The hash tag at the beginning of a prefix: `mcp` of `{mcp}:`. Redis puts keys with the same one into one slot.
pub(crate) fn hash_tag(prefix: &str) -> Option<&str> {
    let (tag, _) = prefix.strip_prefix('{')?.split_once('}')?;
    Some(tag).filter(|tag| !tag.is_empty() && !tag.contains('{'))
}

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(url: &str) -> Result<Self, ConfigError> {
        Self::new(url)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            prefix, service, client_name, timeout, lease, idle, retain, events, bytes, in_flight, ..
        } = self;
        f.debug_struct("Config")
            .field("address", &self.address())
            .field("db", &self.login.db())
            .field("tls", &!matches!(self.tls, Tls::Off))
            .field("prefix", prefix)
            .field("service", service)
            .field("client_name", client_name)
            .field("timeout", timeout)
            .field("lease", lease)
            .field("idle", idle)
            .field("retain", retain)
            .field("events", events)
            .field("bytes", bytes)
            .field("in_flight", in_flight)
            .finish_non_exhaustive()
    }
}

/// A duration for Redis: whole milliseconds, at least one, and no more than some centuries.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 43)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_urls_are_refused() {
        for bad in [
            "",
            "redis",
            "localhost:6379",
            "redis://",
            "redis:///0",
            "redis://h:port",
            "redis://h/x",
            "unix:///s",
        ] {
            assert_eq!(Config::new(bad).unwrap_err(), ConfigError::Url, "{bad:?}");
        }
        #[cfg(feature = "tls")]
        assert!(format!("{:?}", Config::new("rediss://h").unwrap()).contains("tls: true"));
        #[cfg(not(feature = "tls"))]
        assert_eq!(Config::new("rediss://h").unwrap_err(), ConfigError::Tls);
        assert_eq!(Config::new("redis://h").unwrap().address(), "h:6379");
    }

    #[test]
    fn limits_that_cannot_work_are_refused() {
        let check = |change: fn(&mut Config)| {
            let mut config = Config::new("redis://h").unwrap();
            change(&mut config);
            config.check()
        };
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(check(|config| config.prefix = "{a}:".into()), Ok(()));
        for prefix in ["{}", "{a", "a}", "a{b}", "{{a}", "{a}}", "{a}{b}", "{", &"a".repeat(65)] {
            let mut config = Config::new("redis://h").unwrap();
            config.prefix = prefix.to_owned();
            assert_eq!(config.check(), Err(ConfigError::Prefix), "{prefix}");
        }
        assert!(check(|config| config.lease = Duration::ZERO).is_err());
        assert!(check(|config| config.timeout = Duration::ZERO).is_err());
        assert!(check(|config| config.events = 0).is_err());
        assert!(check(|config| config.idle = Duration::MAX).is_ok()); // Redis gets some centuries
    }
}
