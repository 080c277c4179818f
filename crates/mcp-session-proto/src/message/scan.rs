//! [`Scan`]: finds the members of JSON objects without decoding them.
//!
//! `serde_json` does the same, at a multiple of the instructions: every request passes here, and long ones consist of a few
//! long strings, which are searched many bytes at a time.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserializer as _,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The maximum nesting depth of a message. `serde_json` has the same limit, so a handler can decode every message that
/// passes (A-19).
pub(super) const MAX_DEPTH: u32 = 128;

/// The names of members that are looked for.
#[doc(hidden)] // for core
#[derive(Debug)]
pub struct Names<const N: usize> {
    texts: [&'static str; N],
    /// Each with the quote behind it as one word, and the bits of the word that it takes. A name that is too long has none.
    words: [(u128, u128); N],
}

impl<const N: usize> Names<N> {
    /// These names, none of which has an escape in JSON.
    pub const fn new(texts: [&'static str; N]) -> Self {
        let mut words = [(1, 0); N]; // no word is like this
        let mut index = 0;
        while index < N {
            let text = texts[index].as_bytes();
            if text.len() < size_of::<u128>() {
                let (mut word, mut at) = ((b'"' as u128) << (8 * text.len()), 0);
                while at < text.len() {
                    word |= (text[at] as u128) << (8 * at);
                    at += 1;
                }
                words[index] = (word, u128::MAX >> (128 - 8 * (text.len() + 1)));
            }
            index += 1;
        }
        Self { texts, words }
    }

    /// The names.
    pub const fn texts(&self) -> &[&'static str; N] {
        &self.texts
    }

    /// The index of a name that this text, behind a quote, begins with: `None` if it is none, or a long one.
    #[inline]
    fn short(&self, text: &[u8]) -> Option<usize> {
        let word = u128::from_le_bytes(*text.first_chunk()?);
        self.words.iter().position(|(name, mask)| word & mask == *name)
    }
}

/// Where the members of an object are that are looked for, in bytes of the whole text. An absent one is empty.
#[derive(Debug, Clone)]
pub(super) struct Found<const N: usize> {
    pub(super) spans: [Range<u32>; N],
    /// Whether `serde_json` must decide: one of them occurs twice, or the name of another has an escape.
    pub(super) is_unsure: bool,
}

impl<const N: usize> Found<N> {
    pub(super) const NOTHING: Self = Self { spans: [const { 0..0 }; N], is_unsure: false };
}

/// The texts of these members of an object, where it has them. `None` if `text` is not one JSON object, nests deeper than
/// [`MAX_DEPTH`], has 4 GiB, or has one of these members twice. Also `None` if another name has an escape: the caller asks `serde_json` then.
///
/// What it accepts, `serde_json` accepts too, and finds the same in it.
pub(super) fn members<'a, const N: usize>(text: &'a str, names: &Names<N>) -> Option<[Option<&'a str>; N]> {
    members_with(text, names, |scan, _| scan.value(1))
}

/// The same; `value` skips the value of the member with this index, or of another one.
pub(super) fn members_with<'a, const N: usize>(
    text: &'a str,
    names: &Names<N>,
    value: impl FnMut(&mut Scan<'a>, Option<usize>) -> Option<()>,
) -> Option<[Option<&'a str>; N]> {
    let mut scan = Scan::new(text)?;
    let mut found = Found::NOTHING;
    scan.object(names, &mut found, value)?;
    scan.skip_space();
    if found.is_unsure || !scan.rest.is_empty() {
        return None;
    }
    let mut texts = [None; N];
    for (part, span) in texts.iter_mut().zip(&found.spans) {
        *part = slice(text, span);
    }
    Some(texts)
}

/// The part of a text at these bytes; `None` if it is empty.
#[inline]
pub(super) fn slice<'a>(text: &'a str, at: &Range<u32>) -> Option<&'a str> {
    if at.is_empty() { None } else { text.get(at.start as usize..at.end as usize) }
}

/// The same, decoded by `serde_json`: for what [`members`] leaves to it, and for its errors.
///
/// # Errors
///
/// If `text` is not one JSON object whose names are Unicode, or has one of these members twice.
pub(super) fn decode<'a, const N: usize>(
    text: &'a str,
    names: &[&'static str; N],
) -> serde_json::Result<[Option<&'a str>; N]> {
    struct Members<'n, const N: usize>(&'n [&'static str; N]);

    impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
        type Value = [Option<&'de str>; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            let mut found = [None; N];
            while let Some(name) = object.next_key::<Cow<'de, str>>()? {
                match self.0.iter().position(|wanted| *wanted == name) {
                    None => _ = object.next_value::<IgnoredAny>()?,
                    Some(index) if found[index].is_some() => {
                        return Err(A::Error::duplicate_field(self.0[index]));
                    }
                    Some(index) => found[index] = Some(object.next_value::<&RawValue>()?.get()),
                }
            }
            Ok(found)
        }
    }

    let mut decoder = serde_json::Deserializer::from_str(text);
    let found = decoder.deserialize_map(Members(names))?;
    decoder.end()?;
    Ok(found)
}

