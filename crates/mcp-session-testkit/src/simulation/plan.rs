//! [`Plan`]: what one schedule does, as data.
//!
//! Everything that is up to chance is decided here, before the run, except the order in which ready tasks run. So a plan
//! can be printed, and made smaller: each [`Atom`] can be left out without a change to the others.

use std::{fmt, time::Duration};

use mcp_session_core::{Config, ProtocolVersion, ShutdownPolicy};

use super::store::StoreFaults;

/// A number of milliseconds.
pub(super) type Millis = u64;

/// What one schedule does.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The seed that it was drawn from.
    pub(super) seed: u64,
    /// The seed of the order in which ready tasks run.
    pub(super) order: u64,
    pub(super) limits: Limits,
    /// The number of nodes. More than one only with a store.
    pub(super) nodes: usize,
    pub(super) store: Option<StorePlan>,
    /// Of 100 log entries, how many make the log panic.
    pub(super) log_panics: u8,
    pub(super) clients: Vec<ClientPlan>,
    pub(super) events: Vec<Event>,
}

/// The limits of every node.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) config: Config,
    /// How many frames of a response are on their way to the client at most.
    pub(super) pipe: usize,
    /// The policy of the shutdown at the end.
    pub(super) last: ShutdownPolicy,
}

/// A store, and what goes wrong with it.
#[derive(Debug, Clone)]
pub(super) struct StorePlan {
    pub(super) faults: StoreFaults,
    /// The seed of what goes wrong when.
    pub(super) seed: u64,
    /// After how long a node that vanished counts as lost.
    pub(super) lease: Duration,
    pub(super) timeout: Duration,
    pub(super) patience: Duration,
    pub(super) touch_interval: Duration,
}

impl StorePlan {
    /// Returns `true` if each call does what it should, and in time, although it may be slow.
    pub(super) fn is_slow_at_most(&self) -> bool {
        let StoreFaults { slow, repeats_messages, .. } = self.faults;
        let at_most = StoreFaults { slow, repeats_messages, ..StoreFaults::default() };
        self.faults == at_most && (slow == 0 || self.timeout.min(self.patience) > StoreFaults::SLOW)
    }
}

/// A client.
#[derive(Debug, Clone)]
pub(super) struct ClientPlan {
    pub(super) kind: Kind,
    /// What the hooks of its session do.
    pub(super) hooks: Hooks,
    pub(super) starts: Millis,
    pub(super) steps: Vec<Step>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A legacy revision, with a session.
    Session { version: ProtocolVersion, initialized: bool },
    /// A legacy revision, without a session.
    Stateless(ProtocolVersion),
    /// 2026-07-28.
    Modern,
}

/// What the handler's hooks do for a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hooks {
    pub(super) initialize: Hook,
    pub(super) session_data: Hook,
    pub(super) initialized: Hook,
    pub(super) adopted: Hook,
    pub(super) terminated: Hook,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Hook {
    #[default]
    Returns,
    Sleeps(Millis),
    Refuses,
    Panics,
    Hangs,
}

/// One thing that a client does. `luck` chooses the node.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) luck: u64,
    pub(super) act: Act,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A request to the handler. `waits`: the next step comes after its answer.
    Call {
        script: Script,
        reader: Reader,
        waits: bool,
        id: CallId,
        upload: Upload,
    },
    List,
    Ping,
    /// Opens the standalone stream.
    Get(Reader),
    /// `subscriptions/listen`.
    Listen(Reader),
    /// Cancels its last call.
    Cancel,
    /// A notification whose handler takes so long.
    Notify(Millis),
    Delete,
    /// `initialize` once more, in the session.
    Reinitialize,
    Sleep(Millis),
    /// From now on it uses the session of this client.
    Join(usize),
}

/// The id of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallId {
    Fresh,
    /// That of its previous call, which may be running.
    Again,
}

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upload {
    Whole,
    /// In two pieces.
    Slow(Millis),
    /// It breaks off after half.
    Broken(Millis),
    /// The client is gone before the response.
    Abandoned(Millis),
}

/// How a client reads a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reader {
    /// The pause after each frame.
    pub(super) pace: Millis,
    /// After so many frames it does not read for so long.
    pub(super) pause: Option<(usize, Millis)>,
    pub(super) cut: Option<Cut>,
}

impl Reader {
    /// Returns `true` if the client reads each frame at once, and up to the end.
    pub(super) fn is_fast(&self) -> bool {
        *self == Self::default()
    }
}

/// The end of a connection that the client or the network brings about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// After so many frames.
    pub(super) after: usize,
    /// For so long a proxy hides it from the server; it goes on reading, or does not.
    pub(super) hidden: Option<(Millis, bool)>,
    /// The client comes back after this time, with `Last-Event-ID`.
    pub(super) back: Option<Millis>,
}

