//! [`Sealer`]: seals the `requestState` of a request that needs the client's input, and opens it again when the client
//! comes back with it, perhaps to another node (G-37, G-38, G-67).
//!
//! A sealed text is base64 (URL-safe, without padding) of
//!
//! | bytes | |
//! |---|---|
//! | 1 | the version of this format, 1 |
//! | 8 | the id of the key |
//! | 8 | when it expires, in milliseconds since 1970, big-endian |
//! | 24 | the nonce, random |
//! | any, and 16 | the state, encrypted, and the tag of XChaCha20-Poly1305 |
//!
//! The tag covers all of it, and the [`Binding`]. A sealed text may come back more than once until it expires: an
//! application for which this matters keeps track of it by itself.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_channel::Receiver;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XNonce,
    aead::{Aead as _, Payload},
};
use mcp_session_proto::RpcError;

use crate::{
    config::state_keys::{self, KeyId, StateKeys},
    runtime::Runtime,
    sync::OnceLock,
    trace,
};

/// The maximum length of a sealed text in bytes. A state is some ids and answers, and the client sends it back in a body
/// with its answers: 64 KiB is plenty, and cheap to decode for anybody who sends garbage.
const MAX_TEXT: usize = 64 * 1024;

/// What the tag begins with: other things that are sealed with the same key, if there ever are any, are no states.
const PURPOSE: &[u8] = b"mcp-session requestState";

const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;

/// Seals and opens states, for all requests of an endpoint.
pub(crate) struct Sealer {
    /// The operator's, or those of all nodes with the same store.
    keys: OnceLock<StateKeys>,
    /// A key of this endpoint alone, made when it is first needed and there are no others.
    own: OnceLock<StateKeys>,
    /// If the keys come from the store: closed when it was asked for the first time.
    asked: Option<Receiver<()>>,
    ttl: Duration,
    runtime: Arc<dyn Runtime>,
}

/// The request that a state belongs to. Any other request cannot open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding<'a> {
    /// The caller. None is not the same as one with an empty name.
    pub(crate) principal: Option<&'a str>,
    /// The method, such as `tools/call`.
    pub(crate) method: &'a str,
    /// The tool, prompt or resource that the request names.
    pub(crate) name: Option<&'a str>,
}

impl Sealer {
    /// `asked`, if the keys come from the store, is closed when it was asked for the first time. `ttl` is how long a state can
    /// be opened, in whole milliseconds.
    pub(crate) fn new(
        keys: Option<StateKeys>,
        asked: Option<Receiver<()>>,
        ttl: Duration,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        let keys = keys.map(OnceLock::from).unwrap_or_default();
        Self { keys, own: OnceLock::default(), asked, ttl, runtime }
    }

    /// A new key, for a store that has none.
    ///
    /// # Errors
    ///
    /// If the runtime returns no random bytes.
    pub(crate) fn propose(&self) -> io::Result<[u8; 32]> {
        state_keys::random(&*self.runtime)
    }

    /// All nodes use these keys.
    pub(crate) fn share(&self, keys: StateKeys) {
        let _ = self.keys.set(keys); // set only here, once
    }

    /// Waits until the store was asked for keys: at most for one call of it, when the endpoint is new.
    pub(crate) async fn ready(&self) {
        if let Some(asked) = self.asked.as_ref().filter(|_| !self.is_ready()) {
            let _ = asked.recv().await; // nothing is ever sent: it is closed
        }
    }

    /// Returns `true` if there is nothing to wait for.
    pub(crate) fn is_ready(&self) -> bool {
        self.keys.get().is_some() || self.asked.as_ref().is_none_or(Receiver::is_closed)
    }

