use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use mcp_session_proto::ErrorCode;

use super::*;
use crate::{
    runtime::BoxFuture,
    sync::{Mutex, lock},
    testing::Stopped,
};

const TTL: Duration = Duration::from_secs(600);
const STATE: &[u8] = br#"{"step":2,"account":"of-alice"}"#;
const CALL: Binding<'_> = Binding { principal: Some("alice"), method: "tools/call", name: Some("transfer") };

/// A runtime whose wall clock is set by the test, and whose random bytes count up.
#[derive(Debug)]
struct Set {
    time: Mutex<SystemTime>,
    /// The next random bytes, twice; `None` if there are none.
    random: Option<AtomicU64>,
}

/// Some day in 2026.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_196_800)
}

impl Set {
    fn new() -> Arc<Self> {
        Arc::new(Self { time: Mutex::new(start()), random: Some(AtomicU64::new(1)) })
    }

    fn set(&self, time: SystemTime) {
        *lock(&self.time) = time;
    }
}

impl Runtime for Set {
    fn now(&self) -> Instant {
        panic!("an expiry goes by the wall clock")
    }

    fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let next = self.random.as_ref().ok_or_else(|| io::Error::other("the source is dry"))?;
        let half = u128::from(next.fetch_add(1, Relaxed));
        Ok((half << 64 | half).to_be_bytes())
    }

    fn system_time(&self) -> SystemTime {
        *lock(&self.time)
    }
}

fn keys<const N: usize>(bytes: [u8; N]) -> StateKeys {
    StateKeys::new(bytes.map(|byte| [byte; 32])).unwrap()
}

