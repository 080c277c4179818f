//! The registry of sessions: who looks up, who removes, who makes room.

use std::sync::Arc;

use mcp_session_proto::{self as proto, Input, State, TerminateReason};

use super::{Server, assert_balanced, check, create, establish, join, spawn};
use crate::{session::Session, transport::Rejection};

/// A client deletes its session, another thread looks it up. It is found as long as it is alive, and not when all is over;
/// its place is free again. Two threads, no bound.
#[test]
fn s_2_a_live_session_is_found() {
    check("look-up-removal", None, || {
        let server = Server::new(|config| config.max_sessions = 1);
        let session = server.open();
        let client = spawn({
            let session = session.clone();
            move || session.with_client(proto::Session::handle_delete).expect("it is alive")
        });
        let found = server.registry().get(&session.id());
        match &found {
            Some(found) => assert!(found.is(&session)),
            None => assert_eq!(session.state(), State::Terminated, "a live session was not found"),
        }
        join(client);
        assert!(server.registry().get(&session.id()).is_none());
        drop((found, session));
        drop(server.open()); // there is a place again
        server.end();
    });
}

/// A session ends while another one with its id is registered, as one that comes back from another node. Whichever comes
/// first, the registry has either the new one or none, and no place is lost. Two threads, no bound.
#[test]
fn s_2_the_end_of_a_session_does_not_remove_its_successor() {
    check("removal-re-entry", None, || {
        let server = Server::new(|config| config.max_sessions = 2);
        let (registry, old) = (server.registry(), server.open());
        let client = spawn({
            let old = old.clone();
            move || {
                old.with_client(proto::Session::handle_delete).expect("it is alive");
                old.with(|_, _| ()); // a handler that ends later
            }
        });
        registry.acquire_quota(None).expect("there is a place");
        let env = Arc::clone(server.env());
        let (machine, key) = proto::Session::new(
            env.runtime.now(),
            Arc::clone(&env.session_config),
            1.into(),
            None,
            proto::ProtocolVersion::LATEST_WITH_HANDSHAKE,
            Default::default(),
        );
        let new = Session::new(old.id(), None, env.clients.get(&super::nothing()), env, machine);
        let entered = registry.enter(new.clone()).expect("there is no shutdown");
        join(client);
        let found = registry.get(&old.id());
        if entered.is(&new) {
            assert!(found.is_some_and(|found| found.is(&new)), "the new one is not found");
            establish(&new, key);
            new.with_client(|machine, now| machine.close(now, TerminateReason::Evicted));
        } else {
            assert!(entered.is(&old) && found.is_none());
        }
        assert_eq!(registry.sessions().count(), 0);
        for _ in 0..2 {
            registry.acquire_quota(None).expect("a place is lost");
        }
        assert!(registry.acquire_quota(None).is_err(), "there is a place too many");
        drop((entered, new, old));
        server.end();
    });
}

/// All places are taken, one of them by a client that has not used its session. It uses it, while another client needs the
/// place: either the first keeps its session, or the second gets a place. Two threads, no bound.
#[test]
fn e_15_a_used_session_is_not_evicted() {
    check("eviction-first-use", None, || {
        let server = Server::new(|config| config.max_sessions = 1);
        let (session, key) = create(server.registry()).expect("there is room");
        establish(&session, key);
        let client = spawn({
            let session = session.clone();
            move || session.with(|machine, now| machine.handle_input(now, Input::Initialized)).is_ok()
        });
        let registry = Arc::clone(server.registry());
        let room = server.runtime.run(registry.with_room(None, || create(&registry)));
        let used = join(client);
        match room {
            Ok((second, key)) => {
                assert!(!used && session.state() == State::Terminated);
                establish(&second, key);
                second.with_client(|machine, now| machine.close(now, TerminateReason::Evicted));
            }
            Err(Rejection::TooManySessions) => {
                assert!(used && session.state() == State::Operating);
                session.with_client(|machine, now| machine.close(now, TerminateReason::Evicted));
            }
            Err(other) => panic!("{other:?}"),
        }
        assert_balanced(&server.stats());
        drop((session, registry));
        server.end();
    });
}
