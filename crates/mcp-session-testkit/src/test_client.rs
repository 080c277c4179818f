//! [`TestClient`]: a client of an endpoint without sockets, for the test of a server.

mod answer;
mod notified;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use mcp_session_core::{Endpoint, Handler, RpcError, ShutdownPolicy, ShutdownReport};
use serde_json::{Value, json};

pub use self::answer::ToolAnswer;
use self::{answer::outcome, notified::Notified};
use crate::{
    SimRuntime,
    behaviour::fixture::{Client, MODERN, Modern, Reply, notification, request_with},
};

type AnswerFn = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

/// A client of an [`Endpoint`], in process: no sockets, and with a [`SimRuntime`] no waiting. It speaks both eras: with a
/// session at 2025-11-25 and before, without one at 2026-07-28. Cheap to clone, for concurrent calls.
///
/// What no client should ever see, such as a reply that is cut or an answer to nobody's request, panics. What a server may
/// answer is a result.
///
/// ```
/// use mcp_session_core::{RequestContext, Router};
/// use mcp_session_testkit::TestClient;
/// use serde_json::json;
///
/// fn server() -> Router {
///     Router::new("greeter", "0.1.0").request("greet", |cx: RequestContext| async move {
///         let params: serde_json::Value = cx.params()?;
///         Ok(json!({ "hello": params["name"] }))
///     })
/// }
///
/// TestClient::run(server, async |client| {
///     assert_eq!(client.request("greet", json!({ "name": "you" })).await?["hello"], "you");
///     assert_eq!(client.request("other", json!({})).await.unwrap_err().code.0, -32601);
///     Ok(())
/// });
/// ```
#[derive(Clone)]
pub struct TestClient {
    wire: Wire,
    parts: Arc<Parts>,
}

#[derive(Debug, Clone)]
enum Wire {
    Session(Client),
    Modern(Modern),
}

struct Parts {
    endpoint: Endpoint,
    server: Value,
    next_id: AtomicU64,
    answers: HashMap<String, AnswerFn>,
    notified: Notified,
}

/// A [`TestClient`] to be opened.
#[derive(Clone)]
pub struct TestClientBuilder {
    endpoint: Endpoint,
    version: String,
    capabilities: Value,
    answers: HashMap<String, AnswerFn>,
}

impl TestClientBuilder {
    /// Speaks this revision: `2025-11-25` by default.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Answers the server's requests for the user's input, with the result of `elicitation/create` from its params, and
    /// declares the capability.
    #[must_use]
    pub fn elicitation(self, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        self.answering("elicitation", "elicitation/create", answer)
    }

    /// Answers the server's requests of this method with a result from their params, and declares this capability.
    #[must_use]
    pub fn answering(
        mut self,
        capability: &str,
        method: &str,
        answer: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        self.capabilities[capability] = json!({});
        self.answers.insert(method.to_owned(), Arc::new(answer));
        self
    }

    /// Opens it: a session with its GET stream, or at 2026-07-28 a `server/discover`.
    ///
    /// # Panics
    ///
    /// If the server refuses it.
    pub async fn open(self) -> TestClient {
        let Self { endpoint, version, capabilities, answers } = self;
        let parts = |server| {
            let (next_id, notified) = (AtomicU64::new(1), Notified::default());
            Arc::new(Parts { endpoint: endpoint.clone(), server, next_id, answers, notified })
        };
        if version == MODERN {
            let modern = Modern::of(&endpoint).declaring(capabilities);
            let server = modern.post(&modern.call(0, "server/discover")).await.answer().await;
            return TestClient { wire: Wire::Modern(modern), parts: parts(server["result"].clone()) };
        }
        let mut client = Client::of(&endpoint);
        let info = json!({ "name": "test-client", "version": "1" });
        let params = json!({ "protocolVersion": version, "capabilities": capabilities, "clientInfo": info });
        let server = client.initialize_with(&request_with(0, "initialize", params)).await;
        let told = client.post(&notification("notifications/initialized")).await;
        assert_eq!(told.status, 202, "notifications/initialized is accepted");
        let standalone = client.get().await;
        let opened = TestClient { wire: Wire::Session(client), parts: parts(server["result"].clone()) };
        if standalone.is_stream() {
            opened.read_in_background(standalone);
        }
        opened
    }
}

