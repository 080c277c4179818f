//! [`Cluster`]: asks a Redis Cluster for the node that has the keys.

use std::io;

use futures::FutureExt;
use mcp_session_core::BoxFuture;
use redis::{FromRedisValue, Value};

use crate::{
    ask::Oracles,
    config::hash_tag,
    connect::{AsyncIo, Connect, Stream},
    error::ConfigError,
};

/// Connects to the node of a Redis Cluster that has the keys at that moment. After a failover, or when the slot has moved, the next
/// connection is to the new one.
///
/// A prefix with a hash tag, such as `{mcp}:`, puts all keys of a service into one slot, so one primary of the cluster serves
/// them, and its replicas take over from it. Services with different tags are spread over the cluster. While the slot is being
/// moved to another node, the store is unavailable.
///
/// Host and port of the store's URL are not used; its user, password and TLS are. All nodes that are named here are asked at
/// once, and the first that answers decides; they need not be all of the cluster.
///
/// ```
/// use std::sync::Arc;
/// use mcp_session_core::Runtime;
/// use mcp_session_redis::{Cluster, Config, ConfigError, RedisStore};
///
/// fn start(runtime: Arc<dyn Runtime>) -> Result<RedisStore, ConfigError> {
///     let mut config = Config::new("redis://node:secret@cluster")?;
///     config.prefix = "{orders}:".to_owned();
///     let cluster = Cluster::new(&config.prefix, ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"])?;
///     RedisStore::start_with(config, runtime, cluster)
/// }
/// # let _ = start;
/// assert_eq!(Cluster::new("{orders}:", [""; 0]).unwrap_err(), ConfigError::Nodes);
/// assert_eq!(Cluster::new("orders:", ["redis://10.0.0.1"]).unwrap_err(), ConfigError::HashTag);
/// ```
#[derive(Debug, Clone)]
pub struct Cluster<C = AsyncIo> {
    prefix: String,
    nodes: Oracles<C>,
}

impl Cluster {
    /// Asks the nodes at these URLs for the keys that begin with this prefix, the [`Config::prefix`](crate::Config::prefix) of
    /// the store, over TCP by [`AsyncIo`]. User, password and `rediss://` in a URL are for that node.
    ///
    /// # Errors
    ///
    /// [`ConfigError::HashTag`] if the prefix has none, [`ConfigError::Nodes`] without a URL, and those of
    /// [`Config::new`](crate::Config::new).
    pub fn new<U: AsRef<str>>(
        prefix: impl Into<String>,
        nodes: impl IntoIterator<Item = U>,
    ) -> Result<Self, ConfigError> {
        Self::with(prefix, nodes, AsyncIo)
    }
}

impl<C: Connect> Cluster<C> {
    /// As [`new`](Cluster::new), with byte streams of your own.
    ///
    /// # Errors
    ///
    /// As [`new`](Cluster::new).
    pub fn with<U: AsRef<str>>(
        prefix: impl Into<String>,
        nodes: impl IntoIterator<Item = U>,
        connect: C,
    ) -> Result<Self, ConfigError> {
        let prefix = prefix.into();
        hash_tag(&prefix).ok_or(ConfigError::HashTag)?;
        let nodes = Oracles::new(nodes, connect)?.ok_or(ConfigError::Nodes)?;
        Ok(Self { prefix, nodes })
    }
}

impl<C: Connect> Connect for Cluster<C> {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        async move {
            let mut question = redis::pipe();
            question.cmd("CLUSTER").arg("KEYSLOT").arg(&self.prefix);
            question.cmd("CLUSTER").arg("SLOTS");
            self.nodes.connect(&question, primary).await
        }
        .boxed()
    }
}

/// The primary of the slot, from what the node at `asked` has answered.
fn primary(asked: &str, answers: Vec<Value>) -> io::Result<(String, u16)> {
    let (slot, ranges): (u16, Vec<Vec<Value>>) = read(Value::Array(answers))?;
    let mut primary = None;
    for range in ranges {
        let mut fields = range.into_iter(); // the first slot, the last one, the primary, its replicas
        let (Some(first), Some(last)) = (fields.next(), fields.next()) else { continue };
        if (read::<u16>(first)?..=read(last)?).contains(&slot) {
            primary = fields.next();
        }
    }
    let Some(primary) = primary else {
        return Err(io::Error::other(format!("no node of the cluster has the slot {slot}")));
    };
    let mut fields = read::<Vec<Value>>(primary)?.into_iter();
    let (Some(host), Some(port)) = (fields.next(), fields.next()) else {
        return Err(io::Error::other("the cluster names a node without an address"));
    };
    let (host, port): (Option<String>, u16) = (read(host)?, read(port)?);
    // A node that does not know its own address means the one at which it was asked.
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| asked.to_owned());
    Ok((host, port))
}

fn read<T: FromRedisValue>(value: Value) -> io::Result<T> {
    redis::from_redis_value(value).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn answers(slot: i64) -> Vec<Value> {
        let range = |first, last, nodes: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
        };
        let ranges = vec![
            range(0, 99, vec![node(text("a"), 1), node(text("replica"), 2)]),
            range(100, 200, vec![node(Value::Nil, 3)]),
            range(201, 201, vec![node(text(""), 4)]),
            range(202, 202, vec![]),
        ];
        vec![Value::Int(slot), Value::Array(ranges)]
    }

    #[test]
    fn the_primary_of_the_slot_is_found() {
        let found = |slot| primary("asked", answers(slot)).map_err(|error| error.to_string());
        assert_eq!(found(0), Ok(("a".to_owned(), 1)));
        assert_eq!(found(99), Ok(("a".to_owned(), 1)));
        assert_eq!(found(100), Ok(("asked".to_owned(), 3)));
        assert_eq!(found(201), Ok(("asked".to_owned(), 4)));
        for slot in [202, 203] {
            assert_eq!(found(slot), Err(format!("no node of the cluster has the slot {slot}")));
        }
        assert!(primary("asked", vec![]).is_err());
    }
}
