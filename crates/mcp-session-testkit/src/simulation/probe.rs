//! What a quiet node must still do: it has room for what its limits allow, knows the sessions that live, and their streams
//! hold everything that was sent.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{FutureExt, channel::oneshot, future::select};
use http::Method;
use mcp_session_core::{ProtocolVersion, Runtime, SessionId, Stats};
use serde_json::Value;

use super::{
    book::undelivered,
    client::{
        Client, initialize, notification,
        reading::{Progress, Sink, read},
    },
    network::{self, sleep},
    plan::{ClientPlan, Hook, Kind, Reader, Upload},
    world::World,
};

/// How long a client waits for what must come, in milliseconds: the store may be slow.
const AT_ONCE: u64 = 2_000;

/// Asks every node that runs for what it must still do.
pub(super) async fn probe(world: &Arc<World>) {
    if !world.book().is_told() {
        return;
    }
    for (node, stats) in world.running() {
        has_room(world, node, &stats).await;
    }
    let live = world.book().live_sessions();
    for (session, opener) in live {
        let mut client = Client::beside(world, opener, Some(session));
        serves(world, &mut client, session).await;
    }
}

/// A node that does nothing takes a request of each kind. Perhaps not at once: a session may just be ending.
async fn has_room(world: &Arc<World>, node: usize, stats: &Stats) {
    let ends_at_once = |client: &ClientPlan| matches!(client.hooks.terminated, Hook::Returns | Hook::Panics);
    let idle = world.book().is_idle() && world.plan.clients.iter().all(ends_at_once);
    if !idle || undelivered(stats) > 0 {
        return;
    }
    let max = world.plan.limits.config.max_sessions as u64;
    let is_full = || world.running().iter().any(|(other, stats)| *other == node && stats.sessions >= max);
    let is_session = |client: &ClientPlan| matches!(client.kind, Kind::Session { .. });
    for sessions in [true, false] {
        let client = world.plan.clients.iter().position(|client| is_session(client) == sessions);
        let Some(number) = client else { continue };
        for last in [false, true] {
            // A client of another node may come before it, and take the place.
            // So may a call whose body was still on its way.
            let is_taken = |status| status != Some(503) || (sessions && is_full()) || !world.book().is_idle();
            if is_taken(asks(world, node, number).await) {
                break;
            }
            if last {
                let kind = world.plan.clients[number].kind;
                let text = || format!("node {node} has no place for a {kind:?}: {stats:?}");
                world.book().violation("leaked", text);
            }
            // The end of a session asks the store more than once.
            sleep(&world.sim, 2 * AT_ONCE).await;
        }
    }
}

/// A client opens a session, or sends a request if it needs none. Returns the status.
async fn asks(world: &Arc<World>, node: usize, number: usize) -> Option<u16> {
    let mut client = Client::beside(world, number, None);
    match world.plan.clients[number].kind {
        Kind::Session { version, .. } => opens_and_ends(&client, node, version).await,
        Kind::Stateless(_) | Kind::Modern => {
            let list = client.list();
            post(&client, node, list, "tools/list").await
        }
    }
}

/// POSTs a message, and reads the response. Returns its status.
async fn post(client: &Client, node: usize, message: String, name: &str) -> Option<u16> {
    let head = client.head(client.post(node, message, Upload::Whole, name), node).await?;
    let status = head.status.as_u16();
    client.drain(head).await;
    Some(status)
}

/// Opens a session and deletes it. Returns the status of `initialize`.
async fn opens_and_ends(client: &Client, node: usize, version: ProtocolVersion) -> Option<u16> {
    let message = initialize(version, usize::MAX); // no client of the plan: its hooks do nothing
    let head = client.head(client.post(node, message, Upload::Whole, ""), node).await?;
    let id = head.headers.get("mcp-session-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let status = head.status.as_u16();
    client.drain(head).await;
    if let Some(session) = id {
        let request = client.request(Method::DELETE, Some(session));
        let line = network::send(client.world(), node, request, Bytes::new(), Upload::Whole);
        let _ = client.head(line, node).await; // 204
    }
    Some(status)
}

/// A session that lives takes a message of each kind at any node, and its stream has what was sent on it.
async fn serves(world: &Arc<World>, client: &mut Client, session: SessionId) {
    let nodes: Vec<usize> = match world.plan.store {
        Some(_) => world.running().into_iter().map(|(node, _)| node).collect(),
        None => world.book().home(session).into_iter().collect(),
    };
    for node in &nodes {
        let sent = world.book().moment();
        let ping = client.ping();
        for (message, name, expected) in [(ping, "ping", 200), (notification(0), "", 202)] {
            let mut status = post(client, *node, message.clone(), name).await;
            if status == Some(503) {
                // It was just being parked here, which takes a moment if its last reader has vanished.
                sleep(&world.sim, AT_ONCE).await;
                status = post(client, *node, message, name).await;
            }
            let idle = world.book().is_idle();
            if status == Some(expected) {
                world.book().used(session, sent);
            } else if idle && world.book().must_live(session) {
                world.book().violation("leaked", || {
                    format!("{session} does nothing, and node {node} answers {status:?}, not {expected}")
                });
            }
        }
    }
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return };
    if world.plan.limits.config.session.replay.is_some() {
        has_all(world, client, session, *first).await;
        has_one_listener(world, client, session, [*first, *last]).await;
    }
}

