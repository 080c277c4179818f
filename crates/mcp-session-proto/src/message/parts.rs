//! [`Parts`]: where in the params of a request the members are that the protocol itself reads.

use std::ops::Range;

use super::{
    Json, RpcError,
    scan::{Found, Names, Scan, decode, slice},
};

const PARAMS: Names<4> = Names::new(["name", "arguments", "uri", "_meta"]);
const PARAMS_META: usize = 3;
const META: Names<5> = Names::new([
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
    "progressToken",
]);

/// A member of the params of a request that the protocol itself reads.
#[doc(hidden)] // for core
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "core has no other")]
pub enum Part {
    /// `name`.
    Name,
    /// `arguments`.
    Arguments,
    /// `uri`.
    Uri,
    /// `_meta`.
    Meta,
    /// `io.modelcontextprotocol/protocolVersion` in `_meta`.
    Version,
    /// `io.modelcontextprotocol/clientCapabilities` in `_meta`.
    Capabilities,
    /// `io.modelcontextprotocol/clientInfo` in `_meta`.
    ClientInfo,
    /// `io.modelcontextprotocol/logLevel` in `_meta`.
    LogLevel,
    /// `progressToken` in `_meta`.
    ProgressToken,
}

impl Part {
    /// Looks for it in the text of params.
    #[cold]
    fn look_for(self, params: &str) -> Result<Option<&str>, RpcError> {
        self.decode(params).map_err(|error| RpcError::invalid_params(error.to_string()))
    }

    fn decode(self, params: &str) -> serde_json::Result<Option<&str>> {
        let index = self as usize;
        if let Some(name) = PARAMS.texts().get(index) {
            return decode(params, &[*name]).map(|[text]| text);
        }
        let [meta] = decode(params, &[PARAMS.texts()[PARAMS_META]])?;
        let Some(meta) = meta.filter(|text| text.starts_with('{')) else { return Ok(None) };
        decode(meta, &[META.texts()[index - PARAMS.texts().len()]]).map(|[text]| text)
    }
}

/// Where the parts of params are. They are found while the message is parsed, so nobody reads the params again to find them.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// Where the params begin in the text that was scanned.
    begin: u32,
    params: Found<{ PARAMS.texts().len() }>,
    meta: Found<{ META.texts().len() }>,
}

impl Parts {
    pub(super) const NONE: Self = Self { begin: 0, params: Found::NOTHING, meta: Found::NOTHING };
    /// Each is looked for by `serde_json` when it is wanted.
    pub(super) const UNSURE: Self =
        Self { params: Found { is_unsure: true, ..Found::NOTHING }, ..Self::NONE };

    /// Those of params that no message was parsed for.
    pub(super) fn of(params: &Json) -> Self {
        let mut parts = Self::NONE;
        let skipped = Scan::new(params.as_str()).and_then(|mut scan| parts.skip(&mut scan, 0));
        parts.begin = 0; // also if the text begins with space
        if skipped.is_some() { parts } else { Self::UNSURE }
    }

    /// Skips params that are inside so many objects, and remembers their parts.
    #[inline]
    pub(super) fn skip(&mut self, scan: &mut Scan<'_>, outer: u32) -> Option<()> {
        let Self { begin, params, meta } = self;
        *begin = scan.at();
        if !scan.is_at_object() {
            return scan.value(outer);
        }
        scan.object(&PARAMS, params, |scan, index| match index {
            Some(PARAMS_META) if scan.is_at_object() => {
                scan.object(&META, meta, |scan, _| scan.value(outer + 2))
            }
            _ => scan.value(outer + 1),
        })
    }

