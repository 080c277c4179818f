//! The reader of a node: one blocking read on a connection of its own, for messages, announcements, and notices that a log has
//! grown.

use std::{sync::Arc, time::Duration};

use async_channel::Receiver;
use bytes::Bytes;
use mcp_session_core::store::{LogId, NodeId, PeerMessage};
use redis::{Pipeline, Value};

use crate::{
    config::millis, connection::Connection, core::Core, error::Trouble, keys::NodeKeys, link::until_closed,
};

/// How many entries one read returns at most.
const ENTRIES: usize = 500;

/// The pause between two tries to connect, and between two looks whether there is room again.
const PAUSE: Duration = Duration::from_millis(100);

/// The streams of a reply to `XREAD`: their keys, with the ids and fields of their entries.
type Streams = Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>;

/// Starts a reader for each node that needs one, for ever.
pub(crate) async fn keep(core: Arc<Core>, stop: Receiver<()>) {
    loop {
        let joined = core.nodes.joined.listen();
        for node in core.nodes.unread() {
            let reader = Arc::clone(&core);
            core.spawn(until_closed(stop.clone(), async move { read(&reader, node).await }));
        }
        joined.await;
    }
}

/// Reads for a node until it leaves.
async fn read(core: &Core, node: NodeId) {
    let keys = core.keys.node(node);
    let mut notices = None;
    while core.nodes.runs(node) == Some(true) {
        match core.link.dialer.open().await {
            Ok(connection) => {
                if let Err(trouble) = follow(core, node, &keys, connection, &mut notices).await {
                    core.link.note(&trouble);
                    core.sleep(PAUSE).await;
                }
            }
            Err(_) => core.sleep(PAUSE).await, // the link says what is wrong
        }
        core.watchers.notify_all(); // notices may have been lost
    }
}

/// Reads on one connection until it fails, or the node leaves.
async fn follow(
    core: &Core,
    node: NodeId,
    keys: &NodeKeys,
    mut connection: Connection,
    notices: &mut Option<String>,
) -> Result<(), Trouble> {
    let patience = core.config().lease / 2;
    let mut notices_from = first_notice(core, keys, &mut connection, notices.take()).await?;
    // What was handed out is removed from the inbox. After a failover some of it may be there again: it may arrive twice.
    let mut inbox_from = "0-0".to_owned();
    let mut handed_out: Vec<String> = Vec::new();
    while core.nodes.runs(node) == Some(true) {
        let has_room = core.nodes.has_room(node);
        let mut read = Pipeline::new();
        if !handed_out.is_empty() {
            read.cmd("XDEL").arg(&keys.inbox).arg(&handed_out).ignore();
        }
        read.cmd("XREAD").arg("COUNT").arg(ENTRIES).arg("BLOCK");
        read.arg(millis(if has_room { patience } else { PAUSE })).arg("STREAMS").arg(&keys.notices);
        if has_room {
            read.arg(&keys.inbox).arg(&notices_from).arg(&inbox_from);
        } else {
            read.arg(&notices_from);
        }
        let dialer = &core.link.dialer;
        let answer = dialer.within(patience + dialer.config.timeout, connection.run(&read)).await?.pop();
        handed_out.clear();
        let streams: Streams = match answer {
            Some(Value::Nil) | None => continue,
            Some(answer) => redis::from_redis_value(answer).map_err(|_| Trouble::ForeignKey)?,
        };
        let (mut messages, mut announcements) = (Vec::new(), Vec::new());
        for (key, entries) in streams {
            let Some((last, _)) = entries.last() else { continue };
            if key == keys.inbox {
                inbox_from.clone_from(last);
                handed_out.extend(entries.iter().map(|(id, _)| id.clone()));
                // What cannot be read is of a newer node: it is skipped.
                messages.extend(entries.iter().filter_map(|(_, fields)| message(fields)));
            } else {
                notices_from.clone_from(last);
                *notices = Some(last.clone());
                for (_, fields) in entries {
                    notice(core, &fields, &mut announcements);
                }
            }
        }
        if !messages.is_empty() || !announcements.is_empty() {
            core.nodes.deliver(node, messages, announcements);
        }
    }
    Ok(())
}

/// Where to go on with the notices: after the last one that was read, unless Redis has lost it.
async fn first_notice(
    core: &Core,
    keys: &NodeKeys,
    connection: &mut Connection,
    last: Option<String>,
) -> Result<String, Trouble> {
    let Some(last) = last else { return Ok("0-0".to_owned()) };
    let mut look = Pipeline::new();
    look.cmd("XREVRANGE").arg(&keys.notices).arg("+").arg("-").arg("COUNT").arg(1);
    let dialer = &core.link.dialer;
    let top = dialer.within(dialer.config.timeout, connection.run(&look)).await?.pop();
    let top: Vec<(String, Vec<Vec<u8>>)> =
        top.and_then(|top| redis::from_redis_value(top).ok()).unwrap_or_default();
    let top = top.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id);
    Ok(if order(&top) < order(&last) { top } else { last })
}

/// The order of ids of entries.
fn order(id: &str) -> (u64, u64) {
    let (time, number) = id.split_once('-').unwrap_or((id, "0"));
    (time.parse().unwrap_or(0), number.parse().unwrap_or(0))
}

fn message(fields: &[Vec<u8>]) -> Option<PeerMessage> {
    match fields {
        [name, value] if name == b"m" => serde_json::from_slice(value).ok(),
        _ => None,
    }
}

fn notice(core: &Core, fields: &[Vec<u8>], announcements: &mut Vec<Bytes>) {
    let [name, value] = fields else { return };
    match &name[..] {
        b"a" => announcements.push(Bytes::copy_from_slice(value)),
        b"g" => {
            let log = std::str::from_utf8(value).ok().and_then(|text| text.split_once(':'));
            let log = log.and_then(|(session, stream)| {
                Some(LogId { session: session.parse().ok()?, stream: stream.parse().ok()? })
            });
            if let Some(log) = log {
                core.watchers.notify(log);
            }
        }
        _ => {} // the first entry, or of a newer node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_number() {
        assert!(
            order("9-1") < order("10-0") && order("10-2") < order("10-10") && order("0-0") < order("1-0")
        );
    }
}
