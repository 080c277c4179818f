//! [`RequestId`] and [`SessionId`].

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

/// The id of a JSON-RPC request: an integer or a string of at most [`MAX_LEN`](RequestId::MAX_LEN) bytes, never `null`
/// and never a fraction (A-03, A-04).
///
/// `1` and `"1"` are different ids, and an answer repeats the id with its type (A-08).
///
/// ```
/// # use mcp_session_proto as mcp_session_core;
/// use mcp_session_core::RequestId;
///
/// assert_eq!(RequestId::from_json("1"), Some(RequestId::Integer(1)));
/// assert_eq!(RequestId::from_json("\"1\""), Some(RequestId::from("1")));
/// assert_ne!(RequestId::from_json("1"), RequestId::from_json("\"1\""));
/// assert_eq!(RequestId::from_json("1.5"), None);
/// assert_eq!(RequestId::from_json("null"), None);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestId {
    /// An integer. Wide enough for any 64-bit integer, signed or not, so ids above 2^53 stay unchanged.
    Integer(i128),
    /// A string.
    String(Arc<str>),
}

impl RequestId {
    /// The maximum length of a client's string id, in bytes: 1 KiB. Clients count, or send a UUID. Each id is kept until
    /// its request is answered, and repeated in answers and logs.
    pub const MAX_LEN: usize = 1024;

    /// Reads an id from its JSON text. `None` if it is not a legal id, or longer than [`RequestId::MAX_LEN`].
    pub fn from_json(json: &str) -> Option<Self> {
        match json.as_bytes().first()? {
            b'"' => {
                let id = serde_json::from_str::<String>(json).ok()?;
                (id.len() <= Self::MAX_LEN).then(|| Self::String(id.into()))
            }
            // Nearly all ids fit into 64 bits, and 64-bit arithmetic is much faster.
            b'-' | b'0'..=b'9' => match json.parse::<i64>() {
                Ok(id) => Some(id.into()),
                Err(_) => json.parse().ok().map(Self::Integer),
            },
            _ => None,
        }
    }

    /// Appends the id as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        // Writing to a `Vec` cannot fail, and neither kind of id can fail to serialize.
        let written = match self {
            Self::Integer(n) => match i64::try_from(*n) {
                Ok(n) => serde_json::to_writer(out, &n),
                Err(_) => serde_json::to_writer(out, n),
            },
            Self::String(s) => serde_json::to_writer(out, &**s),
        };
        debug_assert!(written.is_ok());
    }

    /// The length of the id as JSON, in bytes; for a string, provided that nothing in it has to be escaped.
    pub(super) fn json_len(&self) -> usize {
        let digits = |n: u128| match u64::try_from(n) {
            Ok(n) => n.checked_ilog10(),
            Err(_) => n.checked_ilog10(),
        };
        match self {
            Self::Integer(n) => usize::from(*n < 0) + digits(n.unsigned_abs()).unwrap_or(0) as usize + 1,
            Self::String(id) => id.len() + 2,
        }
    }
}

impl From<&str> for RequestId {
    fn from(id: &str) -> Self {
        Self::String(id.into())
    }
}

impl From<i64> for RequestId {
    fn from(id: i64) -> Self {
        Self::Integer(id.into())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A string id is quoted, as in JSON.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => n.fmt(f),
            Self::String(s) => write!(f, "{s:?}"),
        }
    }
}

/// The id of a session: 128 random bits, on the wire 32 lower-case hexadecimal digits (E-02, E-03).
///
/// It is a secret: anybody who has it can use the session. `Debug` and [`SessionId::prefix`] show only the first eight
/// digits, enough to find a session in the logs and too little to use it (E-20). `Display` writes the whole id, for the
/// wire.
///
/// ```
/// # use mcp_session_proto as mcp_session_core;
/// use mcp_session_core::SessionId;
///
/// let id: SessionId = "000102030405060708090a0b0c0d0e0f".parse()?;
/// assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
/// assert_eq!(format!("{id:?}"), "00010203..");
/// assert!("not-an-id".parse::<SessionId>().is_err());
/// assert!("000102030405060708090A0B0C0D0E0F".parse::<SessionId>().is_err()); // one id has one spelling
/// # Ok::<(), mcp_session_proto::InvalidSessionId>(())
/// ```
// The high half and the low one: a `u128` would align every session, and every entry of the registry, to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionId([u64; 2]);

