//! A second connection for the standalone stream: which of the two gets it (D-22, D-23).

use super::*;

/// A session with a GET stream that its client reads.
fn listening(config: SessionConfig) -> (Bench, StreamKey) {
    let mut b = Bench::operating(config);
    let get = b.get().unwrap();
    b.read(get);
    (b, get)
}

#[test]
fn d_23_a_client_that_comes_again_takes_over_and_again_after_each_pause() {
    let (mut b, mut get) = listening(config());
    for pause in [1_000, 1_500, 2_000, 31_000, 1, 1, 31_000].map(Duration::from_millis) {
        b.wait(pause);
        let newer = b.get().unwrap();
        assert_eq!(b.read(get), ["end"]);
        assert_eq!(b.read(newer), [":"]);
        get = newer;
    }
}

#[test]
fn d_23_two_clients_do_not_take_it_from_each_other_for_ever() {
    let (mut b, mut get) = listening(config());
    for _ in 0..3 {
        b.wait(secs(1));
        get = b.get().unwrap();
    }
    // From now on the client that has the stream is asked. While it answers, it keeps the stream, however often the
    // other client tries.
    for _ in 0..100 {
        b.wait(secs(1));
        assert_eq!(b.get(), Err(Refusal::StreamContested));
        assert_eq!(b.act(Session::contest), Some(secs(2)));
        assert_eq!(b.act(Session::contest), None, "it is not asked twice at the same time");
        b.read(get);
        b.wait(secs(2));
    }
    assert_eq!(b.session.streams(), 1);
    b.wait(secs(30));
    assert!(b.get().is_ok(), "the count starts again after a calm period");
}

#[test]
fn d_23_silent_clients_lose_the_stream_after_growing_timeouts_a_limited_number_of_times() {
    let (mut b, _) = listening(config());
    for _ in 0..3 {
        b.get().unwrap();
    }
    for patience in [2, 4, 8].map(secs) {
        assert_eq!(b.get(), Err(Refusal::StreamContested));
        assert_eq!(b.act(Session::contest), Some(patience));
        b.wait(patience);
        b.act(|session, _| session.handle_silent());
        let get = b.get().unwrap();
        assert_eq!(b.read(get), [":"]);
    }
    // Clients that never answer cannot take turns forever either.
    for _ in 0..29 {
        b.wait(secs(1));
        assert_eq!(b.get(), Err(Refusal::StreamContested));
        assert_eq!(b.act(Session::contest), None);
    }
    b.wait(secs(1));
    assert!(b.get().is_ok(), "the calm period was long enough");
}

/// The same limits apply to clients that resume the stream with an id.
#[test]
fn d_23_two_clients_that_resume_do_not_take_it_from_each_other_for_ever() {
    let config = SessionConfig { replay: Some(ReplayConfig::default()), ..config() };
    let mut b = Bench::operating(config);
    let get = b.get().unwrap();
    let primed = b.read(get);
    let id = primed[0].split(' ').next().unwrap().to_owned();
    for _ in 0..3 {
        assert!(b.resume(&id).is_ok());
    }
    assert_eq!(b.resume(&id), Err(Refusal::StreamContested));
    b.act(|session, _| session.handle_silent());
    let get = b.resume(&id).unwrap();
    b.disconnect(get);
    assert!(b.resume(&id).is_ok(), "there is nobody to take it from");
}

#[test]
fn d_23_a_client_that_has_left_or_does_not_read_holds_nobody_up() {
    let (mut b, _) = listening(config());
    for _ in 0..3 {
        b.get().unwrap();
    }
    b.wait(3 * config().heartbeat); // nobody reads
    let get = b.get().unwrap();
    b.disconnect(get);
    assert!(b.get().is_ok());
}
