//! `tools/call echo` over kept connections.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::{
    Target,
    connection::Connection,
    era::{Caller, Era},
    fleet::{Go, Share, Usage, Window, alone, drive, measured},
    message::Call,
    times::{histogram, micros},
};

/// The parameters of the load.
#[derive(Debug, Clone)]
pub(crate) struct Echo {
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    /// Size of the message in bytes.
    pub(crate) size: usize,
    pub(crate) era: Era,
    /// The sessions to use. If there are none, each connection opens its own, if the era has them.
    pub(crate) sessions: Arc<[String]>,
}

/// Calls `echo` this many times in total, over some connections that are closed afterwards.
pub(crate) fn echo_times(target: &Target, era: Era, connections: usize, times: usize) -> Result<()> {
    let prepare = async |share: Share| {
        let connections = share.of(connections).map(async |index| -> Result<_> {
            let mut connection = Connection::open(target.address).await?;
            let caller = era.caller(target, &mut connection).await?;
            let times = (index..times).step_by(connections).len();
            Ok((Call::echo(target, &caller, 64), connection, times))
        });
        try_join_all(connections).await
    };
    let conduct = |go: Go<()>| {
        go.say(());
        Ok(())
    };
    let run = async |clients: Vec<(Call, Connection, usize)>, ()| {
        let calling = clients.into_iter().map(async |(mut call, mut connection, times)| -> Result<()> {
            for _ in 0..times {
                let (_, body) = connection.exchange(call.next()).await?;
                ensure!(call.is_answered_by(body), "not the answer: {}", String::from_utf8_lossy(body));
            }
            Ok(())
        });
        try_join_all(calling).await.map(drop)
    };
    drive(target, prepare, conduct, run).map(drop)
}

/// Calls `echo` once in each of these sessions, one call after the other on one connection.
pub(crate) fn echo_once_each(target: &Target, sessions: &[String]) -> Result<()> {
    let first = sessions.first().context("there are sessions")?;
    alone(target, async {
        let mut connection = Connection::open(target.address).await?;
        let mut call = Call::echo(target, &Caller::Session(first.clone()), 64);
        for session in sessions {
            call.move_to(session);
            let (_, body) = connection.exchange(call.next()).await?;
            ensure!(call.is_answered_by(body), "not the answer: {}", String::from_utf8_lossy(body));
        }
        Ok(())
    })
}

/// The results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EchoReport {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// Microseconds from the first byte written to the last byte read.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// Microseconds of processor time per request.
    pub(crate) server_cpu: f64,
    pub(crate) client_cpu: f64,
    /// Cores that were kept busy. If the client used all of its cores, the client was the bottleneck.
    pub(crate) server_cores: f64,
    pub(crate) client_cores: f64,
}

/// Calls `echo` for a while on every connection, one call after the other.
pub(crate) fn echo(target: &Target, load: &Echo) -> Result<EchoReport> {
    let prepare = async |share: Share| {
        let connections = share.of(load.connections).map(async |index| -> Result<_> {
            let mut connection = Connection::open(target.address).await?;
            // Each connection uses its own share of the sessions, in turn.
            let sessions: Vec<String> =
                load.sessions.iter().skip(index).step_by(load.connections).cloned().collect();
            ensure!(load.sessions.is_empty() || !sessions.is_empty(), "fewer sessions than connections");
            let caller = match sessions.first() {
                Some(session) => Caller::Session(session.clone()),
                None => load.era.caller(target, &mut connection).await?,
            };
            let call = Call::echo(target, &caller, load.size);
            Ok(Client { connection, call, sessions, size: load.size })
        });
        try_join_all(connections).await
    };
    let run = async |clients: Vec<Client>, window| {
        let times = Arc::new(Mutex::new(histogram()));
        let mut tasks = JoinSet::new();
        for client in clients {
            tasks.spawn(client.run(window, Arc::clone(&times)));
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let times = times.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(times.clone())
    };
    let (histograms, (window, usage)) = drive(target, prepare, measured(target, load.time), run)?;
    let mut times = histogram();
    for other in &histograms {
        times.add(other)?;
    }
    Ok(EchoReport::new(&times, window, usage))
}

impl EchoReport {
    fn new(times: &Histogram<u64>, window: Window, usage: Usage) -> Self {
        let requests = times.len();
        Self {
            requests,
            per_second: requests as f64 / window.seconds(),
            p50: micros(times, 0.5),
            p99: micros(times, 0.99),
            max: micros(times, 1.0),
            server_cpu: usage.server * 1e6 / requests.max(1) as f64,
            client_cpu: usage.client * 1e6 / requests.max(1) as f64,
            server_cores: usage.server / window.seconds(),
            client_cores: usage.client / window.seconds(),
        }
    }
}

struct Client {
    connection: Connection,
    call: Call,
    sessions: Vec<String>,
    size: usize,
}

impl Client {
    async fn run(mut self, window: Window, times: Arc<Mutex<Histogram<u64>>>) -> Result<()> {
        let mut turn = 0;
        loop {
            let begin = Instant::now();
            if begin >= window.end {
                return Ok(());
            }
            if self.sessions.len() > 1 {
                turn = (turn + 1) % self.sessions.len();
                self.call.move_to(&self.sessions[turn]);
            }
            let (_, body) = self.connection.exchange(self.call.next()).await?;
            ensure!(
                body.len() > self.size && self.call.is_answered_by(body),
                "not the answer to {}: {}",
                self.call.id(),
                String::from_utf8_lossy(body)
            );
            let end = Instant::now();
            if begin >= window.begin && end <= window.end {
                let nanos = (end - begin).as_nanos() as u64;
                times.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(nanos);
            }
        }
    }
}
