//! [`StateKeys`]: the keys that seal `requestState` (G-67).

use std::{fmt, io, iter, sync::Arc};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce, aead::Aead as _};

use crate::runtime::Runtime;

/// The length of a key in bytes.
const KEY: usize = 32;

/// The nonce under which a key gives its own id. No seal has it: those are 24 random bytes.
const ID_NONCE: [u8; 24] = *b"mcp-session state key id";

/// The keys that seal `requestState`, for [`Config::state_keys`](crate::Config::state_keys). The first key seals, all of
/// them open (G-67).
///
/// A `requestState` is what a handler needs to go on after a question to the user. The client carries it, and may come
/// back with it to any node; so a server seals it, that is, encrypts and authenticates it. Nodes with the same keys open
/// each other's states.
///
/// # Changing the key
///
/// First give all nodes the new key in the second place: they open what it will seal. Then put it first, and keep the old
/// one behind it: what the old one sealed is still opened. After [`state_ttl`](crate::Config::state_ttl) the old one can
/// go.
///
/// If the new key is put first at once, in a rolling deploy, nodes that have it open everything, but nodes that do not have
/// it yet refuse what it sealed, and those clients start again.
///
/// # Where the keys come from
///
/// A key is 32 bytes from a cryptographic source, such as `openssl rand -hex 32`: a secret like the private key of a
/// certificate. Whoever has it can forge states. Neither `Debug` nor an error shows it; `Debug` shows the ids of the keys,
/// which are computed from the keys and reveal nothing of them. The id also stands in each sealed text.
///
/// ```
/// use mcp_session_core::{Config, StateKeys};
///
/// // From a repeatable option, `--state-key`; the first seals.
/// let options = [
///     "4f1d9fd0a7b84cbd1fd4fa0ad0b29bfbbb5ef2a4c0f1c8a8d9b3d7e4b0a5c6d7",
///     "6dzrBT4nWkiFbn4a8MXA2oxG2zqMMCd5QfC63WBY1Gs=",
/// ];
/// let mut config = Config::default();
/// config.state_keys = Some(StateKeys::parse(options)?);
///
/// let error = StateKeys::parse(["hunter2"]).unwrap_err();
/// assert!(error.to_string().contains("64 hex digits"));
/// assert!(!error.to_string().contains("hunter2"));
/// assert!(StateKeys::new([]).is_err());
/// # Ok::<(), mcp_session_core::InvalidStateKeys>(())
/// ```
#[derive(Clone)]
pub struct StateKeys(Arc<Ring>);

/// Never empty.
struct Ring {
    seals: Key,
    opens: Vec<Key>,
}

impl StateKeys {
    /// Creates a ring of these keys, the one that seals first.
    ///
    /// # Errors
    ///
    /// [`InvalidStateKeys`] if there is no key, or one of them twice.
    pub fn new(keys: impl IntoIterator<Item = [u8; 32]>) -> Result<Self, InvalidStateKeys> {
        let mut all: Vec<Key> = Vec::new();
        for (index, key) in keys.into_iter().enumerate() {
            let key = Key::new(key);
            if let Some(same) = all.iter().position(|other| other.id == key.id) {
                return Err(Problem::Twice { first: same + 1, second: index + 1 }.into());
            }
            all.push(key);
        }
        let mut all = all.into_iter();
        let seals = all.next().ok_or(Problem::None)?;
        Ok(Self(Arc::new(Ring { seals, opens: all.collect() })))
    }

    /// Creates a ring of keys that are text, the one that seals first: each is 64 hex digits, or base64 of 32 bytes with
    /// or without padding. Whitespace around a key is ignored: a file usually ends with a line break.
    ///
    /// Take the option as plain text and parse it here: a parser of command lines that fails itself prints the value, here
    /// a secret.
    ///
    /// # Errors
    ///
    /// [`InvalidStateKeys`] if there is no key, or one of them twice, or one that is not such a text.
    pub fn parse(keys: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, InvalidStateKeys> {
        let keys = keys.into_iter().enumerate().map(|(index, text)| {
            let text = text.as_ref().trim();
            hex(text).or_else(|| base64(text)).ok_or(Problem::NotAKey { place: index + 1 })
        });
        Self::new(keys.collect::<Result<Vec<_>, _>>()?)
    }

    /// Creates a ring of one new key.
    ///
    /// # Errors
    ///
    /// If the runtime returns no random bytes.
    pub(crate) fn random(runtime: &dyn Runtime) -> io::Result<Self> {
        Ok(Self::one(random(runtime)?))
    }

    /// Creates a ring of this key; `None` if it has not the length of one.
    pub(crate) fn of_bytes(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Self::one)
    }

    fn one(key: [u8; KEY]) -> Self {
        Self(Arc::new(Ring { seals: Key::new(key), opens: Vec::new() }))
    }

    /// The key that seals.
    pub(crate) fn sealing(&self) -> &Key {
        &self.0.seals
    }

    /// The key with this id.
    pub(crate) fn get(&self, id: KeyId) -> Option<&Key> {
        self.iter().find(|key| key.id == id)
    }

    fn iter(&self) -> impl Iterator<Item = &Key> {
        iter::once(&self.0.seals).chain(&self.0.opens)
    }
}

