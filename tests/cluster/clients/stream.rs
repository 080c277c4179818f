//! [`Stream`]: the events of one stream, over as many connections as it takes.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use mcp_session_testkit::wire::End;
use mcp_session_tests::Caller;
use tokio::time;

use super::{
    World,
    http::{Event, Response},
    send::PATIENCE,
};
use crate::seen::{Move, hash};

/// The pause before a client reconnects if the server has not said `retry`.
const RETRY: Duration = Duration::from_millis(500);

/// Reads a stream, and reconnects with `Last-Event-ID` when its connection ends.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    world: &'a World,
    caller: &'a Caller,
    response: Option<Response>,
    /// The last id that was read.
    last: Option<(u64, u64)>,
    retry: Duration,
    /// When the present reconnection began.
    moving: Option<Instant>,
    pub(super) number: Option<u64>,
    /// The hashes of the data, by position.
    pub(super) events: Vec<u64>,
    pub(super) moves: Vec<Move>,
    pub(super) doubled: Vec<String>,
    pub(super) foreign: Vec<String>,
    pub(super) lost: Vec<String>,
}

/// How a stream goes on.
#[derive(Debug)]
pub(super) enum Next {
    /// The data of an event.
    Data(String),
    /// The end of a body.
    End(End),
}

/// Why a stream cannot be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuck {
    /// No event id is known.
    NoId,
    /// A response with this status.
    Status(u16),
    /// No node took the request.
    Nobody,
}

impl<'a> Stream<'a> {
    pub(super) fn new(world: &'a World, caller: &'a Caller) -> Self {
        Self {
            world,
            caller,
            response: None,
            last: None,
            retry: RETRY,
            moving: None,
            number: None,
            events: Vec::new(),
            moves: Vec::new(),
            doubled: Vec::new(),
            foreign: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Goes on with this response.
    pub(super) fn read_from(&mut self, response: Response) {
        self.response = Some(response);
    }

    /// The next event with data, or the end of the connection.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            let Some(response) = &mut self.response else { return Next::End(End::Closed) };
            match response.event().await {
                Err(end) => {
                    self.response = None;
                    return Next::End(end);
                }
                Ok(event) => {
                    if let Some(data) = self.take(event) {
                        return Next::Data(data);
                    }
                }
            }
        }
    }

    /// Keeps the books, and returns the data of an event that is new.
    fn take(&mut self, event: Event) -> Option<String> {
        if let Some(retry) = event.retry {
            self.retry = Duration::from_millis(retry);
        }
        if let Some((number, at)) = event.id {
            if *self.number.get_or_insert(number) != number {
                self.foreign.push(format!("an event of stream {number}"));
                return None;
            }
            if event.data.is_empty() {
                self.last = self.last.max(Some((number, at)));
                return None;
            }
            let have = self.events.len() as u64;
            if at <= have {
                self.doubled.push(format!("event {number}-{at} again"));
                return None;
            }
            if at > have + 1 {
                self.lost.push(format!("event {number}-{at} follows {have}"));
                self.events.resize(at as usize - 1, 0);
            }
            self.last = Some((number, at));
            self.events.push(hash(&event.data));
        }
        if event.data.is_empty() {
            return None;
        }
        self.world.events.fetch_add(1, SeqCst);
        if let Some(moving) = self.moving.take() {
            if let Some(last) = self.moves.last_mut() {
                last.next = Some(moving.elapsed());
            }
        }
        Some(event.data)
    }

    /// Whether a client may reconnect.
    pub(super) fn has_id(&self) -> bool {
        self.last.is_some()
    }

    /// Waits as the server said, and reconnects.
    pub(super) async fn reconnect(&mut self, fresh: bool) -> Result<(), Stuck> {
        let id = self.last.map(|(stream, at)| format!("{stream}-{at}"));
        if id.is_none() && !fresh {
            return Err(Stuck::NoId);
        }
        time::sleep(self.retry).await;
        let request = self.caller.get(self.world.address, id.as_deref());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let Some(response) = self.world.insist(&request).await else { return Err(Stuck::Nobody) };
            match response.head.status {
                200 => {
                    self.moves.push(Move { attach: begun.elapsed(), next: None });
                    (self.response, self.moving) = (Some(response), Some(begun));
                    return Ok(());
                }
                // Another GET of this client, which it has given up, was faster.
                409 => time::sleep(RETRY).await,
                status => return Err(Stuck::Status(status)),
            }
        }
        Err(Stuck::Nobody)
    }
}
