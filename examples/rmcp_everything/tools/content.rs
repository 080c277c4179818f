//! Tools that answer at once, with every kind of content.

use rmcp::{
    ErrorData,
    handler::server::wrapper::Parameters,
    model::{CallToolResult, ContentBlock, ResourceContents},
    schemars, tool, tool_router,
};
use serde::Deserialize;

use crate::{schemas, server::Everything};

/// A PNG of one pixel.
pub(crate) const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// A WAV file of one sample.
const SOUND: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Repeated {
    /// Clients repeat it in a header: core compares
    #[schemars(extend("x-mcp-header" = "Value"))]
    value: String,
}

fn embedded(uri: &str, mime_type: &str, text: &str) -> ContentBlock {
    ContentBlock::resource(ResourceContents::text(text, uri).with_mime_type(mime_type))
}

#[tool_router(router = content_tools, vis = "pub(crate)")]
impl Everything {
    #[tool(description = "Simple text")]
    fn test_simple_text(&self) -> String {
        "This is a simple text response for testing.".to_owned()
    }

    #[tool(description = "Image content")]
    fn test_image_content(&self) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::image(PIXEL, "image/png")])
    }

    #[tool(description = "Audio content")]
    fn test_audio_content(&self) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::audio(SOUND, "audio/wav")])
    }

    #[tool(description = "Embedded resource")]
    fn test_embedded_resource(&self) -> CallToolResult {
        let text = "This is an embedded resource content.";
        CallToolResult::success(vec![embedded("test://embedded-resource", "text/plain", text)])
    }

    #[tool(description = "Mixed content")]
    fn test_multiple_content_types(&self) -> CallToolResult {
        let json = r#"{"test":"data","value":123}"#;
        CallToolResult::success(vec![
            ContentBlock::text("Multiple content types test:"),
            ContentBlock::image(PIXEL, "image/png"),
            embedded("test://mixed-content-resource", "application/json", json),
        ])
    }

    #[tool(description = "Always an error")]
    fn test_error_handling(&self) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(
            "This tool intentionally returns an error for testing",
        )])
    }

    #[tool(
        description = "Tool with JSON Schema 2020-12 features",
        input_schema = schemas::json_schema_2020_12()
    )]
    fn json_schema_2020_12_tool(&self) -> String {
        "ok".to_owned()
    }

    #[tool(description = "Has an argument that is repeated in a header")]
    fn test_custom_header(
        &self,
        Parameters(Repeated { value }): Parameters<Repeated>,
    ) -> Result<String, ErrorData> {
        Ok(value)
    }
}
