//! [`Server`]: what the server says about itself, and what it adds to the answers of handlers (A.3, G.7).

use std::borrow::Cow;

use mcp_session_proto::{self as proto, ErrorCode, Insertions, Json, Names, ProtocolVersion, RpcError};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::transport::Rejection;

/// The key of the server's name and version in `_meta` (A-36).
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// What a server of 2026-07-28 says about itself.
#[derive(Debug)]
pub(crate) struct Server {
    /// The result of `server/discover` (G-47).
    pub(crate) discovered: Json,
    pub(crate) capabilities: Json,
    /// Whether the capabilities have extensions (G-64).
    extensions: bool,
    /// The member of `_meta`, with a comma behind it, if results have it.
    info: Option<String>,
    /// What most results get, with a comma behind it.
    usual: String,
}

/// An answer, and what is inserted into it when it is written.
#[derive(Debug)]
pub(crate) struct Completed<'a> {
    pub(crate) answer: Result<Json, RpcError>,
    pub(crate) insertions: Option<Insertions<'a>>,
}

impl Completed<'_> {
    /// An answer that stays as it is.
    pub(crate) const fn as_is(answer: Result<Json, RpcError>) -> Self {
        Self { answer, insertions: None }
    }

    /// The answer with what is inserted.
    pub(crate) fn into_answer(self) -> Result<Json, RpcError> {
        self.answer.map(|result| match &self.insertions {
            Some(insertions) => insertions.insert_into(&result),
            None => result,
        })
    }
}

/// What a handler's answer belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    pub(crate) method: &'a str,
    /// The client's capabilities.
    pub(crate) capabilities: &'a Json,
}

impl Answered<'_> {
    /// Whether a complete result has cache hints (G-62).
    fn is_cacheable(&self) -> bool {
        matches!(
            self.method,
            "tools/list"
                | "prompts/list"
                | "resources/list"
                | "resources/templates/list"
                | "resources/read"
                | "server/discover"
        )
    }
}

/// The members of a result that are added if they are missing.
const MEMBERS: Names<4> = Names::new(["resultType", "_meta", "ttlMs", "cacheScope"]);

#[derive(Deserialize)]
struct Capabilities {
    #[serde(default)]
    extensions: Map<String, Value>,
}

