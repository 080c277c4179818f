//! Each law of a store fails for one with a defect that breaks it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use mcp_session_core::{
    BoxFuture, Runtime, SessionId,
    proto::Position,
    store::{
        Append, AppendError, EventStore, LogId, MemoryStore, NodeId, Page, PeerMessage, PeerRequest, Peers,
        PublishError, ReadError, Record, SessionStore, Store, Unavailable, Update, Wakeup,
    },
};
use mcp_session_testkit::{
    SimRuntime,
    store_contract::{self as laws, announcements},
};

/// Without a defect, the store of these tests breaks no law, so a test finds the defect.
#[test]
fn nothing_planted() {
    laws::suite("nothing_planted", || SimRuntime::new(1), planted(Defect::None)).check();
    announcements::suite("nothing_planted", || SimRuntime::new(1), planted(Defect::None)).check();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// The store assigns the positions: a repeated event is a new one.
    AppendAgain,
    /// Gaps are accepted.
    Gaps,
    /// Tokens are ignored.
    PublishAgain,
    /// An unknown log reads as an empty page.
    EmptyForUnknown,
    /// The session is not part of a log's name.
    OneSession,
    /// The last end wins.
    TwoEnds,
    /// A watch checks only once.
    NoWake,
    /// A node that has left goes unnoticed.
    NobodyLeaves,
    /// An update writes the record back.
    Resurrection,
    /// A record has no ages.
    NoClock,
    /// Loading a record counts as a use.
    LooksAreUses,
    /// Adopting a session does not count as a use.
    TakenUpUnused,
    /// The last node to listen wins.
    LastListener,
    /// Every node that retires a session ends it.
    EverybodyRetires,
    /// No session is swept.
    NobodySweeps,
    /// A swept session is swept again.
    SweepsAgain,
    /// Every call of `remove` is the first.
    EverybodyRemoves,
    /// A number is the count of members.
    Counted,
    /// A position that the log has not reached is like one that it never had.
    NeverBehind,
    /// The logs of a session stay when they are purged.
    NothingPurged,
    /// Each node keeps its own value.
    EachItsOwn,
    /// Each node numbers its own connections.
    NumbersOfNodes,
    /// The last claim wins.
    LastClaim,
    /// Messages for a node that does not receive yet are lost.
    DeafInbox,
    /// A client's message arrives without its content.
    EmptyMessages,
    /// A read skips forgotten events.
    Skips,
    /// Announcements go nowhere, as by default.
    Mute,
    /// A node gets its own announcements.
    Echo,
    /// An announcement arrives twice.
    AnnouncesTwice,
    /// An announcement waits until enough of the earlier ones were fetched.
    Backpressure,
}

#[derive(Debug)]
struct Planted {
    defect: Defect,
    store: MemoryStore,
    token: AtomicU64,
    records: Mutex<Vec<Record>>,
    swept: Mutex<Vec<Record>>,
    listening: Mutex<Vec<NodeId>>,
    listener: Mutex<Option<(NodeId, u64)>>,
    unfetched: AtomicU64,
}

fn planted(defect: Defect) -> impl AsyncFn(Arc<dyn Runtime>) -> Store + Clone + Send + 'static {
    async move |runtime| {
        Store::new(Planted {
            defect,
            store: MemoryStore::new(runtime),
            token: AtomicU64::new(1_000),
            records: Mutex::default(),
            swept: Mutex::default(),
            listening: Mutex::default(),
            listener: Mutex::default(),
            unfetched: AtomicU64::default(),
        })
    }
}

impl Planted {
    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn name(&self, log: LogId) -> LogId {
        if self.has(Defect::OneSession) { LogId { session: SessionId::from_bits(1), ..log } } else { log }
    }

    /// The next position of the log.
    async fn next(&self, log: LogId) -> u64 {
        match self.store.read(log, Position::START, usize::MAX).await {
            Ok(page) => page.events.len() as u64 + 1,
            Err(_) => 1,
        }
    }
}

