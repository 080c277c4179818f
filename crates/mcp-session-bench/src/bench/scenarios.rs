//! The scenarios. Each is measured in pairs: all peers in turn, round after round.

mod adapters;
mod contention;
mod echo;
mod eras;
mod instructions;
mod redis;
mod scale;
mod shutdown;

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::{args::RunArgs, build, load::Era, machine::Cores, peer::Peer, results::Results, server::Server};

/// The scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// Requests per second and their times, over connections
    Echo,
    /// Sessions created and deleted per second
    Churn,
    /// Memory of idle sessions, and requests per second with many of them
    Sessions,
    /// Memory of open GET streams
    Streams,
    /// Events on many streams of one session
    Events,
    /// Messages of different sizes
    Messages,
    /// SIGTERM with open streams and running calls
    Shutdown,
    /// SIGTERM with more and more open streams
    ShutdownScale,
    /// `echo` in a session, without one, and of 2026-07-28
    Eras,
    /// Memory that calls without a session leave behind
    Leftovers,
    /// Memory of open `subscriptions/listen` streams
    Listeners,
    /// SIGTERM with listeners and with running calls of all eras
    ShutdownEras,
    /// What it costs that threads share an endpoint, without a socket
    Contention,
    /// The adapters' table of the README: size, requests per second, memory of a stream
    Adapters,
    /// Times and allocations of the machine and the endpoint, without a socket
    Micro,
    /// Instructions per request, counted by valgrind
    Instructions,
    /// All that follow, which need a `redis-server`
    Redis,
    /// What a store on Redis adds to the time of an event, on the connection of the call
    RedisEvents,
    /// The time of an event until it is read at another node
    RedisTail,
    /// Events as fast as nodes can, and what they cost Redis
    RedisLimit,
    /// A reply and DELETE through another node
    RedisReplies,
    /// Memory, connections and commands
    RedisSizes,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Churn => "churn",
            Self::Sessions => "sessions",
            Self::Streams => "streams",
            Self::Events => "events",
            Self::Messages => "messages",
            Self::Shutdown => "shutdown",
            Self::ShutdownScale => "shutdown-scale",
            Self::Eras => "eras",
            Self::Leftovers => "leftovers",
            Self::Listeners => "listeners",
            Self::ShutdownEras => "shutdown-eras",
            Self::Contention => "contention",
            Self::Adapters => "adapters",
            Self::Micro => "micro",
            Self::Instructions => "instructions",
            Self::Redis => "redis",
            Self::RedisEvents => "redis-events",
            Self::RedisTail => "redis-tail",
            Self::RedisLimit => "redis-limit",
            Self::RedisReplies => "redis-replies",
            Self::RedisSizes => "redis-sizes",
        }
    }

    /// The unit of `x`.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Echo | Self::Churn | Self::Eras => "connections",
            Self::Sessions | Self::RedisSizes => "sessions",
            Self::Streams
            | Self::Events
            | Self::Shutdown
            | Self::ShutdownScale
            | Self::RedisEvents
            | Self::RedisTail
            | Self::RedisLimit => "streams",
            Self::Messages => "bytes",
            Self::Leftovers | Self::RedisReplies => "calls",
            Self::Listeners | Self::ShutdownEras => "listeners",
            Self::Contention => "threads",
            Self::Adapters | Self::Micro | Self::Instructions | Self::Redis => "",
        }
    }

    /// Returns `true` if it compares servers; the others have no server, print their own results, or compare nodes.
    fn compares(self) -> bool {
        !matches!(self, Self::Contention | Self::Adapters | Self::Micro | Self::Instructions)
            && !self.needs_redis()
    }

    fn needs_redis(self) -> bool {
        self == Self::Redis || Self::OF_REDIS.contains(&self)
    }

    /// What [`Redis`](Self::Redis) stands for.
    const OF_REDIS: [Self; 5] =
        [Self::RedisEvents, Self::RedisTail, Self::RedisLimit, Self::RedisReplies, Self::RedisSizes];
}