/// The rest of a text.
pub(super) struct Scan<'a> {
    rest: &'a [u8],
    /// Of the whole text.
    length: u32,
}

impl<'a> Scan<'a> {
    /// Scans a text of less than 4 GiB, from what is not space.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        let mut scan = Self { rest: text.as_bytes(), length: text.len().try_into().ok()? };
        scan.skip_space();
        Some(scan)
    }

    /// The number of bytes that were skipped.
    #[inline]
    pub(super) fn at(&self) -> u32 {
        self.length - self.rest.len() as u32
    }

    /// Returns `true` if an object follows.
    #[inline]
    pub(super) fn is_at_object(&self) -> bool {
        self.rest.first() == Some(&b'{')
    }

    /// Skips an object, and finds members of it. `value` skips the value of the one with this index, or of another one.
    #[inline]
    pub(super) fn object<const N: usize>(
        &mut self,
        names: &Names<N>,
        found: &mut Found<N>,
        mut value: impl FnMut(&mut Self, Option<usize>) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        self.skip_space();
        if self.skips(b'}') {
            return Some(());
        }
        loop {
            self.expect(b'"')?;
            let begin = self.rest;
            let mut index = names.short(begin);
            match index {
                Some(index) => self.rest = begin.get(names.texts[index].len() + 1..)?,
                None => {
                    self.rest = string(begin)?;
                    let name = &begin[..begin.len() - self.rest.len() - 1];
                    index = names.texts.iter().position(|wanted| wanted.as_bytes() == name);
                    found.is_unsure |= index.is_none() && name.contains(&b'\\'); // it may be one of them
                }
            }
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let begin = self.at();
            value(self, index)?;
            if let Some(index) = index {
                found.is_unsure |= !found.spans[index].is_empty();
                found.spans[index] = begin..self.at();
            }
            self.skip_space();
            if self.skips(b'}') {
                return Some(());
            }
            self.expect(b',')?;
            self.skip_space();
        }
    }

    /// Skips this byte if it is the next.
    #[inline]
    fn skips(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skips(byte).then_some(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while let [first @ ..=b' ', rest @ ..] = self.rest {
            if !matches!(first, b' ' | b'\n' | b'\r' | b'\t') {
                return;
            }
            self.rest = rest;
        }
    }

    /// Skips a value that is inside so many objects. Does not recurse, so that hostile nesting uses no stack.
    pub(super) fn value(&mut self, outer: u32) -> Option<()> {
        // The innermost bracket is the lowest bit: 1 if it is that of an object.
        let (mut depth, mut objects) = (outer, 0_u128);
        loop {
            match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = string(rest)?;
                }
                [opening @ (b'{' | b'['), rest @ ..] => {
                    self.rest = rest;
                    self.skip_space();
                    if depth == MAX_DEPTH {
                        return None;
                    }
                    let is_object = *opening == b'{';
                    if !self.skips(if is_object { b'}' } else { b']' }) {
                        depth += 1;
                        objects = objects << 1 | u128::from(is_object);
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                [b't', rest @ ..] => self.rest = rest.strip_prefix(b"rue")?,
                [b'f', rest @ ..] => self.rest = rest.strip_prefix(b"alse")?,
                [b'n', rest @ ..] => self.rest = rest.strip_prefix(b"ull")?,
                _ => self.number()?,
            }
            // A value has ended, and perhaps those that it is the last part of.
            loop {
                if depth == outer {
                    return Some(());
                }
                self.skip_space();
                let is_object = objects & 1 == 1;
                match self.rest {
                    [b',', rest @ ..] => {
                        self.rest = rest;
                        self.skip_space();
                        if is_object {
                            self.name()?;
                        }
                        break;
                    }
                    [b'}', rest @ ..] if is_object => self.rest = rest,
                    [b']', rest @ ..] if !is_object => self.rest = rest,
                    _ => return None,
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// Skips the name of a member, and what is before its value.
    fn name(&mut self) -> Option<()> {
        self.expect(b'"')?;
        self.rest = string(self.rest)?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        self.skips(b'-');
        if !self.skips(b'0') {
            self.digits()?;
        }
        if self.skips(b'.') {
            self.digits()?;
        }
        if self.skips(b'e') || self.skips(b'E') {
            let _ = self.skips(b'+') || self.skips(b'-');
            self.digits()?;
        }
        Some(())
    }

    /// Skips at least one digit.
    fn digits(&mut self) -> Option<()> {
        let begin = self.rest.len();
        while let [b'0'..=b'9', rest @ ..] = self.rest {
            self.rest = rest;
        }
        (self.rest.len() < begin).then_some(())
    }
}

/// Skips the rest of a string, behind its first quote, and returns what is behind the string.
#[inline]
fn string(rest: &[u8]) -> Option<&[u8]> {
    // Most strings are short.
    if let Some(word) = rest.first_chunk() {
        let plain = plain(u64::from_le_bytes(*word));
        return match word.get(plain) {
            Some(b'"') => Some(&rest[plain + 1..]),
            _ => longer_string(&rest[plain..]),
        };
    }
    longer_string(rest)
}

fn longer_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match skip_plain(rest) {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'u', a, b, c, d, rest @ ..] => {
                if ![a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                rest
            }
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => rest,
            _ => return None, // the end, a control character, or no escape
        };
    }
}

/// Skips what means itself in a string.
#[inline]
pub(super) fn skip_plain(mut rest: &[u8]) -> &[u8] {
    let mut words = 0;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let plain = plain(u64::from_le_bytes(*word));
        if plain < word.len() {
            return &rest[plain..];
        }
        rest = behind;
        words += 1;
        if words == LONG {
            words = 0;
            rest = skip_blocks(rest);
        }
    }
    let special = rest.iter().position(|byte| is_special(*byte));
    &rest[special.unwrap_or(rest.len())..]
}

/// Skips whole blocks of it. Not inlined: most strings are short.
#[inline(never)]
fn skip_blocks(mut rest: &[u8]) -> &[u8] {
    while let Some((block, behind)) = rest.split_first_chunk() {
        if !is_plain(block) {
            break;
        }
        rest = behind;
    }
    rest
}

/// Behind so many words of a string, whole blocks are looked at.
const LONG: usize = 16;

const BLOCK: usize = 128;

/// Whether a byte ends the plain text of a string.
fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < b' '
}

