//! What can be wrong: [`ConfigError`] before anything is tried, [`Trouble`] with a server. Each says what would make it right.

use std::{fmt, io};

use redis::{ErrorKind, RedisError};

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL is none of a Redis.
    #[error(
        "not the URL of a Redis: write redis://[USER:PASSWORD@]HOST[:PORT][/DB], such as redis://127.0.0.1:6379/0, or rediss:// \
         with TLS"
    )]
    Url,
    /// The URL asks for TLS, and the feature `tls` is off.
    #[error(
        "TLS is not built in: build with the feature `tls` of mcp-session-redis, or write redis:// and use a local TLS proxy"
    )]
    Tls,
    /// The system has no certificate authority that can be read.
    #[error(
        "no certificate authority was found: install those of the system, name a file by SSL_CERT_FILE, or give a `ClientConfig`"
    )]
    Authorities,
    /// No sentinel is given.
    #[error("no sentinel is given: give the URL of each, such as redis://10.0.0.1:26379")]
    Sentinels,
    /// No node of a cluster is given.
    #[error("no node of the cluster is given: give the URL of some, such as redis://10.0.0.1:6379")]
    Nodes,
    /// The prefix has no hash tag, so the keys are at many nodes of a cluster.
    #[error(
        "the keys have to be in one slot of the cluster: set `Config::prefix` to one with a hash tag, such as `{{mcp}}:`"
    )]
    HashTag,
    /// The prefix is too long, or has a brace that would spread the keys of a session over hash slots.
    #[error(
        "a key prefix has at most 64 bytes, and braces only around a hash tag at its beginning: write one such as `mcp:` or `{{mcp}}:`"
    )]
    Prefix,
    /// A duration or a limit is too small.
    #[error("{0} is too small: give it at least {1}")]
    TooSmall(&'static str, &'static str),
}

/// Why Redis cannot be used, and what would make it right. Without passwords, ids of sessions, and data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Nobody answers at the address.
    Unreachable {
        /// Host and port.
        address: String,
        /// What the operating system says.
        error: String,
    },
    /// A command took longer than [`Config::timeout`](crate::Config::timeout).
    Timeout,
    /// The connection ended.
    Disconnected,
    /// Redis refused user, password or database.
    Refused(String),
    /// The version of Redis is below 6.2, or unknown.
    Version(String),
    /// Redis may evict keys.
    Evicts {
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// The prefix belongs to another service.
    Foreign {
        /// The name of that service.
        service: String,
    },
    /// It is a replica, which cannot be written.
    Replica,
    /// It is at its `maxmemory`.
    Full,
    /// A key under the prefix has a type that this crate never gives it.
    ForeignKey,
    /// The user may not use a command or a key.
    Forbidden(String),
    /// Redis loads its data, is busy with a script, or waits for its primary.
    Busy(String),
    /// The keys are at another node of a Redis Cluster.
    Moved,
    /// A value under the prefix cannot be read, so a newer node wrote it, or another application.
    Unreadable,
    /// The inbox of a node is full, because it reads nothing.
    InboxFull,
    /// Something else, in the words of Redis.
    Other(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, error } => {
                write!(f, "no Redis at {address} ({error}): start it, or correct the URL")
            }
            Self::Timeout => {
                f.write_str("redis did not answer in time: look at its load and its slow log, or raise the timeout")
            }
            Self::Disconnected => f.write_str("redis closed the connection: it is connected again by itself"),
            Self::Refused(why) => {
                write!(f, "redis refused the login ({why}): correct user, password and database in the URL")
            }
            Self::Version(found) => {
                write!(f, "redis is of version {found}, which is too old: use 6.2 or a later one")
            }
            Self::Evicts { policy } => write!(
                f,
                "redis may evict sessions (maxmemory-policy is {policy}): set `maxmemory-policy noeviction`"
            ),
            Self::Foreign { service } => write!(
                f,
                "the prefix belongs to the service `{service}`: choose another prefix, or set `Config::service` to this name"
            ),
            Self::Replica => f.write_str("this Redis is a replica: connect to its primary, or promote it"),
            Self::Full => {
                f.write_str("redis is at its memory limit: raise `maxmemory`, or remove what others keep there")
            }
            Self::ForeignKey => f.write_str(
                "a key under the prefix has a foreign type: remove it, or choose another prefix or database",
            ),
            Self::Forbidden(why) => {
                write!(f, "the Redis user lacks a permission ({why}): give it those listed in the docs of the crate")
            }
            Self::Busy(why) => write!(f, "redis is busy ({why}): it is tried again"),
            Self::Moved => f.write_str(
                "the keys are at another node of a Redis Cluster: connect through `Cluster`, with a prefix that has a hash tag, such as `{mcp}:`",
            ),
            Self::Unreadable => f.write_str(
                "a value under the prefix cannot be read: update this node, or choose another prefix",
            ),
            Self::InboxFull => f.write_str("the inbox of a node is full: restart the node that reads nothing"),
            Self::Other(why) => write!(f, "redis answered with an error: {why}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl Trouble {
    pub(crate) fn unreachable(address: String, error: &io::Error) -> Self {
        Self::Unreachable { address, error: error.to_string() }
    }

    /// Whether another connection may be a better one.
    pub(crate) fn ends_the_connection(&self) -> bool {
        match self {
            Self::Timeout
            | Self::Disconnected
            | Self::Replica
            | Self::Busy(_)
            | Self::Refused(_)
            | Self::Moved => true,
            Self::Unreachable { .. }
            | Self::Version(_)
            | Self::Evicts { .. }
            | Self::Foreign { .. }
            | Self::Full
            | Self::ForeignKey
            | Self::Forbidden(_)
            | Self::Unreadable
            | Self::InboxFull
            | Self::Other(_) => false,
        }
    }
}

impl From<&RedisError> for Trouble {
    /// Of a pipeline, the first error counts.
    fn from(error: &RedisError) -> Self {
        if let Some((_, error)) = error.clone().into_server_errors().as_deref().and_then(<[_]>::first) {
            return Self::answered(error.code(), error.details().unwrap_or_default());
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
                Self::Refused(error.category().to_owned())
            }
            _ if error.is_io_error() || error.is_unrecoverable_error() => Self::Disconnected,
            _ => Self::Other(error.category().to_owned()),
        }
    }
}

