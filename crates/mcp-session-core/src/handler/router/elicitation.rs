//! [`RequestContext::elicit_as`]: asks the user for a value of a type.

use std::time::Duration;

use mcp_session_proto::{RequestError, RpcError};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::schema::schema_of;
use crate::handler::context::RequestContext;

impl RequestContext {
    /// Asks the user for a `T`, with a form made of its schema: a struct of strings, numbers, booleans and enums of unit
    /// variants. `None` if the user declines or cancels. Otherwise as [`RequestContext::elicit`], also in that the handler runs
    /// again at 2026-07-28.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mcp_session_core::{RequestContext, ToolError};
    /// use schemars::JsonSchema;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct Party { guests: u32 }
    ///
    /// async fn book(cx: RequestContext) -> Result<String, ToolError> {
    ///     match cx.elicit_as("party", "For how many?", Duration::from_secs(300)).await? {
    ///         Some(Party { guests }) => Ok(format!("a table for {guests}")),
    ///         None => Err(ToolError::new("no table without guests")),
    ///     }
    /// }
    /// # let _ = book;
    /// ```
    ///
    /// # Errors
    ///
    /// As [`RequestContext::elicit`]; and [`RequestError::Invalid`] with -32602 if the client's content is not a `T`.
    pub async fn elicit_as<T: DeserializeOwned + JsonSchema>(
        &self,
        key: &str,
        message: &str,
        timeout: Duration,
    ) -> Result<Option<T>, RequestError> {
        let params = json!({ "message": message, "requestedSchema": form::<T>() });
        let mut answer: Value =
            self.elicit(key, &params, timeout).await?.parse().map_err(RequestError::Invalid)?;
        if answer["action"] != "accept" {
            return Ok(None);
        }
        let content = serde_json::from_value(answer["content"].take());
        content.map(Some).map_err(|error| {
            RequestError::Invalid(RpcError::invalid_params(format!("the user's answer to `{key}`: {error}")))
        })
    }
}

/// The schema of a form: flat, with types that clients know. An optional field is one that is not required.
fn form<T: JsonSchema>() -> Value {
    let mut schema = schema_of::<T>(|settings| settings.inline_subschemas = true);
    for property in schema["properties"].as_object_mut().into_iter().flatten().map(|(_, property)| property) {
        let nullable =
            property["type"].as_array().and_then(|types| types.iter().find(|one| *one != "null").cloned());
        if let Some(kind) = nullable {
            property["type"] = kind;
        }
        if property["type"] != "string" {
            property.as_object_mut().map(|members| members.remove("format")); // Rust's, such as `uint32`
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Party {
        guests: u32,
        name: Option<String>,
        place: Place,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    enum Place {
        Inside,
        Terrace,
    }

    #[test]
    fn a_form_is_flat_and_has_the_types_that_clients_know() {
        let form = form::<Party>();
        assert_eq!(form["properties"]["guests"], json!({ "type": "integer", "minimum": 0 }));
        assert_eq!(form["properties"]["name"], json!({ "type": "string" }));
        assert_eq!(form["properties"]["place"], json!({ "type": "string", "enum": ["Inside", "Terrace"] }));
        assert_eq!(form["required"], json!(["guests", "place"]));
    }
}
