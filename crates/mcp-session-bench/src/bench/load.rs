//! The load generator: hand-written HTTP/1.1 over kept connections, on a few threads, against any server by its URL.
//!
//! Every load ends: it has a count or a duration, and a time limit.

mod churn;
mod connection;
mod echo;
mod era;
mod events;
mod fleet;
mod message;
mod sessions;
mod shutdown;
mod stamped;
mod stamps;
mod streams;
mod tasks;
mod through;
mod times;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};

pub(crate) use self::{
    churn::{Churn, churn},
    echo::{Echo, EchoReport, echo, echo_once_each, echo_times},
    era::Era,
    events::{Events, events},
    sessions::open_sessions,
    shutdown::{Answers, Shutdown, ShutdownReport, shutdown},
    stamped::{Stamped, StampedReport, stamped, stamped_elsewhere},
    streams::{with_calls, with_listeners, with_streams},
    tasks::tasks,
    through::{Times, deletes, replies},
};

/// The server to load, and the threads that do it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The path in the request line.
    pub(crate) path: String,
    /// The revision that `initialize` requests.
    pub(crate) version: String,
    /// The server's process id, if known: for reading its processor time, and for signals.
    pub(crate) pid: Option<u32>,
    /// One thread per entry, pinned to that core if there is a number.
    pub(crate) threads: Vec<Option<usize>>,
    /// The time limit of a load: far more than any load takes, so that it only ends one that hangs.
    pub(crate) limit: Duration,
    /// Its GET streams send nothing before their first event, not even a comment: they are open with their head.
    pub(crate) silent_streams: bool,
}

impl Target {
    /// The server at `http://ADDRESS/PATH`.
    pub(crate) fn new(url: &str, version: &str, threads: Vec<Option<usize>>) -> Result<Self> {
        let rest = url.strip_prefix("http://").context("a URL begins with http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = authority.parse().context("a URL names an IP address and a port")?;
        let path = format!("/{path}");
        let limit = Duration::from_secs(60);
        let version = version.to_owned();
        Ok(Self { address, path, version, pid: None, threads, limit, silent_streams: false })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc,
        },
        thread,
    };