impl EventStore for Planted {
    fn append(&self, mut append: Append) -> BoxFuture<'_, Result<(), AppendError>> {
        async move {
            append.log = self.name(append.log);
            let next = self.next(append.log).await;
            if self.has(Defect::AppendAgain) || (self.has(Defect::Gaps) && append.at > next) {
                append.at = next;
            }
            self.store.append(append).await
        }
        .boxed()
    }

    fn publish(
        &self,
        session: SessionId,
        node: NodeId,
        token: u64,
        event: Bytes,
    ) -> BoxFuture<'_, Result<Position, PublishError>> {
        let token = if self.has(Defect::PublishAgain) { self.token.fetch_add(1, Relaxed) } else { token };
        self.store.publish(session, node, token, event)
    }

    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move {
            let read = self.store.read(self.name(log), after, limit).await;
            match read {
                Err(ReadError::Unknown) if self.has(Defect::EmptyForUnknown) => Ok(Page::default()),
                Err(ReadError::Behind) if self.has(Defect::NeverBehind) => Err(ReadError::Unknown),
                Err(ReadError::Unknown) if self.has(Defect::Skips) && after == Position::START => {
                    let mut skipped = (1..1_000).map(|hundred| hundred * 100);
                    let known = skipped.find(|seq| {
                        let read = self.store.read(log, (*seq).into(), 1).now_or_never();
                        read.is_some_and(|page| page.is_ok())
                    });
                    match known {
                        Some(seq) => self.store.read(log, seq.into(), limit).await,
                        None => Err(ReadError::Unknown),
                    }
                }
                read => read,
            }
        }
        .boxed()
    }

    fn attach(&self, log: LogId, node: NodeId) -> BoxFuture<'_, Result<u64, ReadError>> {
        async move {
            let number = self.store.attach(log, node).await?;
            Ok(if self.has(Defect::NumbersOfNodes) { node.0 } else { number })
        }
        .boxed()
    }

    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>> {
        async move {
            if self.has(Defect::TwoEnds) {
                let next = self.next(log).await;
                let mut append = Append::new(log, NodeId(0), "x".into(), next);
                append.events.extend(last);
                let _ = self.store.append(append).await;
                return Ok(next.into());
            }
            self.store.seal(log, last).await
        }
        .boxed()
    }

    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup> {
        if self.has(Defect::NoWake) {
            let now = self.store.watch(log, after).now_or_never();
            return async move {
                match now {
                    Some(wakeup) => wakeup,
                    None => std::future::pending().await,
                }
            }
            .boxed();
        }
        self.store.watch(self.name(log), after)
    }

    fn purge(&self, session: SessionId) -> BoxFuture<'_, Result<(), Unavailable>> {
        if self.has(Defect::NothingPurged) { async { Ok(()) }.boxed() } else { self.store.purge(session) }
    }
}

