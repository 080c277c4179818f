//! The state table: what a session does with each input in each state.

use super::ending::Phase;

/// The state of a session, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The handler works on `initialize`; the client does not have the id yet.
    Initializing,
    /// `initialize` was answered with a result, and `notifications/initialized` has not arrived.
    AwaitingInitialized,
    /// In use.
    Operating,
    /// The endpoint shuts down: running requests may finish, new ones are refused.
    Draining,
    /// The id is dead: requests with it get 404. Earlier requests may still be ending.
    Terminated,
}

/// An input of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// A second `initialize`, carrying this session's id.
    Initialize,
    /// `notifications/initialized`.
    Initialized,
    /// `ping`.
    Ping,
    /// A request for a list, such as `tools/list`: a client may need it to process an answer that it has just received.
    /// Which methods these are, [`RpcRequest::is_list`](crate::RpcRequest::is_list) says.
    List,
    /// Any other request.
    Request,
    /// A reply to a request of the server.
    Response,
    /// `notifications/cancelled`.
    Cancelled,
    /// Any other notification.
    Notification,
    /// GET: opens the standalone stream.
    Get,
    /// GET with `Last-Event-ID`: continues a stream after that event. If it is the standalone stream, [`Input::Get`]
    /// must be possible too.
    Resume,
    /// DELETE.
    Delete,
    /// A deadline of the session, or its eviction.
    Expire,
}

/// What the session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The request is admitted: it is owed exactly one answer.
    Admit,
    /// The session answers by itself.
    Answer,
    /// Accepted with 202.
    Accept,
    /// Answered with 202, but has no effect.
    Ignore,
    /// The session becomes operational.
    Operate,
    /// The stream is opened.
    Open,
    /// The session is terminated.
    Terminate,
    /// Refused with an HTTP error.
    Refuse(Refusal),
}

/// Why a session refuses an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The session has already been initialized (C-17).
    AlreadyInitialized,
    /// The session has not been initialized yet.
    NotInitialized,
    /// A request with this id is still running (A-07).
    DuplicateId,
    /// The session has as many requests as [`max_exchanges`](super::SessionConfig::max_exchanges) allows.
    TooManyRequests,
    /// The session already has a standalone stream (D-22).
    StreamTaken,
    /// The standalone stream was taken over too often, and the client that has it may still be there (D-23).
    StreamContested,
    /// No stream of the session has this event, or an event after it was forgotten (D-37).
    UnknownEvent,
    /// The endpoint shuts down (F-38).
    Draining,
    /// The session is terminated (E-11).
    Gone,
}