    /// The text of this part of these params.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INVALID_PARAMS`](super::ErrorCode::INVALID_PARAMS) if it occurs twice: two readers might each take another one.
    #[inline]
    pub(super) fn get<'a>(&self, part: Part, params: &'a Json) -> Result<Option<&'a str>, RpcError> {
        let text = params.as_str();
        if self.params.is_unsure || self.meta.is_unsure {
            return part.look_for(text);
        }
        let index = part as usize;
        let Range { start, end } = match self.params.spans.get(index) {
            Some(span) => span,
            None => &self.meta.spans[index - self.params.spans.len()],
        };
        Ok(slice(text, &(start.saturating_sub(self.begin)..end.saturating_sub(self.begin))))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::{Message, RpcRequest, tests::mutated};

    const ALL: [(Part, &str); 9] = [
        (Part::Name, "name"),
        (Part::Arguments, "arguments"),
        (Part::Uri, "uri"),
        (Part::Meta, "_meta"),
        (Part::Version, "io.modelcontextprotocol/protocolVersion"),
        (Part::Capabilities, "io.modelcontextprotocol/clientCapabilities"),
        (Part::ClientInfo, "io.modelcontextprotocol/clientInfo"),
        (Part::LogLevel, "io.modelcontextprotocol/logLevel"),
        (Part::ProgressToken, "progressToken"),
    ];

    /// The same params, parsed in a message, and given to a request.
    fn requests(params: &str) -> [RpcRequest; 2] {
        let text = format!(r#"{{"id":1, "params" : {params},"jsonrpc":"2.0","method":"tools/call"}}"#);
        let Ok(Message::Request(parsed)) = Message::parse(&text.into()) else { panic!("{params}") };
        let params = Json::from_text(Bytes::copy_from_slice(params.as_bytes())).unwrap();
        let made = RpcRequest::new(1.into(), "tools/call", Some(params));
        assert_eq!(parsed, made, "they are the same, wherever the params stood");
        [parsed, made]
    }

    #[test]
    fn each_part_is_found_at_its_place_and_nowhere_else() {
        for (part, name) in ALL {
            let is_in_meta = part as usize >= PARAMS.texts().len();
            for value in [r#""a\"}b""#, r#"{"x":[1,{}]}"#, "null", "-1"] {
                let member = format!(r#"{{ "other":{{"name":0}}, "{name}" :{value}, "more":[] }}"#);
                let inside = format!(r#"{{"more":1,"_meta":{member}}}"#);
                let (right, wrong) = if is_in_meta { (&inside, &member) } else { (&member, &inside) };
                for request in requests(right) {
                    assert_eq!(request.part(part), Ok(Some(value)), "{right}");
                }
                for request in requests(wrong) {
                    assert_ne!(request.part(part), Ok(Some(value)), "{wrong}");
                }
                let escaped =
                    right.replacen(&name[1..], &format!(r"\u{:04x}{}", name.as_bytes()[1], &name[2..]), 1);
                for request in requests(&escaped) {
                    assert_eq!(request.part(part), Ok(Some(value)), "{escaped}");
                }
                let written = format!("\"{name}\" :");
                let twice = right.replacen(&written, &format!("\"{name}\":2,{written}"), 1);
                for request in requests(&twice) {
                    assert_eq!(request.part(part).unwrap_err().code.0, -32602, "{twice}");
                }
            }
        }
    }

    /// In messages that differ from JSON, or from what is meant, in one or two places.
    #[test]
    fn serde_json_agrees() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{ "name":"a\u0062", "arguments":{"name":[1,{}]},"uri":"",
            "_meta":{"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol\/logLevel":0}}}"#;
        let plain = text.replace("\\/", "/");
        let bytes = br#"{}[]":,\ na_u01"#;
        let (mut sure, mut unsure) = (0, 0);
        for text in mutated(&[text, &plain, &plain, &plain], bytes).take(40_000) {
            let Ok(Message::Request(request)) = Message::parse(&text.into()) else { continue };
            let Some(params) = &request.params else { continue };
            *if request.parts.params.is_unsure || request.parts.meta.is_unsure {
                &mut unsure
            } else {
                &mut sure
            } += 1;
            for (part, name) in ALL {
                let (found, decoded) = (request.part(part), part.decode(params.as_str()));
                assert_eq!(found.ok(), decoded.ok(), "{name} of {params:?}");
            }
        }
        assert!(sure > 5_000 && unsure > 2_000, "{sure} {unsure}");
    }

    #[test]
    fn params_without_parts_have_none() {
        for params in [
            "{}",
            r#"{"_meta":{}}"#,
            r#"{"_meta":null}"#,
            r#"{"_meta":[{"progressToken":1}]}"#,
            r#"{"\u0061":{}}"#,
        ] {
            for (request, (part, name)) in requests(params).iter().flat_map(|one| ALL.map(|all| (one, all))) {
                assert!(request.part(part) == Ok(None) || name == "_meta", "{params} {name}");
            }
        }
        let without = RpcRequest::new(1.into(), "ping", None);
        assert!(ALL.iter().all(|(part, _)| without.part(*part) == Ok(None)));
    }
}
