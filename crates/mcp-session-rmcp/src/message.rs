//! Messages of core as rmcp's types, and back.

use mcp_session_core::{Json, RpcError};
use rmcp::{
    ErrorData, RoleServer,
    model::{
        ClientNotification, ClientRequest, ClientResult, ErrorCode, JsonRpcMessage, RequestId, ServerResult,
    },
    service::RxJsonRpcMessage,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A message by its method.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) params: Option<Box<RawValue>>,
}

/// Splits one of rmcp's messages into its method and its params.
pub(crate) fn named<M: Serialize>(message: &M) -> Result<Named, serde_json::Error> {
    serde_json::from_str(&serde_json::to_string(message)?)
}

fn text(method: &str, params: Option<&Json>) -> String {
    let method = serde_json::Value::from(method);
    match params {
        Some(params) => format!(r#"{{"method":{method},"params":{}}}"#, params.as_str()),
        None => format!(r#"{{"method":{method}}}"#),
    }
}

/// Reads a request of the client: by its method, if rmcp knows it. rmcp itself tries one type after the other, which takes
/// ten times as long, and takes a known method with wrong params for an unknown method.
///
/// # Errors
///
/// -32602 with the reason if the params are not those of the method.
pub(crate) fn request(method: &str, params: Option<&Json>) -> Result<ClientRequest, RpcError> {
    let text = text(method, params);
    fn read<T: DeserializeOwned>(
        text: &str,
        make: fn(T) -> ClientRequest,
    ) -> Result<ClientRequest, RpcError> {
        serde_json::from_str(text).map(make).map_err(|error| RpcError::invalid_params(error.to_string()))
    }
    match method {
        "tools/call" => read(&text, ClientRequest::CallToolRequest),
        "tools/list" => read(&text, ClientRequest::ListToolsRequest),
        "prompts/get" => read(&text, ClientRequest::GetPromptRequest),
        "prompts/list" => read(&text, ClientRequest::ListPromptsRequest),
        "resources/list" => read(&text, ClientRequest::ListResourcesRequest),
        "resources/templates/list" => read(&text, ClientRequest::ListResourceTemplatesRequest),
        "resources/read" => read(&text, ClientRequest::ReadResourceRequest),
        "resources/subscribe" => read(&text, ClientRequest::SubscribeRequest),
        "resources/unsubscribe" => read(&text, ClientRequest::UnsubscribeRequest),
        "completion/complete" => read(&text, ClientRequest::CompleteRequest),
        "logging/setLevel" => read(&text, ClientRequest::SetLevelRequest),
        "initialize" => read(&text, ClientRequest::InitializeRequest),
        "subscriptions/listen" => read(&text, ClientRequest::SubscriptionsListenRequest),
        _ => read(&text, std::convert::identity),
    }
}

/// Reads a notification of the client.
///
/// # Errors
///
/// -32602 with the reason.
pub(crate) fn notification(method: &str, params: Option<&Json>) -> Result<ClientNotification, RpcError> {
    serde_json::from_str(&text(method, params)).map_err(|error| RpcError::invalid_params(error.to_string()))
}

/// The reply of the client to a request of the server.
pub(crate) fn reply(reply: Result<Json, RpcError>, id: RequestId) -> RxJsonRpcMessage<RoleServer> {
    let result = reply.and_then(|result| result.parse::<ClientResult>());
    match result {
        Ok(result) => JsonRpcMessage::response(result, id),
        Err(error) => JsonRpcMessage::error(to_rmcp(error), Some(id)),
    }
}

/// The answer of rmcp's service.
pub(crate) fn answer(answer: Result<ServerResult, ErrorData>) -> Result<Json, RpcError> {
    match answer {
        Ok(result) => Json::new(&result),
        Err(error) => Err(from_rmcp(error)),
    }
}

fn to_rmcp(error: RpcError) -> ErrorData {
    let code = i32::try_from(error.code.0).map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
    let data = error.data.and_then(|data| data.parse().ok());
    ErrorData::new(code, error.message, data)
}

fn from_rmcp(error: ErrorData) -> RpcError {
    let answer = RpcError::new(mcp_session_core::ErrorCode(error.code.0.into()), error.message);
    match error.data {
        Some(data) => answer.with_data(data),
        None => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_by_its_method_and_its_meta_is_kept() {
        let params = Json::from(serde_json::json!({ "name": "echo", "_meta": { "progressToken": 7 } }));
        let request = request("tools/call", Some(&params)).expect("a request");
        let ClientRequest::CallToolRequest(call) = &request else { panic!("{request:?}") };
        assert_eq!(call.params.name, "echo");
        use rmcp::model::GetMeta;
        assert!(request.get_meta().get_progress_token().is_some());
    }

    #[test]
    fn wrong_params_are_refused_and_an_unknown_method_is_a_custom_request() {
        let error = request("tools/call", Some(&Json::from(serde_json::json!({})))).expect_err("no name");
        assert_eq!(error.code, mcp_session_core::ErrorCode::INVALID_PARAMS);
        assert!(error.message.contains("name"), "{error:?}");
        let custom = request("acme/do", None).expect("a custom request");
        assert!(matches!(custom, ClientRequest::CustomRequest(_)), "{custom:?}");
    }
}
