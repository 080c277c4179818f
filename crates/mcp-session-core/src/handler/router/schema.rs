//! JSON schemas of Rust types, as the protocol wants them, and arguments that are decoded by them.

use mcp_session_proto::RpcError;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::texts::Texts;

/// The schema of `T`: JSON Schema 2020-12, which is what the protocol means if a schema does not say (SEP-1613). The name
/// of the Rust type is left out.
pub(super) fn schema_of<T: JsonSchema>(settings: impl FnOnce(&mut SchemaSettings)) -> Value {
    let mut all = SchemaSettings::draft2020_12();
    all.meta_schema = None;
    settings(&mut all);
    let mut schema = all.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(members) = schema.as_object_mut() {
        members.remove("title");
    }
    schema
}

/// The schema of the arguments of a tool or prompt. `()` takes none.
///
/// # Panics
///
/// If `T` is not an object: arguments have names.
pub(super) fn arguments_of<T: JsonSchema>(of: &str) -> Value {
    let mut schema = schema_of::<T>(|_| ());
    match schema["type"].as_str() {
        Some("object") => {}
        Some("null") => schema = json!({ "type": "object", "properties": {} }),
        _ => panic!("the arguments of `{of}` must be a struct with named fields, not {schema}"),
    }
    schema
}

/// Decodes the arguments of a tool.
///
/// # Errors
///
/// -32602, which names the field.
pub(super) fn decode<T: DeserializeOwned + 'static>(arguments: Option<&str>) -> Result<T, RpcError> {
    let arguments = object(arguments)?;
    let text = if takes_none::<T>() { "null" } else { arguments };
    // Only what is refused is decoded again, to find the field.
    serde_json::from_str(text).or_else(|_| {
        let mut decoder = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut decoder).map_err(|error| refused("params.arguments", &error))
    })
}

/// Decodes the arguments of a prompt, which are texts.
///
/// # Errors
///
/// -32602, which names the field.
pub(super) fn decode_texts<T: DeserializeOwned + 'static>(arguments: Option<&str>) -> Result<T, RpcError> {
    let arguments: Map<String, Value> = serde_json::from_str(object(arguments)?)
        .map_err(|error| RpcError::invalid_params(format!("`params.arguments`: {error}")))?;
    decode_map("params.arguments", arguments)
}

/// Decodes named texts of `place`.
///
/// # Errors
///
/// -32602, which names the field.
pub(super) fn decode_map<T: DeserializeOwned>(place: &str, texts: Map<String, Value>) -> Result<T, RpcError> {
    serde_path_to_error::deserialize(Texts(texts)).map_err(|error| refused(place, &error))
}

fn object(arguments: Option<&str>) -> Result<&str, RpcError> {
    let arguments = arguments.unwrap_or("{}");
    if !arguments.starts_with('{') {
        return Err(RpcError::invalid_params("`params.arguments` must be an object"));
    }
    Ok(arguments)
}

fn takes_none<T: 'static>() -> bool {
    std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>()
}

fn refused(place: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> RpcError {
    let (path, why) = (error.path().to_string(), error.inner());
    let field = if path == "." { String::new() } else { format!(".{path}") };
    RpcError::invalid_params(format!("`{place}{field}`: {why}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "decoded to be checked")]
    struct Search {
        /// What to look for.
        text: String,
        #[serde(default)]
        limit: Option<u32>,
        #[serde(default)]
        places: Vec<Place>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "decoded to be checked")]
    struct Place {
        #[schemars(extend("x-mcp-header" = "Region"))]
        region: String,
    }

    #[test]
    fn a_schema_has_the_fields_and_their_docs_and_not_the_name_of_the_type() {
        let schema = arguments_of::<Search>("search");
        assert_eq!(
            schema["properties"]["text"],
            json!({ "type": "string", "description": "What to look for." })
        );
        assert_eq!(schema["required"], json!(["text"]));
        assert!(schema.get("title").is_none() && schema.get("$schema").is_none(), "{schema}");
        assert_eq!(schema["$defs"]["Place"]["properties"]["region"]["x-mcp-header"], "Region");
    }

    #[test]
    fn no_arguments_are_an_object_and_anything_but_an_object_is_refused() {
        assert_eq!(arguments_of::<()>("x"), json!({ "type": "object", "properties": {} }));
        decode::<()>(Some(r#"{"more":1}"#)).unwrap();
        decode::<()>(None).unwrap();
        assert!(std::panic::catch_unwind(|| arguments_of::<Vec<String>>("x")).is_err());
        assert!(decode::<()>(Some("[]")).is_err());
    }

    #[test]
    fn arguments_of_a_prompt_are_texts() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Page {
            number: u32,
        }
        assert_eq!(decode_texts::<Page>(Some(r#"{"number":"7"}"#)).unwrap(), Page { number: 7 });
        let refused = decode_texts::<Page>(Some(r#"{"number":"seven"}"#)).unwrap_err();
        assert!(refused.message.starts_with("`params.arguments.number`"), "{}", refused.message);
        decode_texts::<()>(Some(r#"{"more":"x"}"#)).unwrap();
        decode_texts::<()>(None).unwrap();
        assert!(decode_texts::<Page>(Some("[]")).is_err());
    }

    #[test]
    fn a_bad_argument_is_named() {
        for (arguments, named) in [
            (r#"{}"#, "`params.arguments`: missing field `text`"),
            (r#"{"text":1}"#, "`params.arguments.text`: invalid type"),
            (r#"{"text":"a","places":[{"region":"x"},{"region":2}]}"#, "`params.arguments.places[1].region`"),
            (r#"{"text":"a","limit":-1}"#, "`params.arguments.limit`"),
        ] {
            let refused = decode::<Search>(Some(arguments)).unwrap_err();
            assert!(refused.message.starts_with(named), "{}", refused.message);
        }
    }
}
