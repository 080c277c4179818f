//! [`RequestId`] and [`SessionId`].

use std::{fmt, str::FromStr, sync::Arc};

/// The id of a JSON-RPC request: a string or an integer, never `null`, never a fraction (A-03, A-04). A string is not longer than
/// [`MAX_LEN`](RequestId::MAX_LEN).
///
/// `1` and `"1"` are different ids, and an answer repeats the id with its type (A-08).
///
/// ```
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
    /// An integer. Wide enough for any 64-bit one, signed or not, so ids above 2^53 survive unchanged.
    Integer(i128),
    /// A string.
    String(Arc<str>),
}

impl RequestId {
    /// How long a string id of a client may be, in bytes: 1 KiB. Clients count, or send a UUID; each id is kept until its request
    /// is answered, and repeated in answers and logs.
    pub const MAX_LEN: usize = 1024;

    /// Reads an id from its JSON text. `None` if it is not a legal id, or longer than [`RequestId::MAX_LEN`].
    pub fn from_json(json: &str) -> Option<Self> {
        match json.as_bytes().first()? {
            b'"' => {
                let id = serde_json::from_str::<String>(json).ok()?;
                (id.len() <= Self::MAX_LEN).then(|| Self::String(id.into()))
            }
            // Nearly all fit into 64 bits, with which arithmetic is much faster.
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

    /// How many bytes that takes; for a string, if nothing in it has to be escaped.
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

/// As in JSON: a string id is quoted.
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
/// It is a secret: whoever has it can act in the session. `Debug` and [`SessionId::prefix`] show the first eight
/// digits only, enough to find a session in the logs and too little to use it (E-20); `Display` writes it whole,
/// for the wire.
///
/// ```
/// use mcp_session_core::SessionId;
///
/// let id: SessionId = "000102030405060708090a0b0c0d0e0f".parse()?;
/// assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
/// assert_eq!(format!("{id:?}"), "00010203..");
/// assert!("not-an-id".parse::<SessionId>().is_err());
/// assert!("000102030405060708090A0B0C0D0E0F".parse::<SessionId>().is_err()); // one id has one spelling
/// # Ok::<(), mcp_session_core::InvalidSessionId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// The id made of these bits. They have to come from a cryptographic source.
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The first eight digits: for logs and reports.
    pub fn prefix(&self) -> String {
        format!("{:08x}", self.0 >> 96)
    }

    /// The id as it is on the wire.
    pub(crate) fn digits(&self) -> [u8; 32] {
        std::array::from_fn(|at| b"0123456789abcdef"[(self.0 >> (124 - 4 * at)) as usize & 15])
    }

    /// The id's bits, evenly spread: a registry may shard by any of them.
    pub(crate) fn bits(&self) -> u128 {
        self.0
    }
}

/// The text is not the id of any session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session id of this server")]
pub struct InvalidSessionId;

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(s: &str) -> Result<Self, InvalidSessionId> {
        if s.len() != 32 {
            return Err(InvalidSessionId);
        }
        // Half of what `u128::from_str_radix` takes, which has to look for overflow, and for upper case.
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(InvalidSessionId),
        };
        let bits = s.bytes().try_fold(0, |bits: u128, byte| Ok((bits << 4) | u128::from(digit(byte)?)))?;
        Ok(Self(bits))
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
}
