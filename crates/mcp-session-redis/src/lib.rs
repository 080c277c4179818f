#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! ```text
//!   node A ── append, publish, records ──► Redis ◄── the same ── node B
//!          ◄── messages, notices: one blocking read ──  ──────►
//! ```
//!
//! | key | type | content | life |
//! |---|---|---|---|
//! | `{SID}` | string | the record with the moments of its creation and its last use; `-` after its removal | [`Config::idle`], twice; 10 minutes after its removal |
//! | `{SID}:x` | hash | for each running log its owner, bytes and request, and who tails it; the position of the standalone log, the last token of each node | as the record |
//! | `{SID}:s:N` | stream | the log of a reply: events at `0-1`, `0-2` …, the end at `1-0` | as the record; [`Config::retain`] after its end |
//! | `{SID}:g` | stream | the standalone log | as the record |
//! | `{n:NODE}` | stream | the inbox: messages of other nodes, trimmed only by its reader | 10 minutes after the lease |
//! | `{n:NODE}:t` | stream | notices that a log has grown, and announcements; some 10,000, may be lost | as the inbox |
//! | `{n:NODE}:up` | string | the lease | [`Config::lease`] |
//! | `{n:NODE}:left` | string | the node has left | 10 minutes |
//! | `nodes`, `active`, `boot` | set, sorted set, string | the nodes that may run; the sessions by activity, for sweeps; the marker of the data | for ever |
//! | `service` | string | the service that has the prefix, if it has a name | for ever |
//!
//! All begin with [`Config::prefix`]. The keys of a session, and those of a node, are in one hash slot; with a hash tag in the prefix, all are.
//!
//! - **The owner gives the positions.** An append is one script, which compares the next position of the log with that of the
//!   append: it skips what is there, and refuses what would leave a gap. So a repeated or late append does no harm. Core has
//!   one writer per session, which sends all events that wait as one append.
//! - **A log has one end**, at an id above every position, so Redis itself refuses what an old owner adds later.
//! - **Notices.** Whoever waits for a log is written into the table of its session; the append returns them, and each gets a
//!   notice. A notice may be lost: each waiter also looks twice in a lease, or every two leases at a standalone log.
//! - **Records** are changed by compare-and-swap of their JSON, so fields of newer nodes survive. A node
//!   that serves a session tries what it knows first, and reads the record only if that has changed.
//! - **Each new connection is a new Redis**: its role and policy are checked, the scripts loaded, and the records put back that
//!   this node serves and Redis has lost, or that lack a change. Then every owner appends the last event of each open log
//!   again, which shows what is missing; a reader whose position is beyond the end of an open log is told that the log is
//!   behind, and a log that is lost as a whole is unavailable, not unknown, for a lease. If all data is lost, sessions that
//!   nobody knows are unavailable, not unknown, until the other nodes had a lease's time to put theirs back.
//! - **The standalone log has no owner**, so each node keeps what it has published in the last 5 seconds, 8 MiB at most, and puts
//!   it back at its positions; and so does each node with the last position that it knows. Nothing is published to another server
//!   (by its `run_id`) for half a lease, in which nodes do that: no position is given twice.
//! - **A node is gone** if it has left, or if its lease is absent for half a lease while Redis answered in time.
//! - **Two connections** for each node: one for commands, one for the blocking read. Each command has a deadline, and the bytes
//!   underway are bounded.
//!
//! # What Redis must be
//!
//! - Version 6.2 or later, a primary, with `maxmemory-policy noeviction`: an evicted record is a lost session.
//! - With `appendonly yes`, if sessions must survive a restart of Redis. Without it, those survive that a node serves at that
//!   time.
//! - A user with these permissions is enough: `~mcp:* resetchannels -@all +ping +hello +auth +select +info +client|setname
//!   +eval +evalsha +script|load +time +get +set +exists +del +pttl +pexpire +hget +hset +hdel +hkeys +hexists +xadd
//!   +xdel +xlen +xrange +xrevrange +xread +sadd +srem +smembers +zadd +zrem +zrangebyscore`.
//! - `stream-node-max-bytes 1024` saves memory: a log of five events then needs 1.3 KB instead of 4.4 KB.
//!
//! A Redis Cluster works through [`Cluster`], with a prefix that puts all keys into one slot. With the feature `tls`, `rediss://` URLs work ([`Config::new`]), by
//! rustls; [`Config::set_tls`] takes settings of your own. [`Sentinel`] asks Redis Sentinel for the present primary; any other
//! resolver is a [`Connect`].

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod ask;
mod budget;
mod cluster;
mod config;
mod connect;
mod connection;
mod core;
mod error;
mod events;
mod heal;
mod keys;
mod link;
mod nodes;
mod peers;
mod published;
mod reader;
mod record;
mod reply;
mod script;
mod sentinel;
mod server;
mod sessions;
mod store;
mod tls;
mod trace;
mod watchers;

/// The version of rustls whose settings [`Config::set_tls`] takes.
#[cfg(feature = "tls")]
pub use futures_rustls::rustls;

pub use cluster::Cluster;
pub use config::Config;
pub use connect::{AsyncIo, Connect, Stream};
pub use error::{ConfigError, Trouble};
pub use sentinel::Sentinel;
pub use store::{ConnectError, RedisStore};
