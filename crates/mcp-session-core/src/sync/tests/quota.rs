//! Bounds: permits never exceed them, all come back, and whoever is refused was refused by permits that others hold.

use mcp_session_proto::{Era, ResponseMode};

use super::{Server, check, join, nothing, spawn};
use crate::{
    config::Config,
    handler::exchange::ExchangeHandle,
    principal::Principal,
    session::quota::Quota,
    stateless::{self, server::Completed},
};

fn bounded(all: usize, each: usize) -> Config {
    Config { max_sessions: all, max_sessions_per_principal: each, ..Config::default() }
}

/// As many places are free as `config` has.
fn assert_all_came_back(quota: &Quota, config: &Config) {
    for _ in 0..config.max_sessions {
        assert!(quota.acquire(config, None), "a place is lost");
    }
    assert!(!quota.acquire(config, None), "there is a place too many");
}

/// There is one place. Its holder gives it back and wants it again; another thread wants it too. One of them has it, and
/// not both. Two threads, no bound.
#[test]
fn e_15_a_place_that_is_free_is_taken() {
    check("quota-one-place", None, || {
        let config = std::sync::Arc::new(bounded(1, 1));
        let quota = std::sync::Arc::new(Quota::default());
        assert!(quota.acquire(&config, None));
        let other = spawn({
            let (quota, config) = (quota.clone(), config.clone());
            move || quota.acquire(&config, None)
        });
        quota.release(None);
        let again = quota.acquire(&config, None);
        assert!(again ^ join(other), "one place, and one who has it");
        quota.release(None);
        assert_all_came_back(&quota, &config);
    });
}

/// One principal is at its cap and wants more, while another takes the last place of all. The first is refused, the other
/// is not. Two threads, no bound.
#[test]
fn e_15_a_principal_at_its_cap_takes_nothing_from_another() {
    check("quota-principals", None, || {
        let config = std::sync::Arc::new(bounded(2, 1));
        let quota = std::sync::Arc::new(Quota::default());
        let [alice, bob] = ["alice", "bob"].map(Principal::new);
        assert!(quota.acquire(&config, Some(&alice)));
        let greedy = spawn({
            let (quota, config, alice) = (quota.clone(), config.clone(), alice.clone());
            move || quota.acquire(&config, Some(&alice))
        });
        assert!(quota.acquire(&config, Some(&bob)), "there was a place for him");
        assert!(!join(greedy), "there was none for her");
        quota.release(Some(&alice));
        quota.release(Some(&bob));
        assert_all_came_back(&quota, &config);
    });
}

/// One thread waits for a freed place, as a client at the cap does, and another gives one back: the first gets it. Two
/// threads, no bound.
#[test]
fn e_15_who_waits_for_a_place_is_woken() {
    check("quota-waiting", None, || {
        let config = std::sync::Arc::new(bounded(1, 1));
        let quota = std::sync::Arc::new(Quota::default());
        assert!(quota.acquire(&config, None));
        let holder = spawn({
            let quota = quota.clone();
            move || quota.release(None)
        });
        loom::future::block_on(async {
            loop {
                let freed = quota.freed.listen();
                if quota.acquire(&config, None) {
                    break;
                }
                freed.await;
            }
        });
        join(holder);
        quota.release(None);
        assert_all_came_back(&quota, &config);
    });
}

/// A session may run one notification at a time. One ends, and another begins; a third begins too. One of both runs.
/// Two threads, no bound.
#[test]
fn a_notification_that_may_run_is_not_refused() {
    check("notification-permits", None, || {
        let server = Server::new(|config| config.session.max_exchanges = 1);
        let session = server.open();
        let first = session.notification_permit().expect("it is the first");
        let other = spawn({
            let session = session.clone();
            move || session.notification_permit().ok()
        });
        drop(first);
        let again = session.notification_permit().ok();
        let other = join(other);
        assert!(again.is_some() ^ other.is_some());
        drop((again, other));
        let permit = session.notification_permit();
        assert!(permit.is_ok() && session.notification_permit().is_err());
        drop((permit, session));
        server.end();
    });
}

/// There is room for one request without a session. One is answered and a second admitted; a third is admitted too. One of
/// both runs. Two threads, no bound.
#[test]
fn a_request_without_a_session_that_has_room_is_not_refused() {
    fn serve(stateless: &stateless::registry::Registry) -> Option<ExchangeHandle> {
        let call = stateless.admit(1.into(), Era::Stateless, ResponseMode::Auto, None).ok()?;
        Some(ExchangeHandle::Stateless(call))
    }
    check("stateless-requests", None, || {
        let server = Server::new(|config| config.max_stateless_requests = 1);
        let stateless = server.stateless();
        let first = serve(&stateless).expect("it is the first");
        let other = spawn({
            let stateless = stateless.clone();
            move || serve(&stateless)
        });
        first.answer(&Completed::as_is(Ok(nothing())), true);
        let again = serve(&stateless);
        let running = [again, join(other)];
        assert_eq!(running.iter().flatten().count(), 1);
        for call in running.iter().flatten() {
            call.answer(&Completed::as_is(Ok(nothing())), true);
        }
        assert!(
            serve(&stateless).is_some_and(|call| call.answer(&Completed::as_is(Ok(nothing())), true).heard)
        );
        assert_eq!(stateless.calls().count(), 0);
        drop((first, running, stateless));
        server.end();
    });
}