impl TestClient {
    /// Runs a test of a server in virtual time, once in each era: at 2025-11-25 and at 2026-07-28, each with a new handler. After each, the endpoint is
    /// shut down, which must be [clean](ShutdownReport::is_clean), and no task may have panicked.
    ///
    /// # Panics
    ///
    /// If the test panics or returns an error, or something is left over.
    pub fn run<H: Handler>(make: impl Fn() -> H, test: impl AsyncFn(Self) -> Result<(), RpcError>) {
        for version in ["2025-11-25", MODERN] {
            let sim = SimRuntime::new(0);
            let endpoint = Endpoint::new(sim.clone(), make());
            let report = sim.block_on(async {
                let client = Self::builder(&endpoint).version(version).open().await;
                if let Err(error) = test(client.clone()).await {
                    panic!("at {version}: {error:?}");
                }
                client.shutdown(ShutdownPolicy::default()).await
            });
            assert!(report.is_clean(), "at {version}: {report}");
            assert!(sim.panics().is_empty(), "at {version}: {:?}", sim.panics());
        }
    }

    /// Opens a client of revision 2025-11-25 that answers no requests of the server.
    pub async fn new(endpoint: &Endpoint) -> Self {
        Self::builder(endpoint).open().await
    }

    /// A client of this endpoint, to be configured and opened.
    pub fn builder(endpoint: &Endpoint) -> TestClientBuilder {
        TestClientBuilder {
            endpoint: endpoint.clone(),
            version: "2025-11-25".to_owned(),
            capabilities: json!({}),
            answers: HashMap::new(),
        }
    }

    /// The server's result of `initialize` or `server/discover`.
    pub fn server(&self) -> &Value {
        &self.parts.server
    }

    /// Sends a request, answers what the server asks meanwhile, and returns the result. It asks for progress.
    ///
    /// # Errors
    ///
    /// The server's error.
    pub async fn request(&self, method: &str, mut params: Value) -> Result<Value, RpcError> {
        loop {
            let id = self.parts.next_id.fetch_add(1, Relaxed);
            if params["_meta"].get("progressToken").is_none() {
                params["_meta"]["progressToken"] = id.into();
            }
            let reply = match &self.wire {
                Wire::Session(client) => client.post(&request_with(id, method, params.clone())).await,
                Wire::Modern(modern) => modern.post(&modern.call_with(id, method, params.clone())).await,
            };
            let result = outcome(self.answer_to(id, reply).await)?;
            if result["resultType"] != "input_required" {
                return Ok(result);
            }
            let asked = result["inputRequests"].as_object().into_iter().flatten();
            let answers = asked.map(|(key, asked)| (key.clone(), self.input(asked))).collect();
            params["inputResponses"] = Value::Object(answers);
            params["_meta"]["progressToken"] = Value::Null;
            params["_meta"].as_object_mut().map(|meta| meta.remove("progressToken"));
            if let Some(state) = result.get("requestState") {
                params["requestState"] = state.clone();
            }
        }
    }

    /// Calls a tool.
    ///
    /// # Errors
    ///
    /// The server's error, such as -32602 for bad arguments. A tool that has failed is [`ToolAnswer::is_error`].
    pub async fn call_tool(&self, name: &str, arguments: Value) -> Result<ToolAnswer, RpcError> {
        let result = self.request("tools/call", json!({ "name": name, "arguments": arguments })).await?;
        Ok(ToolAnswer::of(result))
    }

    /// All tools, of all pages.
    ///
    /// # Errors
    ///
    /// The server's error.
    pub async fn tools(&self) -> Result<Vec<Value>, RpcError> {
        self.list("tools/list", "tools").await
    }

    /// All prompts, of all pages.
    ///
    /// # Errors
    ///
    /// The server's error.
    pub async fn prompts(&self) -> Result<Vec<Value>, RpcError> {
        self.list("prompts/list", "prompts").await
    }

    /// All resources, of all pages.
    ///
    /// # Errors
    ///
    /// The server's error.
    pub async fn resources(&self) -> Result<Vec<Value>, RpcError> {
        self.list("resources/list", "resources").await
    }

    /// All resource templates, of all pages.
    ///
    /// # Errors
    ///
    /// The server's error.
    pub async fn resource_templates(&self) -> Result<Vec<Value>, RpcError> {
        self.list("resources/templates/list", "resourceTemplates").await
    }

