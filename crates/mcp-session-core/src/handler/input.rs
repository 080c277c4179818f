//! Input of the client in the middle of a request: [`RequestContext::elicit`] and its like, in both eras, and what
//! 2026-07-28 needs for it (G-35 to G-39).

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    mem,
    time::Duration,
};

use mcp_session_proto::{Json, RequestError, RpcError, SendError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    context::RequestContext,
    initialize::known_capabilities,
    modern::Modern,
    state::{Binding, Unsealed},
};
use crate::{
    principal::Principal,
    session::object,
    stateless::server::may_ask,
    sync::{Mutex, OnceLock, lock},
};

/// A request for the client's input, which is a part of a result of 2026-07-28:
/// see [`RequestContext::input_required`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputRequest {
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    pub method: Cow<'static, str>,
    /// The params, an object.
    pub params: Json,
}

impl InputRequest {
    /// Asks the user: `elicitation/create` with these params.
    pub fn elicit(params: impl Into<Json>) -> Self {
        Self { method: "elicitation/create".into(), params: params.into() }
    }

    /// Asks the client's model: `sampling/createMessage` with these params.
    pub fn sample(params: impl Into<Json>) -> Self {
        Self { method: "sampling/createMessage".into(), params: params.into() }
    }

    /// Asks for the client's roots: `roots/list`.
    pub fn roots() -> Self {
        Self { method: "roots/list".into(), params: json!({}).into() }
    }
}

/// The client's input to one request.
#[derive(Default)]
pub(super) struct Inputs {
    given: OnceLock<Result<Given, RpcError>>,
    asked: Mutex<Asked>,
}

/// What the client sent with the request.
struct Given {
    /// Its answers to the last round. Those that are not objects count as missing (G-39).
    responses: HashMap<String, Json>,
    /// What this server has sealed in an earlier round.
    sealed: Sealed,
}

/// What is sealed in a `requestState`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sealed {
    /// The state of the handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<Box<RawValue>>,
    /// The client's answers to earlier rounds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    answers: BTreeMap<String, Box<RawValue>>,
}

/// What the handler has asked for, and what it got.
#[derive(Default)]
struct Asked {
    requests: BTreeMap<String, InputRequest>,
    answers: BTreeMap<String, Json>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default, rename = "inputResponses")]
    responses: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestState")]
    state: Option<&'a RawValue>,
}

impl Sealed {
    fn new(state: Option<Box<RawValue>>, answers: BTreeMap<String, Json>) -> Result<Self, RpcError> {
        let answers = answers.into_iter().map(|(key, answer)| Ok((key, raw(&answer)?)));
        Ok(Self { state, answers: answers.collect::<Result<_, RpcError>>()? })
    }
}

impl Given {
    fn read(
        params: Option<&Json>,
        open: impl FnOnce(&str) -> Result<Vec<u8>, Unsealed>,
    ) -> Result<Self, RpcError> {
        let empty = Params { responses: None, state: None };
        let Params { responses, state } = params.map_or(Ok(empty), Json::borrow)?;
        let responses: HashMap<String, &RawValue> = match responses {
            None => HashMap::new(),
            Some(responses) => serde_json::from_str(responses.get())
                .map_err(|_| RpcError::invalid_params("`params.inputResponses` must be an object"))?,
        };
        let is_object = |raw: &RawValue| raw.get().starts_with('{');
        let responses = responses.into_iter().filter(|(_, raw)| is_object(raw));
        let sealed = match state {
            None => Sealed::default(),
            Some(state) => {
                let text: String = serde_json::from_str(state.get())
                    .map_err(|_| RpcError::invalid_params("`params.requestState` must be a string"))?;
                serde_json::from_slice(&open(&text)?)
                    .map_err(|_| RpcError::internal("a sealed `requestState` could not be read"))?
            }
        };
        Ok(Self { responses: responses.map(|(key, raw)| (key, raw.to_owned().into())).collect(), sealed })
    }

    /// The client's answer to the request with this key.
    fn answer(&self, key: &str) -> Option<Json> {
        let earlier = || self.sealed.answers.get(key).map(|raw| raw.clone().into());
        self.responses.get(key).cloned().or_else(earlier)
    }
}

impl Modern {
    fn binding<'a>(&'a self, method: &'a str) -> Binding<'a> {
        let principal = self.principal.as_ref().map(Principal::as_str);
        Binding { principal, method, name: self.envelope.name.as_deref() }
    }

