//! The number of tasks of a server, by a tool of its own.

use anyhow::{Context as _, Result};

use super::{
    Target,
    connection::Connection,
    era::Era,
    fleet::{Go, Share, drive},
    message::Call,
};

/// Calls `tasks` once, in a session of its own; returns the number in the answer, which includes the tasks of this call.
pub(crate) fn tasks(target: &Target) -> Result<f64> {
    let prepare = async |share: Share| match share.of(1).next() {
        Some(_) => {
            let mut connection = Connection::open(target.address).await?;
            let caller = Era::Session.caller(target, &mut connection).await?;
            Ok(Some((Call::tasks(target, &caller), connection)))
        }
        None => Ok(None),
    };
    let conduct = |go: Go<()>| {
        go.say(());
        Ok(())
    };
    let run = async |client: Option<(Call, Connection)>, ()| {
        let Some((mut call, mut connection)) = client else { return Ok(None) };
        let (_, body) = connection.exchange(call.next()).await?;
        let text = String::from_utf8_lossy(body);
        let number =
            text.split_once(r#""text":""#).and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
        number.with_context(|| format!("no number: {text}")).map(Some)
    };
    let (found, ()) = drive(target, prepare, conduct, run)?;
    found.into_iter().flatten().next().context("one thread has called")
}
