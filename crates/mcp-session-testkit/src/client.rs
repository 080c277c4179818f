//! [`TestClient`], for the tests of a server.

use std::{collections::VecDeque, fmt, sync::Arc};

use futures::{future::join, lock::Mutex as AsyncMutex};
use mcp_session_core::{Endpoint, ErrorCode, Handler, RpcError, ShutdownPolicy, ShutdownReport};
use serde_json::{Value, json};

use crate::{
    SimRuntime, TestBed,
    behaviour::fixture::{Client, META, MODERN, Modern, Reply, reply, request_with},
};

type Answer = Arc<dyn Fn(Value) -> Value + Send + Sync>;

/// A client of a server under test, without sockets. It speaks either era, reads every stream as clients do, and answers the
/// server's questions as the test says.
///
/// ```
/// use mcp_session_core::{ErrorCode, RequestContext, Router, RpcError};
/// use mcp_session_testkit::TestClient;
/// use serde_json::{Value, json};
///
/// fn router() -> Router {
///     Router::new("echo", "0.1.0").request("tools/call", |cx: RequestContext| async move {
///         let message = cx.params::<Value>()?["arguments"]["message"].take();
///         let text = message.as_str().ok_or_else(|| RpcError::invalid_params("no message"))?;
///         Ok(json!({ "content": [{ "type": "text", "text": text }] }))
///     })
/// }
///
/// for version in TestClient::VERSIONS {
///     TestClient::run(router(), version, async |client: TestClient| {
///         assert_eq!(client.call_tool("echo", json!({ "message": "hello" })).await?.text(), "hello");
///         let refused = client.call_tool("echo", json!({})).await.unwrap_err();
///         assert_eq!(refused.code, ErrorCode::INVALID_PARAMS);
///         assert!(client.shutdown().await.is_clean());
///         Ok::<(), RpcError>(())
///     })?;
/// }
/// # Ok::<(), RpcError>(())
/// ```
pub struct TestClient {
    endpoint: Endpoint,
    speaks: Speaks,
    answers: Vec<(String, Answer)>,
    log_level: Option<String>,
    state: AsyncMutex<State>,
}

/// How the client sends.
enum Speaks {
    /// In a session.
    Session(Client),
    /// 2026-07-28.
    Modern(Modern),
}

#[derive(Default)]
struct State {
    last_id: u64,
    /// The open GET stream of the session, or the last `subscriptions/listen`.
    standing: Option<Reply>,
    /// Received and not yet taken by the test.
    notifications: VecDeque<Value>,
    info: Value,
}

/// What a tool has returned.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolReply {
    /// The whole result.
    pub result: Value,
}

impl ToolReply {
    /// The texts of the content, joined by line breaks.
    pub fn text(&self) -> String {
        let blocks = self.result["content"].as_array().into_iter().flatten();
        blocks.filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
    }

    /// `structuredContent`, or null.
    pub fn structured(&self) -> &Value {
        &self.result["structuredContent"]
    }

    /// Whether the tool has failed.
    pub fn is_error(&self) -> bool {
        self.result["isError"] == true
    }
}

impl TestClient {
    /// One revision of each era: with a session, and without.
    pub const VERSIONS: [&str; 2] = ["2025-11-25", MODERN];

    /// Runs a test of a handler in virtual time: connects to an endpoint of its own and passes the client on.
    ///
    /// # Panics
    ///
    /// If the test panics, or waits for something that never comes (`deadlock: ...`).
    pub fn run<R>(handler: impl Handler, version: &str, test: impl AsyncFnOnce(Self) -> R) -> R {
        let sim = SimRuntime::new(0);
        let endpoint = Endpoint::new(sim.clone(), handler);
        sim.block_on(async { test(Self::connect(&endpoint, version).await).await })
    }