impl Server {
    /// `members` are those of the result of `server/discover` that the handler gives: `capabilities`, `instructions`
    /// and others.
    pub(crate) fn new(
        versions: &[ProtocolVersion],
        capabilities: &Json,
        server_info: Option<&Json>,
        mut members: Map<String, Value>,
    ) -> Self {
        let names = versions.iter().map(|version| version.as_str());
        members.insert("supportedVersions".into(), names.collect());
        members.insert("capabilities".into(), capabilities.parse().unwrap_or_default());
        let info = server_info.map(|info| format!(r#""{SERVER_INFO}":{},"#, info.as_str()));
        let meta = info.as_ref().map(|info| format!(r#""_meta":{{{}}},"#, without_comma(info)));
        let mut server = Self {
            discovered: Value::Null.into(),
            capabilities: capabilities.clone(),
            extensions: declares_extensions(capabilities),
            info,
            usual: [r#""resultType":"complete","#, &meta.unwrap_or_default()].concat(),
        };
        let answered = Answered { method: "server/discover", capabilities: Json::empty() };
        let discovered = Json::from(Value::Object(members));
        let discovered = server.complete(Some(answered), Ok(discovered)).into_answer();
        server.discovered = discovered.unwrap_or(server.discovered);
        server
    }

    /// Completes an answer to a request of 2026-07-28: a result gets the members that it must have (A-35, A-36, G-62),
    /// an error a code and a status that this revision has (A-33, G-05, G-21). `None`: the answer is not a handler's.
    ///
    /// The answer is [`ErrorCode::INTERNAL_ERROR`] if the result has a form that this request cannot have.
    pub(crate) fn complete(&self, to: Option<Answered<'_>>, answer: Result<Json, RpcError>) -> Completed<'_> {
        let completed = answer.map_err(modern).and_then(|result| {
            let text = result.as_str();
            let members = proto::members(text, &MEMBERS)?;
            if members.contains(&Some("null")) {
                return Ok(self.complete(to, without_nulls(&result))); // each member is sent once
            }
            let insertions = self.insertions(to, text, members)?;
            Ok(Completed { answer: Ok(result), insertions: Some(insertions) })
        });
        completed.unwrap_or_else(|error| Completed::as_is(Err(error)))
    }

    /// What is inserted into this text of a result, which has these of the members.
    ///
    /// # Errors
    ///
    /// As [`Server::complete`].
    fn insertions(
        &self,
        to: Option<Answered<'_>>,
        text: &str,
        [result_type, meta, ttl_ms, cache_scope]: [Option<&str>; MEMBERS.texts().len()],
    ) -> Result<Insertions<'_>, RpcError> {
        let complete = match result_type.map(|text| text.trim_matches('"')) {
            None | Some("complete") => true,
            Some("input_required") if to.is_some_and(|to| may_ask(to.method)) => false,
            Some("input_required") => {
                return Err(RpcError::internal("a request of this method cannot require input"));
            }
            Some(_) if self.extensions && to.is_some_and(|to| declares_extensions(to.capabilities)) => false,
            Some(_) => {
                return Err(RpcError::internal("the result type is of no extension that both sides declare"));
            }
        };
        let cacheable = complete && to.is_some_and(|to| to.is_cacheable());
        let front = if result_type.is_none() && meta.is_none() && !cacheable {
            Cow::Borrowed(&*self.usual)
        } else {
            let mut front = String::new();
            if result_type.is_none() {
                front.push_str(r#""resultType":"complete","#);
            }
            if cacheable && ttl_ms.is_none() {
                front.push_str(r#""ttlMs":0,"#);
            }
            if cacheable && cache_scope.is_none() {
                front.push_str(r#""cacheScope":"private","#);
            }
            if let (Some(info), None) = (&self.info, meta) {
                front.extend([r#""_meta":{"#, without_comma(info), "},"]);
            }
            Cow::Owned(front)
        };
        // They come before the first member, if there is one.
        let begin = text.len() - text.trim_start().len() + 1;
        let front = match front {
            Cow::Borrowed(front) if is_empty(&text[begin..]) => Cow::Borrowed(without_comma(front)),
            Cow::Owned(front) if is_empty(&text[begin..]) => Cow::Owned(without_comma(&front).to_owned()),
            front => front,
        };
        let inside = self.info.as_deref().zip(meta).and_then(|(info, meta)| {
            // `null` counts as absent, and what cannot be read is left as it is.
            let has = proto::members(meta, const { &Names::new([SERVER_INFO]) })
                .map_or(true, |[info]| info.is_some_and(|info| info != "null"));
            // The text of `meta` is a part of `text`.
            let begin = meta.as_ptr().addr() - text.as_ptr().addr() + 1;
            let info = if is_empty(&meta[1..]) { without_comma(info) } else { info };
            (!has).then_some((begin, Cow::Borrowed(info)))
        });
        Ok(Insertions([(begin, front), inside.unwrap_or((begin, Cow::Borrowed("")))]))
    }
}

/// Whether no member follows behind the brace of an object.
fn is_empty(members: &str) -> bool {
    members.trim_start().starts_with('}')
}

fn without_comma(members: &str) -> &str {
    members.strip_suffix(',').unwrap_or(members)
}

/// The result without those of its members that are completed here and `null`.
fn without_nulls(result: &Json) -> Result<Json, RpcError> {
    let mut members: Map<String, Value> = result.parse()?;
    members.retain(|name, value| !(value.is_null() && MEMBERS.texts().contains(&&**name)));
    Ok(Value::Object(members).into())
}

/// Whether capabilities declare an extension (G-64).
fn declares_extensions(capabilities: &Json) -> bool {
    capabilities.parse().is_ok_and(|Capabilities { extensions }| !extensions.is_empty())
}

/// Whether a request of this method may be answered with `input_required` (G-35).
pub(crate) fn may_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// The error as 2026-07-28 has it: codes that were given up or have another meaning now are replaced (A-33), and two codes
/// set the HTTP status.
fn modern(mut error: RpcError) -> RpcError {
    /// The former codes for an unknown resource and for an elicitation by URL.
    const RESOURCE_NOT_FOUND: ErrorCode = ErrorCode(-32002);
    const URL_ELICITATION_REQUIRED: ErrorCode = ErrorCode(-32042);
    error.code = match error.code {
        RESOURCE_NOT_FOUND => ErrorCode::INVALID_PARAMS,
        ErrorCode::CONNECTION_CLOSED | ErrorCode::SESSION_NOT_FOUND | URL_ELICITATION_REQUIRED => {
            ErrorCode::INTERNAL_ERROR
        }
        ErrorCode(-32099..=-32023) => ErrorCode::INTERNAL_ERROR, // reserved for codes to come (A-32)
        code => code,
    };
    let status = match error.code {
        ErrorCode::METHOD_NOT_FOUND => Rejection::UnknownMethod(String::new()).status(),
        ErrorCode::MISSING_CLIENT_CAPABILITY => Rejection::MissingCapability(Value::Null.into()).status(),
        _ => return error,
    };
    error.with_refusal(status.as_u16(), None)
}

#[cfg(test)]
mod tests;
