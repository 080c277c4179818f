//! [`Everything`]: its own tools, and the fixtures for everything else.

use std::sync::Arc;

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
}

#[derive(Deserialize)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

impl Everything {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { tools: Tools::new(Arc::clone(&runtime)), runtime, fixtures: Fixtures::load() }
    }

    fn list_tools(&self) -> Value {
        let own = tools::definitions();
        // The fixtures also define two of our own tools.
        let others = self.fixtures.tools().filter(|tool| own.iter().all(|own| own["name"] != tool["name"]));
        json!({ "tools": own.iter().chain(others).collect::<Vec<_>>() })
    }

    async fn call_tool(&self, cx: &RequestContext) -> Result<Value, RpcError> {
        let Call { name, arguments } = cx.params()?;
        let text = match name.as_str() {
            "echo" => tools::echo(arguments)?,
            "slow" => self.tools.slow(cx, arguments).await?,
            "hang" => self.tools.hang().await,
            "active" => self.tools.active(),
            "announce" => tools::announce(cx).await?,
            _ => return self.fixtures.call(cx, &name, &*self.runtime).await,
        };
        Ok(json!({ "content": [{ "type": "text", "text": text }] }))
    }
}

impl Handler for Everything {
    fn info(&self) -> InitializeResult {
        InitializeResult::new("everything", "0.1.0").with_capabilities(self.fixtures.capabilities())
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        let answer = match cx.method() {
            "tools/list" => self.list_tools(),
            "tools/call" => self.call_tool(&cx).await?,
            _ => self.fixtures.answer(&cx)?,
        };
        Ok(answer.into())
    }
}