impl SessionId {
    /// Makes an id of these bits, which must come from a cryptographic source.
    pub fn from_bits(bits: u128) -> Self {
        Self([(bits >> 64) as u64, bits as u64])
    }

    /// The first eight digits, for logs and reports.
    pub fn prefix(&self) -> String {
        format!("{:08x}", self.0[0] >> 32)
    }

    /// The 32 digits of the id on the wire.
    #[doc(hidden)] // for core
    pub fn digits(&self) -> [u8; 32] {
        std::array::from_fn(|at| DIGITS[(self.0[at / 16] >> (60 - 4 * (at % 16))) as usize & 15])
    }

    /// The id with these 32 digits.
    #[doc(hidden)] // for core
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        let (high, low) = digits.split_first_chunk()?;
        Some(Self([parse_half(high)?, parse_half(low.try_into().ok()?)?]))
    }

    /// The two halves of the id's bits. They are evenly distributed, so a registry may shard by any of them.
    #[doc(hidden)] // for core
    pub fn halves(&self) -> [u64; 2] {
        self.0
    }
}

/// Half of the bits are enough for a hash: they are random.
impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// The text is not a session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session id of this server")]
pub struct InvalidSessionId;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Reads 16 digits, 8 at once: every request has an id. Upper case is none: an id has one spelling.
fn parse_half(digits: &[u8; 16]) -> Option<u64> {
    let (high, low) = digits.split_first_chunk()?;
    Some(u64::from(parse_eight(*high)?) << 32 | u64::from(parse_eight(low.try_into().ok()?)?))
}

fn parse_eight(digits: [u8; 8]) -> Option<u32> {
    const ONES: u64 = u64::MAX / 255;
    let text = u64::from_be_bytes(digits);
    // Letters have bit 6, and their low half is less by 9 than their value. No byte carries into the next.
    let values = (text & (ONES * 15)) + (text >> 6 & ONES) * 9;
    let letters = (values + ONES * 6) >> 4 & ONES;
    let again = values + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10);
    if again != text || values & (ONES * 0xf0) != 0 {
        return None;
    }
    let pairs = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((fours | fours >> 16) as u32)
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(s: &str) -> Result<Self, InvalidSessionId> {
        Self::from_digits(s.as_bytes()).ok_or(InvalidSessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default()) // digits are UTF-8
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(json: &str) -> String {
        let mut out = Vec::new();
        RequestId::from_json(json).expect("legal id").write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_08_ids_keep_type_and_value() {
        for id in ["0", "-7", "9007199254740993", "18446744073709551615", "\"\"", "\"1\"", r#""a\"b""#] {
            assert_eq!(round_trip(id), id);
        }
    }

    #[test]
    fn a_03_a_04_what_is_no_id() {
        for id in ["null", "1.0", "1e3", "true", "{}", "[1]", ""] {
            assert_eq!(RequestId::from_json(id), None, "{id}");
        }
    }

    #[test]
    fn a_session_id_has_one_spelling() {
        let id = SessionId::from_bits(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
        assert_eq!(id.to_string(), "0123456789abcdeffedcba9876543210");
        assert_eq!(id.to_string().parse(), Ok(id));
        for (at, byte) in (0..32).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut digits = id.digits();
            digits[at] = byte;
            let expected = char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
            let parsed = SessionId::from_digits(&digits);
            assert_eq!(parsed.is_some(), expected.is_some(), "{at} {byte}");
            assert!(parsed.is_none_or(|id| id.digits() == digits), "{at} {byte}");
        }
        for wrong in ["", "0123456789abcdeffedcba987654321", "0123456789abcdeffedcba98765432100"] {
            assert_eq!(wrong.parse::<SessionId>(), Err(InvalidSessionId));
        }
    }
}
