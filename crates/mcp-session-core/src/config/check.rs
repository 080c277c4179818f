//! [`ConfigError`]: a limit that cannot work, and the smallest value that does.

use std::{fmt, io, time::Duration};

use mcp_session_proto::{ReplayConfig, SessionConfig};

use super::Config;
use crate::store::Store;

/// A limit of a [`Config`] or a [`Serve`](crate::Serve) that cannot work: nobody would be served, or something would
/// wait forever. Or a [`store`](Config::store) for which this node gets no id.
///
/// Returned by [`Endpoint::with_config`](crate::Endpoint::with_config) and [`Config::check`]. For a limit, its text names
/// the field, the value, the smallest value that works and the reason:
///
/// ```
/// use mcp_session_core::Config;
///
/// let mut config = Config::default();
/// assert_eq!(config.check(), Ok(()));
/// config.session.queue_events = 0;
/// let error = config.check().unwrap_err();
/// assert_eq!(error.field(), "session.queue_events");
/// assert_eq!(
///     error.to_string(),
///     "`session.queue_events` is 0, but the smallest value that works is 1: no event would ever be sent"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct ConfigError {
    field: &'static str,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("is {value}, but the smallest value that works is {smallest}: {why}")]
    TooSmall { value: Value, smallest: Value, why: &'static str },
    #[error("cannot be used: there are no random bytes for the id of this node: {0}")]
    NoNodeId(String),
}

impl ConfigError {
    /// The path of the field within [`Config`], such as `session.queue_events`, or the setter, such as
    /// `Serve::with_header_timeout`.
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// There is a store, but the runtime returned no random bytes.
    pub(crate) fn no_node_id(error: &io::Error) -> Self {
        Self { field: "store", problem: Problem::NoNodeId(error.to_string()) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Count(usize),
    Bytes(usize),
    Time(Duration),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
            Self::Time(time) => write!(f, "{time:?}"),
        }
    }
}

/// The shortest deadline: a clock with millisecond ticks can keep it.
const MILLISECOND: Duration = Duration::from_millis(1);

/// The smallest body limit. The shortest `initialize` with a `clientInfo` has some 140 bytes.
const INITIALIZE: usize = 256;

impl Config {
    /// Checks that every limit can work. [`Endpoint::with_config`](crate::Endpoint::with_config) calls this.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first limit that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        count("max_sessions", self.max_sessions, "no client could open a session")?;
        count(
            "max_sessions_per_principal",
            self.max_sessions_per_principal,
            "no client with a principal could open a session",
        )?;
        count(
            "max_stateless_requests",
            self.max_stateless_requests,
            "no request without a session would be served",
        )?;
        count(
            "max_stateless_requests_per_principal",
            self.max_stateless_requests_per_principal,
            "no request of a principal without a session would be served",
        )?;
        count("max_subscriptions", self.max_subscriptions, "no client could subscribe")?;
        count(
            "max_subscriptions_per_principal",
            self.max_subscriptions_per_principal,
            "no client with a principal could subscribe",
        )?;
        bytes("body_limit", self.body_limit, INITIALIZE, "an `initialize` would not fit")?;
        bytes(
            "bodies_in_flight",
            self.bodies_in_flight,
            self.body_limit,
            "even a single body of the maximum length would be refused",
        )?;
        count("batch_limit", self.batch_limit, "every batch would be refused")?;
        deadline("body_timeout", self.body_timeout, "no body could arrive in time")?;
        deadline("hook_timeout", self.hook_timeout, "no hook could end in time")?;
        deadline(
            "authenticate_timeout",
            self.authenticate_timeout,
            "no asynchronous check could finish in time",
        )?;
        deadline("state_ttl", self.state_ttl, "every `requestState` would expire before it comes back")?;
        session(&self.session)?;
        match &self.store {
            Some(store) => store.check(),
            None => Ok(()),
        }
    }
}

fn session(config: &SessionConfig) -> Result<(), ConfigError> {
    deadline("session.idle_timeout", config.idle_timeout, "every session would expire at once")?;
    deadline(
        "session.initialize_timeout",
        config.initialize_timeout,
        "no client could send `notifications/initialized` in time",
    )?;
    if let Some(max_age) = config.max_age {
        deadline("session.max_age", max_age, "every session would end at once")?;
    }
    count("session.queue_events", config.queue_events, "no event would ever be sent")?;
    bytes("session.queue_bytes", config.queue_bytes, 1, "the queue could hold nothing")?;
    count("session.max_exchanges", config.max_exchanges, "every request would be refused")?;
    deadline(
        "session.terminate.finish",
        config.terminate.finish,
        "no client could read its queued events in time",
    )?;
    match &config.replay {
        Some(config) => replay(config),
        None => Ok(()),
    }
}

fn replay(config: &ReplayConfig) -> Result<(), ConfigError> {
    const NOTHING: &str = "nothing would be kept: use `session.replay = None` for that";
    count("session.replay.events", config.events, NOTHING)?;
    bytes("session.replay.bytes", config.bytes, 1, NOTHING)?;
    deadline("session.replay.age", config.age, NOTHING)
}

impl Store {
    fn check(&self) -> Result<(), ConfigError> {
        deadline("store.timeout", self.timeout, "no store call could be answered in time")?;
        deadline("store.touch_interval", self.touch_interval, "the node would do nothing else")
    }
}