/// Whoever comes back for the first event gets every tell that was accepted after it.
async fn has_all(world: &Arc<World>, client: &Client, session: SessionId, node: usize) {
    if world.book().is_hurried() {
        return; // a node that closes without a moment for it does not store what it has just accepted
    }
    let Some((first, owed)) = world.book().owed_since_the_first(session) else { return };
    let mut stream = Stream::open(world, client, node, Some(&first)).await;
    sleep(&world.sim, AT_ONCE).await;
    if stream.is_open() && world.book().keeps_events() {
        let lost = owed.into_iter().find(|n| !stream.tells().contains(n));
        if let Some(n) = lost {
            world
                .book()
                .violation("lost", || format!("{session} has no tell {n} after {first}, at node {node}"));
        }
    }
    stream.close().await;
}

/// Of two connections that ask at the same time, one carries the stream.
async fn has_one_listener(world: &Arc<World>, client: &Client, session: SessionId, nodes: [usize; 2]) {
    let mut streams =
        futures::future::join_all(nodes.map(|node| Stream::open(world, client, node, None))).await;
    sleep(&world.sim, AT_ONCE).await;
    let told = world.tell(nodes[0], session).await;
    sleep(&world.sim, AT_ONCE).await;
    // A client of the plan may have taken the stream over meanwhile.
    let open: usize = streams.iter_mut().map(|stream| usize::from(stream.is_open())).sum();
    let got = told.map(|n| streams.iter().filter(|stream| stream.tells().contains(&n)).count());
    if world.book().must_live(session) && (open > 1 || got > Some(1) || (open == 1 && got == Some(0))) {
        world.book().violation("listeners", || {
            format!("{session} has {open} streams at the nodes {nodes:?}; a tell reached {got:?} of them")
        });
    }
    for stream in streams {
        stream.close().await;
    }
}

/// A standalone stream that somebody reads until it is closed.
struct Stream {
    tells: Arc<Mutex<HashSet<u64>>>,
    close: oneshot::Sender<()>,
    over: oneshot::Receiver<()>,
    is_over: bool,
}

impl Stream {
    async fn open(world: &Arc<World>, client: &Client, node: usize, last: Option<&str>) -> Self {
        world.book().asks_for_stream(client.session().expect("its session"));
        let mut request = client.request(Method::GET, client.session());
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let line = network::send(world, node, request, Bytes::new(), Upload::Whole);
        let head = client.head(line, node).await;
        let line = head.filter(|head| head.status == 200).map(|head| head.line);
        let (close, closed) = oneshot::channel();
        let (done, over) = oneshot::channel();
        let tells = Arc::<Mutex<HashSet<u64>>>::default();
        if let Some(line) = line {
            let (client, tells) = (client.clone(), Arc::clone(&tells));
            world.sim.spawn(
                async move {
                    let mut sink = Tells(tells);
                    let mut progress = Progress::default();
                    let reading = read(&client, line, true, Reader::default(), &mut progress, &mut sink);
                    select(closed, Box::pin(reading)).await;
                    let _ = done.send(()); // nobody waits for it
                }
                .boxed(),
            );
        }
        Self { tells, close, over, is_over: false }
    }

    fn is_open(&mut self) -> bool {
        self.is_over |= !matches!(self.over.try_recv(), Ok(None));
        !self.is_over
    }

    fn tells(&self) -> HashSet<u64> {
        self.tells.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn close(mut self) {
        drop(self.close);
        if !self.is_over {
            let _ = (&mut self.over).await; // over already
        }
    }
}

/// The numbers of the tells on a stream.
struct Tells(Arc<Mutex<HashSet<u64>>>);

impl Sink for Tells {
    fn message(&mut self, _: &Client, message: Value, _: Option<&str>) {
        if let Some(n) = message["params"]["n"].as_u64() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(n);
        }
    }
}