/// What the handler does with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) ops: Vec<Op>,
    pub(super) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// A notification on the stream of the call.
    Notify,
    Progress,
    Sleep(Millis),
    /// A question to the client, and how it replies.
    Ask(Reply),
    CloseStream(Millis),
    /// A notification on the standalone stream.
    Tell,
    Broadcast,
    /// A task that works with the call after its end.
    Outlive(Millis),
    /// Ends its own session.
    EndSession,
}

/// How a client replies to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Now,
    Late(Millis),
    Twice,
    Never,
}

/// How a handler ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Answer,
    Fail,
    Panic,
    /// Never, not even if cancelled.
    Never,
    /// When it is cancelled, after this time.
    WhenCancelled(Millis),
}

/// Something that happens to a node.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) at: Millis,
    pub(super) node: usize,
    pub(super) what: Happening,
}

#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// Begins a shutdown, or joins it. `held`: somebody awaits the handle.
    Shutdown {
        policy: ShutdownPolicy,
        held: bool,
    },
    Tighten(ShutdownPolicy),
    Escalate,
    /// The process is killed.
    Vanish,
    /// The process is stopped for so long.
    Pause(Millis),
    /// A new process takes the place of one that vanished or shut down.
    Restart,
    Broadcast,
    /// The application ends the session of this client.
    End(usize),
    /// A store says that it may have lost events.
    Failover,
}

/// A part of a plan that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Atom {
    Event(usize),
    Client(usize),
    Step(usize, usize),
    Op(usize, usize, usize),
    /// The call of a step becomes ordinary: whole upload, fast reader, a fresh id.
    Plain(usize, usize),
    Hooks(usize),
    StoreFaults,
    LogPanics,
}

impl Plan {
    fn atoms(&self) -> Vec<Atom> {
        let mut atoms = Vec::new();
        atoms.extend((self.log_panics > 0).then_some(Atom::LogPanics));
        let faulty = self.store.as_ref().is_some_and(|store| !store.faults.is_none());
        atoms.extend(faulty.then_some(Atom::StoreFaults));
        atoms.extend((0..self.events.len()).map(Atom::Event));
        for (c, client) in self.clients.iter().enumerate() {
            atoms.push(Atom::Client(c));
            atoms.extend((client.hooks != Hooks::default()).then_some(Atom::Hooks(c)));
            for (s, step) in client.steps.iter().enumerate() {
                atoms.push(Atom::Step(c, s));
                if let Act::Call { script, .. } = &step.act {
                    atoms.push(Atom::Plain(c, s));
                    atoms.extend((0..script.ops.len()).map(|o| Atom::Op(c, s, o)));
                }
            }
        }
        atoms
    }

    /// The number of parts that can be left out.
    pub(super) fn size(&self) -> usize {
        self.atoms().len()
    }

    /// This plan with only the parts for which `keep` is `true`, by their numbers.
    pub(super) fn only(&self, keep: impl Fn(usize) -> bool) -> Self {
        let gone: Vec<Atom> =
            self.atoms().into_iter().enumerate().filter(|(n, _)| !keep(*n)).map(|(_, atom)| atom).collect();
        let mut plan = self.clone();
        // From the last to the first, so that the numbers of the others stay right.
        for atom in gone.into_iter().rev() {
            match atom {
                Atom::LogPanics => plan.log_panics = 0,
                Atom::StoreFaults => {
                    if let Some(store) = &mut plan.store {
                        store.faults = StoreFaults::default();
                    }
                }
                Atom::Event(n) => drop(plan.events.remove(n)),
                // It stays, without steps, so that `Join` means the same client.
                Atom::Client(c) => plan.clients[c].steps.clear(),
                Atom::Hooks(c) => plan.clients[c].hooks = Hooks::default(),
                Atom::Step(c, s) => drop(plan.clients[c].steps.remove(s)),
                Atom::Op(c, s, o) => {
                    if let Act::Call { script, .. } = &mut plan.clients[c].steps[s].act {
                        script.ops.remove(o);
                    }
                }
                Atom::Plain(c, s) => {
                    if let Act::Call { reader, id, upload, .. } = &mut plan.clients[c].steps[s].act {
                        (*reader, *id, *upload) = (Reader::default(), CallId::Fresh, Upload::Whole);
                    }
                }
            }
        }
        plan
    }
}

impl fmt::Debug for Limits {
    /// Only what a plan draws.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, pipe, last } = self;
        f.debug_struct("Limits")
            .field("session", &config.session)
            .field("max_sessions", &config.max_sessions)
            .field("max_stateless_requests", &config.max_stateless_requests)
            .field("max_subscriptions", &config.max_subscriptions)
            .field("hook_timeout", &config.hook_timeout)
            .field("pipe", pipe)
            .field("last", last)
            .finish()
    }
}
