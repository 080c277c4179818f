//! Streams: who pushes, who reads, who ends them.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::poll_fn};
use http_body::Body;
use mcp_session_proto::{Era, ResponseMode, TerminateReason};

use super::{PREEMPTIONS, Server, Woken, assert_balanced, check, join, nothing, patient, spawn};
use crate::{
    handler::{
        exchange::{ExchangeHandle, ReplyHead},
        run::{FirstPoll, HandlerFuture},
    },
    session::{Session, cell::SharedWaiters, notification},
    stream::{EventStream, ReplyBody},
};

/// The client's GET.
fn get(session: &Session) -> EventStream {
    let waiters = SharedWaiters::default();
    let key = session.with(|machine, now| machine.handle_get(now, SharedWaiters::clone(&waiters)));
    EventStream::new(session.clone(), key.expect("it has no stream yet"), waiters)
}

/// All that comes until the end of the stream, and that nothing comes after it.
fn read(stream: &mut EventStream) -> String {
    let mut text = String::new();
    loom::future::block_on(async {
        while let Some(piece) = stream.next().await {
            text += std::str::from_utf8(&piece.expect("it is not cut")).expect("it is UTF-8");
        }
        assert!(stream.is_done() && stream.next().await.is_none());
    });
    text
}

fn event(name: &str) -> Bytes {
    notification(&format!("notifications/{name}"), None::<&()>).expect("it has no params")
}

/// Which of the events `a` and `b` are in a text, in order.
fn names(text: &str) -> String {
    let after = text.split("notifications/").skip(1);
    after.filter_map(|rest| rest.chars().next()).collect()
}

/// One thread pushes two events, one ends the session, and the client reads. It reads exactly what was accepted, in order,
/// and then the end. Three threads, two preemptions.
#[test]
fn s_5_push_poll_and_terminate() {
    check("push-poll-terminate", Some(2), || {
        let server = Server::new(|_| {});
        let session = server.open();
        let mut stream = get(&session);
        let application = spawn({
            let session = session.clone();
            move || {
                let names = ["a", "b"].into_iter();
                let sent = names.filter(|name| {
                    let event = event(name);
                    session.with(|machine, now| machine.notify_standalone(now, &event)).is_ok()
                });
                sent.collect::<String>()
            }
        });
        let operator = spawn({
            let session = session.clone();
            move || drop(session.terminate(TerminateReason::Evicted))
        });
        let text = read(&mut stream);
        assert_eq!(names(&text), join(application), "{text}");
        join(operator);
        drop((stream, session));
        assert_balanced(&server.stats());
        server.end();
    });
}

/// A client reads its stream while the endpoint shuts down and one event is pushed: the stream ends, and so does the
/// shutdown. Two threads, two preemptions.
#[test]
fn s_3_s_5_a_reader_and_a_patient_shutdown_end_each_other() {
    check("poll-shutdown", Some(2), || {
        let server = Server::new(|_| {});
        let session = server.open();
        let mut stream = get(&session);
        let client = spawn(move || names(&read(&mut stream)));
        let sent = session.with(|machine, now| machine.notify_standalone(now, &event("a")));
        assert_eq!(sent, Ok(()));
        let report = server.shut_down(patient());
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(join(client), "a");
        assert_balanced(&server.stats());
        drop(session);
        server.end();
    });
}

/// A stream that one task has polled is polled by another, while an event is pushed: the second task gets the event, or is
/// woken for it. Two threads, no bound.
#[test]
fn a_stream_that_changes_its_task_wakes_the_new_one() {
    check("waker-replaced", None, || {
        let server = Server::new(|_| {});
        let session = server.open();
        let mut stream = get(&session);
        let poll = |stream: &mut EventStream, waker: &Waker| match Pin::new(stream)
            .poll_next(&mut Context::from_waker(waker))
        {
            Poll::Ready(Some(Ok(piece))) => names(std::str::from_utf8(&piece).expect("it is UTF-8")) == "a",
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => false,
        };
        while poll(&mut stream, Waker::noop()) {} // what comes first
        let application = spawn({
            let session = session.clone();
            move || {
                session.with(|machine, now| machine.notify_standalone(now, &event("a"))).expect("it is open")
            }
        });
        let second = Arc::new(Woken::default());
        let got = poll(&mut stream, &Arc::clone(&second).into());
        join(application);
        assert!(got || second.count() > 0, "the task that waits is not woken");
        assert!(got || poll(&mut stream, Waker::noop()));
        drop((stream, session));
        server.end();
    });
}

/// A handler that is ready when it is polled for the second time.
fn second_time() -> HandlerFuture {
    let mut polled = false;
    poll_fn(
        move |_| {
            if std::mem::replace(&mut polled, true) { Poll::Ready(Ok(nothing())) } else { Poll::Pending }
        },
    )
    .boxed()
}

/// Starts a request whose handler is not ready at once. Returns the future of its response, and the task of its handler.
fn suspended(server: &Server, call: ExchangeHandle) -> (FirstPoll, crate::runtime::BoxFuture<'static, ()>) {
    let starting =
        call.clone().start(server.env(), call.now(), 2.into(), "tools/call".into(), second_time(), None);
    let first = starting.now_or_never().expect("it is polled once in place");
    (first, server.runtime.take().pop().expect("the handler has a task"))
}