/// The amounts and durations of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) peers: Vec<Peer>,
    pub(crate) rounds: usize,
    /// Rounds of scenarios that measure memory or single durations, which vary less.
    pub(crate) few_rounds: usize,
    pub(crate) time: Duration,
    pub(crate) connections: Vec<usize>,
    pub(crate) sessions: Vec<usize>,
    pub(crate) streams: Vec<usize>,
    pub(crate) session_streams: Vec<usize>,
    pub(crate) sizes: Vec<usize>,
    /// Number of streams and calls.
    pub(crate) shutdown: (usize, usize),
    pub(crate) shutdown_scale: Vec<usize>,
    /// Listeners, and calls of each era.
    pub(crate) shutdown_eras: (usize, [(Era, usize); 3]),
    pub(crate) era_connections: Vec<usize>,
    /// Calls of which each could leave something behind.
    pub(crate) calls: usize,
    pub(crate) listeners: Vec<usize>,
    contention: contention::Amounts,
    pub(crate) redis: redis::Amounts,
    pub(crate) version: String,
    pub(crate) target: PathBuf,
    pub(crate) cores: Cores,
}

impl Plan {
    pub(crate) fn new(args: &RunArgs) -> Result<Self> {
        let short = args.short;
        let pick = |in_short: &[usize], in_full: &[usize]| {
            if short { in_short.to_vec() } else { in_full.to_vec() }
        };
        let given = |given: &[usize], default: Vec<usize>| {
            if given.is_empty() { default } else { given.to_vec() }
        };
        // Many short runs rather than a few long ones: disturbances of the machine last for seconds, and should affect all
        // peers of a round alike.
        let seconds = args.seconds.unwrap_or(if short { 0.25 } else { 1.0 });
        let rounds = args.rounds.unwrap_or(if short { 5 } else { 11 });
        let mut peers = if args.peers.is_empty() { Peer::all().to_vec() } else { args.peers.clone() };
        peers.retain(|peer| !peer.is_node());
        peers.sort();
        peers.dedup();
        let cores = Cores::of_this_process()?;
        Ok(Self {
            peers,
            rounds,
            few_rounds: rounds.min(if short { 1 } else { 3 }),
            time: Duration::from_secs_f64(seconds),
            connections: given(&args.connections, vec![1, 8, 64, 256]),
            sessions: pick(&[100, 1_000, 10_000], &[1, 10, 100, 1_000, 10_000, 100_000]),
            streams: pick(&[100, 1_000], &[100, 1_000, 5_000]),
            session_streams: pick(&[1, 10, 100], &[1, 10, 100, 1_000]),
            sizes: pick(&[100, 10_000, 1_000_000], &[100, 1_000, 10_000, 100_000, 1_000_000]),
            shutdown: if short { (1_000, 200) } else { (5_000, 1_000) },
            shutdown_scale: pick(&[100, 1_000], &[100, 1_000, 10_000]),
            shutdown_eras: (500, [(Era::Modern, 500), (Era::Stateless, 200), (Era::Session, 200)]),
            era_connections: given(&args.connections, vec![64]),
            calls: 20_000,
            listeners: pick(&[1_000], &[1_000, 10_000]),
            contention: contention::Amounts::new(args, &cores),
            redis: redis::Amounts::new(args),
            version: args.version.clone(),
            target: build::target_directory()?,
            cores,
        })
    }

