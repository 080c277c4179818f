//! The resources, and the template of more.

use rmcp::{
    ErrorData,
    model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate},
};
use serde_json::json;

use crate::tools::PIXEL;

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
const WATCHED: &str = "test://watched-resource";

pub(crate) fn list() -> Vec<Resource> {
    vec![
        Resource::new(TEXT, "static-text").with_description("Static text").with_mime_type("text/plain"),
        Resource::new(BINARY, "static-binary").with_description("Static binary").with_mime_type("image/png"),
        Resource::new(WATCHED, "watched-resource")
            .with_description("Subscribable")
            .with_mime_type("text/plain"),
    ]
}

pub(crate) fn template() -> ResourceTemplate {
    ResourceTemplate::new("test://template/{id}/data", "template")
        .with_description("Data for each id")
        .with_mime_type("application/json")
}

/// # Errors
///
/// -32002 if there is none; rmcp makes it -32602 for 2026-07-28.
pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let contents = match uri {
        TEXT => ResourceContents::text("This is the content of the static text resource.", uri)
            .with_mime_type("text/plain"),
        BINARY => ResourceContents::blob(PIXEL, uri).with_mime_type("image/png"),
        WATCHED => ResourceContents::text("Watched resource content", uri).with_mime_type("text/plain"),
        _ => {
            let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
            let id = id.filter(|id| !id.is_empty() && !id.contains('/'));
            let unknown = || ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri })));
            let id = id.ok_or_else(unknown)?;
            let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            ResourceContents::text(data.to_string(), uri).with_mime_type("application/json")
        }
    };
    Ok(ReadResourceResult::new(vec![contents]))
}