fn count(field: &'static str, value: usize, why: &'static str) -> Result<(), ConfigError> {
    at_least(field, value, 1, Value::Count, why)
}

pub(crate) fn bytes(
    field: &'static str,
    value: usize,
    smallest: usize,
    why: &'static str,
) -> Result<(), ConfigError> {
    at_least(field, value, smallest, Value::Bytes, why)
}

pub(crate) fn deadline(field: &'static str, value: Duration, why: &'static str) -> Result<(), ConfigError> {
    at_least(field, value, MILLISECOND, Value::Time, why)
}

fn at_least<T: PartialOrd>(
    field: &'static str,
    value: T,
    smallest: T,
    wrap: impl Fn(T) -> Value,
    why: &'static str,
) -> Result<(), ConfigError> {
    if value >= smallest {
        return Ok(());
    }
    Err(ConfigError {
        field,
        problem: Problem::TooSmall { value: wrap(value), smallest: wrap(smallest), why },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        endpoint::Endpoint,
        handler::router::Router,
        store::{MemoryStore, Store},
        testing::Stopped,
    };

    /// Each limit works at its smallest value; below it, the endpoint is refused with an error that names the field.
    #[test]
    fn limits_that_cannot_work_are_refused_by_name() {
        type Set = fn(&mut Config, bool);
        fn time(too_small: bool) -> Duration {
            if too_small { MILLISECOND - Duration::from_nanos(1) } else { MILLISECOND }
        }
        fn replay(config: &mut Config) -> &mut ReplayConfig {
            config.session.replay.get_or_insert_default()
        }
        fn store(config: &mut Config) -> &mut Store {
            config.store.get_or_insert_with(|| Store::new(MemoryStore::new(Stopped::default())))
        }
        let fields: [(&str, Set); 24] = [
            ("max_sessions", |c, low| c.max_sessions = usize::from(!low)),
            ("max_sessions_per_principal", |c, low| c.max_sessions_per_principal = usize::from(!low)),
            ("max_stateless_requests", |c, low| c.max_stateless_requests = usize::from(!low)),
            ("max_stateless_requests_per_principal", |c, low| {
                c.max_stateless_requests_per_principal = usize::from(!low);
            }),
            ("max_subscriptions", |c, low| c.max_subscriptions = usize::from(!low)),
            ("max_subscriptions_per_principal", |c, low| {
                c.max_subscriptions_per_principal = usize::from(!low);
            }),
            ("body_limit", |c, low| c.body_limit = INITIALIZE - usize::from(low)),
            ("batch_limit", |c, low| c.batch_limit = usize::from(!low)),
            ("body_timeout", |c, low| c.body_timeout = time(low)),
            ("hook_timeout", |c, low| c.hook_timeout = time(low)),
            ("authenticate_timeout", |c, low| c.authenticate_timeout = time(low)),
            ("state_ttl", |c, low| c.state_ttl = time(low)),
            ("session.idle_timeout", |c, low| c.session.idle_timeout = time(low)),
            ("session.initialize_timeout", |c, low| c.session.initialize_timeout = time(low)),
            ("session.max_age", |c, low| c.session.max_age = Some(time(low))),
            ("session.queue_events", |c, low| c.session.queue_events = usize::from(!low)),
            ("session.queue_bytes", |c, low| c.session.queue_bytes = usize::from(!low)),
            ("session.max_exchanges", |c, low| c.session.max_exchanges = usize::from(!low)),
            ("session.terminate.finish", |c, low| c.session.terminate.finish = time(low)),
            ("session.replay.events", |c, low| replay(c).events = usize::from(!low)),
            ("session.replay.bytes", |c, low| replay(c).bytes = usize::from(!low)),
            ("session.replay.age", |c, low| replay(c).age = time(low)),
            ("store.timeout", |c, low| store(c).timeout = time(low)),
            ("store.touch_interval", |c, low| store(c).touch_interval = time(low)),
        ];
        for (field, set) in fields {
            let mut config = Config::default();
            set(&mut config, false);
            assert_eq!(config.check(), Ok(()), "{field}");
            set(&mut config, true);
            let endpoint = Endpoint::with_config(Stopped::default(), Router::new("limits", "1.0.0"), config);
            let error = endpoint.expect_err(field);
            assert_eq!(error.field(), field);
            let Problem::TooSmall { smallest, .. } = &error.problem else { panic!("{error}") };
            assert!(
                error.to_string().contains(&format!("smallest value that works is {smallest}")),
                "{error}"
            );
        }
    }

    /// Zero is accepted where it has a meaning.
    #[test]
    fn meaningful_zeros_are_accepted() {
        let mut config = Config { retry_after: Duration::ZERO, ..Config::default() };
        config.session.heartbeat = Duration::ZERO;
        config.session.ping_interval = Duration::ZERO;
        config.session.cancel_grace = Duration::ZERO;
        (config.session.terminate.drain, config.session.terminate.cancel) = (Duration::ZERO, Duration::ZERO);
        config.session.replay.get_or_insert_default().retry = Duration::ZERO;
        assert_eq!(config.check(), Ok(()));
    }
}
