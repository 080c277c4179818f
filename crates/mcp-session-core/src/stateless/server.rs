//! [`Server`]: what the server says about itself, and what it adds to the answers of handlers (A.3, G.7).

use mcp_session_proto::{self as proto, ErrorCode, Json, ProtocolVersion, RpcError};
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
    /// The member of `_meta`, if results have it.
    info: Option<String>,
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
const MEMBERS: [&str; 4] = ["resultType", "_meta", "ttlMs", "cacheScope"];

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
        let mut server = Self {
            discovered: Value::Null.into(),
            capabilities: capabilities.clone(),
            extensions: declares_extensions(capabilities),
            info: server_info.map(|info| format!(r#""{SERVER_INFO}":{}"#, info.as_str())),
        };
        let answered = Answered { method: "server/discover", capabilities: Json::empty() };
        let discovered = Json::from(Value::Object(members));
        server.discovered = server.complete(Some(answered), Ok(discovered)).unwrap_or(server.discovered);
        server
    }

    /// Completes an answer to a request of 2026-07-28: a result gets the members that it must have (A-35, A-36, G-62),
    /// an error a code and a status that this revision has (A-33, G-05, G-21). `None`: the answer is not a handler's.
    ///
    /// # Errors
    ///
    /// The error; and [`ErrorCode::INTERNAL_ERROR`] if the result has a form that this request cannot have.
    pub(crate) fn complete(
        &self,
        to: Option<Answered<'_>>,
        answer: Result<Json, RpcError>,
    ) -> Result<Json, RpcError> {
        let result = answer.map_err(modern)?;
        let cacheable = to.is_some_and(|to| to.is_cacheable());
        let text = result.as_str();
        let members = proto::members(text, &MEMBERS)?;
        if members.contains(&Some("null")) {
            return self.complete(to, without_nulls(&result)); // each member is sent once
        }
        let [result_type, meta, ttl_ms, cache_scope] = members;
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
        let body = text.trim_start();
        let added = self.info.as_ref().map_or(0, String::len) + 80;
        let mut out = String::with_capacity(text.len() + added);
        let mut push = |member: &str| {
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push_str(member);
        };
        if result_type.is_none() {
            push(r#""resultType":"complete""#);
        }
        if complete && cacheable {
            if ttl_ms.is_none() {
                push(r#""ttlMs":0"#);
            }
            if cache_scope.is_none() {
                push(r#""cacheScope":"private""#);
            }
        }
        // Where the server's info goes: into `_meta`, or with a new `_meta`.
        let info = self.info.as_deref();
        let mut inside = None;
        match (info, meta) {
            (None, _) => {}
            (Some(info), None) => {
                push(r#""_meta":{"#);
                out.push_str(info);
                out.push('}');
            }
            (Some(info), Some(meta)) => {
                // `null` counts as absent, and what cannot be read is left as it is.
                let has = proto::members(meta, &[SERVER_INFO])
                    .map_or(true, |[info]| info.is_some_and(|info| info != "null"));
                if !has {
                    // The text of `meta` is a part of `body`.
                    let at = meta.as_ptr().addr() - body.as_ptr().addr() + 1;
                    let empty = meta[1..].trim_start().starts_with('}');
                    inside = Some((at, info, if empty { "" } else { "," }));
                }
            }
        }
        if out.is_empty() && inside.is_none() {
            return Ok(result);
        }
        let mut rest = &body[1..]; // behind the brace
        if out.is_empty() {
            out.push('{');
        } else if !rest.trim_start().starts_with('}') {
            out.push(',');
        }
        if let Some((at, info, separator)) = inside {
            let (before, after) = rest.split_at(at - 1);
            out.extend([before, info, separator]);
            rest = after;
        }
        out.push_str(rest);
        Ok(Json::spliced(out))
    }
}

/// The result without those of its members that are completed here and `null`.
fn without_nulls(result: &Json) -> Result<Json, RpcError> {
    let mut members: Map<String, Value> = result.parse()?;
    members.retain(|name, value| !(value.is_null() && MEMBERS.contains(&&**name)));
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
