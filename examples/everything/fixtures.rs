//! [`Fixtures`]: the contents of `fixtures.json`, and the interpreter for its tool scripts. The file's `_doc` is the
//! manual.

use std::time::Duration;

use mcp_session_core::{ErrorCode, RequestContext, RpcError, Runtime};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::debug;

/// How long a script waits for the client's reply, for which a person may have to read something.
const REPLY: Duration = Duration::from_secs(60);

/// How long a client waits before it reconnects to a closed stream. Longer than the script sleeps after closing it, so
/// that the result is ready then.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fixtures {
    capabilities: Value,
    tools: Vec<Tool>,
    resources: Value,
    resource_templates: Vec<Value>,
    resource_contents: Map<String, Value>,
    resource_template_contents: TemplateContents,
    resource_not_found: NotFound,
    prompts: Value,
    prompt_results: Map<String, Value>,
    simple_results: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Tool {
    definition: Value,
    /// Empty if the tool is only listed.
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    /// Run the step only if this path exists.
    #[serde(rename = "if")]
    condition: Option<String>,
    /// Store the client's reply under this name.
    #[serde(rename = "as")]
    keep_as: Option<String>,
    #[serde(flatten)]
    action: Action,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Notify(Message),
    SleepMs(u64),
    Request(Message),
    Result(Value),
    CloseStream(bool),
}

#[derive(Debug, Deserialize)]
struct Message {
    method: String,
    params: Value,
}

#[derive(Debug, Deserialize)]
struct TemplateContents {
    contents: Value,
}

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
        serde_json::from_str(include_str!("fixtures.json")).expect("the file is part of this program")
    }

    pub(crate) fn capabilities(&self) -> Value {
        self.capabilities.clone()
    }

    /// The tools' definitions in `tools/list`.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Value> {
        self.tools.iter().map(|tool| &tool.definition)
    }

    /// Answers a request that is not about tools.
    pub(crate) fn answer(&self, cx: &RequestContext) -> Result<Value, RpcError> {
        match cx.method() {
            "resources/list" => Ok(json!({ "resources": self.resources })),
            "resources/templates/list" => Ok(json!({ "resourceTemplates": self.resource_templates })),
            "resources/read" => {
                let Located { uri } = cx.params()?;
                self.contents(&uri).map(|contents| json!({ "contents": contents }))
            }
            "prompts/list" => Ok(json!({ "prompts": self.prompts })),
            "prompts/get" => {
                let Named { name } = cx.params()?;
                let prompt = self.prompt_results.get(&name).ok_or_else(|| unknown("prompt", &name))?;
                Ok(fill(prompt, &json!({ "params": cx.params::<Value>()? })))
            }
            method => {
                self.simple_results.get(method).cloned().ok_or_else(|| RpcError::method_not_found(method))
            }
        }
    }

    /// Runs the script of a tool.
    pub(crate) async fn call(
        &self,
        cx: &RequestContext,
        name: &str,
        runtime: &dyn Runtime,
    ) -> Result<Value, RpcError> {
        let tool = self.tools.iter().find(|tool| tool.definition["name"] == name);
        let tool = tool.ok_or_else(|| unknown("tool", name))?;
        let mut scope = json!({ "params": cx.params::<Value>()? });
        for Step { condition, keep_as, action } in &tool.steps {
            if condition.as_ref().is_some_and(|path| look_up(&scope, path).is_none()) {
                continue;
            }
            match action {
                Action::Notify(Message { method, params }) => {
                    cx.notify(method, Some(&fill(params, &scope))).await?;
                }
                Action::SleepMs(time) => {
                    runtime.sleep_until(runtime.now() + Duration::from_millis(*time)).await;
                }
                Action::Request(Message { method, params }) => {
                    let reply = cx.request(method, Some(&fill(params, &scope)), REPLY).await?;
                    if let Some(name) = keep_as {
                        scope[name] = reply.parse()?;
                    }
                }
                Action::Result(result) => return Ok(fill(result, &scope)),
                Action::CloseStream(false) => {}
                // If the client cannot resume, the stream stays open; the script continues in either case.
                Action::CloseStream(true) => {
                    let closed = cx.close_stream(RETRY);
                    debug!(closed, name, "close_stream");
                }
            }
        }
        Err(RpcError::internal(format!("the script of {name} has no result")))
    }

    fn contents(&self, uri: &str) -> Result<Value, RpcError> {
        if let Some(contents) = self.resource_contents.get(uri) {
            return Ok(contents.clone());
        }
        let template = self.resource_templates.iter().find_map(|template| {
            let (name, value) = matched(template["uriTemplate"].as_str()?, uri)?;
            Some(json!({ "uri": uri, name: value }))
        });
        match template {
            Some(scope) => Ok(fill(&self.resource_template_contents.contents, &scope)),
            None => {
                let NotFound { code_2025, message, data } = &self.resource_not_found;
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

/// The template with every `{{path}}` replaced by the value at that path in `scope`.
fn fill(template: &Value, scope: &Value) -> Value {
    match template {
        Value::String(text) => fill_text(text, scope),
        Value::Array(items) => items.iter().map(|item| fill(item, scope)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), fill(member, scope))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    }
}

/// A text that is exactly one path becomes the value itself; otherwise the values are inserted into the text.
fn fill_text(text: &str, scope: &Value) -> Value {
    let whole = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    if let Some(path) = whole.filter(|path| !path.contains("}}")) {
        return look_up(scope, path).cloned().unwrap_or_default();
    }
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, path, after)) = next_path(rest) {
        filled += before;
        match look_up(scope, path) {
            Some(Value::String(text)) => filled += text,
            Some(value) => filled += &value.to_string(),
            None => {}
        }
        rest = after;
    }
    Value::String(filled + rest)
}

/// The text before, inside and after the first pair of double braces.
fn next_path(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (path, after) = rest.split_once("}}")?;
    Some((before, path, after))
}

fn look_up<'a>(scope: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(scope, |value, name| value.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_replaced() {
        let scope = json!({ "params": { "n": 7, "text": "hi {{params.n}}", "list": [1, "a"] } });
        let filled = |template: &str| fill_text(template, &scope);
        assert_eq!(filled("{{params.n}}"), json!(7));
        assert_eq!(filled("{{params.missing}}"), Value::Null);
        assert_eq!(filled("{{params.n}}{{params.n}}"), json!("77"));
        assert_eq!(filled("n={{params.n}}, {{params.list}}, {{no}}."), json!("n=7, [1,\"a\"], ."));
        assert_eq!(filled("{{params.text}}!"), json!("hi {{params.n}}!")); // inserted text is not expanded again
        assert_eq!(filled("{\"a\":{{params.n}}, {{open"), json!("{\"a\":7, {{open"));
    }

    #[test]
    fn a_template_has_one_segment() {
        let template = "test://template/{id}/data";
        assert_eq!(matched(template, "test://template/123/data"), Some(("id", "123")));
        for other in ["test://template//data", "test://template/1/2/data", "test://template/1", "x"] {
            assert_eq!(matched(template, other), None, "{other}");
        }
    }

    #[test]
    fn every_tool_with_a_script_ends_with_a_result() {
        let fixtures = Fixtures::load();
        for tool in fixtures.tools.iter().filter(|tool| !tool.steps.is_empty()) {
            let last = tool.steps.last().map(|step| &step.action);
            assert!(matches!(last, Some(Action::Result(_))), "{}", tool.definition["name"]);
        }
    }
}