fn sealer<const N: usize>(bytes: [u8; N]) -> (Arc<Set>, Sealer) {
    let runtime = Set::new();
    (runtime.clone(), Sealer::new(Some(keys(bytes)), None, TTL, runtime))
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[test]
fn what_was_sealed_is_opened() {
    let (_, sealer) = sealer([1]);
    let long = vec![b'x'; SealError::MAX];
    for state in [&b""[..], b"x", b"xy", b"xyz", STATE, &[0, 255, 128], &long] {
        let text = sealer.seal(state, &CALL).unwrap();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
        assert_eq!(sealer.open(&text, &CALL).as_deref(), Ok(state));
        // As often as it comes, until it expires.
        assert_eq!(sealer.open(&text, &CALL).as_deref(), Ok(state));
    }
    // With the operating system's random bytes too.
    let stopped = Sealer::new(Some(keys([1])), None, TTL, Arc::new(Stopped::default()));
    let text = stopped.seal(STATE, &CALL).unwrap();
    assert_eq!(stopped.open(&text, &CALL).as_deref(), Ok(STATE));
}

/// The client sees neither the state nor that two of them are the same.
#[test]
fn two_seals_of_the_same_state_differ() {
    let (_, sealer) = sealer([1]);
    let [one, other] = [(); 2].map(|()| decode(&sealer.seal(STATE, &CALL).unwrap()));
    let encrypted = Header::LEN..;
    assert_ne!(one[encrypted.clone()], other[encrypted]);
    assert!(!one.windows(5).any(|part| STATE.windows(5).any(|plain| plain == part)));
}

/// All 24 bytes of the nonce come from the runtime: 16 from one call, 8 from the next.
#[test]
fn the_nonce_is_random_bytes_of_the_runtime() {
    let (_, sealer) = sealer([1]);
    let sealed = decode(&sealer.seal(STATE, &CALL).unwrap());
    let nonce = [1, 1, 2].map(u64::to_be_bytes).concat();
    assert_eq!(sealed[Header::LEN - NONCE..Header::LEN], nonce);
}

/// G-67: the first key seals, all of them open, on any node.
#[test]
fn g_67_the_first_key_seals_and_all_open() {
    let (_, old) = sealer([1]);
    let (_, new) = sealer([2, 1]);
    let (_, last) = sealer([2]);
    let (_, added) = sealer([1, 2]);
    let of_old = old.seal(STATE, &CALL).unwrap();
    let of_new = new.seal(STATE, &CALL).unwrap();
    let opens = |sealer: &Sealer, text: &str| sealer.open(text, &CALL).map(|state| assert_eq!(state, STATE));
    assert_eq!(opens(&new, &of_old), Ok(()));
    assert_eq!(opens(&new, &of_new), Ok(()));
    assert_eq!(opens(&last, &of_new), Ok(()));
    assert_eq!(opens(&added, &of_new), Ok(()));
    assert_eq!(opens(&added, &of_old), Ok(()));
    // A key that is not in the ring.
    assert_eq!(opens(&old, &of_new), Err(Unsealed::Foreign));
    assert_eq!(opens(&last, &of_old), Err(Unsealed::Foreign));
    // A text says which key sealed it; another key of the ring is not taken for it.
    let id = |sealer: &Sealer| sealer.sealing_keys().unwrap().sealing().id.0;
    assert_eq!(decode(&of_old)[1..9], id(&old));
    assert_eq!(decode(&of_new)[1..9], id(&last));
    let mut bytes = decode(&of_old);
    bytes[1..9].copy_from_slice(&id(&last));
    assert_eq!(opens(&new, &URL_SAFE_NO_PAD.encode(bytes)), Err(Unsealed::Foreign));
}

#[test]
fn a_state_expires_by_the_wall_clock() {
    let (clock, sealer) = sealer([1]);
    let text = sealer.seal(STATE, &CALL).unwrap();
    let at = |time: SystemTime| {
        clock.set(time);
        sealer.open(&text, &CALL).map(|state| assert_eq!(state, STATE))
    };
    let end = start() + TTL;
    let millisecond = Duration::from_millis(1);
    assert_eq!(at(end - millisecond), Ok(()));
    assert_eq!(at(end), Err(Unsealed::Expired));
    assert_eq!(at(end + millisecond), Err(Unsealed::Expired));
    assert_eq!(at(end + 10_000 * TTL), Err(Unsealed::Expired));
    // The clock is set back: before the end, before the state was sealed, before there was time.
    assert_eq!(at(end - millisecond), Ok(()));
    assert_eq!(at(start() - 10_000 * TTL), Ok(()));
    assert_eq!(at(SystemTime::UNIX_EPOCH), Ok(()));
    assert_eq!(at(SystemTime::UNIX_EPOCH - TTL), Ok(()));
    // An expired state of another request is not told from any other text.
    clock.set(end);
    assert_eq!(sealer.open(&text, &Binding { name: None, ..CALL }), Err(Unsealed::Foreign));
}

/// Before 1970 a state lives from there; one that lives for ever does not overflow.
#[test]
fn any_time_and_any_ttl_can_be_added() {
    let clock = Set::new();
    clock.set(SystemTime::UNIX_EPOCH - TTL);
    let forever = Sealer::new(Some(keys([1])), None, Duration::MAX, clock.clone());
    let sealer = Sealer::new(Some(keys([1])), None, TTL, clock.clone());
    let [early, never] = [&sealer, &forever].map(|sealer| sealer.seal(STATE, &CALL).unwrap());
    clock.set(SystemTime::UNIX_EPOCH + TTL);
    assert_eq!(sealer.open(&early, &CALL), Err(Unsealed::Expired));
    clock.set(start() + 10_000 * TTL);
    assert_eq!(sealer.open(&never, &CALL).as_deref(), Ok(STATE));
}

/// Every pair of different bindings, also of those whose parts, written one after the other, are the same.
#[test]
fn a_state_opens_for_its_own_request_only() {
    let (_, sealer) = sealer([1]);
    let mut bindings = Vec::new();
    for principal in [None, Some(""), Some("alice"), Some("alic"), Some("alicetools/call")] {
        for method in ["tools/call", "etools/call", "prompts/get", ""] {
            for name in [None, Some(""), Some("transfer"), Some("Transfer"), Some("tools/calltransfer")] {
                bindings.push(Binding { principal, method, name });
            }
        }
    }
    assert!(bindings.contains(&CALL));
    for sealed in &bindings {
        let text = sealer.seal(STATE, sealed).unwrap();
        for opened in &bindings {
            let expected = if sealed == opened { Ok(STATE.to_vec()) } else { Err(Unsealed::Foreign) };
            assert_eq!(sealer.open(&text, opened), expected, "{sealed:?}, {opened:?}");
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let (_, sealer) = sealer([1, 2]);
    // Of each length modulo three: the last character of a text has bits that stand for nothing.
    for length in 0..4 {
        let text = sealer.seal(&STATE[..length], &CALL).unwrap();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The eighth bit of a character makes it no text.
            let Ok(flipped) = String::from_utf8(bytes) else {
                assert_eq!(bit % 8, 7);
                continue;
            };
            assert_eq!(sealer.open(&flipped, &CALL), Err(Unsealed::Foreign), "bit {bit} of the text");
        }
        let sealed = decode(&text);
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = URL_SAFE_NO_PAD.encode(bytes);
            assert_eq!(sealer.open(&flipped, &CALL), Err(Unsealed::Foreign), "bit {bit} of the bytes");
        }
        assert!(sealer.open(&text, &CALL).is_ok());
    }
}

/// G-38: 3,000 bad states, made from a seed out of good ones in each way that there is, and not one is opened.
#[test]
fn g_38_tampered_expired_and_foreign_states_are_refused() {
    const EACH: usize = 300;
    let mut rng = fastrand::Rng::with_seed(38);
    let (clock, sealer) = sealer([1, 2]);
    let (_, stranger) = self::sealer([3]);
    let mut refused = 0;
    for _ in 0..EACH {
        clock.set(start());
        let state: Vec<u8> = (0..rng.usize(..200)).map(|_| rng.u8(..)).collect();
        let text = sealer.seal(&state, &CALL).unwrap();
        let other = sealer.seal(&state, &CALL).unwrap();
        let sealed = decode(&text);
        let cut = rng.usize(..sealed.len());

        let mut replaced = sealed.clone();
        replaced[cut] ^= rng.u8(1..);
        let truncated = sealed[..cut].to_vec();
        let mut longer = sealed.clone();
        longer.insert(cut, rng.u8(..));
        let mut spliced = sealed.clone(); // the beginning of one, the end of the other
        let at = rng.usize(Header::LEN - NONCE + 16..Header::LEN);
        spliced.truncate(at);
        spliced.extend(&decode(&other)[at..]);
        let mut later = sealed.clone(); // a life that goes on
        later[9..17].copy_from_slice(&rng.u64(..).to_be_bytes());
        let noise: Vec<u8> = (0..sealed.len()).map(|_| rng.u8(..)).collect();
        let mut lookalike = noise.clone(); // with the right version and key
        lookalike[..9].copy_from_slice(&sealed[..9]);
        let tampered = [replaced, truncated, longer, spliced, later, noise, lookalike];
        let mut bad = tampered.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).to_vec();
        bad.push(stranger.seal(&state, &CALL).unwrap());
        let principal = rng.alphanumeric().to_string();
        bad.push(sealer.seal(&state, &Binding { principal: Some(&principal), ..CALL }).unwrap());
        for text in bad {
            assert_eq!(sealer.open(&text, &CALL), Err(Unsealed::Foreign), "{text}");
            refused += 1;
        }

        assert_eq!(sealer.open(&text, &CALL), Ok(state));
        clock.set(start() + TTL + Duration::from_millis(rng.u64(..1 << 40)));
        assert_eq!(sealer.open(&text, &CALL), Err(Unsealed::Expired));
        refused += 1;
    }
    assert_eq!(refused, 10 * EACH);
}