impl State {
    /// What a session in this state, and in this phase of its ending, does with `input` (C.2).
    ///
    /// ```
    /// use mcp_session_proto::{Input, Phase, Refusal, State, Verdict};
    ///
    /// assert_eq!(State::Operating.on(Phase::Running, Input::Request), Verdict::Admit);
    /// assert_eq!(State::Draining.on(Phase::Draining, Input::Request), Verdict::Refuse(Refusal::Draining));
    /// assert_eq!(State::Draining.on(Phase::Draining, Input::Response), Verdict::Accept);
    /// // A list is for a client that processes an answer: once the handlers are told to stop, none follows.
    /// assert_eq!(State::Draining.on(Phase::Draining, Input::List), Verdict::Admit);
    /// assert_eq!(State::Draining.on(Phase::Cancelling, Input::List), Verdict::Refuse(Refusal::Draining));
    /// ```
    #[rustfmt::skip]
    pub fn on(self, phase: Phase, input: Input) -> Verdict {
        use Input as I;
        use Refusal::{AlreadyInitialized, Draining, Gone, NotInitialized};
        use State as S;
        use Verdict::{Accept, Admit, Answer, Ignore, Open, Operate, Refuse, Terminate};
        match (self, input) {
            (S::Initializing,        I::Initialize)   => Refuse(AlreadyInitialized),
            (S::Initializing,        I::Initialized)  => Ignore,
            (S::Initializing,        I::Ping)         => Answer,
            (S::Initializing,        I::Request)      => Refuse(NotInitialized),
            (S::Initializing,        I::List)         => Refuse(NotInitialized),
            (S::Initializing,        I::Response)     => Ignore,
            (S::Initializing,        I::Cancelled)    => Ignore,
            (S::Initializing,        I::Notification) => Ignore,
            (S::Initializing,        I::Get)          => Refuse(NotInitialized),
            (S::Initializing,        I::Resume)       => Refuse(NotInitialized),
            (S::Initializing,        I::Delete)       => Terminate,
            (S::Initializing,        I::Expire)       => Terminate,

            (S::AwaitingInitialized, I::Initialize)   => Refuse(AlreadyInitialized),
            (S::AwaitingInitialized, I::Initialized)  => Operate,
            (S::AwaitingInitialized, I::Ping)         => Answer,
            (S::AwaitingInitialized, I::Request)      => Admit, // separate POSTs may overtake each other (C-18)
            (S::AwaitingInitialized, I::List)         => Admit,
            (S::AwaitingInitialized, I::Response)     => Accept,
            (S::AwaitingInitialized, I::Cancelled)    => Accept,
            (S::AwaitingInitialized, I::Notification) => Accept,
            (S::AwaitingInitialized, I::Get)          => Open,
            (S::AwaitingInitialized, I::Resume)       => Open,
            (S::AwaitingInitialized, I::Delete)       => Terminate,
            (S::AwaitingInitialized, I::Expire)       => Terminate,

            (S::Operating,           I::Initialize)   => Refuse(AlreadyInitialized),
            (S::Operating,           I::Initialized)  => Ignore, // C-19
            (S::Operating,           I::Ping)         => Answer,
            (S::Operating,           I::Request)      => Admit,
            (S::Operating,           I::List)         => Admit,
            (S::Operating,           I::Response)     => Accept,
            (S::Operating,           I::Cancelled)    => Accept,
            (S::Operating,           I::Notification) => Accept,
            (S::Operating,           I::Get)          => Open,
            (S::Operating,           I::Resume)       => Open,
            (S::Operating,           I::Delete)       => Terminate,
            (S::Operating,           I::Expire)       => Terminate,

            (S::Draining,            I::Initialize)   => Refuse(AlreadyInitialized),
            (S::Draining,            I::Initialized)  => Ignore,
            (S::Draining,            I::Ping)         => Answer,
            (S::Draining,            I::Request)      => Refuse(Draining),
            (S::Draining,            I::List) if phase > Phase::Draining => Refuse(Draining),
            (S::Draining,            I::List)         => Admit,
            (S::Draining,            I::Response)     => Accept, // handlers that wait for it can finish
            (S::Draining,            I::Cancelled)    => Accept,
            (S::Draining,            I::Notification) => Accept,
            (S::Draining,            I::Get)          => Refuse(Draining),
            // Nothing is left, but the id stays valid until the shutdown is over (S2).
            (S::Draining,            I::Resume) if phase == Phase::Closed => Refuse(Draining),
            (S::Draining,            I::Resume)       => Open, // answers can still be fetched
            (S::Draining,            I::Delete)       => Terminate,
            (S::Draining,            I::Expire)       => Terminate,

            (S::Terminated,          I::Initialize)   => Refuse(Gone),
            (S::Terminated,          I::Initialized)  => Refuse(Gone),
            (S::Terminated,          I::Ping)         => Refuse(Gone),
            (S::Terminated,          I::Request)      => Refuse(Gone),
            (S::Terminated,          I::List)         => Refuse(Gone),
            (S::Terminated,          I::Response)     => Refuse(Gone),
            (S::Terminated,          I::Cancelled)    => Refuse(Gone),
            (S::Terminated,          I::Notification) => Refuse(Gone),
            (S::Terminated,          I::Get)          => Refuse(Gone),
            (S::Terminated,          I::Resume)       => Refuse(Gone),
            (S::Terminated,          I::Delete)       => Refuse(Gone),
            (S::Terminated,          I::Expire)       => Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, Phase, Refusal, State, Verdict};

    const STATES: [State; 5] = [
        State::Initializing,
        State::AwaitingInitialized,
        State::Operating,
        State::Draining,
        State::Terminated,
    ];

    /// Table C.2 of the requirements, in its own words: a row for each input, a column for each state.
    #[rustfmt::skip]
    const TABLE: [(Input, [&str; 5]); 12] = [
        //                    Initializing   Awaiting…    Operating    Draining     Terminated
        (Input::Initialize,   ["400 again", "400 again", "400 again", "400 again", "404"]),
        (Input::Initialized,  ["202 drop",  "operate",   "202 drop",  "202 drop",  "404"]),
        (Input::Ping,         ["answer",    "answer",    "answer",    "answer",    "404"]),
        (Input::Request,      ["400 early", "admit",     "admit",     "503",       "404"]),
        (Input::List,         ["400 early", "admit",     "admit",     "admit",     "404"]),
        (Input::Response,     ["202 drop",  "202 route", "202 route", "202 route", "404"]),
        (Input::Cancelled,    ["202 drop",  "202 route", "202 route", "202 route", "404"]),
        (Input::Notification, ["202 drop",  "202 route", "202 route", "202 route", "404"]),
        (Input::Get,          ["400 early", "open",      "open",      "503",       "404"]),
        (Input::Resume,       ["400 early", "open",      "open",      "open",      "404"]),
        (Input::Delete,       ["terminate", "terminate", "terminate", "terminate", "404"]),
        (Input::Expire,       ["terminate", "terminate", "terminate", "terminate", "202 drop"]),
    ];

    fn in_words(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Admit => "admit",
            Verdict::Answer => "answer",
            Verdict::Accept => "202 route",
            Verdict::Ignore => "202 drop",
            Verdict::Operate => "operate",
            Verdict::Open => "open",
            Verdict::Terminate => "terminate",
            Verdict::Refuse(Refusal::AlreadyInitialized) => "400 again",
            Verdict::Refuse(Refusal::NotInitialized) => "400 early",
            Verdict::Refuse(Refusal::Draining) => "503",
            Verdict::Refuse(Refusal::Gone) => "404",
            Verdict::Refuse(other) => panic!("{other:?} does not depend on the state"),
        }
    }

    const PHASES: [Phase; 5] =
        [Phase::Running, Phase::Draining, Phase::Cancelling, Phase::Finishing, Phase::Closed];

    #[test]
    fn c_2_every_state_and_input() {
        for (input, row) in TABLE {
            let verdicts = STATES.map(|state| in_words(state.on(Phase::Draining, input)));
            assert_eq!(verdicts, row, "{input:?}");
        }
    }

    /// The phase of the ending changes two rows, and only while the session drains.
    #[test]
    fn c_2_every_phase() {
        for (input, state) in TABLE.into_iter().flat_map(|(input, _)| STATES.map(|state| (input, state))) {
            let verdicts = PHASES.map(|phase| in_words(state.on(phase, input)));
            let expected = match (state, input) {
                (State::Draining, Input::List) => ["admit", "admit", "503", "503", "503"],
                (State::Draining, Input::Resume) => ["open", "open", "open", "open", "503"],
                _ => [verdicts[0]; 5],
            };
            assert_eq!(verdicts, expected, "{input:?} in {state:?}");
        }
    }
}
