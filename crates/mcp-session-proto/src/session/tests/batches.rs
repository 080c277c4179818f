//! Batches (A.2): all requests are admitted or none, and each gets its own answer.

use super::*;

impl Bench {
    fn batch(&mut self, inputs: &[Input], ids: &[i64]) -> Result<Vec<ExchangeKey>, Refusal> {
        let ids = ids.iter().map(|id| (*id).into()).collect();
        let keys = self.act(|session, now| session.handle_batch(now, inputs.iter().copied(), ids))?;
        for key in &keys {
            self.tags += 1;
            self.session.tag_or(*key, || self.tags);
        }
        Ok(keys)
    }
}

#[test]
fn a_24_each_request_of_a_batch_has_a_stream_and_an_answer_of_its_own() {
    let mut b = Bench::operating(config());
    let keys = b.batch(&[Input::Request, Input::Ping, Input::Request], &[1, 2]).unwrap();
    b.act(|session, now| session.handle_suspended(now, keys[0]));
    b.answer(keys[1]); // answered at once, but still a stream
    assert_eq!([b.reply(keys[0]), b.reply(keys[1])], ["stream", "stream"]);
    b.notify(keys[0]).unwrap();
    b.answer(keys[0]);
    assert_eq!(b.read(StreamKey::Response(keys[1])), ["2 = \"done\"", "end"]);
    assert_eq!(b.read(StreamKey::Response(keys[0])), ["note", "1 = \"done\"", "end"]);
    assert_eq!(b.outcomes(), [3, 0, 0, 0]);
}

#[test]
fn a_26_where_every_answer_is_json_those_of_a_batch_are() {
    let mut b = Bench::operating(SessionConfig { response_mode: ResponseMode::Json, ..config() });
    let keys = b.batch(&[Input::Request], &[1, 2]).unwrap();
    b.answer(keys[0]);
    b.cancel(2).unwrap();
    assert_eq!([b.reply(keys[0]), b.reply(keys[1])], ["1 = \"done\"", "2 ! -32800 -"]);
}

#[test]
fn a_07_a_29_a_batch_with_an_id_in_flight_is_refused_as_a_whole() {
    let mut b = Bench::operating(config());
    let running = b.call(2);
    assert_eq!(b.batch(&[Input::Request], &[1, 2]), Err(Refusal::DuplicateId));
    assert_eq!((b.session.running(), b.status(running)), (1, Status::default()));
    b.answer(running);
    assert_eq!(b.batch(&[Input::Request], &[1, 2]).unwrap().len(), 2);
}

#[test]
fn a_21_a_batch_is_admitted_as_a_whole_or_not_at_all() {
    let mut b = Bench::operating(SessionConfig { max_exchanges: 2, ..config() });
    assert_eq!(b.batch(&[Input::Request], &[1, 2, 3]), Err(Refusal::TooManyRequests));
    assert_eq!(b.session.running(), 0);
    assert_eq!(b.batch(&[Input::Request], &[1, 2]).unwrap().len(), 2);

    // In every state, the batch is refused as one of its messages alone would be.
    for state in STATES {
        for input in INPUTS {
            let mut b = Bench::in_state(state);
            let running = b.session.running();
            let refusal = [Input::Ping, input].into_iter().find_map(|input| match b.session.on(input) {
                Verdict::Refuse(refusal) => Some(refusal),
                _ => None,
            });
            assert_eq!(b.batch(&[Input::Ping, input], &[]).err(), refusal, "{input:?} in {state:?}");
            assert_eq!(b.session.running(), running);
        }
    }
}

#[test]
fn s_5_running_requests_of_a_batch_get_one_answer_each_when_the_session_ends() {
    let mut b = Bench::operating(SessionConfig { heartbeat: Duration::ZERO, ..config() });
    let keys = b.batch(&[Input::Request], &[1, 2, 3]).unwrap();
    for key in &keys {
        b.act(|session, now| session.handle_suspended(now, *key));
    }
    b.answer(keys[1]);
    b.drain(&SHUTDOWN);
    assert_eq!(b.batch(&[Input::Notification, Input::Request], &[4]), Err(Refusal::Draining));
    assert_eq!(b.batch(&[Input::Notification, Input::Response], &[]), Ok(vec![])); // F-37
    b.run_to(Phase::Finishing);
    let read = [keys[0], keys[1], keys[2]].map(|key| b.read(StreamKey::Response(key)));
    assert_eq!(read[0], ["1 ! -32000 shutdown", "end"]);
    assert_eq!(read[1], ["2 = \"done\"", "end"]);
    assert_eq!(read[2], ["3 ! -32000 shutdown", "end"]);
    assert_eq!((b.session.phase(), b.outcomes()), (Phase::Closed, [2, 2, 0, 0]));
}