#[test]
fn garbage_of_any_length_is_refused() {
    let (_, sealer) = sealer([1]);
    let mut rng = fastrand::Rng::with_seed(0);
    for length in 0..=200 {
        let bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        let with_version = [&[VERSION], &bytes[..]].concat();
        let mut with_key = with_version.clone();
        with_key.splice(1..1, sealer.sealing_keys().unwrap().sealing().id.0);
        for text in [
            String::from_utf8_lossy(&bytes).into_owned(),
            URL_SAFE_NO_PAD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(with_version),
            URL_SAFE_NO_PAD.encode(with_key),
            "A".repeat(length),
            "=".repeat(length),
            "é".repeat(length),
        ] {
            assert_eq!(sealer.open(&text, &CALL), Err(Unsealed::Foreign), "{text:?}");
        }
    }
}

/// What is sealed can be opened: a state that is too long is refused at once, and a text that is longer is not decoded.
#[test]
fn the_length_of_a_state_is_bounded() {
    let (_, sealer) = sealer([1]);
    let longest = sealer.seal(&vec![0; SealError::MAX], &CALL).unwrap();
    assert_eq!(longest.len(), MAX_TEXT);
    assert!(sealer.open(&longest, &CALL).is_ok());
    let error = sealer.seal(&vec![0; SealError::MAX + 1], &CALL).unwrap_err();
    let expected =
        format!("a state of {} bytes is too long to seal: at most 49095 bytes", SealError::MAX + 1);
    assert_eq!(error.to_string(), expected);
    assert_eq!(RpcError::from(error).code, ErrorCode::INTERNAL_ERROR);

    // Sealed without the bound, it is refused for its length alone.
    let key = sealer.sealing_keys().unwrap().sealing();
    let header = Header { key: key.id, expires: u64::MAX, nonce: [0; NONCE] };
    let sealed = |length: usize| {
        let payload = Payload { msg: &vec![0; length], aad: &CALL.associated(&header.to_bytes()) };
        let encrypted = key.cipher.encrypt(&XNonce::from(header.nonce), payload).unwrap();
        URL_SAFE_NO_PAD.encode([&header.to_bytes()[..], &encrypted].concat())
    };
    assert!(sealer.open(&sealed(SealError::MAX), &CALL).is_ok());
    assert_eq!(sealer.open(&sealed(SealError::MAX + 1), &CALL), Err(Unsealed::Foreign));
}

