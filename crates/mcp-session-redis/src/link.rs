//! [`Link`]: the connection for commands, opened again whenever it ends.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use event_listener::Event;
use futures::future::{Either, select};
use redis::{Cmd, Pipeline, Value};

use crate::{
    budget::Budget,
    connection::{Connection, Dialer},
    error::Trouble,
    trace,
};

/// The connection for commands. Each of its commands has a deadline.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) dialer: Dialer,
    budget: Budget,
    state: Mutex<State>,
    /// Connected, disconnected, or not able to connect.
    changed: Event,
}

/// When a command may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// As soon as there is a connection.
    Connected,
    /// Not within half a lease after Redis has become another server: nodes put back what the new one has not heard of.
    Settled,
}

#[derive(Debug)]
struct State {
    current: Option<Connection>,
    /// How often it was connected.
    generation: u64,
    /// How often it was tried.
    tries: u64,
    connected_at: Instant,
    /// The server of the last connection, and since when it is another one than before.
    server: Option<String>,
    replaced_at: Option<Instant>,
    down_since: Option<Instant>,
    trouble: Option<Trouble>,
    /// Since then, Redis has answered in time.
    steady_since: Instant,
    /// A moment here, and the same by the clock of Redis, in ms.
    clock: (Instant, u64),
}

impl Link {
    pub(crate) fn new(dialer: Dialer) -> Self {
        let (budget, now) = (Budget::new(dialer.config.in_flight), dialer.runtime.now());
        let state = State {
            current: None,
            generation: 0,
            tries: 0,
            connected_at: now,
            server: None,
            replaced_at: None,
            down_since: Some(now),
            trouble: None,
            steady_since: now,
            clock: (now, 0),
        };
        Self { dialer, budget, state: Mutex::new(state), changed: Event::new() }
    }