/// The number of bytes before the first special one, in memory order.
fn plain(word: u64) -> usize {
    const ONES: u64 = u64::MAX / 255;
    // The highest bit of the first byte that is less is set; those behind it may be wrong.
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word;
    let is = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    let special = (less(word, b' ') | is(b'"') | is(b'\\')) & (ONES << 7);
    special.trailing_zeros() as usize / 8
}

/// Whether no byte of a block is special: written so that the compiler looks at many bytes at once.
fn is_plain(block: &[u8; BLOCK]) -> bool {
    // Each of the three is 0 if the byte is a quote, a backslash, or a control character.
    let differs = |byte: u8| (byte ^ b'"').min(byte ^ b'\\').min(byte & 0xe0);
    block.iter().map(|byte| differs(*byte)).fold(u8::MAX, u8::min) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::mutated;

    fn found(text: &str) -> Option<[Option<&str>; 2]> {
        members(text, const { &Names::new(["a", "b"]) })
    }

    #[test]
    fn members_are_found_as_they_are_written() {
        let nested = r#"{"x":[1,{"y":"]}\"\u00e9"},[]],"b":{}}"#;
        let text = format!(" {{ \"b\" : {nested} , \"c\":[ true,null,false ] ,\n\"a\":-1.50e+7\t}}\r\n");
        assert_eq!(found(&text), Some([Some("-1.50e+7"), Some(nested)]));
        assert_eq!(found("{}"), Some([None, None]));
        assert_eq!(found(r#"{"a":null}"#), Some([Some("null"), None]));
        assert_eq!(found(r#"{"c":1,"c":2}"#), Some([None, None]));
        for length in 0..500 {
            let long = format!("{{\"a\":\"{}é\",\"b\":\"\"}}", "m".repeat(length));
            assert_eq!(found(&long).unwrap().map(|text| text.unwrap().len()), [length + 4, 2]);
            for special in ["\n", "\x1f", "\\", "\"", "\\x"] {
                let refused = long.replace('é', special);
                assert_eq!(found(&refused), None, "{refused}");
            }
        }
    }

    #[test]
    fn what_is_left_to_serde_json() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"\u0061":1}"#, "[]", "1", "", "{", r#"{"a":1}{}"#] {
            assert_eq!(found(text), None, "{text}");
        }
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(found(&nested(127)).is_some());
        assert!(found(&nested(128)).is_none());
        let object = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(found(&object(128)).is_some());
        assert!(found(&object(129)).is_none());
    }

    /// It accepts what `serde_json` accepts, and nothing else, in texts that differ from JSON in one or two places.
    #[test]
    fn serde_json_agrees() {
        let texts = [
            r#"{"a":[0,-0.5e-3,12E+4,true,false,null,{"k":"v\n\u00e9\\"}],"c":{"d":[]},"b":"\ud83d\ude00 é"}"#,
            r#"{ "a" : "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm\"mmmmmmmmmmmmmmmmmmmmmmmmmm" , "b":0 }"#,
        ];
        let bytes = b"{}[]\",:\\/ \x01\n\t0159.-+eEuntrfalsx\xc3";
        let mut accepted = 0;
        for text in mutated(&texts, bytes).take(60_000) {
            let Ok(text) = std::str::from_utf8(&text) else { continue };
            let is_json =
                serde_json::from_str::<&RawValue>(text).is_ok() && text.trim_start().starts_with('{');
            let decoded = decode(text, &["a", "b"]).ok();
            match found(text) {
                Some(found) => assert_eq!(Some(found), decoded, "{text}"),
                None => assert!(decoded.is_none() || text.contains('\\'), "{text}"),
            }
            assert!(decoded.is_none() || is_json, "{text}");
            accepted += usize::from(found(text).is_some());
        }
        assert!(accepted > 5_000, "{accepted}");
    }
}