/// Another version of the format is refused, even if its tag is right.
#[test]
fn another_version_is_refused() {
    let (_, sealer) = sealer([1]);
    let key = sealer.sealing_keys().unwrap().sealing();
    let sealed = |version: u8| {
        let nonce = [9; NONCE];
        let mut header = Header { key: key.id, expires: u64::MAX, nonce }.to_bytes();
        header[0] = version;
        let payload = Payload { msg: STATE, aad: &CALL.associated(&header) };
        let encrypted = key.cipher.encrypt(&XNonce::from(nonce), payload).unwrap();
        URL_SAFE_NO_PAD.encode([&header[..], &encrypted].concat())
    };
    for version in 0..=u8::MAX {
        assert_eq!(sealer.open(&sealed(version), &CALL).is_ok(), version == VERSION, "{version}");
    }
}

/// Nodes of different builds open each other's states: the bytes of the format are fixed.
#[test]
fn the_format_is_fixed() {
    let (_, sealer) = sealer([1]);
    let text = sealer.seal(b"state", &CALL).unwrap();
    let expected = "ATs9zzzexJAgAAABn6YOj8AAAAAAAAAAAQAAAAAAAAABAAAAAAAAAALAJDycf25uhzaokh8seGsPXcoj5w4";
    assert_eq!(text, expected);
}

#[test]
fn errors_say_what_to_do_and_no_more() {
    let error = RpcError::from(Unsealed::Foreign);
    assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    assert_eq!(
        error.message,
        "the `requestState` is not one of this server's for this request; start again without it"
    );
    assert_eq!(error.data, None);
    let error = RpcError::from(Unsealed::Expired);
    assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    assert_eq!(error.message, "the `requestState` has expired; start again without it");
}

/// Without random bytes nothing is sealed: a nonce that comes twice would reveal both states.
#[test]
fn without_random_bytes_nothing_is_sealed() {
    let dry = Arc::new(Set { time: Mutex::new(start()), random: None });
    assert!(StateKeys::random(&*dry).is_err());
    let error = Sealer::new(Some(keys([1])), None, TTL, dry).seal(STATE, &CALL).unwrap_err();
    assert_eq!(error.to_string(), "a state cannot be sealed: there are no random bytes: the source is dry");
}