    /// Connects to an endpoint on any runtime, with this revision. It declares all capabilities.
    ///
    /// # Panics
    ///
    /// If the endpoint refuses.
    pub async fn connect(endpoint: &Endpoint, version: &str) -> Self {
        let capabilities = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
        let mut state = State::default();
        let speaks = if version == MODERN {
            let modern = Modern::of(endpoint).declaring(capabilities);
            let discovered = only_message(modern.post(&modern.call(0, "server/discover")).await).await;
            state.info = discovered["result"].clone();
            Speaks::Modern(modern)
        } else {
            let mut client = Client::of(endpoint);
            let params = json!({ "protocolVersion": version, "capabilities": capabilities,
                "clientInfo": { "name": "test", "version": "1" } });
            let opened = client.initialize_with(&request_with(0, "initialize", params)).await;
            state.info = opened["result"].clone();
            state.standing = Some(client.get().await);
            Speaks::Session(client)
        };
        let state = AsyncMutex::new(state);
        Self { endpoint: endpoint.clone(), speaks, answers: Vec::new(), log_level: None, state }
    }

    /// Answers the server's requests of this method, such as `elicitation/create`, with the result of a function of their
    /// params.
    #[must_use]
    pub fn answering(
        mut self,
        method: &str,
        answer: impl Fn(Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        self.answers.push((method.to_owned(), Arc::new(answer)));
        self
    }

    /// Asks for log messages from this level on, such as `info`: for the session, or with each request.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn set_log_level(&mut self, level: &str) -> Result<(), RpcError> {
        self.log_level = Some(level.to_owned());
        match &self.speaks {
            Speaks::Session(_) => self.request("logging/setLevel", json!({ "level": level })).await.map(drop),
            Speaks::Modern(_) => Ok(()),
        }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The result of `initialize` or `server/discover`.
    pub async fn server(&self) -> Value {
        self.state.lock().await.info.clone()
    }

    /// Calls a tool.
    ///
    /// # Errors
    ///
    /// The server's. A tool that fails is a reply with [`ToolReply::is_error`].
    pub async fn call_tool(&self, name: &str, arguments: Value) -> Result<ToolReply, RpcError> {
        let result = self.request("tools/call", json!({ "name": name, "arguments": arguments })).await?;
        Ok(ToolReply { result })
    }

    /// Gets the messages of a prompt.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn get_prompt(&self, name: &str, arguments: Value) -> Result<Vec<Value>, RpcError> {
        let mut result = self.request("prompts/get", json!({ "name": name, "arguments": arguments })).await?;
        Ok(list(result["messages"].take()))
    }