    async fn list(&self, method: &str, member: &str) -> Result<Vec<Value>, RpcError> {
        let (mut all, mut params) = (Vec::new(), json!({}));
        loop {
            let mut page = self.request(method, params).await?;
            match page[member].take() {
                Value::Array(entries) => all.extend(entries),
                other => panic!("`{member}` of {method} is a list, not {other}"),
            }
            match page.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return Ok(all),
            }
        }
    }

    /// The messages of a prompt.
    ///
    /// # Errors
    ///
    /// The server's error.
    pub async fn prompt(&self, name: &str, arguments: Value) -> Result<Vec<Value>, RpcError> {
        let mut result = self.request("prompts/get", json!({ "name": name, "arguments": arguments })).await?;
        Ok(result["messages"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The text of a resource; of bytes, their base64.
    ///
    /// # Errors
    ///
    /// The server's error.
    ///
    /// # Panics
    ///
    /// If the contents have neither.
    pub async fn read_resource(&self, uri: &str) -> Result<String, RpcError> {
        let result = self.request("resources/read", json!({ "uri": uri })).await?;
        let contents = &result["contents"][0];
        let text = contents["text"].as_str().or_else(|| contents["blob"].as_str());
        Ok(text.unwrap_or_else(|| panic!("a resource has a text or bytes: {result}")).to_owned())
    }

    /// Subscribes to a resource: with `resources/subscribe`, or at 2026-07-28 with `subscriptions/listen`. Then
    /// [`notification`](Self::notification) waits for the updates.
    ///
    /// # Errors
    ///
    /// The server's error.
    ///
    /// # Panics
    ///
    /// If the server does not acknowledge it.
    pub async fn subscribe(&self, uri: &str) -> Result<(), RpcError> {
        match &self.wire {
            Wire::Session(_) => self.request("resources/subscribe", json!({ "uri": uri })).await.map(drop),
            Wire::Modern(modern) => {
                let id = self.parts.next_id.fetch_add(1, Relaxed);
                let (stream, honoured) = modern.listen(id, json!({ "resourceSubscriptions": [uri] })).await;
                assert_eq!(honoured["resourceSubscriptions"], json!([uri]), "the server has subscriptions");
                self.read_in_background(stream);
                Ok(())
            }
        }
    }

    /// Waits for the next notification of this method, removes it and returns its params. With `notifications/progress`: the
    /// progress of any call.
    pub async fn notification(&self, method: &str) -> Value {
        self.parts.notified.next(method).await
    }

    /// Removes and returns the params of the notifications of this method that have come so far.
    pub fn notifications(&self, method: &str) -> Vec<Value> {
        self.parts.notified.take(method)
    }

    /// Shuts the endpoint down, and returns the report.
    pub async fn shutdown(&self, policy: ShutdownPolicy) -> ShutdownReport {
        self.parts.endpoint.shutdown(policy).await
    }

    /// Reads a stream until the answer to this request, or its end.
    async fn answer_to(&self, id: u64, mut reply: Reply) -> Value {
        if !reply.is_stream() {
            return reply.json().await;
        }
        while let Some(message) = reply.message().await {
            if message.get("method").is_some() {
                self.receive(message).await;
                continue;
            }
            assert_eq!(message["id"], id, "an answer to this request: {message}");
            assert_eq!(reply.message().await, None, "nothing follows the answer");
            return message;
        }
        panic!("the stream of request {id} has ended without an answer");
    }

    fn read_in_background(&self, mut stream: Reply) {
        let client = self.clone();
        self.parts.endpoint.runtime().spawn(Box::pin(async move {
            while let Some(message) = stream.message().await {
                if message.get("method").is_some() {
                    client.receive(message).await;
                }
            }
        }));
    }

    /// Keeps a notification, answers a request.
    async fn receive(&self, mut message: Value) {
        let Some(id) = message.get("id").cloned() else {
            let method = message["method"].as_str().unwrap_or_default().to_owned();
            return self.parts.notified.add(method, message["params"].take());
        };
        if let Wire::Session(client) = &self.wire {
            let answer = json!({ "jsonrpc": "2.0", "id": id, "result": self.input(&message) });
            client.post(&answer).await;
        }
    }

    /// The client's answer to a request of the server.
    fn input(&self, asked: &Value) -> Value {
        let method = asked["method"].as_str().unwrap_or_default();
        let answer = self.parts.answers.get(method);
        answer.unwrap_or_else(|| panic!("the client does not answer `{method}`"))(&asked["params"])
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("wire", &self.wire).finish_non_exhaustive()
    }
}

impl fmt::Debug for TestClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, capabilities, .. } = self;
        f.debug_struct("TestClientBuilder")
            .field("version", version)
            .field("capabilities", capabilities)
            .finish_non_exhaustive()
    }
}
