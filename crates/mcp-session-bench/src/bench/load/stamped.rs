//! How long an event takes from its handler to a client: on the client's own connection, and through another node.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::{
    Target,
    connection::Connection,
    era::Caller,
    fleet::{Share, Window, drive, metered},
    message::{Call, open_session, resume},
    stamps::{Event, Stamps, Steps},
    streams::{AT_ONCE, open_head},
    times::{histogram, micros},
};

/// The events of a call, after which the next one begins: fewer than a log keeps.
const STEPS: u32 = 500;

/// How long calls go on that are read at another node: longer than the limit of a load.
const LONG: Duration = Duration::from_secs(90);

/// The parameters of the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamped {
    /// The number of sessions, each with one running call.
    pub(crate) streams: usize,
    /// Microseconds between two events of a call.
    pub(crate) interval_us: u64,
    pub(crate) time: Duration,
}

/// The results, with what the meter has said at the beginning and at the end.
#[derive(Debug)]
pub(crate) struct StampedReport<M> {
    /// Microseconds from the handler to the client.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) events: f64,
    pub(crate) per_second: f64,
    pub(crate) meters: [M; 2],
}

/// Reads the events of calls where the calls run.
pub(crate) fn stamped<M>(
    target: &Target,
    load: Stamped,
    meter: impl Fn() -> Result<M>,
) -> Result<StampedReport<M>> {
    let prepare = async |share: Share| {
        let opening = stream::iter(share.of(load.streams)).map(async |index| -> Result<_> {
            let mut connection = Connection::open(target.address).await?;
            let session = Caller::Session(open_session(target, &mut connection).await?);
            Ok((index, Call::stamped(target, &session, STEPS, load.interval_us, 0), connection))
        });
        opening.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await
    };
    let run = async |clients: Vec<(usize, Call, Connection)>, window: Window| {
        let reading = clients.into_iter().map(|(index, call, connection)| {
            // Not all at the same moment.
            let late = Duration::from_micros(load.interval_us) * index as u32 / load.streams as u32;
            read_calls(call, connection, late, window)
        });
        collect(reading).await
    };
    // Until each call has begun and sent an event.
    let warm_up = 2 * Duration::from_micros(load.interval_us);
    let (times, (window, meters)) = drive(target, prepare, metered(load.time, warm_up, meter), run)?;
    StampedReport::new(&times, window, meters)
}

/// Reads the events of calls at another node than the one that runs them. The clients have left that one, and resume.
pub(crate) fn stamped_elsewhere<M>(
    owner: &Target,
    reader: &Target,
    load: Stamped,
    meter: impl Fn() -> Result<M>,
) -> Result<StampedReport<M>> {
    let steps = LONG.as_micros() as u64 / load.interval_us.max(1);
    let steps = u32::try_from(steps).context("a longer interval")?;
    let prepare = async |share: Share| {
        let opening = stream::iter(share.of(load.streams)).map(async |_| -> Result<_> {
            let mut connection = Connection::open(owner.address).await?;
            let session = open_session(owner, &mut connection).await?;
            let caller = Caller::Session(session.clone());
            let mut call = Call::stamped(owner, &caller, steps, load.interval_us, 0);
            open_head(&mut connection, call.next()).await?;
            let mut stamps = Stamps::default();
            let (event, last) = loop {
                let event = stamps.next(&mut connection).await?.context("a call that ends at once")?;
                if let Event::Step { id, step, .. } = event {
                    break (id.to_owned(), step);
                }
            };
            drop(connection);
            let mut connection = Connection::open(reader.address).await?;
            open_head(&mut connection, &resume(reader, &session, &event)).await?;
            Ok((connection, last))
        });
        let open: Vec<_> = opening.buffer_unordered(AT_ONCE).try_collect().await?;
        // Each has read an event there before the measurement begins.
        let reading = open.into_iter().map(async |(mut connection, last)| -> Result<_> {
            let mut stamps = Stamps::default();
            let mut ignored = histogram();
            let mut steps = Steps { last, times: &mut ignored };
            while steps.last == last {
                let event = stamps.next(&mut connection).await?.context("a stream that ends at once")?;
                if let Event::Step { step, took, .. } = event {
                    steps.take(step, took, false)?;
                }
            }
            let last = steps.last;
            Ok((connection, stamps, last))
        });
        try_join_all(reading).await
    };
    let run = async |clients: Vec<(Connection, Stamps, u64)>, window: Window| {
        collect(
            clients.into_iter().map(|(connection, stamps, last)| read_on(connection, stamps, last, window)),
        )
        .await
    };
    let (times, (window, meters)) = drive(reader, prepare, metered(load.time, Duration::ZERO, meter), run)?;
    StampedReport::new(&times, window, meters)
}

impl<M> StampedReport<M> {
    fn new(times: &[Histogram<u64>], window: Window, meters: [M; 2]) -> Result<Self> {
        let mut all = histogram();
        for times in times {
            all.add(times)?;
        }
        ensure!(!all.is_empty(), "no event has arrived in {:?}", window.end - window.begin);
        let events = all.len() as f64;
        let per_second = events / window.seconds();
        Ok(Self { p50: micros(&all, 0.5), p99: micros(&all, 0.99), events, per_second, meters })
    }
}

/// Runs the readers of a thread as tasks, and adds up their times.
async fn collect<F>(reading: impl Iterator<Item = F>) -> Result<Histogram<u64>>
where
    F: Future<Output = Result<Histogram<u64>>> + Send + 'static,
{
    let mut tasks: JoinSet<_> = reading.collect();
    let mut times = histogram();
    while let Some(ended) = tasks.join_next().await {
        times.add(ended??)?;
    }
    Ok(times)
}

/// Calls again and again until the window ends, and reads each event.
async fn read_calls(
    mut call: Call,
    mut connection: Connection,
    late: Duration,
    window: Window,
) -> Result<Histogram<u64>> {
    let (mut times, mut stamps) = (small(), Stamps::default());
    tokio::time::sleep(late).await;
    loop {
        open_head(&mut connection, call.next()).await?;
        let mut steps = Steps { last: 0, times: &mut times };
        let mut answered = false;
        while let Some(event) = stamps.next(&mut connection).await? {
            let now = Instant::now();
            match event {
                Event::Step { step, took, .. } => steps.take(step, took, window.contains(now))?,
                Event::Answer { text } => answered = text.is_some(),
                Event::Request { .. } | Event::Other => {}
            }
            if now >= window.end {
                return Ok(times);
            }
        }
        ensure!(answered && steps.last == u64::from(STEPS), "a call without its answer or its events");
        stamps.clear();
    }
}

/// Reads the events of one stream until the window ends.
async fn read_on(
    mut connection: Connection,
    mut stamps: Stamps,
    last: u64,
    window: Window,
) -> Result<Histogram<u64>> {
    let mut times = small();
    let mut steps = Steps { last, times: &mut times };
    loop {
        let event = stamps.next(&mut connection).await?.context("a stream that ends too early")?;
        let now = Instant::now();
        if let Event::Step { step, took, .. } = event {
            steps.take(step, took, window.contains(now))?;
        }
        if now >= window.end {
            return Ok(times);
        }
    }
}

/// A histogram that grows with what it is given: there is one for each stream.
fn small() -> Histogram<u64> {
    Histogram::new(3).expect("three digits")
}