/// Shows the ids of the keys, never a key.
impl fmt::Debug for StateKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKeys")?;
        f.debug_list().entries(self.iter().map(|key| key.id)).finish()
    }
}

/// A key of a ring, and its id. Without `Debug`: it is a secret.
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) cipher: XChaCha20Poly1305,
}

impl Key {
    fn new(key: [u8; KEY]) -> Self {
        let cipher = XChaCha20Poly1305::new(&key.into());
        Self { id: KeyId::of(&cipher), cipher }
    }
}

/// The id of a key, which all nodes with this key compute alike. Eight bytes: no two keys of a ring have the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId(pub(crate) [u8; Self::LEN]);

impl KeyId {
    pub(crate) const LEN: usize = 8;

    /// The first bytes of the key's stream for [`ID_NONCE`]: as for any other nonce, they reveal nothing of the key.
    fn of(cipher: &XChaCha20Poly1305) -> Self {
        let stream = cipher.encrypt(&XNonce::from(ID_NONCE), &[0; Self::LEN][..]);
        match stream.as_deref().map(<[u8]>::first_chunk) {
            Ok(Some(id)) => Self(*id),
            _ => unreachable!("the cipher takes eight bytes, and returns them with a tag behind"),
        }
    }
}

/// 16 hex digits.
impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Keys that cannot be a [`StateKeys`]. The text names the key by its place, never by its value, and says what would make
/// it right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidStateKeys(#[from] Problem);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("there is no state key: give at least one, the first seals")]
    None,
    #[error(
        "state key {place} is not 32 bytes: give 64 hex digits, such as `openssl rand -hex 32` prints, or base64"
    )]
    NotAKey { place: usize },
    #[error("state keys {first} and {second} are the same: remove one of them")]
    Twice { first: usize, second: usize },
}

/// A new key.
///
/// # Errors
///
/// If the runtime returns no random bytes.
pub(crate) fn random(runtime: &dyn Runtime) -> io::Result<[u8; KEY]> {
    let mut key = [0; KEY];
    key[..16].copy_from_slice(&runtime.random()?);
    key[16..].copy_from_slice(&runtime.random()?);
    Ok(key)
}

fn hex(text: &str) -> Option<[u8; KEY]> {
    let mut key = [0; KEY];
    if text.len() != 2 * KEY {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()?;
    }
    Some(key)
}

fn base64(text: &str) -> Option<[u8; KEY]> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Stopped;

    const ONE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

    fn ids(keys: &StateKeys) -> Vec<[u8; 8]> {
        keys.iter().map(|key| key.id.0).collect()
    }

    fn parse(keys: &[&str]) -> Result<Vec<[u8; 8]>, String> {
        StateKeys::parse(keys).map(|keys| ids(&keys)).map_err(|error| error.to_string())
    }

    #[test]
    fn hex_base64_and_bytes_are_the_same_key() {
        let bytes: [u8; 32] = std::array::from_fn(|index| index as u8);
        let expected = Ok(ids(&StateKeys::new([bytes]).unwrap()));
        for text in [
            ONE,
            &ONE.to_lowercase(),
            &format!(" {ONE}\n"),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ] {
            assert_eq!(parse(&[text]), expected, "{text}");
        }
    }

    /// Nodes of different versions find each other's keys: the id of a key never changes.
    #[test]
    fn the_id_of_a_key_is_fixed() {
        let keys = StateKeys::new([[7; 32], [8; 32]]).unwrap();
        assert_eq!(format!("{keys:?}"), "StateKeys[1473036cc7183ade, 83a72963ca04d555]");
    }

    #[test]
    fn an_error_names_the_place_and_never_the_key() {
        let short = &ONE[1..];
        let not_hex = ONE.replace('F', "g");
        let long = format!("{ONE}00");
        for text in ["", "hunter2", short, &not_hex, &long, "é", &"é".repeat(32), &format!("+{short}")] {
            let error = parse(&[ONE, text]).unwrap_err();
            assert!(error.starts_with("state key 2 is not 32 bytes: give 64 hex digits"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
            let error = StateKeys::parse([text]).unwrap_err();
            assert!(text.is_empty() || !format!("{error:?}").contains(text), "{error:?}");
        }
        assert_eq!(parse(&[]).unwrap_err(), "there is no state key: give at least one, the first seals");
        let other = ONE.replace('0', "1");
        let twice = parse(&[ONE, &other, &ONE.to_lowercase()]).unwrap_err();
        assert_eq!(twice, "state keys 1 and 3 are the same: remove one of them");
    }

    /// `Debug` of a ring, and of a configuration with one, has the ids and nothing of the keys.
    #[test]
    fn debug_shows_ids_only() {
        let keys = StateKeys::parse([ONE]).unwrap();
        let id: String = ids(&keys)[0].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(format!("{keys:?}"), format!("StateKeys[{id}]"));
        let config = crate::config::Config { state_keys: Some(keys), ..Default::default() };
        let shown = format!("{config:?}").to_lowercase();
        assert!(
            shown.contains(&id) && !shown.contains("0001020304") && !shown.contains("0, 1, 2, 3"),
            "{shown}"
        );
    }

    #[test]
    fn random_keys_differ() {
        let random = || ids(&StateKeys::random(&Stopped::default()).unwrap());
        assert_ne!(random(), random());
    }
}