    /// The operator's keys, those of all nodes, or a key of this endpoint alone.
    fn sealing_keys(&self) -> io::Result<&StateKeys> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let made = StateKeys::random(&*self.runtime)?;
        let mut first = false;
        let keys = self.own.get_or_init(|| {
            first = true;
            made
        });
        if first {
            trace::state_key_made();
        }
        Ok(keys)
    }

    /// Seals `plaintext` with the first key.
    ///
    /// # Errors
    ///
    /// [`SealError`] if `plaintext` is too long to be opened again, or the runtime returns no random bytes.
    pub(crate) fn seal(&self, plaintext: &[u8], binding: &Binding<'_>) -> Result<String, SealError> {
        if plaintext.len() > SealError::MAX {
            return Err(SealError::TooLong(plaintext.len()));
        }
        let key = self.sealing_keys()?.sealing();
        let header = Header { key: key.id, expires: self.expiry(), nonce: self.nonce()? };
        let bytes = header.to_bytes();
        let payload = Payload { msg: plaintext, aad: &binding.associated(&bytes) };
        let encrypted =
            key.cipher.encrypt(&XNonce::from(header.nonce), payload).map_err(|_| SealError::Cipher)?;
        Ok(URL_SAFE_NO_PAD.encode([&bytes[..], &encrypted].concat()))
    }

    /// Returns what was sealed, if this is the request that it was sealed for, and the time has not come.
    ///
    /// The clock may have jumped since. If it jumped back, the state lives longer by as much.
    ///
    /// # Errors
    ///
    /// [`Unsealed`], which does not say what is wrong with a text that was not sealed for this request.
    pub(crate) fn open(&self, text: &str, binding: &Binding<'_>) -> Result<Vec<u8>, Unsealed> {
        let (expires, plaintext) = self.decrypt(text, binding).ok_or(Unsealed::Foreign)?;
        // Only now: the expiry of a text that somebody made up means nothing.
        if millis(self.runtime.system_time()) >= expires {
            return Err(Unsealed::Expired);
        }
        Ok(plaintext)
    }

    /// The expiry and the plaintext, if `text` was sealed for this request.
    fn decrypt(&self, text: &str, binding: &Binding<'_>) -> Option<(u64, Vec<u8>)> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (bytes, encrypted) = sealed.split_first_chunk()?;
        let header = Header::from_bytes(bytes)?;
        let key = [&self.keys, &self.own].into_iter().find_map(|keys| keys.get()?.get(header.key))?;
        let payload = Payload { msg: encrypted, aad: &binding.associated(bytes) };
        let plaintext = key.cipher.decrypt(&XNonce::from(header.nonce), payload).ok()?;
        Some((header.expires, plaintext))
    }

    /// When a state that is sealed now expires.
    fn expiry(&self) -> u64 {
        let ttl = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        millis(self.runtime.system_time()).saturating_add(ttl)
    }

    fn nonce(&self) -> io::Result<[u8; NONCE]> {
        let mut nonce = [0; NONCE];
        nonce[..16].copy_from_slice(&self.runtime.random()?);
        nonce[16..].copy_from_slice(&self.runtime.random()?[..NONCE - 16]);
        Ok(nonce)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.keys).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Binding<'_> {
    /// The bytes that the tag covers beside the state. No two bindings have the same: each part has its length before it.
    fn associated(&self, header: &[u8; Header::LEN]) -> Vec<u8> {
        let mut bytes = [PURPOSE, header].concat();
        for part in [self.principal, Some(self.method), self.name] {
            bytes.push(u8::from(part.is_some()));
            if let Some(part) = part {
                bytes.extend((part.len() as u64).to_be_bytes());
                bytes.extend(part.as_bytes());
            }
        }
        bytes
    }
}

/// What a sealed text has before the encrypted state, apart from the version.
struct Header {
    key: KeyId,
    /// Milliseconds since 1970.
    expires: u64,
    nonce: [u8; NONCE],
}

impl Header {
    const LEN: usize = 1 + KeyId::LEN + 8 + NONCE;

    fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [VERSION; Self::LEN];
        let (key, rest) = bytes[1..].split_at_mut(KeyId::LEN);
        let (expires, nonce) = rest.split_at_mut(8);
        key.copy_from_slice(&self.key.0);
        expires.copy_from_slice(&self.expires.to_be_bytes());
        nonce.copy_from_slice(&self.nonce);
        bytes
    }

    /// Returns `None` for another version.
    fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (key, rest) = rest.split_first_chunk()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let nonce = rest.try_into().ok()?;
        Some(Self { key: KeyId(*key), expires: u64::from_be_bytes(*expires), nonce })
    }
}

/// Milliseconds since 1970; 0 before.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A state cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The server's code has to keep less in it.
    #[error("a state of {0} bytes is too long to seal: at most {max} bytes", max = Self::MAX)]
    TooLong(usize),
    /// The runtime has no random bytes.
    #[error("a state cannot be sealed: there are no random bytes: {0}")]
    NoNonce(#[from] io::Error),
    /// Not for a length that is allowed.
    #[error("a state cannot be sealed: the cipher refused it")]
    Cipher,
}

impl SealError {
    /// The maximum length of a state in bytes: its text is not longer than [`MAX_TEXT`].
    const MAX: usize = MAX_TEXT / 4 * 3 - Header::LEN - TAG;
}

/// Nothing that the client did: -32603.
impl From<SealError> for RpcError {
    fn from(error: SealError) -> Self {
        Self::internal(error.to_string())
    }
}

/// A text cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsealed {
    /// Changed or made up, or sealed with a key that is not in the ring, or for another request or caller. All are one, so
    /// that nobody can find out which part was right.
    #[error("the `requestState` is not one of this server's for this request; start again without it")]
    Foreign,
    /// Sealed for this request, but too long ago.
    #[error("the `requestState` has expired; start again without it")]
    Expired,
}

/// -32602.
impl From<Unsealed> for RpcError {
    fn from(error: Unsealed) -> Self {
        Self::invalid_params(error.to_string())
    }
}

#[cfg(test)]
mod tests;