    fn given(&self, cx: &RequestContext) -> Result<&Given, RpcError> {
        let read = || Given::read(cx.raw_params(), |text| self.sealer.open(text, &self.binding(cx.method())));
        self.inputs.given.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    /// The client's answer to this request, if it has come; otherwise notes that the handler needs it.
    fn input(&self, cx: &RequestContext, key: &str, request: InputRequest) -> Result<Json, RequestError> {
        let given = self.given(cx).map_err(RequestError::Invalid)?;
        let mut asked = lock(&self.inputs.asked);
        if let Some(answer) = given.answer(key) {
            asked.answers.insert(key.to_owned(), answer.clone());
            return Ok(answer);
        }
        self.permits(cx.method(), &request)?;
        asked.requests.insert(key.to_owned(), request);
        Err(RequestError::InputRequired)
    }

    /// Checks that the client can be asked this (G-35, G-36).
    fn permits(&self, method: &str, request: &InputRequest) -> Result<(), RequestError> {
        if !may_ask(method) {
            return Err(RequestError::NotHere);
        }
        let known = known_capabilities(self.envelope.capabilities.as_str(), self.envelope.version);
        let known = known.unwrap_or_default();
        match known.missing(&request.method, Some(&request.params)) {
            None => Ok(()),
            Some(missing) => Err(RequestError::MissingCapability(required(missing))),
        }
    }

    /// The result that asks the client for what the handler needs.
    pub(super) fn ask(&self, method: &str) -> Result<Json, RpcError> {
        let Asked { requests, answers } = mem::take(&mut *lock(&self.inputs.asked));
        if requests.is_empty() {
            return Err(RpcError::internal("the handler needs input, but has asked for none"));
        }
        let given = self.inputs.given.get().and_then(|given| given.as_ref().ok());
        let state = given.and_then(|given| given.sealed.state.clone()); // it stays until the handler sets another one
        self.input_required(method, requests, &Sealed::new(state, answers)?)
    }

    fn input_required(
        &self,
        method: &str,
        requests: BTreeMap<String, InputRequest>,
        sealed: &Sealed,
    ) -> Result<Json, RpcError> {
        let mut result = Map::new();
        result.insert("resultType".into(), "input_required".into());
        if !requests.is_empty() {
            let requests = requests.into_iter().map(|(key, InputRequest { method, params })| {
                let params: Value = params.parse()?;
                Ok((key, json!({ "method": method, "params": params })))
            });
            let requests: Map<_, _> = requests.collect::<Result<_, RpcError>>()?;
            result.insert("inputRequests".into(), requests.into());
        }
        if sealed.state.is_some() || !sealed.answers.is_empty() {
            let plaintext = Json::new(sealed)?;
            let state = self.sealer.seal(plaintext.as_bytes(), &self.binding(method))?;
            result.insert("requestState".into(), state.into());
        }
        Ok(Value::Object(result).into())
    }
}

/// The capabilities object that names this capability, such as `elicitation.url`.
fn required(capability: &str) -> Json {
    let nested = |inner: Value, name: &str| json!({ name: inner });
    capability.split('.').rev().fold(json!({}), nested).into()
}

fn raw(json: &Json) -> Result<Box<RawValue>, RpcError> {
    json.parse()
}

/// Asking the client. A handler that uses [`elicit`](Self::elicit), [`sample`](Self::sample) and [`roots`](Self::roots)
/// serves clients of both eras with the same lines:
///
/// - In a session, the client gets a request on the stream of this one, and the method waits for its reply.
/// - At 2026-07-28, the server sends no requests (G-28). Unless the client's answer came with the request, the method
///   fails with [`RequestError::InputRequired`]. The handler returns that error, as `?` does, and the endpoint answers with
///   an `input_required` result that asks for everything that the handler has asked for so far. The client sends the
///   request again, with its answers, and **the handler runs again from its beginning**, perhaps at another node: this time
///   the method returns the answer. Answers of earlier rounds travel in the sealed `requestState`.
///
/// So a handler does what must happen once, such as a payment, after its last question. The keys identify the questions
/// of one request, and must be the same in each run. All answers of a request so far must fit into some 48 KB, the most that
/// can be sealed; otherwise the answer is -32603.
///
/// A client of an older revision without a session cannot be asked: [`RequestError::NoSession`].
///
/// ```
/// use std::time::Duration;
/// use mcp_session_core::{RequestContext, RpcError};
/// use serde_json::{Value, json};
///
/// async fn book(cx: RequestContext) -> Result<Value, RpcError> {
///     let ask = json!({ "message": "For how many?", "requestedSchema": {
///         "type": "object", "properties": { "guests": { "type": "integer" } }, "required": ["guests"] } });
///     let answer: Value = cx.elicit("guests", &ask, Duration::from_secs(300)).await?.parse()?;
///     match answer["content"]["guests"].as_u64() {
///         Some(guests) => Ok(json!({ "content": [{ "type": "text", "text": format!("a table for {guests}") }] })),
///         None => Err(RpcError::invalid_params("no table without guests")),
///     }
/// }
/// # let _ = book;
/// ```
impl RequestContext {
    /// Asks the user, with `elicitation/create`. In a session, waits at most `timeout`. Returns the result: an object with
    /// `action`, and `content` if the user has accepted.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: see above, and as [`RequestContext::request`]. At 2026-07-28 also
    /// [`RequestError::MissingCapability`] (G-05), [`RequestError::NotHere`] (G-35), and [`RequestError::Invalid`] if the
    /// client's `requestState` is not one of this server's for this request, or has expired (G-38).
    pub async fn elicit<P: Serialize + ?Sized>(
        &self,
        key: &str,
        params: &P,
        timeout: Duration,
    ) -> Result<Json, RequestError> {
        self.input(key, "elicitation/create", params, timeout).await
    }