    /// Reads a resource. Returns the first of its contents.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn read_resource(&self, uri: &str) -> Result<Value, RpcError> {
        let mut result = self.request("resources/read", json!({ "uri": uri })).await?;
        Ok(result["contents"][0].take())
    }

    /// Lists all tools, page by page.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn tools(&self) -> Result<Vec<Value>, RpcError> {
        self.list("tools/list", "tools").await
    }

    /// Lists all prompts, page by page.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn prompts(&self) -> Result<Vec<Value>, RpcError> {
        self.list("prompts/list", "prompts").await
    }

    /// Lists all resources, page by page.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn resources(&self) -> Result<Vec<Value>, RpcError> {
        self.list("resources/list", "resources").await
    }

    /// Lists all resource templates, page by page.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn resource_templates(&self) -> Result<Vec<Value>, RpcError> {
        self.list("resources/templates/list", "resourceTemplates").await
    }

    async fn list(&self, method: &str, member: &str) -> Result<Vec<Value>, RpcError> {
        let (mut all, mut params) = (Vec::new(), json!({}));
        loop {
            let mut page = self.request(method, params).await?;
            all.extend(list(page[member].take()));
            match page.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return Ok(all),
            }
        }
    }

    /// Subscribes to a resource: [`TestClient::next_notification`] then waits for its changes.
    ///
    /// # Errors
    ///
    /// The server's.
    ///
    /// # Panics
    ///
    /// At 2026-07-28, if the server does not acknowledge it.
    pub async fn subscribe(&self, uri: &str) -> Result<(), RpcError> {
        match &self.speaks {
            Speaks::Session(_) => self.request("resources/subscribe", json!({ "uri": uri })).await.map(drop),
            Speaks::Modern(modern) => {
                let mut state = self.state.lock().await;
                state.last_id += 1;
                let filter = json!({ "resourceSubscriptions": [uri] });
                let (stream, honoured) = modern.listen(state.last_id, filter.clone()).await;
                assert_eq!(honoured, filter, "the server does not let clients subscribe");
                state.standing = Some(stream);
                Ok(())
            }
        }
    }

    /// Sends any request, with these params, and returns its result. Asks for progress. What the server sends before its
    /// answer is kept: [`TestClient::notifications`].
    ///
    /// # Errors
    ///
    /// The server's.
    ///
    /// # Panics
    ///
    /// If the server asks something that the test does not [answer](TestClient::answering), or if the response is no answer.
    pub async fn request(&self, method: &str, mut params: Value) -> Result<Value, RpcError> {
        loop {
            let id = self.next_id().await;
            params["_meta"]["progressToken"] = id.into();
            let mut answer = self.answer(id, method, params.clone()).await;
            if let Some(error) = answer.get("error") {
                return Err(failure(error));
            }
            if answer["result"]["resultType"] != "input_required" {
                return Ok(answer["result"].take());
            }
            let asked = answer["result"]["inputRequests"].as_object().cloned().unwrap_or_default();
            let given = asked.into_iter().map(|(key, mut asked)| {
                let answer =
                    self.answer_to(asked["method"].as_str().unwrap_or_default(), asked["params"].take());
                (key, answer)
            });
            params["inputResponses"] = Value::Object(given.collect());
            params["requestState"] = answer["result"]["requestState"].take();
            if params["requestState"].is_null() {
                params.as_object_mut().map(|params| params.remove("requestState"));
            }
        }
    }

    async fn next_id(&self) -> u64 {
        let mut state = self.state.lock().await;
        state.last_id += 1;
        state.last_id
    }

    /// Sends a request, and reads its response up to the answer.
    async fn answer(&self, id: u64, method: &str, mut params: Value) -> Value {
        let mut response = match &self.speaks {
            Speaks::Session(client) => client.post(&request_with(id, method, params)).await,
            Speaks::Modern(modern) => {
                if let Some(level) = &self.log_level {
                    params["_meta"][format!("{META}logLevel")] = level.clone().into();
                }
                modern.post(&modern.call_with(id, method, params)).await
            }
        };
        if !response.is_stream() {
            return only_message(response).await;
        }
        while let Some(message) = response.message().await {
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
            self.take(message).await;
        }
        panic!("the stream of `{method}` has ended without an answer");
    }

    /// Keeps a notification, and answers a request.
    async fn take(&self, mut message: Value) {
        let (Some(id), Speaks::Session(client)) = (message.get("id").cloned(), &self.speaks) else {
            self.state.lock().await.notifications.push_back(message);
            return;
        };
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        let answer = self.answer_to(&method, message["params"].take());
        client.post(&reply(id, answer)).await;
    }

    fn answer_to(&self, method: &str, params: Value) -> Value {
        let answer = self.answers.iter().rev().find(|(name, _)| name == method);
        let (_, answer) = answer.unwrap_or_else(|| panic!("the server asks `{method}`: {params}"));
        answer(params)
    }

    /// Takes all notifications that have come with answers so far, such as progress and log messages.
    pub async fn notifications(&self) -> Vec<Value> {
        self.state.lock().await.notifications.drain(..).collect()
    }

    /// Waits for the next notification that belongs to no request: on the stream of the session, or of the last
    /// [`TestClient::subscribe`]. `None` if that stream has ended.
    pub async fn next_notification(&self) -> Option<Value> {
        self.state.lock().await.standing.as_mut()?.message().await
    }

    /// Shuts the endpoint down, and reads what is still open to its end.
    pub async fn shutdown(self) -> ShutdownReport {
        let standing = self.state.lock().await.standing.take();
        let read = async {
            if let Some(standing) = standing {
                standing.messages().await;
            }
        };
        join(self.endpoint.shutdown(ShutdownPolicy::default()), read).await.0
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(all) => all,
        other => panic!("not a list: {other}"),
    }
}

/// The error of an answer.
fn failure(error: &Value) -> RpcError {
    let code = error["code"].as_i64().expect("a code");
    let message = error["message"].as_str().expect("a message").to_owned();
    let failed = RpcError::new(ErrorCode(code), message);
    match error.get("data") {
        Some(data) => failed.with_data(data.clone()),
        None => failed,
    }
}

/// The only message of a response without a stream, whatever its status.
async fn only_message(response: Reply) -> Value {
    let (status, body) = (response.status, response.bytes().await);
    serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{status}: {}", String::from_utf8_lossy(&body)))
}