impl SessionStore for Planted {
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.records.lock().unwrap().push(record.clone());
        self.store.create(record)
    }

    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>> {
        async move {
            let mut record = self.store.load(id).await?;
            if self.has(Defect::LooksAreUses) {
                self.store.update(id, Update::Used(Duration::ZERO)).await?;
            }
            if let (true, Some(record)) = (self.has(Defect::TakenUpUnused), &mut record) {
                record.unused = record.age;
            }
            if let (true, Some(record)) = (self.has(Defect::NoClock), &mut record) {
                (record.age, record.unused) = Default::default();
            }
            if let (true, Some(record)) = (self.has(Defect::LastListener), &mut record) {
                if let Some((node, number)) = *self.listener.lock().unwrap() {
                    (record.listener.node, record.listener.number) = (Some(node), number);
                }
            }
            Ok(record)
        }
        .boxed()
    }

    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>> {
        if let Update::Listens(node, number) = update {
            *self.listener.lock().unwrap() = Some((node, number));
        }
        async move {
            let updated = self.store.update(id, update).await?;
            let record = self.records.lock().unwrap().iter().find(|record| record.id == id).cloned();
            if let (Defect::Resurrection, false, Some(record)) = (self.defect, updated, record) {
                self.store.create(record).await?;
            }
            Ok(updated)
        }
        .boxed()
    }

    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.store.touch(ids)
    }

    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>> {
        async move {
            let removed = self.store.remove(id).await?;
            Ok(removed.or_else(|| self.has(Defect::EverybodyRemoves).then(Vec::new)))
        }
        .boxed()
    }

    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>> {
        async move {
            let number = self.store.enlist(id, node).await?;
            let members = self.store.load(id).await?.map(|record| record.members).unwrap_or_default();
            let count = members.into_iter().flatten().collect::<std::collections::HashSet<_>>().len() as u32;
            Ok(number.map(|number| if self.has(Defect::Counted) { count } else { number }))
        }
        .boxed()
    }

    fn agree(&self, name: &str, value: Bytes) -> BoxFuture<'_, Result<Bytes, Unavailable>> {
        if self.has(Defect::EachItsOwn) { async { Ok(value) }.boxed() } else { self.store.agree(name, value) }
    }

    fn claim(
        &self,
        id: SessionId,
        node: NodeId,
        from: Option<NodeId>,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        async move {
            let record = self.store.load(id).await?;
            let from = if self.has(Defect::LastClaim) { record.and_then(|r| r.home) } else { from };
            self.store.claim(id, node, from).await
        }
        .boxed()
    }

    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.store.park(node, ids)
    }

    fn retire(
        &self,
        id: SessionId,
        node: NodeId,
        idle: Duration,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        async move {
            let ended = self.store.retire(id, node, idle).await?;
            Ok(ended || (self.has(Defect::EverybodyRetires) && self.store.load(id).await?.is_none()))
        }
        .boxed()
    }

    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>> {
        match self.defect {
            Defect::NobodySweeps => async { Ok(Vec::new()) }.boxed(),
            Defect::SweepsAgain => self.swept(idle).boxed(),
            _ => self.store.sweep(idle),
        }
    }
}

impl Planted {
    /// Returns the sessions that are swept now, and those that were swept before.
    async fn swept(&self, idle: Duration) -> Result<Vec<Record>, Unavailable> {
        let mut swept = self.store.sweep(idle).await?;
        let mut before = self.swept.lock().unwrap();
        before.append(&mut swept);
        Ok(before.clone())
    }
}

impl Peers for Planted {
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>> {
        if self.has(Defect::DeafInbox) && !self.listening.lock().unwrap().contains(&to) {
            return async { Ok(()) }.boxed();
        }
        match message.request {
            PeerRequest::Posted { receipt, .. } if self.has(Defect::EmptyMessages) => {
                let empty = PeerRequest::Posted { message: Bytes::new(), receipt };
                self.store.send(to, PeerMessage::new(message.session, empty))
            }
            _ => self.store.send(to, message),
        }
    }

    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>> {
        self.listening.lock().unwrap().push(node);
        self.store.receive(node)
    }

    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            match self.defect {
                Defect::Mute => Ok(()),
                Defect::Echo => self.store.announce(NodeId(0), announcement).await,
                Defect::AnnouncesTwice => {
                    self.store.announce(from, announcement.clone()).await?;
                    self.store.announce(from, announcement).await
                }
                Defect::Backpressure if self.unfetched.fetch_add(1, Relaxed) > 100 => {
                    std::future::pending().await
                }
                _ => self.store.announce(from, announcement).await,
            }
        }
        .boxed()
    }

    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        self.store.announced(node).inspect(|_| self.unfetched.store(0, Relaxed)).boxed()
    }

    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.store.is_gone(node)
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>> {
        if self.has(Defect::NobodyLeaves) { async { Ok(()) }.boxed() } else { self.store.leave(node) }
    }
}