fn of_session(server: &Server, session: &Session, mode: ResponseMode) -> ExchangeHandle {
    let key = session.with(|machine, now| {
        let key = machine.handle_request(now, 2.into(), None)?;
        machine.restrict(key, mode);
        Ok::<_, mcp_session_proto::Refusal>(key)
    });
    let _ = server;
    ExchangeHandle::Session(session.clone(), key.expect("it is admitted"))
}

fn stateless(server: &Server, mode: ResponseMode) -> ExchangeHandle {
    ExchangeHandle::Stateless(
        server.stateless().admit(2.into(), Era::Stateless, mode, None).expect("there is room"),
    )
}

/// Waits for a response and reads it to its end.
async fn answer_of(first: FirstPoll) -> String {
    let mut body = pin!(match first.await {
        ReplyHead::Json(answer) => ReplyBody::text(answer),
        ReplyHead::Events(events) => ReplyBody::events(events),
        other @ (ReplyHead::Refused(..) | ReplyHead::Lost) => panic!("{other:?}"),
    });
    let mut text = String::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.expect("it is not cut").into_data().expect("there are no trailers");
        text += std::str::from_utf8(&frame).expect("it is UTF-8");
    }
    text
}

/// The only reader of a response goes away while the handler's task writes the answer. The request has one fate, and
/// nothing of it is left.
fn reader_dropped(call: impl Fn(&Server) -> ExchangeHandle) {
    let server = Server::new(|_| {});
    let (first, task) = suspended(&server, call(&server));
    let client = spawn(move || drop(first));
    loom::future::block_on(task);
    join(client);
    assert_eq!(server.stateless().calls().count(), 0);
    for session in server.registry().sessions() {
        assert_eq!(session.with(|machine, _| machine.unsettled()), 0);
        session.with(|machine, now| machine.close(now, TerminateReason::Evicted));
    }
    assert_balanced(&server.stats());
    server.end();
}

/// The reader waits while the handler's task writes the answer: it gets it, once.
fn reader_waits(call: impl Fn(&Server) -> ExchangeHandle) {
    let server = Server::new(|_| {});
    let (first, task) = suspended(&server, call(&server));
    let handler = spawn(move || loom::future::block_on(task));
    let text = loom::future::block_on(answer_of(first));
    join(handler);
    assert_eq!(text.matches(r#""result":{}"#).count(), 1, "{text}");
    assert_eq!(server.stateless().calls().count(), 0);
    for session in server.registry().sessions() {
        assert_eq!(session.with(|machine, _| machine.unsettled()), 0);
        session.with(|machine, now| machine.close(now, TerminateReason::Evicted));
    }
    let stats = server.stats();
    assert_eq!(stats.exchanges_answered, stats.exchanges_admitted);
    assert_balanced(&stats);
    server.end();
}

/// Two threads, no bound; the reader waits for the head of a JSON response, or for events.
#[test]
fn s_5_the_last_reader_of_a_request_without_a_session_goes_as_the_answer_comes() {
    for (name, mode) in [
        ("stateless-reader-gone/json", ResponseMode::Json),
        ("stateless-reader-gone/events", ResponseMode::Sse),
    ] {
        check(name, None, move || reader_dropped(|server| stateless(server, mode)));
    }
}

/// Two threads, no bound.
#[test]
fn s_5_the_last_reader_of_a_request_of_a_session_goes_as_the_answer_comes() {
    for (name, mode) in [("reader-gone/json", ResponseMode::Json), ("reader-gone/events", ResponseMode::Sse)]
    {
        check(name, None, move || {
            reader_dropped(|server| of_session(server, &server.open(), mode));
        });
    }
}

/// Two threads, [`PREEMPTIONS`].
#[test]
fn s_5_a_reader_who_waits_gets_the_answer() {
    for (name, mode) in [("answer/json", ResponseMode::Json), ("answer/events", ResponseMode::Sse)] {
        check(name, Some(PREEMPTIONS), move || {
            reader_waits(|server| of_session(server, &server.open(), mode))
        });
    }
    for (name, mode) in
        [("stateless-answer/json", ResponseMode::Json), ("stateless-answer/events", ResponseMode::Sse)]
    {
        check(name, Some(PREEMPTIONS), move || reader_waits(|server| stateless(server, mode)));
    }
}

/// A handler sends two events where there is space for one, and the client reads: the handler is woken when there is space,
/// the client when there is an event. Two threads, two preemptions.
#[test]
fn s_5_who_waits_for_space_is_woken() {
    check("space-poll", Some(2), || {
        let server = Server::new(|config| config.session.queue_events = 1);
        let call = stateless(&server, ResponseMode::Sse);
        let (first, task) = suspended(&server, call.clone());
        let Some(ReplyHead::Events(mut events)) = first.now_or_never() else {
            panic!("the response has events from the beginning")
        };
        let handler = spawn(move || {
            loom::future::block_on(async {
                for name in ["a", "b"] {
                    call.notify(&event(name)).await.expect("its client reads");
                }
                task.await;
            });
        });
        assert_eq!(names(&read(&mut events)), "ab");
        join(handler);
        drop(events);
        assert_balanced(&server.stats());
        server.end();
    });
}
