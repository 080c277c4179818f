//! JSON strings: decodes one without a copy, and writes one run by run.
//!
//! `serde_json` looks at each byte of a string that it writes, and results of tools are mostly text.

use std::borrow::Cow;

use super::scan::skip_plain;

/// Decodes a string, from its own text. `None` if the text is something else.
#[doc(hidden)] // for core
pub fn string(text: &str) -> Option<Cow<'_, str>> {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(text).ok().map(Cow::Owned),
    }
}

/// Writes a string with its quotes, as `serde_json` does.
#[doc(hidden)] // for core
pub fn push_string(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut rest = text;
    loop {
        // What needs an escape is ASCII, so a run ends between two characters.
        let (run, special) = rest.split_at(rest.len() - skip_plain(rest.as_bytes()).len());
        out.push_str(run);
        let Some(byte) = special.bytes().next() else { break };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\x08' => out.push_str("\\b"),
            b'\x0c' => out.push_str("\\f"),
            control => {
                out.push_str("\\u00");
                out.extend([control >> 4, control & 15].map(|half| char::from(HEX[usize::from(half)])));
            }
        }
        rest = &special[1..];
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        push_string(text, &mut out);
        out
    }

    #[test]
    fn what_is_written_is_what_serde_json_writes_and_reads_as_the_same() {
        let all: String = (0..0x250).filter_map(char::from_u32).chain(['€', '😀']).collect();
        let mut texts = vec![String::new(), all];
        for special in ["\"", "\\", "\n", "\u{0}", "\u{1f}", "\u{7f}", "é"] {
            // At each place in words and blocks, at the end, and alone.
            for length in (0..40).chain(250..300) {
                texts.push(format!("{}{special}", "m".repeat(length)));
                texts.push(format!("{}{special}{special}{}", "m".repeat(length), "n".repeat(length)));
            }
        }
        for text in &texts {
            let json = written(text);
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(string(&json).unwrap(), *text);
        }
        for no_string in ["1", "null", "{}", "\"", "\"a", "\"\\x\""] {
            assert_eq!(string(no_string), None, "{no_string}");
        }
    }
}
