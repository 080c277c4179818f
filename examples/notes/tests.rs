//! The server under a test client, in virtual time and in both eras.

use mcp_session_core::ErrorCode;
use mcp_session_testkit::TestClient;
use serde_json::json;

use super::router;

#[test]
fn notes_are_written_listed_read_and_counted() {
    TestClient::run(router(), async |client| {
        for title in ["a", "b", "c"] {
            client.call_tool("write", json!({ "title": title, "text": "two words" })).await?;
        }
        let first = client.call_tool("list", json!({})).await?.structured;
        assert_eq!(first, json!({ "titles": ["a", "b"], "next": "c" }));
        let last = client.call_tool("list", json!({ "from": "c" })).await?.structured;
        assert_eq!(last, json!({ "titles": ["c"], "next": null }));
        assert_eq!(client.read_resource("notes://b").await?, "two words");
        assert!(client.read_resource("notes://z").await.is_err());
        assert_eq!(client.call_tool("count", json!({})).await?.structured, json!({ "words": 6 }));
        assert_eq!(client.notifications("notifications/progress").len(), 3);
        Ok(())
    });
}

#[test]
fn tools_have_schemas_and_bad_arguments_are_named() {
    TestClient::run(router(), async |client| {
        let tools = client.tools().await?; // of two pages
        let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["write", "list", "delete", "count"]);
        assert_eq!(tools[0]["inputSchema"]["required"], json!(["title", "text"]));
        assert_eq!(tools[3]["outputSchema"]["type"], "object");
        let refused = client.call_tool("write", json!({ "title": "a", "text": 7 })).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_PARAMS);
        assert!(refused.message.contains("params.arguments.text"), "{}", refused.message);
        assert_eq!(client.call_tool("other", json!({})).await.unwrap_err().code, ErrorCode::INVALID_PARAMS);
        assert_eq!(client.prompts().await?[0]["arguments"][0]["name"], "title");
        assert_eq!(client.prompt("summary", json!({ "title": "a" })).await?.len(), 1);
        Ok(())
    });
}

#[test]
fn a_subscriber_is_told_when_its_note_changes() {
    TestClient::run(router(), async |client| {
        client.subscribe("notes://a").await?;
        client.call_tool("write", json!({ "title": "b", "text": "" })).await?;
        client.call_tool("write", json!({ "title": "a", "text": "" })).await?;
        let updated = client.notification("notifications/resources/updated").await;
        assert_eq!(updated["uri"], "notes://a"); // and not of `b`
        Ok(())
    });
}