/// One test for each defect: it breaks the law that is named.
macro_rules! broken {
    ($laws:ident; $($name:ident: $defect:ident breaks $law:ident;)+) => {
        $(
            #[test]
            #[should_panic]
            fn $name() {
                $laws::$law(&SimRuntime::new(1), planted(Defect::$defect));
            }
        )+
    };
}

broken! {
    laws;
    positions_of_the_store_double_events: AppendAgain breaks law_append_again_is_append_once;
    gaps_are_found: Gaps breaks law_append_leaves_no_gap;
    tokens_are_needed: PublishAgain breaks law_publish_again_is_publish_once;
    an_empty_page_is_not_unknown: EmptyForUnknown breaks law_unknown_logs_are_errors;
    a_log_that_is_behind_is_not_unknown: NeverBehind breaks law_unknown_logs_are_errors;
    a_log_that_was_not_purged_is_found: NothingPurged breaks law_purged_logs_stay_purged;
    a_log_is_named_by_its_session: OneSession breaks law_logs_are_separate;
    two_ends_are_found: TwoEnds breaks law_a_log_has_one_end;
    a_connection_number_given_twice_is_found: NumbersOfNodes breaks law_connection_numbers_grow;
    a_lost_wake_up_is_found: NoWake breaks law_watch_wakes;
    a_node_that_left_and_is_not_gone_is_found: NobodyLeaves breaks law_messages_arrive;
    an_owner_that_is_gone_is_missed: NobodyLeaves breaks law_watch_reports_a_lost_owner;
    a_session_that_comes_back_is_found: Resurrection breaks law_remove_is_final_and_has_one_winner;
    a_sweep_of_nothing_is_found: NobodySweeps breaks law_sweep_ends_unserved_sessions;
    two_who_swept_are_found: SweepsAgain breaks law_sweep_ends_unserved_sessions;
    two_who_removed_are_found: EverybodyRemoves breaks law_remove_is_final_and_has_one_winner;
    a_record_without_a_clock_is_found: NoClock breaks law_records_have_an_age;
    the_last_listener_is_not_the_newest: LastListener breaks law_one_node_listens;
    a_look_that_is_a_use_is_found: LooksAreUses breaks law_records_have_an_age;
    a_look_that_keeps_a_session_is_found: LooksAreUses breaks law_retire_ends_unused_sessions;
    a_session_taken_up_and_not_used_is_found: TakenUpUnused breaks law_records_have_an_age;
    two_who_retired_are_found: EverybodyRetires breaks law_retire_ends_unused_sessions;
    numbers_that_are_counts_repeat: Counted breaks law_member_numbers_are_unique;
    nodes_that_do_not_agree_are_found: EachItsOwn breaks law_the_first_value_stays;
    a_claim_without_condition_is_found: LastClaim breaks law_claim_is_conditional_and_park_releases;
    a_message_nobody_heard_is_missed: DeafInbox breaks law_messages_arrive;
    a_message_that_arrives_empty_is_found: EmptyMessages breaks law_messages_arrive;
    a_gap_that_is_skipped_is_found: Skips breaks law_forgotten_events_are_errors;
}

broken! {
    announcements;
    announcements_that_go_nowhere_are_missed: Mute breaks law_announcements_reach_the_other_nodes;
    an_announcement_that_arrives_twice_is_found: AnnouncesTwice breaks law_announcements_reach_the_other_nodes;
    an_echo_is_found: Echo breaks law_a_node_gets_none_of_its_own_announcements;
    an_announcement_that_waits_for_a_node_is_found: Backpressure breaks law_announcing_waits_for_nobody;
    a_node_that_hears_after_it_left_is_found: NobodyLeaves breaks law_a_node_that_has_left_gets_no_announcements;
}