impl Trouble {
    /// What an error of Redis means: its code, and its text.
    fn answered(code: &str, text: &str) -> Self {
        // Without the arguments, which follow in quotes or after a colon.
        let why = || {
            let words = text.split(['\'', '"', ':']).next().unwrap_or_default();
            format!("{code} {words}").trim().chars().take(120).collect::<String>()
        };
        // In some versions, the error of a script has the code of its command only in its text.
        let says = |word: &str| code == word || text.contains(word);
        let any = |words: &[&str]| words.iter().any(|word| says(word));
        if says("OOM") {
            Self::Full
        } else if says("WRONGTYPE") {
            Self::ForeignKey
        } else if says("READONLY") {
            Self::Replica
        } else if says("NOPERM") {
            Self::Forbidden(why())
        } else if any(&["NOAUTH", "WRONGPASS"]) {
            Self::Refused(why())
        } else if any(&["MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN"]) {
            Self::Moved
        } else if any(&["LOADING", "MASTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS"]) {
            Self::Busy(why())
        } else {
            Self::Other(why())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_redis_say_what_makes_them_right_and_repeat_no_arguments() {
        let display = |code, text| Trouble::answered(code, text).to_string();
        assert!(
            display("OOM", "command not allowed when used memory > 'maxmemory'.")
                .contains("raise `maxmemory`")
        );
        assert!(
            display("ERR", "Error running script: @user_script:1: WRONGTYPE Operation").contains("prefix")
        );
        assert!(display("NOPERM", "this user has no permissions to run the 'xadd' command").contains("docs"));
        let other = display("ERR", "value is not an integer: 'hunter2'");
        assert!(other.contains("value is not an integer") && !other.contains("hunter2"));
        assert_eq!(Trouble::answered("MOVED", "3999 127.0.0.1:6381"), Trouble::Moved);
        assert!(Trouble::answered("LOADING", "").ends_the_connection());
    }
}
