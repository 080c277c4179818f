//! What the gateway changes in the params of a request: the progress token, and what only a client of 2026-07-28 sends.

use std::{borrow::Cow, collections::BTreeMap};

use mcp_session_core::Json;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct WithMeta<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Progress<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

/// The params with `token` in place of the client's progress token, and the client's token. `None` if there is none.
pub(crate) fn replace_token(params: &str, token: u64) -> Option<(String, String)> {
    memmem::find(params.as_bytes(), b"progressToken")?;
    let client = serde_json::from_str::<WithMeta<'_>>(params).ok()?.meta?.progress_token?.get();
    Some((splice(params, client, &token.to_string())?, client.to_owned()))
}

/// The id of the subscription that a notification of 2026-07-28 comes with.
pub(crate) fn subscription(params: &Json) -> Option<u64> {
    #[derive(Deserialize)]
    struct Marked {
        #[serde(rename = "_meta")]
        meta: Mark,
    }
    #[derive(Deserialize)]
    struct Mark {
        #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
        id: u64,
    }
    params.borrow::<Marked>().ok().map(|marked| marked.meta.id)
}

/// The token in the params of a child's `notifications/progress`.
pub(crate) fn progress_token(params: &Json) -> Option<u64> {
    params.borrow::<Progress<'_>>().ok()?.progress_token?.get().parse().ok()
}

/// The params of a child's `notifications/progress`, with the client's token.
pub(crate) fn restore_token(params: &Json, client: &str) -> Option<Json> {
    let text = params.as_str();
    let ours = serde_json::from_str::<Progress<'_>>(text).ok()?.progress_token?.get();
    Json::from_text(splice(text, ours, client)?.into()).ok()
}

/// `text` with `new` in place of `part`, which is a part of it.
fn splice(text: &str, part: &str, new: &str) -> Option<String> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let (before, after) = (text.get(..start)?, text.get(start + part.len()..)?);
    Some([before, new, after].concat())
}

/// The params of a request of 2026-07-28 as a server of an older revision expects them: without the envelope, which tells
/// each request what `initialize` has told, and without the answers to the server's questions, which the server gets as
/// such.
pub(crate) fn without_envelope(params: &Json) -> Cow<'_, str> {
    const PREFIX: &[u8] = b"io.modelcontextprotocol/";
    let text = params.as_bytes();
    let found =
        [PREFIX, b"inputResponses", b"requestState"].iter().any(|it| memmem::find(text, it).is_some());
    if !found {
        return Cow::Borrowed(params.as_str());
    }
    let without = || {
        let mut params: BTreeMap<Cow<'_, str>, &RawValue> = params.borrow().ok()?;
        params.remove("inputResponses");
        params.remove("requestState");
        let meta: Option<BTreeMap<Cow<'_, str>, &RawValue>> =
            params.remove("_meta").and_then(|meta| serde_json::from_str(meta.get()).ok());
        let kept = meta.map(|mut meta| {
            meta.retain(|name, _| !name.as_bytes().starts_with(PREFIX));
            meta
        });
        let kept = kept.filter(|meta| !meta.is_empty());
        let kept = kept.and_then(|meta| serde_json::value::to_raw_value(&meta).ok());
        if let Some(kept) = &kept {
            params.insert("_meta".into(), kept);
        }
        serde_json::to_string(&params).ok()
    };
    without().map_or(Cow::Borrowed(params.as_str()), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_and_restored_and_the_rest_stays_as_it_was() {
        let params =
            r#"{ "name":"x", "arguments":{"progressToken":1}, "_meta":{"progressToken" : "a\"b","k":1.50}}"#;
        let (ours, client) = replace_token(params, 12).expect("it has one");
        assert_eq!(client, r#""a\"b""#);
        assert_eq!(ours, params.replace(r#""a\"b""#, "12"));
        let progress = Json::from_text(r#"{"progress":1.0,"progressToken":12,"total":3}"#.into()).unwrap();
        assert_eq!(progress_token(&progress), Some(12));
        let restored = restore_token(&progress, &client).expect("it has one");
        assert_eq!(restored.as_str(), r#"{"progress":1.0,"progressToken":"a\"b","total":3}"#);
        for none in [r#"{"progressToken":1}"#, r#"{"_meta":{}}"#, "{}", "[]"] {
            assert_eq!(replace_token(none, 1), None, "{none}");
        }
    }

    #[test]
    fn what_only_2026_has_is_taken_out() {
        let params = Json::from_text(
            r#"{"name":"x","arguments":{"big":1.50},"inputResponses":{"a":{}},"requestState":"s",
                "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":5,"acme/x":[1]}}"#
                .into(),
        )
        .unwrap();
        let legacy = without_envelope(&params);
        assert_eq!(
            legacy,
            r#"{"_meta":{"acme/x":[1],"progressToken":5},"arguments":{"big":1.50},"name":"x"}"#
        );
        let only = Json::from_text(r#"{"_meta":{"io.modelcontextprotocol/clientInfo":{}}}"#.into()).unwrap();
        assert_eq!(without_envelope(&only), "{}");
        let plain = Json::from_text(r#"{"name":"x","_meta":{"progressToken":5}}"#.into()).unwrap();
        assert_eq!(without_envelope(&plain), plain.as_str());
    }
}
