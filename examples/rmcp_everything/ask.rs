//! Questions to a client of 2026-07-28, which gets them as the result of its request, and their answers.

use rmcp::{
    ErrorData,
    model::{ErrorCode, InputRequest, InputRequiredResult, InputResponses},
};
use serde_json::{Value, json};

fn question(method: &str, params: &Value) -> Result<InputRequest, ErrorData> {
    serde_json::from_value(json!({ "method": method, "params": params }))
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// A form for the user.
pub(crate) fn elicitation(message: &str, schema: &Value) -> Result<InputRequest, ErrorData> {
    let params = json!({ "mode": "form", "message": message, "requestedSchema": schema });
    question("elicitation/create", &params)
}

/// A form with one field.
pub(crate) fn field(message: &str, name: &str, kind: &str) -> Result<InputRequest, ErrorData> {
    let properties = json!({ name: { "type": kind } });
    elicitation(message, &json!({ "type": "object", "properties": properties, "required": [name] }))
}

/// A question to the client's model.
pub(crate) fn sampling(text: &str, max_tokens: u32) -> Result<InputRequest, ErrorData> {
    let message = json!({ "role": "user", "content": { "type": "text", "text": text } });
    question("sampling/createMessage", &json!({ "messages": [message], "maxTokens": max_tokens }))
}

/// For the client's roots.
pub(crate) fn roots() -> Result<InputRequest, ErrorData> {
    question("roots/list", &json!({}))
}

/// The result that asks. The state comes back with the answers.
pub(crate) fn required<'a>(
    questions: impl IntoIterator<Item = (&'a str, InputRequest)>,
    state: Option<String>,
) -> InputRequiredResult {
    let questions = questions.into_iter().map(|(key, question)| (key.to_owned(), question)).collect();
    InputRequiredResult::new(Some(questions), state)
}

/// The answer with this key.
pub(crate) fn answer<'a>(answers: Option<&'a InputResponses>, key: &str) -> Option<&'a Value> {
    answers?.get(key)
}

/// A field of an accepted form.
pub(crate) fn content<'a>(answers: Option<&'a InputResponses>, key: &str, field: &str) -> Option<&'a Value> {
    answer(answers, key)?.get("content")?.get(field)
}

/// The refusal of a state that this server has not sealed.
pub(crate) fn tampered(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::new(ErrorCode::INVALID_PARAMS, format!("requestState: {error}"), None)
}