    /// Asks the client's model, with `sampling/createMessage`; otherwise as [`RequestContext::elicit`].
    ///
    /// # Errors
    ///
    /// As [`RequestContext::elicit`].
    pub async fn sample<P: Serialize + ?Sized>(
        &self,
        key: &str,
        params: &P,
        timeout: Duration,
    ) -> Result<Json, RequestError> {
        self.input(key, "sampling/createMessage", params, timeout).await
    }

    /// Asks for the client's roots, with `roots/list`; otherwise as [`RequestContext::elicit`].
    ///
    /// # Errors
    ///
    /// As [`RequestContext::elicit`].
    pub async fn roots(&self, key: &str, timeout: Duration) -> Result<Json, RequestError> {
        self.input(key, "roots/list", &json!({}), timeout).await
    }

    async fn input<P: Serialize + ?Sized>(
        &self,
        key: &str,
        method: &'static str,
        params: &P,
        timeout: Duration,
    ) -> Result<Json, RequestError> {
        let Some(modern) = self.modern() else {
            return self.request(method, Some(params), timeout).await;
        };
        let params = object(Some(params))?.ok_or(SendError::Invalid)?;
        modern.input(self, key, InputRequest { method: method.into(), params })
    }

    /// The result that asks the client for input, for a handler that keeps its own state between rounds (2026-07-28). The
    /// client sends the request again with its answers: [`RequestContext::input_response`]. `state` comes back with them,
    /// sealed so that nobody else can read or change it (G-38): [`RequestContext::request_state`].
    ///
    /// # Errors
    ///
    /// -32603 in a revision without it, for a method other than `tools/call`, `prompts/get` and `resources/read` (G-35), with
    /// neither requests nor state, with a state that is too long (some 48 KB), and without random bytes for the seal. -32021
    /// if the client does not declare what a request needs (G-36).
    pub fn input_required<K: Into<String>, S: Serialize + ?Sized>(
        &self,
        requests: impl IntoIterator<Item = (K, InputRequest)>,
        state: Option<&S>,
    ) -> Result<Json, RpcError> {
        let modern = self.modern();
        let modern =
            modern.ok_or_else(|| RpcError::internal("only revision 2026-07-28 has `input_required`"))?;
        let requests: BTreeMap<String, _> =
            requests.into_iter().map(|(key, request)| (key.into(), request)).collect();
        for request in requests.values() {
            modern.permits(self.method(), request)?;
        }
        if requests.is_empty() && state.is_none() {
            return Err(RpcError::internal("`input_required` needs requests or a state"));
        }
        let state = state.map(|state| raw(&Json::new(state)?)).transpose()?;
        let answers = mem::take(&mut lock(&modern.inputs.asked).answers);
        modern.input_required(self.method(), requests, &Sealed::new(state, answers)?)
    }

    /// The client's answer to the input request with this key, if it came with this request and is an object (G-39).
    ///
    /// # Errors
    ///
    /// -32602 if the client's `inputResponses` or `requestState` are invalid (G-38).
    pub fn input_response(&self, key: &str) -> Result<Option<Json>, RpcError> {
        self.modern().map_or(Ok(None), |modern| Ok(modern.given(self)?.answer(key)))
    }

    /// The state that [`RequestContext::input_required`] has sealed, if the client has sent it back.
    ///
    /// # Errors
    ///
    /// -32602 if it is not one of this server's for this caller, method and name, has expired, or is not an `S` (G-38).
    pub fn request_state<S: DeserializeOwned>(&self) -> Result<Option<S>, RpcError> {
        let Some(modern) = self.modern() else { return Ok(None) };
        let state = modern.given(self)?.sealed.state.as_deref();
        let state = state.map(|raw| serde_json::from_str(raw.get())).transpose();
        state.map_err(|error| RpcError::invalid_params(format!("`requestState`: {error}")))
    }
}
