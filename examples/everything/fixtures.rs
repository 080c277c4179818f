//! [`Fixtures`]: the contents of `fixtures.json`, and of `fixtures-2026-07-28.json`, which adds to it. The files' `_doc` is
//! the manual.

mod fill;
mod script;

use mcp_session_core::{ErrorCode, ProtocolVersion, RequestContext, RpcError, Runtime};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use fill::fill;
use script::Script;

#[derive(Debug)]
pub(crate) struct Fixtures {
    base: Base,
    modern: Modern,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Base {
    capabilities: Value,
    tools: Vec<Scripted>,
    resources: Value,
    resource_templates: Vec<Value>,
    resource_contents: Map<String, Value>,
    resource_template_contents: TemplateContents,
    resource_not_found: NotFound,
    prompts: Vec<Value>,
    prompt_results: Map<String, Value>,
    simple_results: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modern {
    capabilities: Value,
    /// The methods whose results may be cached.
    cacheable: Vec<String>,
    ttl_ms: Value,
    cache_scope: Value,
    tools: Vec<Scripted>,
    prompts: Vec<Scripted>,
}

/// A tool or a prompt.
#[derive(Debug, Deserialize)]
struct Scripted {
    definition: Value,
    #[serde(flatten)]
    script: Script,
}

#[derive(Debug, Deserialize)]
struct TemplateContents {
    contents: Value,
}

/// The code of 2026-07-28 is not here: core replaces the older one.
#[derive(Debug, Deserialize)]
struct NotFound {
    code_2025: i64,
    message: String,
    data: Value,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Located {
    uri: String,
}

impl Fixtures {
    pub(crate) fn load() -> Self {
        let files = [include_str!("fixtures.json"), include_str!("fixtures-2026-07-28.json")];
        let read =
            || Ok(Self { base: serde_json::from_str(files[0])?, modern: serde_json::from_str(files[1])? });
        read().unwrap_or_else(|error: serde_json::Error| unreachable!("a part of this program: {error}"))
    }

    /// The capabilities for a client that opens with `initialize`.
    pub(crate) fn legacy_capabilities(&self) -> Value {
        self.base.capabilities.clone()
    }

    /// The capabilities for a client of 2026-07-28.
    pub(crate) fn modern_capabilities(&self) -> Value {
        self.modern.capabilities.clone()
    }

    /// The tools' definitions in `tools/list`.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Value> {
        self.base.tools.iter().chain(&self.modern.tools).map(|tool| &tool.definition)
    }

    /// How long a client of 2026-07-28 may keep what the server lists, and for whom: members of such a result.
    pub(crate) fn cache_hints(&self) -> [(&'static str, Value); 2] {
        [("ttlMs", self.modern.ttl_ms.clone()), ("cacheScope", self.modern.cache_scope.clone())]
    }

    /// Adds the hints to the answer to this request, if it is one that has them.
    pub(crate) fn add_cache_hints(&self, cx: &RequestContext, answer: &mut Value) {
        let modern = cx.protocol_version() >= ProtocolVersion::V2026_07_28;
        if modern && self.modern.cacheable.iter().any(|method| method == cx.method()) {
            for (name, hint) in self.cache_hints() {
                answer[name] = hint;
            }
        }
    }

    /// Answers a request that is not about tools.
    pub(crate) async fn answer(&self, cx: &RequestContext, runtime: &dyn Runtime) -> Result<Value, RpcError> {
        let Base { resources, resource_templates, prompts, prompt_results, simple_results, .. } = &self.base;
        match cx.method() {
            "resources/list" => Ok(json!({ "resources": resources })),
            "resources/templates/list" => Ok(json!({ "resourceTemplates": resource_templates })),
            "resources/read" => {
                let Located { uri } = cx.params()?;
                self.contents(&uri).map(|contents| json!({ "contents": contents }))
            }
            "prompts/list" => {
                let others = self.modern.prompts.iter().map(|prompt| &prompt.definition);
                Ok(json!({ "prompts": prompts.iter().chain(others).collect::<Vec<_>>() }))
            }
            "prompts/get" => {
                let Named { name } = cx.params()?;
                if let Some(prompt) = prompt_results.get(&name) {
                    return Ok(fill(prompt, &json!({ "params": cx.params::<Value>()? })));
                }
                let prompt = self.modern.prompts.iter().find(|prompt| prompt.definition["name"] == name);
                prompt.ok_or_else(|| unknown("prompt", &name))?.script.run(cx, runtime).await
            }
            method => simple_results.get(method).cloned().ok_or_else(|| RpcError::method_not_found(method)),
        }
    }

    /// Runs the script of a tool.
    pub(crate) async fn call(
        &self,
        cx: &RequestContext,
        name: &str,
        runtime: &dyn Runtime,
    ) -> Result<Value, RpcError> {
        let mut tools = self.base.tools.iter().chain(&self.modern.tools);
        let tool = tools.find(|tool| tool.definition["name"] == name);
        tool.ok_or_else(|| unknown("tool", name))?.script.run(cx, runtime).await
    }

    fn contents(&self, uri: &str) -> Result<Value, RpcError> {
        if let Some(contents) = self.base.resource_contents.get(uri) {
            return Ok(contents.clone());
        }
        let template = self.base.resource_templates.iter().find_map(|template| {
            let (name, value) = matched(template["uriTemplate"].as_str()?, uri)?;
            Some(json!({ "uri": uri, name: value }))
        });
        match template {
            Some(scope) => Ok(fill(&self.base.resource_template_contents.contents, &scope)),
            None => {
                let NotFound { code_2025, message, data } = &self.base.resource_not_found;
                let error = RpcError::new(ErrorCode(*code_2025), message.clone());
                Err(error.with_data(fill(data, &json!({ "uri": uri }))))
            }
        }
    }
}

fn unknown(what: &str, name: &str) -> RpcError {
    RpcError::invalid_params(format!("there is no {what} {name:?}"))
}

/// The name of a URI template's one variable, a path segment, and its value in `uri`; `None` if `uri` does not match.
fn matched<'a>(template: &'a str, uri: &'a str) -> Option<(&'a str, &'a str)> {
    let (prefix, rest) = template.split_once('{')?;
    let (name, suffix) = rest.split_once('}')?;
    let value = uri.strip_prefix(prefix)?.strip_suffix(suffix)?;
    (!value.is_empty() && !value.contains('/')).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_one_segment() {
        let template = "test://template/{id}/data";
        assert_eq!(matched(template, "test://template/123/data"), Some(("id", "123")));
        for other in ["test://template//data", "test://template/1/2/data", "test://template/1", "x"] {
            assert_eq!(matched(template, other), None, "{other}");
        }
    }

    #[test]
    fn every_script_ends_with_a_result() {
        let Fixtures { base, modern } = Fixtures::load();
        for Scripted { definition, script } in base.tools.iter().chain(&modern.tools).chain(&modern.prompts) {
            assert!(script.is_complete(), "{}", definition["name"]);
        }
    }

    /// A client of 2026-07-28 may list the tools to learn which of their arguments are in headers. The conformance suite
    /// calls the first one without arguments.
    #[test]
    fn the_first_tool_needs_no_arguments() {
        assert_eq!(Fixtures::load().tools().next().unwrap()["name"], "test_simple_text");
    }
}
