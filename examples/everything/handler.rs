//! [`Everything`]: its own tools, and the fixtures for everything else. One handler serves clients of both eras.

use std::{collections::HashMap, sync::Arc};

use mcp_session_core::{
    Handler, InitializeRequest, InitializeResult, Json, RequestContext, RpcError, Runtime,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    fixtures::Fixtures,
    tools::{self, Tools},
};

/// The handler. It runs on any runtime: it needs only the timer that core needs.
#[derive(Debug)]
pub(crate) struct Everything {
    runtime: Arc<dyn Runtime>,
    tools: Tools,
    fixtures: Fixtures,
    /// The input schemas of the tools by name.
    schemas: HashMap<String, Json>,
}

#[derive(Deserialize)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

impl Everything {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        let fixtures = Fixtures::load();
        let schema =
            |tool: &Value| Some((tool["name"].as_str()?.to_owned(), tool["inputSchema"].clone().into()));
        let schemas = definitions(&fixtures).iter().filter_map(schema).collect();
        Self { tools: Tools::new(Arc::clone(&runtime)), runtime, fixtures, schemas }
    }

    async fn call_tool(&self, cx: &RequestContext) -> Result<Value, RpcError> {
        let Call { name, arguments } = cx.params()?;
        let text = match name.as_str() {
            "echo" => tools::echo(arguments)?,
            "slow" => self.tools.slow(cx, arguments).await?,
            "hang" => self.tools.hang().await,
            "active" => self.tools.active(),
            "announce" => tools::announce(cx).await?,
            "block" => tools::block(arguments)?,
            "panic" => tools::panic(),
            _ => return self.fixtures.call(cx, &name, &*self.runtime).await,
        };
        Ok(json!({ "content": [{ "type": "text", "text": text }] }))
    }
}

/// The definitions of all tools.
fn definitions(fixtures: &Fixtures) -> Vec<Value> {
    let own = tools::definitions();
    // The fixtures also define two of our own tools.
    let others = fixtures.tools().filter(|tool| own.iter().all(|own| own["name"] != tool["name"]));
    others.chain(&own).cloned().collect()
}

impl Handler for Everything {
    fn info(&self) -> InitializeResult {
        let info = InitializeResult::new("everything", "0.1.0");
        let info = info.with_capabilities(self.fixtures.modern_capabilities());
        self.fixtures.cache_hints().into_iter().fold(info, |info, (name, hint)| info.with_extra(name, hint))
    }

    /// Clients of older revisions get other capabilities.
    async fn initialize(&self, _: InitializeRequest) -> Result<InitializeResult, RpcError> {
        let result = InitializeResult::new("everything", "0.1.0");
        Ok(result.with_capabilities(self.fixtures.legacy_capabilities()))
    }

    fn tool_schema(&self, tool: &str) -> Option<Json> {
        self.schemas.get(tool).cloned()
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        let mut answer = match cx.method() {
            "tools/list" => json!({ "tools": definitions(&self.fixtures) }),
            "tools/call" => self.call_tool(&cx).await?,
            _ => self.fixtures.answer(&cx, &*self.runtime).await?,
        };
        self.fixtures.add_cache_hints(&cx, &mut answer);
        Ok(answer.into())
    }
}
