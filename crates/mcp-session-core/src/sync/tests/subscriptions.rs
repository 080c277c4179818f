//! Subscriptions: who opens one, who notifies, who ends them.

use futures::StreamExt;
use mcp_session_proto::Json;

use super::{Server, assert_adds_up, assert_balanced, check, join, patient, spawn};
use crate::{
    session::{
        broadcast::{Broadcast, Subscribers},
        cell::SharedWaiters,
    },
    stateless::{
        registry::Registry,
        subscription::{Filter, Subscription},
    },
    stream::EventStream,
    transport::Rejection,
};

/// Opens a subscription to the list of tools.
fn subscribe(stateless: &Registry) -> Result<EventStream, Rejection> {
    let params = Json::from(serde_json::json!({ "notifications": { "toolsListChanged": true } }));
    let filter = Filter::read(Some(&params)).expect("it is valid");
    let call = stateless.subscribe(7.into(), Subscription::new(&7.into(), None, filter))?;
    let waiters = call.with(|machine, _| machine.tag_or(SharedWaiters::default));
    Ok(EventStream::of_call(call, waiters))
}

/// What comes until the end: `a` for the acknowledgement, `n` for a notification, `r` for the result.
fn read(mut stream: EventStream) -> String {
    let mut kinds = String::new();
    loom::future::block_on(async {
        while let Some(piece) = stream.next().await {
            let piece = piece.expect("it is not cut");
            let text = std::str::from_utf8(&piece).expect("it is UTF-8");
            let kind = [("acknowledged", 'a'), ("list_changed\"", 'n'), ("\"result\"", 'r')];
            kinds.extend(kind.iter().filter(|(part, _)| text.contains(part)).map(|(_, kind)| kind));
        }
    });
    kinds
}

fn notify(stateless: &Registry) -> usize {
    let mut told = Broadcast::default();
    stateless.notify("notifications/tools/list_changed", None, &mut told);
    told.subscriptions
}

/// A client subscribes and reads, and the endpoint shuts down: the client is refused, or gets the acknowledgement, the result
/// and the end. Two threads, two preemptions.
#[test]
fn g_55_a_subscription_against_the_shutdown() {
    check("subscribe-shutdown", Some(2), || {
        let server = Server::new(|_| {});
        let client = spawn({
            let stateless = server.stateless();
            move || match subscribe(&stateless) {
                Ok(stream) => Some(read(stream)),
                Err(Rejection::ShuttingDown) => None,
                Err(other) => panic!("{other:?}"),
            }
        });
        let report = server.shut_down(patient());
        let got = join(client);
        assert!(got.as_deref().is_none_or(|got| got == "ar"), "{got:?}");
        assert!(report.is_clean(), "{report:?}");
        assert_adds_up(&report);
        assert_balanced(&server.stats());
        server.end();
    });
}

/// A client subscribes while a notification is sent: the acknowledgement comes first, and the notification if it was counted.
/// Two threads, no bound.
#[test]
fn g_52_no_notification_overtakes_the_acknowledgement() {
    check("subscribe-notify", None, || {
        let server = Server::new(|_| {});
        let stateless = server.stateless();
        let application = spawn({
            let stateless = stateless.clone();
            move || notify(&stateless)
        });
        let stream = subscribe(&stateless).expect("there is room");
        let told = join(application);
        stateless.calls().for_each(|call| stateless.end(&call));
        assert_eq!(read(stream), if told == 1 { "anr" } else { "ar" });
        assert_balanced(&server.stats());
        drop(stateless);
        server.end();
    });
}

/// The client of the only subscription goes away while a notification is sent, and another client subscribes then: there is
/// room for it, and nothing of the first is left. Two threads, no bound.
#[test]
fn g_59_a_client_goes_while_it_is_notified() {
    check("subscriber-gone-notify", None, || {
        let server = Server::new(|config| config.max_subscriptions = 1);
        let stateless = server.stateless();
        let stream = subscribe(&stateless).expect("there is room");
        let application = spawn({
            let stateless = stateless.clone();
            move || notify(&stateless)
        });
        drop(stream);
        let second = subscribe(&stateless).expect("there is room again");
        assert!(join(application) <= 2);
        drop(second);
        assert_eq!(stateless.subscriptions(), 0);
        assert_balanced(&server.stats());
        drop(stateless);
        server.end();
    });
}
