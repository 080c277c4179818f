//! The values of the headers that repeat a part of the body (2026-07-28).

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName};

use super::rejection::Rejection;

/// How many characters of a client's text an error repeats. Versions, methods and most names are shorter.
const MOST_REPEATED: usize = 64;

/// The value of a header, without the whitespace around it (G-11); `None` if the header is absent. An empty value is a
/// value: an empty string may be sent like this.
///
/// # Errors
///
/// [`Rejection::HeaderMismatch`] if the header is repeated (B-12), or has a character other than visible ASCII, space and
/// tab (G-13).
pub(super) fn header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    spelled: &str,
) -> Result<Option<&'a str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::HeaderMismatch(format!("the header {spelled} must not be repeated").into()));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim_matches([' ', '\t']))),
        Err(_) => Err(Rejection::HeaderMismatch(
            format!("the header {spelled} must consist of visible ASCII characters, space and tab").into(),
        )),
    }
}

/// Decodes a value of the form `=?base64?…?=`; any other value is literal (G-12).
///
/// # Errors
///
/// [`Rejection::HeaderMismatch`] if the Base64 is not canonical, which includes its padding, or is not UTF-8.
pub(super) fn decode<'a>(spelled: &str, value: &'a str) -> Result<Cow<'a, str>, Rejection> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(value.into());
    };
    let text = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Cow::Owned).ok_or_else(|| {
        Rejection::HeaderMismatch(
            format!("the header {spelled} must have UTF-8 in padded Base64 between `=?base64?` and `?=`")
                .into(),
        )
    })
}

/// The beginning of a client's text, for an error.
pub(super) fn bounded(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST_REPEATED) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

/// The beginning of a client's text, for an error, in quotes and with escapes.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", bounded(text))
}

#[cfg(test)]
mod tests;
