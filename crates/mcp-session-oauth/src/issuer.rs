//! [`Issuer`]: an authorization server whose tokens are accepted, and its keys as they were read last.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::lock::Mutex as AsyncMutex;
use jsonwebtoken::Algorithm;
use mcp_session_core::{Runtime, proto::after};

use crate::{jwks::KeySet, keys::Keys, trace};

/// Keys of this age are read again, with the next token.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// How long old keys are used if they cannot be read again.
const STALE: Duration = Duration::from_secs(60 * 60);

/// The shortest time between two reads for the sake of keys that are not known, or after a failure: anybody can send such a token.
const PAUSE: Duration = Duration::from_secs(30);

/// An authorization server.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    keys: Keys,
    known: Mutex<Known>,
    /// One read at a time; others wait for it.
    reading: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Option<(KeySet, Instant)>,
    tried: Option<Instant>,
}

/// The keys of the issuer cannot be had now.
#[derive(Debug)]
pub(crate) struct NoKeys;

impl Issuer {
    pub(crate) fn new(name: String, keys: Keys) -> Self {
        Self { name, keys, known: Mutex::default(), reading: AsyncMutex::new(()) }
    }

    /// The keys, among which is one for a token with this key id and algorithm, if the issuer has one. Reads them first, if they are too
    /// old, or if none fits.
    pub(crate) async fn keys_for(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        runtime: &dyn Runtime,
    ) -> Result<KeySet, NoKeys> {
        if let Some(keys) = self.good(id, algorithm, runtime.now()) {
            return Ok(keys);
        }
        let _one = self.reading.lock().await;
        // Whoever had the lock has read them, or has just tried in vain.
        let now = runtime.now();
        if let Some(keys) = self.good(id, algorithm, now) {
            return Ok(keys);
        }
        let paused = {
            let mut known = self.lock();
            let paused = known.tried.is_some_and(|tried| now < after(tried, PAUSE));
            if !paused {
                known.tried = Some(now);
            }
            paused
        };
        if !paused {
            match self.keys.read(&self.name).await {
                Ok(keys) => self.lock().keys = Some((keys, runtime.now())),
                Err(error) => trace::keys_unavailable(&self.name, &error),
            }
        }
        let known = self.lock();
        let usable = known.keys.as_ref().filter(|(_, read)| self.lasts(*read, STALE, now));
        usable.map(|(keys, _)| keys.clone()).ok_or(NoKeys)
    }

    /// The keys, if they are fresh, and one fits.
    fn good(&self, id: Option<&str>, algorithm: Algorithm, now: Instant) -> Option<KeySet> {
        let known = self.lock();
        let (keys, read) = known.keys.as_ref()?;
        let fits = self.lasts(*read, MAX_AGE, now) && keys.fitting(id, algorithm).next().is_some();
        fits.then(|| keys.clone())
    }

    fn lasts(&self, read: Instant, time: Duration, now: Instant) -> bool {
        !self.keys.may_change() || now < after(read, time)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
