use std::time::Instant;

use mcp_session_proto::{self as proto, Position, RpcError};

use super::*;
use crate::{
    config::Config,
    handler::{Handler, InitializeResult, context::RequestContext},
    runtime::Runtime,
    store::{LogId, MemoryStore, Store, node::Node},
    testing::Stopped,
};

/// Counts how often its hook is polled.
#[derive(Default)]
struct Hooked(AtomicUsize);

impl Handler for Hooked {
    fn info(&self) -> InitializeResult {
        InitializeResult::new("hooked", "1.0.0")
    }
    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        Err(RpcError::method_not_found(cx.method()))
    }
    async fn terminated(&self, _: Session, _: TerminateReason) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn open(env: &Arc<Env>, bits: u128) -> Session {
    let (machine, key) = proto::Session::new(
        env.runtime.now(),
        Arc::clone(&env.session_config),
        1.into(),
        None,
        ProtocolVersion::LATEST_WITH_HANDSHAKE,
        ClientCapabilities::default(),
    );
    let client = env.clients.get(&serde_json::json!({}).into());
    let session = Session::new(SessionId::from_bits(bits), None, client, Arc::clone(env), machine);
    session.with(|machine, now| {
        machine.answer(now, key, &Json::new(&()));
        machine.poll_reply(now, key);
    });
    session
}

/// S8: a session that panics, even under its own lock, is ended; the other sessions and the caller go on.
#[test]
fn s_8_a_session_that_panics_is_ended_and_harms_no_other() {
    let handler = Box::new(Arc::new(Hooked::default()));
    let env = Arc::new(Env::new(Arc::new(Stopped::default()), Config::default(), None, handler));
    let sessions: Vec<_> = (1..=3).map(|bits| open(&env, bits)).collect();
    let visited = AtomicUsize::new(0);
    Session::each(sessions.iter().cloned(), |session| {
        session.with(|_, _| {
            if session.is(&sessions[1]) {
                std::panic::resume_unwind(Box::new("planted: the machine panics"));
            }
            visited.fetch_add(1, Relaxed);
        });
    });
    assert_eq!(visited.load(Relaxed), 2);
    let states: Vec<_> = sessions.iter().map(Session::state).collect();
    assert_eq!(states, [State::AwaitingInitialized, State::Terminated, State::AwaitingInitialized]);
    assert_eq!(sessions[1].peek(Machine::reason), Some(TerminateReason::Error));
}

/// S8: a task that ends the sessions of others does not run their hooks. This runtime never polls a task.
#[test]
fn s_8_a_hook_is_polled_in_place_only_for_its_own_client() {
    let handler = Arc::new(Hooked::default());
    let env = Arc::new(Env::new(
        Arc::new(Stopped::default()),
        Config::default(),
        None,
        Box::new(Arc::clone(&handler)),
    ));
    let open = |bits| open(&env, bits);
    let polled = || handler.0.load(Relaxed);
    drop(open(1).terminate(TerminateReason::Evicted));
    open(2).enroll(&Arc::default(), |machine, now| machine.close(now, TerminateReason::Shutdown));
    assert_eq!((env.counters.stats().sessions_terminated, polled()), (2, 0));
    assert_eq!(open(3).with_client(Machine::handle_delete), Ok(()));
    assert_eq!((env.counters.stats().sessions_terminated, polled()), (3, 1));
}

/// A runtime that counts the tasks it is given, and runs none.
#[derive(Debug, Default)]
struct Counting(Stopped, AtomicUsize);

impl Runtime for Counting {
    fn now(&self) -> Instant {
        self.0.now()
    }
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline)
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.1.fetch_add(1, Relaxed);
        drop(task);
    }
    fn random(&self) -> std::io::Result<[u8; 16]> {
        self.0.random()
    }
}

/// S13: an endpoint that is dropped is the host of its sessions no more, and what they said is stored nevertheless.
#[test]
fn s_13_a_session_without_a_host_stores_what_it_said() {
    let (runtime, handler) = (Arc::new(Counting::default()), Box::new(Arc::new(Hooked::default())));
    let store = Store::new(MemoryStore::new(Arc::clone(&runtime)));
    let node = Node::new(store, Arc::clone(&runtime) as _, None).expect("random bytes");
    let env = Arc::new(Env::new(Arc::clone(&runtime) as _, Config::default(), Some(node), handler));
    let session = open(&env, 1);
    session.with(|machine, _| machine.share(0, LogId::STANDALONE, Position::START));
    let before = runtime.1.load(Relaxed);
    let event = notification("notifications/x", None::<&()>).expect("it has no params");
    assert_eq!(session.with(|machine, now| machine.notify_standalone(now, &event)), Ok(()));
    assert_eq!(runtime.1.load(Relaxed), before + 1);
}