    /// Measures one scenario.
    pub(crate) fn measure(&self, scenario: Scenario, results: &mut Results) -> Result<()> {
        match scenario {
            Scenario::Echo => echo::over_connections(self, results),
            Scenario::Churn => echo::churning(self, results),
            Scenario::Messages => echo::over_sizes(self, results),
            Scenario::Sessions => scale::sessions(self, results),
            Scenario::Streams => scale::streams(self, results),
            Scenario::Events => scale::events(self, results),
            Scenario::Shutdown => shutdown::with_calls(self, results),
            Scenario::ShutdownScale => shutdown::of_streams(self, results),
            Scenario::Eras => eras::echoes(self, results),
            Scenario::Leftovers => eras::leftovers(self, results),
            Scenario::Listeners => eras::listeners(self, results),
            Scenario::ShutdownEras => shutdown::of_eras(self, results),
            Scenario::Contention => contention::over_threads(self, results),
            Scenario::Adapters => adapters::table(self),
            Scenario::Micro => ["machine", "allocations"].into_iter().try_for_each(build::bench),
            Scenario::Instructions => instructions::count(self),
            Scenario::Redis => Ok(()), // stands for others, see `scenarios`
            Scenario::RedisEvents => redis::events(self, results),
            Scenario::RedisTail => redis::tail(self, results),
            Scenario::RedisLimit => redis::limit(self, results),
            Scenario::RedisReplies => redis::replies(self, results),
            Scenario::RedisSizes => redis::sizes(self, results),
        }
    }

    /// The scenarios of a run with these arguments.
    pub(crate) fn scenarios(args: &RunArgs) -> Vec<Scenario> {
        if !args.only.is_empty() {
            let parts = |scenario: &Scenario| match scenario {
                Scenario::Redis => Scenario::OF_REDIS.to_vec(),
                one => vec![*one],
            };
            return args.only.iter().flat_map(parts).collect();
        }
        let wanted = |scenario: &&Scenario| !scenario.needs_redis() && (!args.short || scenario.compares());
        Scenario::value_variants().iter().filter(wanted).copied().collect()
    }

    /// Builds and returns the peers that these scenarios need.
    pub(crate) fn build(&self, scenarios: &[Scenario]) -> Result<()> {
        if scenarios.iter().any(|scenario| scenario.compares()) {
            crate::peer::build(&self.peers, &self.target)?;
        }
        if scenarios.iter().any(|scenario| scenario.needs_redis()) {
            ensure!(crate::redis::is_installed(), "install a redis-server, such as with apt-get");
            crate::peer::build(&[Peer::Node], &self.target)?;
        }
        Ok(())
    }

    /// Starts a server for clients of this era.
    fn start(&self, peer: Peer, era: Era) -> Result<Server> {
        let (executable, flags) = peer.command(&self.target, era);
        let mut command = Command::new(executable);
        command.args(flags).arg("--with-parent");
        let mut server = Server::start(command, &self.version, &self.cores)?;
        server.expect_silent_streams(peer.has_silent_streams());
        Ok(server)
    }

    /// Runs `measure` with a fresh server of each peer in turn, `rounds` times.
    fn paired(
        &self,
        peers: &[Peer],
        at: (Scenario, usize),
        rounds: usize,
        results: &mut Results,
        measure: impl Fn(Server) -> Result<Vec<(&'static str, f64)>>,
    ) -> Result<()> {
        self.in_turn(peers, at, rounds, results, |peer| self.start(peer, Era::Session).and_then(&measure))
    }

    /// Measures each peer in turn, `rounds` times. One that cannot do what is asked has no figures, which tables show.
    fn in_turn(
        &self,
        peers: &[Peer],
        (scenario, x): (Scenario, usize),
        rounds: usize,
        results: &mut Results,
        measure: impl Fn(Peer) -> Result<Vec<(&'static str, f64)>>,
    ) -> Result<()> {
        for round in 0..rounds {
            eprintln!("{} {x} {}, round {} of {rounds}", scenario.name(), scenario.unit(), round + 1);
            for &peer in peers {
                let what = || format!("{} with {x} {} of {}", scenario.name(), scenario.unit(), peer.name());
                let values = if peer.can(scenario) { measure(peer).with_context(what)? } else { Vec::new() };
                results.add(scenario, peer, x, round, &values);
            }
        }
        Ok(())
    }

    /// All except the one that waits 40 ms in each request: other scenarios would show nothing new about it.
    fn quick_peers(&self) -> Vec<Peer> {
        self.peers.iter().copied().filter(|peer| *peer != Peer::RmcpAsDocumented).collect()
    }
}