    use hyper::{server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use mcp_session_bench::Canned;
    use mcp_session_core::{
        Config, Endpoint, ShutdownPolicy, Stats,
        store::{MemoryStore, Store},
    };
    use mcp_session_tokio::{TokioRuntime, serve};
    use tokio::{net::TcpListener, runtime::Runtime};

    use super::*;

    /// Runs a load against a server of the two tools in this process; returns the server's counts.
    fn loaded(version: &str, load: impl FnOnce(&Target)) -> Stats {
        let (sender, receiver) = mpsc::channel::<(SocketAddr, Endpoint)>();
        let server = thread::spawn(move || {
            Runtime::new().unwrap().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = mcp_session_bench::endpoint(TokioRuntime::current());
                sender.send((listener.local_addr().unwrap(), endpoint.clone())).unwrap();
                serve(listener, endpoint).await.unwrap()
            })
        });
        let (address, endpoint) = receiver.recv().unwrap();
        let target = Target::new(&format!("http://{address}/mcp"), version, vec![None, None]).unwrap();
        load(&target);
        let stats = endpoint.stats();
        endpoint.shutdown(ShutdownPolicy::default());
        server.join().unwrap();
        stats
    }

    /// Runs a load against two nodes of one store in this process.
    fn loaded_nodes(load: impl FnOnce(&Target, &Target)) {
        let runtime = Runtime::new().unwrap();
        let nodes = runtime.block_on(async {
            let store = Store::new(MemoryStore::new(TokioRuntime::current()));
            let start = || async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let mut config = Config::default();
                config.store = Some(store.clone());
                let endpoint = mcp_session_bench::endpoint_with(TokioRuntime::current(), config).unwrap();
                tokio::spawn(async move { serve(listener, endpoint).await });
                Target::new(&format!("http://{address}/mcp"), "2025-06-18", vec![None]).unwrap()
            };
            [start().await, start().await]
        });
        load(&nodes[0], &nodes[1]);
    }

    /// Runs a load against canned answers in this process.
    fn loaded_canned(load: impl FnOnce(&Target)) {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let canned = Arc::new(Canned::new(|time| Box::pin(tokio::time::sleep(time))));
        runtime.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let canned = Arc::clone(&canned);
                let service = service_fn(move |request| {
                    let canned = Arc::clone(&canned);
                    async move { canned.respond(request).await }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        load(&Target::new(&format!("http://{address}/mcp"), "2025-06-18", vec![None, None]).unwrap());
    }

    const TIME: Duration = Duration::from_millis(50);

    #[test]
    fn loads_of_every_era_run_against_canned_answers() {
        loaded_canned(|target| {
            for era in Era::ALL {
                echo_times(target, era, 2, 7).unwrap();
                let load = Echo { connections: 3, time: TIME, size: 100, era, sessions: Arc::default() };
                assert!(echo(target, &load).unwrap().p99 > 0.0);
            }
            assert_eq!(with_listeners(target, 5, || Ok(5)).unwrap(), 5);
        });
    }

    #[test]
    fn every_load_runs_against_a_server_and_is_counted_by_it() {
        for version in ["2025-06-18", "2025-11-25"] {
            let stats = loaded(version, |target| {
                echo_times(target, Era::Session, 1, 7).unwrap();
                let (ids, _) = open_sessions(target, 5).unwrap();
                assert_eq!(ids.len(), 5);
                let load = Echo { connections: 3, time: TIME, size: 100, era: Era::Session, sessions: ids };
                assert!(echo(target, &load).unwrap().p99 > 0.0);
                churn(target, &Churn { connections: 3, time: TIME }).unwrap();
                events(target, &Events { streams: 3, steps: 4, time: TIME }).unwrap();
            });
            assert_eq!(stats.sessions, 7, "of echo_times, open_sessions and events");
            assert!(stats.sessions_created > 7, "and those that were deleted");
            assert_eq!(stats.exchanges_admitted, stats.exchanges_answered);
        }
    }

    #[test]
    fn events_replies_and_deletes_go_through_another_node() {
        loaded_nodes(|owner, other| {
            let calls = AtomicUsize::new(0);
            let meter = || Ok(calls.fetch_add(1, SeqCst));
            let load = Stamped { streams: 3, interval_us: 1_000, time: 10 * TIME };
            for report in
                [stamped(owner, load, meter).unwrap(), stamped_elsewhere(owner, other, load, meter).unwrap()]
            {
                assert!(report.events > 0.0 && report.p50 > 0.0 && report.p50 <= report.p99);
                assert_eq!(
                    report.meters[1],
                    report.meters[0] + 1,
                    "it was read at the beginning and the end"
                );
            }
            // Calls without a pause, one after the other.
            stamped(owner, Stamped { streams: 2, interval_us: 0, time: 10 * TIME }, || Ok(())).unwrap();
            for times in [replies(owner, other, 3).unwrap(), deletes(owner, other, 3).unwrap()] {
                assert!(times.p50 > 0.0 && times.p50 <= times.p99);
            }
            let (sessions, _) = open_sessions(owner, 3).unwrap();
            echo_once_each(other, &sessions).unwrap();
            assert_eq!(with_calls(owner, &sessions, 4, || Ok(4)).unwrap(), 4);
        });
    }

    #[test]
    fn clients_of_every_era_are_served_and_leave_no_session_behind() {
        let stats = loaded("2025-11-25", |target| {
            for era in [Era::Stateless, Era::Modern] {
                echo_times(target, era, 3, 7).unwrap();
                let load = Echo { connections: 3, time: TIME, size: 100, era, sessions: Arc::default() };
                assert!(echo(target, &load).unwrap().p99 > 0.0);
            }
            assert_eq!(with_listeners(target, 5, || Ok(5)).unwrap(), 5);
        });
        assert_eq!((stats.sessions, stats.sessions_created), (0, 0));
        assert!(stats.exchanges_admitted > 0);
    }

    #[test]
    fn streams_are_open_while_act_runs() {
        loaded("2025-06-18", |target| {
            let seen = with_streams(target, 5, || Ok(5)).unwrap();
            assert_eq!(seen, 5);
            let taken = with_streams(target, 1, || Err::<(), _>(anyhow::anyhow!("no figure")));
            assert!(taken.is_err_and(|error: anyhow::Error| error.to_string() == "no figure"));
        });
    }

    #[test]
    fn an_unreachable_server_is_an_error() {
        let target = Target::new("http://127.0.0.1:1/mcp", "2025-06-18", vec![None]).unwrap();
        assert!(echo_times(&target, Era::Session, 1, 1).is_err());
        assert!(Target::new("https://127.0.0.1/mcp", "2025-06-18", vec![None]).is_err());
    }
}
