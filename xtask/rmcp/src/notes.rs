//! The steps with the example `notes`: typed tools on two pages, resources with subscriptions, a prompt, a form for the user.

use anyhow::{Context as _, Result, ensure};
use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, ReadResourceRequestParams, ReadResourceResult,
    ResourceContents, ServerNotification, SubscribeRequestParams, SubscriptionFilter,
};
use serde_json::{Value, json};

use crate::report::Report;
use crate::steps::Meeting;

/// In the order in which they were added, three on a page.
const TOOLS: [&str; 4] = ["write", "remove", "search", "export"];

/// The note of this client; others have notes of their own.
struct Note {
    title: String,
    uri: String,
    text: String,
}

/// Performs the steps. A client of 2026-07-28 listens, others subscribe.
pub(crate) async fn steps(meeting: &mut Meeting, way: &str, report: &mut Report) {
    let title = format!("rmcp-{way}");
    let note = Note { uri: format!("notes://{title}"), text: format!("bread for {title}"), title };
    report.step("list tools", note.list_tools(meeting)).await;
    report.step("write", note.write(meeting)).await;
    report.step("search, structured", note.search(meeting)).await;
    report.step("read", note.read(meeting)).await;
    report.step("export, progress", note.export(meeting)).await;
    report.step("prompt", note.prompt(meeting)).await;
    if way == "modern" {
        report.step("listen: updated", note.listen(meeting)).await;
    } else {
        report.step("subscribe: updated", note.subscribe(meeting)).await;
    }
    report.step("remove, asked", note.remove(meeting)).await;
}

impl Note {
    async fn list_tools(&self, meeting: &Meeting) -> Result<String> {
        let first = meeting.client.list_tools(None).await?;
        ensure!(first.tools.len() == 3 && first.next_cursor.is_some(), "the first page is {first:?}");
        let tools = meeting.client.list_all_tools().await?;
        ensure!(tools.iter().map(|tool| &*tool.name).eq(TOOLS), "the tools are {tools:?}");
        Ok(format!("{} tools on two pages", tools.len()))
    }

    async fn write(&self, meeting: &Meeting) -> Result<String> {
        meeting.call("write", json!({ "title": self.title, "text": self.text })).await
    }

    async fn search(&self, meeting: &Meeting) -> Result<String> {
        let arguments = json!({ "text": self.text }).as_object().cloned().unwrap_or_default();
        let search = CallToolRequestParams::new("search").with_arguments(arguments);
        let found = meeting.client.call_tool(search).await?.structured_content;
        ensure!(found == Some(json!({ "titles": [self.title] })), "it found {found:?}");
        Ok(found.unwrap_or_default().to_string())
    }

    async fn contents(&self, meeting: &Meeting) -> Result<ReadResourceResult> {
        Ok(meeting.client.read_resource(ReadResourceRequestParams::new(&*self.uri)).await?)
    }

    async fn read(&self, meeting: &Meeting) -> Result<String> {
        let contents = self.contents(meeting).await?.contents;
        let [ResourceContents::TextResourceContents { text, .. }] = &contents[..] else {
            anyhow::bail!("it has {contents:?}");
        };
        ensure!(*text == self.text, "it has {text:?}");
        Ok(text.clone())
    }

    /// None of the progress notifications may be lost or doubled. The SDK hands them over in any order.
    async fn export(&self, meeting: &mut Meeting) -> Result<String> {
        let exported = meeting.call("export", json!({})).await?;
        ensure!(exported.contains(&format!("# {}\n{}\n", self.title, self.text)), "it exported {exported:?}");
        let count = exported.matches("# ").count();
        let mut seen = Vec::new();
        while seen.len() < count {
            seen.push(meeting.progress.recv().await.context("the client has ended")?);
        }
        seen.sort_by(f64::total_cmp);
        ensure!(seen.iter().zip(1..).all(|(seen, wanted)| *seen == f64::from(wanted)), "progress {seen:?}");
        Ok(format!("progress {count} of {count}, each once"))
    }

    async fn prompt(&self, meeting: &Meeting) -> Result<String> {
        let arguments = json!({ "title": self.title }).as_object().cloned().unwrap_or_default();
        let params = GetPromptRequestParams::new("summarize").with_arguments(arguments);
        let prompt: Value = serde_json::to_value(meeting.client.get_prompt(params).await?)?;
        let text = prompt["messages"][0]["content"]["text"].as_str().unwrap_or_default();
        ensure!(text.contains(&self.text), "it is {prompt}");
        Ok(text.to_owned())
    }

    #[allow(deprecated, reason = "what clients of older revisions use")]
    async fn subscribe(&self, meeting: &mut Meeting) -> Result<String> {
        meeting.client.subscribe(SubscribeRequestParams::new(&*self.uri)).await?;
        self.write(meeting).await?;
        let updated = meeting.changed.recv().await.context("the client has ended")?;
        ensure!(updated == self.uri, "{updated} has changed");
        Ok(format!("notifications/resources/updated {updated}"))
    }

    async fn listen(&self, meeting: &Meeting) -> Result<String> {
        let filter = SubscriptionFilter::builder().resource_subscriptions([&*self.uri]).build();
        let mut subscription = meeting.client.listen(filter).await?;
        self.write(meeting).await?;
        let event = subscription.next().await?;
        let updated = matches!(&event, Some(ServerNotification::ResourceUpdatedNotification(it)) if it.params.uri == self.uri);
        ensure!(updated, "the stream has {event:?}; its end: {:?}", subscription.end());
        subscription.cancel().await?;
        Ok(format!("acknowledged, then notifications/resources/updated {}", self.uri))
    }

    /// The server asks whether the user is sure, and the user is.
    async fn remove(&self, meeting: &Meeting) -> Result<String> {
        let said = meeting.call("remove", json!({ "title": self.title })).await?;
        ensure!(said == "removed", "it answered {said:?}");
        match self.contents(meeting).await {
            Ok(contents) => anyhow::bail!("it can still be read: {contents:?}"),
            Err(error) => Ok(format!("{said}, then {error}")),
        }
    }
}