    pub(crate) fn connected(&self, connection: Connection) {
        {
            let mut state = self.lock();
            let server = connection.server().map(str::to_owned);
            state.current = Some(connection);
            state.generation += 1;
            state.tries += 1;
            (state.down_since, state.trouble) = (None, None);
            state.connected_at = self.dialer.runtime.now();
            state.steady_since = state.connected_at;
            // One that does not say who it is may be another one each time.
            if state.generation > 1 && (server.is_none() || server != state.server) {
                state.replaced_at = Some(state.connected_at);
            }
            state.server = server;
        }
        trace::connected(&self.dialer.config.address());
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn disconnected(&self, trouble: Option<Trouble>) {
        let news = {
            let mut state = self.lock();
            state.current = None;
            state.tries += u64::from(trouble.is_some());
            state.down_since.get_or_insert(self.dialer.runtime.now());
            let news = trouble.is_some() && state.trouble != trouble;
            state.trouble = trouble.or(state.trouble.take()).or(Some(Trouble::Disconnected));
            news.then(|| state.trouble.clone()).flatten()
        };
        if let Some(trouble) = news {
            trace::trouble(&self.dialer.config.address(), &trouble);
        }
        self.changed.notify(usize::MAX);
    }

    /// Waits until the connection has ended, or was given up.
    pub(crate) async fn until_down(&self, connection: &Connection) {
        let given_up = async {
            loop {
                let changed = self.changed.listen();
                if self.lock().current.is_none() {
                    return;
                }
                changed.await;
            }
        };
        select(std::pin::pin!(connection.closed()), std::pin::pin!(given_up)).await;
    }

    /// Sends commands in one write, and waits for their answers. `size` is about their number of bytes.
    ///
    /// # Errors
    ///
    /// After [`Config::timeout`](crate::Config::timeout), or if one of the commands fails. Whether they had an effect is not
    /// known then.
    pub(crate) async fn pipeline(&self, commands: &Pipeline, size: usize) -> Result<Vec<Value>, Trouble> {
        self.pipeline_when(Ready::Connected, commands, size).await
    }

    async fn pipeline_when(
        &self,
        ready: Ready,
        commands: &Pipeline,
        size: usize,
    ) -> Result<Vec<Value>, Trouble> {
        let mut used = None;
        let done = self
            .dialer
            .within(self.dialer.config.timeout, async {
                let _taken = self.budget.take(size + 256).await;
                let (generation, mut connection) = self.connection(ready).await?;
                used = Some(generation);
                connection.run(commands).await
            })
            .await;
        let Err(trouble) = done else { return done };
        let trouble = match used {
            Some(generation) => {
                self.failed(generation, &trouble);
                trouble
            }
            // Nothing was sent, for want of a connection or of room.
            None => self.trouble().unwrap_or(trouble),
        };
        Err(trouble)
    }

    /// Sends a command, and waits for its answer.
    pub(crate) async fn command(&self, command: Cmd, size: usize) -> Result<Value, Trouble> {
        self.command_when(Ready::Connected, command, size).await
    }

    /// As [`command`](Self::command), when the link is ready for it; fails while it is not.
    pub(crate) async fn command_when(
        &self,
        ready: Ready,
        command: Cmd,
        size: usize,
    ) -> Result<Value, Trouble> {
        let mut commands = redis::pipe();
        commands.add_command(command);
        Ok(self.pipeline_when(ready, &commands, size).await?.pop().unwrap_or(Value::Nil))
    }

    /// A command has failed on the connection of this generation, which may have to be another one.
    fn failed(&self, generation: u64, trouble: &Trouble) {
        let news = {
            let mut state = self.lock();
            if state.generation != generation {
                return;
            }
            let news = state.trouble.as_ref() != Some(trouble);
            state.trouble = Some(trouble.clone());
            if trouble.ends_the_connection() && state.current.take().is_some() {
                state.down_since = Some(self.dialer.runtime.now());
            }
            news
        };
        if news {
            trace::trouble(&self.dialer.config.address(), trouble);
        }
        self.changed.notify(usize::MAX);
    }

    /// Waits for a connection.
    async fn connection(&self, ready: Ready) -> Result<(u64, Connection), Trouble> {
        loop {
            let changed = self.changed.listen();
            {
                let state = self.lock();
                if let Some(connection) = &state.current {
                    let since = |then| self.dialer.runtime.now().saturating_duration_since(then);
                    let settles = |then| since(then) < self.dialer.config.lease / 2;
                    if ready == Ready::Settled && state.replaced_at.is_some_and(settles) {
                        return Err(Trouble::Busy(
                            "nodes put back what a new server has not heard of".into(),
                        ));
                    }
                    return Ok((state.generation, connection.clone()));
                }
            }
            changed.await;
        }
    }

    /// Waits until the first try to connect is over.
    pub(crate) async fn tried(&self) -> Result<(), Trouble> {
        loop {
            let changed = self.changed.listen();
            {
                let state = self.lock();
                if state.tries > 0 {
                    return match &state.trouble {
                        Some(trouble) if state.current.is_none() => Err(trouble.clone()),
                        Some(_) | None => Ok(()),
                    };
                }
            }
            changed.await;
        }
    }

    /// How often it was connected.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Waits until it is connected once more than this.
    pub(crate) async fn connected_since(&self, generation: u64) {
        loop {
            let changed = self.changed.listen();
            if self.lock().generation > generation {
                return;
            }
            changed.await;
        }
    }

    /// Whether it is connected anew for less than a lease: owners may still write again what Redis has lost.
    pub(crate) fn is_healing(&self) -> bool {
        let state = self.lock();
        let since = self.dialer.runtime.now().saturating_duration_since(state.connected_at);
        state.generation > 1 && since < self.dialer.config.lease
    }

    /// Since when it is not connected.
    pub(crate) fn down_since(&self) -> Option<Instant> {
        self.lock().down_since
    }

    /// What is wrong, or was wrong with the last command that failed.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.lock().trouble.clone()
    }

    /// Notes what is wrong, but not with the connection for commands.
    pub(crate) fn note(&self, trouble: &Trouble) {
        let news = {
            let mut state = self.lock();
            let news = state.current.is_some() && state.trouble.as_ref() != Some(trouble);
            if news {
                state.trouble = Some(trouble.clone());
            }
            news
        };
        if news {
            trace::trouble(&self.dialer.config.address(), trouble);
        }
    }

    /// Since when Redis has answered in time.
    pub(crate) fn steady_since(&self) -> Instant {
        self.lock().steady_since
    }

    /// Redis has answered late: what expired meanwhile says nothing about who renews it.
    pub(crate) fn unsteady(&self) {
        let now = self.dialer.runtime.now();
        self.lock().steady_since = now;
    }

    /// Sets the clock of Redis, from the answer to `TIME` in microseconds.
    pub(crate) fn set_clock(&self, micros: u64) {
        let now = self.dialer.runtime.now();
        self.lock().clock = (now, micros / 1_000);
    }

    /// About the time by the clock of Redis, in ms.
    pub(crate) fn millis(&self) -> u64 {
        let (then, millis) = self.lock().clock;
        let since = self.dialer.runtime.now().saturating_duration_since(then);
        millis + u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` until the channel is closed.
pub(crate) async fn until_closed(stop: async_channel::Receiver<()>, work: impl Future<Output = ()>) {
    let stopped = async move { while stop.recv().await.is_ok() {} };
    match select(std::pin::pin!(stopped), std::pin::pin!(work)).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}
