//! The notes, in both eras, in virtual time.

use mcp_session_core::Endpoint;
use mcp_session_core::{RpcError, ShutdownPolicy};
use mcp_session_testkit::{SimRuntime, TestClient};
use serde_json::json;

use crate::notes::router;

/// Runs a test in each era, with a user who answers so.
fn with_a_user(sure: bool, test: impl AsyncFn(TestClient) -> Result<(), RpcError>) {
    for version in ["2025-11-25", "2026-07-28"] {
        let sim = SimRuntime::new(0);
        let report = sim.block_on(async {
            let endpoint = Endpoint::new(sim.clone(), router());
            let client = TestClient::builder(&endpoint).version(version);
            let answer = move |_: &_| json!({ "action": "accept", "content": { "sure": sure } });
            let client = client.elicitation(answer).open().await;
            test(client.clone()).await.unwrap_or_else(|error| panic!("at {version}: {error:?}"));
            client.shutdown(ShutdownPolicy::default()).await
        });
        assert!(report.is_clean(), "{report}");
        assert!(sim.panics().is_empty(), "{:?}", sim.panics());
    }
}

#[test]
fn notes_are_written_found_and_read() {
    TestClient::run(router, async |client| {
        let bread = json!({ "title": "shopping", "text": "bread" });
        client.call_tool("write", bread).await?;
        let found = client.call_tool("search", json!({ "text": "bread" })).await?;
        assert_eq!(found.structured, json!({ "titles": ["shopping"] }));
        assert_eq!(client.read_resource("notes://shopping").await?, "bread");
        assert!(client.read_resource("notes://other").await.is_err());
        let prompt = client.prompt("summarize", json!({ "title": "shopping" })).await?;
        assert_eq!(prompt[0]["content"]["text"], "Summarize this note: bread");
        assert_eq!(client.call_tool("export", json!({})).await?.text(), "# shopping\nbread\n");
        assert_eq!(client.notification("notifications/progress").await["progress"], 1.0);
        Ok(())
    });
}

#[test]
fn four_tools_on_two_pages_have_schemas() {
    TestClient::run(router, async |client| {
        let tools = client.tools().await?;
        let names: Vec<_> = tools.iter().map(|tool| &tool["name"]).collect();
        assert_eq!(names, ["write", "remove", "search", "export"]);
        assert_eq!(tools[0]["inputSchema"]["required"], json!(["title", "text"]));
        assert_eq!(tools[2]["outputSchema"]["required"], json!(["titles"]));
        assert_eq!(tools[1]["annotations"], json!({ "destructiveHint": true }));
        assert!(client.request("tools/list", json!({ "cursor": "x" })).await.is_err());
        assert_eq!(client.server()["capabilities"]["resources"], json!({ "subscribe": true }));
        assert_eq!(client.resource_templates().await?[0]["uriTemplate"], "notes://{title}");
        Ok(())
    });
}

#[test]
fn bad_arguments_and_unknown_tools_are_refused_with_their_names() {
    TestClient::run(router, async |client| {
        let refused = client.call_tool("write", json!({ "title": 1 })).await.unwrap_err();
        assert_eq!(refused.code.0, -32602);
        assert!(refused.message.contains("`params.arguments.title`"), "{}", refused.message);
        let unknown = client.call_tool("writ", json!({})).await.unwrap_err();
        assert_eq!((unknown.code.0, &*unknown.message), (-32602, "there is no tool `writ`"));
        let failed = client.call_tool("remove", json!({ "title": "none" })).await?;
        assert!(failed.is_error && failed.text().contains("`none`"), "{failed:?}");
        Ok(())
    });
}

#[test]
fn a_note_is_removed_only_if_the_user_is_sure() {
    for (sure, said) in [(true, "removed"), (false, "kept")] {
        with_a_user(sure, async |client| {
            client.call_tool("write", json!({ "title": "a", "text": "b" })).await?;
            assert_eq!(client.call_tool("remove", json!({ "title": "a" })).await?.text(), said);
            assert_eq!(client.read_resource("notes://a").await.is_err(), sure);
            Ok(())
        });
    }
}

#[test]
fn only_subscribers_of_a_note_are_told_of_its_changes() {
    TestClient::run(router, async |client| {
        client.subscribe("notes://a").await?;
        for title in ["b", "a"] {
            client.call_tool("write", json!({ "title": title, "text": "x" })).await?;
        }
        let updated = client.notification("notifications/resources/updated").await;
        assert_eq!(updated["uri"], "notes://a");
        assert_eq!(client.notifications("notifications/resources/updated"), [] as [serde_json::Value; 0]);
        Ok(())
    });
}
