//! Idle sessions without a connection.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use futures::future::try_join_all;

use super::{
    Target,
    connection::Connection,
    fleet::{Go, Share, drive},
    message::open_session,
};

/// The number of connections that open them.
const CONNECTIONS: usize = 32;

/// Opens sessions and closes the connections that opened them. Returns their ids, and the sessions opened per second.
pub(crate) fn open_sessions(target: &Target, count: usize) -> Result<(Arc<[String]>, f64)> {
    let prepare = async |share: Share| {
        let connections = share
            .of(CONNECTIONS)
            .map(async |index| -> Result<_> { Ok((index, Connection::open(target.address).await?)) });
        try_join_all(connections).await
    };
    let conduct = |go: Go<()>| {
        go.say(());
        Ok(Instant::now())
    };
    let run = async |connections: Vec<(usize, Connection)>, ()| {
        let opening = connections.into_iter().map(async |(index, mut connection)| -> Result<_> {
            let mut ids = Vec::new();
            for _ in (index..count).step_by(CONNECTIONS) {
                ids.push(open_session(target, &mut connection).await?);
            }
            Ok(ids)
        });
        let ids = try_join_all(opening).await?;
        Ok((ids.concat(), Instant::now()))
    };
    let (opened, begin) = drive(target, prepare, conduct, run)?;
    let end = opened.iter().map(|(_, end)| *end).max().unwrap_or(begin);
    let ids: Arc<[String]> = opened.into_iter().flat_map(|(ids, _)| ids).collect();
    let per_second = count as f64 / (end - begin).as_secs_f64();
    Ok((ids, per_second))
}
