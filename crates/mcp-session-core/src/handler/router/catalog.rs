//! [`Catalog`]: what is registered on a [`Router`](super::Router), and the answers that come from it.

use futures::{FutureExt, future::ready};
use mcp_session_proto::{self as proto, Json, Names, RpcError};

use super::{
    Router, logging,
    pages::List,
    prompts,
    resources::{self, ResourceFn},
    template::Template,
    tools::{self, AddedTool, Answer, ToolFn},
};
use crate::handler::{InitializeResult, context::RequestContext};

/// The entries of a page: some 50 KB of schemas, which every client reads at once. Most servers have one page.
const PAGE_SIZE: usize = 100;

/// The capabilities that follow from what is registered.
const CAPABILITIES: Names<4> = Names::new(["tools", "prompts", "resources", "logging"]);

/// What is registered.
#[derive(Clone)]
pub(super) struct Catalog {
    pub(super) tools: List<AddedTool>,
    pub(super) prompts: List<ToolFn>,
    pub(super) resources: List<ResourceFn>,
    pub(super) templates: List<(Template, ResourceFn)>,
    /// Whether clients can subscribe to resources.
    pub(super) subscriptions: bool,
    /// Whether clients can choose a log level.
    pub(super) logging: bool,
    page_size: usize,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            tools: List::default(),
            prompts: List::default(),
            resources: List::default(),
            templates: List::default(),
            subscriptions: false,
            logging: false,
            page_size: PAGE_SIZE,
        }
    }
}

impl Router {
    /// Sets how many tools, prompts or resources a page of their lists has at most: 100 by default. 0 counts as 1.
    #[must_use]
    pub fn page_size(mut self, size: usize) -> Self {
        self.catalog.page_size = size.max(1);
        self
    }
}

impl Catalog {
    fn has_resources(&self) -> bool {
        !self.resources.is_empty() || !self.templates.is_empty()
    }

    /// The answer, if something was registered that answers this method.
    pub(super) fn answer(&self, cx: &RequestContext) -> Option<Answer> {
        let page = |answer: Result<Json, RpcError>| Ok(ready(answer).boxed());
        let (params, size) = (cx.raw_params(), self.page_size);
        let answer = match cx.method() {
            "tools/list" if !self.tools.is_empty() => page(self.tools.page("tools", params, size)),
            "tools/call" if !self.tools.is_empty() => tools::call(&self.tools, cx),
            "prompts/list" if !self.prompts.is_empty() => page(self.prompts.page("prompts", params, size)),
            "prompts/get" if !self.prompts.is_empty() => prompts::get(&self.prompts, cx),
            "resources/list" if self.has_resources() => page(self.resources.page("resources", params, size)),
            "resources/templates/list" if self.has_resources() => {
                page(self.templates.page("resourceTemplates", params, size))
            }
            "resources/read" if self.has_resources() => resources::read(self, cx),
            "resources/subscribe" if self.subscriptions => resources::subscribe(cx, true),
            "resources/unsubscribe" if self.subscriptions => resources::subscribe(cx, false),
            "logging/setLevel" if self.logging => logging::set_level(cx),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|error| ready(Err(error)).boxed()))
    }

    /// Adds the capabilities that follow from what is registered. Those that the author has set stay.
    pub(super) fn add_capabilities(&self, mut info: InitializeResult) -> InitializeResult {
        let has = [
            (r#""tools":{}"#, !self.tools.is_empty()),
            (r#""prompts":{}"#, !self.prompts.is_empty()),
            (r#""resources":{"subscribe":true}"#, self.subscriptions),
            (r#""resources":{}"#, self.has_resources() && !self.subscriptions),
            (r#""logging":{}"#, self.logging),
        ];
        let set = info.capabilities.as_str();
        let Ok([tools, prompts, resources, logging]) = proto::members(set, &CAPABILITIES) else {
            return info;
        };
        let are_set = [tools, prompts, resources, resources, logging];
        let added = has.into_iter().zip(are_set).filter(|((_, has), set)| *has && set.is_none());
        let added: Vec<&str> = added.map(|((text, _), _)| text).collect();
        let inside = set.trim().trim_start_matches('{');
        if !added.is_empty() {
            let comma = if inside.trim_start().starts_with('}') { "" } else { "," };
            info.capabilities = Json::spliced(["{", &added.join(","), comma, inside].concat());
        }
        info
    }

    /// The `inputSchema` of a tool.
    pub(super) fn tool_schema(&self, tool: &str) -> Option<Json> {
        self.tools.get(tool).map(|tool| tool.schema.clone())
    }
}
