//! The steps with one server.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient,
    model::{CallToolRequestParams, ServerNotification, SubscriptionFilter},
    service::RunningService,
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::client::Client;
use crate::notes;
use crate::report::Report;

/// More steps of `slow` than any time limit allows: such a call ends only if it is cancelled.
const ENDLESS: u32 = 1_000_000;

const POLL: Duration = Duration::from_millis(20);

/// The connected client, and what its handler passes on.
pub(crate) struct Meeting {
    pub(crate) client: RunningService<RoleClient, Client>,
    pub(crate) progress: UnboundedReceiver<f64>,
    pub(crate) changed: UnboundedReceiver<String>,
}

/// Connects and performs all steps; `tools` says whether the server has those of the example `everything` (`all`), only two of
/// them, or is the example `notes`.
pub(crate) async fn drive(
    url: &str,
    lifecycle: ClientLifecycleMode,
    way: &str,
    tools: &str,
    report: &mut Report,
) {
    let all = tools == "all";
    let modern = matches!(lifecycle, ClientLifecycleMode::Discover { .. });
    let ((progress, progress_rx), (changed, changed_rx)) = (unbounded_channel(), unbounded_channel());
    let transport = StreamableHttpClientTransport::from_config(
        StreamableHttpClientTransportConfig::with_uri(url.to_owned()),
    );
    let mut connected = None;
    let begin = async {
        let client = Client { progress, changed }.serve_with_lifecycle(transport, lifecycle).await?;
        let version =
            client.peer_info().context("the server has introduced itself")?.protocol_version.clone();
        ensure!((version.as_str() >= "2026-07-28") == modern, "the negotiated version is {version}");
        connected = Some(Meeting { client, progress: progress_rx, changed: changed_rx });
        Ok(version.to_string())
    };
    if !report.step(if modern { "discover" } else { "initialize" }, begin).await {
        return;
    }
    let mut meeting = connected.expect("it is there after this step");
    if tools == "notes" {
        notes::steps(&mut meeting, way, report).await;
        return close(meeting, report).await;
    }
    report.step("list tools", meeting.list_tools(all)).await;
    report.step("echo", meeting.echo()).await;
    report.step("slow, progress", meeting.slow()).await;
    if all && modern {
        report.step("listen: list_changed", meeting.listen()).await;
        report.step("input required: elicitation", meeting.ask("elicitation", "Hello, Ada!")).await;
        report.step("input required: request state", meeting.ask("request_state", "state-ok")).await;
        report.step("cancel by closing", meeting.cancel()).await;
    } else if all {
        report.step("GET stream: announced", meeting.announced()).await;
        report.step("elicitation", meeting.elicitation()).await;
    }
    report.step("echo again", meeting.echo()).await;
    close(meeting, report).await;
}

async fn close(meeting: Meeting, report: &mut Report) {
    let close = async { Ok(format!("{:?}", meeting.client.cancel().await?)) };
    report.step("close", close).await;
}

impl Meeting {
    /// Calls a tool and returns its text.
    pub(crate) async fn call(&self, name: &str, arguments: Value) -> Result<String> {
        let Value::Object(arguments) = arguments else { bail!("arguments are an object") };
        let params = CallToolRequestParams::new(name.to_owned()).with_arguments(arguments);
        let result = self.client.call_tool(params).await?;
        let text: Vec<&str> = result.content.iter().filter_map(|part| Some(&*part.as_text()?.text)).collect();
        ensure!(result.is_error != Some(true), "the tool failed: {text:?}");
        Ok(text.join(" "))
    }

    async fn list_tools(&self, all: bool) -> Result<String> {
        let mut names: Vec<_> =
            self.client.list_all_tools().await?.into_iter().map(|tool| tool.name.to_string()).collect();
        names.sort();
        let wanted: &[&str] = if all { &["active", "announce", "echo", "slow"] } else { &["echo", "slow"] };
        let missing = wanted.iter().find(|name| !names.iter().any(|it| it == *name));
        ensure!(missing.is_none(), "no tool {missing:?} in {names:?}");
        Ok(format!("{} tools", names.len()))
    }

    async fn echo(&self) -> Result<String> {
        let text = self.call("echo", json!({ "message": "hello" })).await?;
        ensure!(text.contains("hello"), "echo answered {text:?}");
        Ok(text)
    }

    /// None of the progress notifications may be lost or doubled. The SDK hands them over in any order.
    async fn slow(&mut self) -> Result<String> {
        self.call("slow", json!({ "steps": 3, "interval_ms": 20 })).await?;
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(self.progress.recv().await.context("the client has ended")?);
        }
        seen.sort_by(f64::total_cmp);
        ensure!(
            seen == [1.0, 2.0, 3.0] && self.progress.is_empty(),
            "progress {seen:?}, and then more or less"
        );
        Ok("progress 3 of 3, each once".to_owned())
    }

    async fn announced(&mut self) -> Result<String> {
        while self.changed.try_recv().is_ok() {} // announced by others
        self.call("announce", json!({})).await?;
        self.changed.recv().await.context("the client has ended")?;
        Ok("notifications/tools/list_changed".to_owned())
    }

    /// The server asks the client while the call runs.
    async fn elicitation(&self) -> Result<String> {
        let text = self.call("test_elicitation", json!({ "message": "Who are you?" })).await?;
        ensure!(text.contains("Ada"), "it answered {text:?}");
        Ok(text)
    }

    /// The call ends with what the server has to know, and the SDK repeats it with that.
    async fn ask(&self, tool: &str, wanted: &str) -> Result<String> {
        let text = self.call(&format!("test_input_required_result_{tool}"), json!({})).await?;
        ensure!(text == wanted, "it answered {text:?}");
        Ok(text)
    }

    async fn listen(&self) -> Result<String> {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let mut subscription = self.client.listen(filter).await?;
        let honoured = subscription.acknowledged().tools_list_changed;
        ensure!(honoured == Some(true), "the server honours only {:?}", subscription.acknowledged());
        self.call("test_trigger_tool_change", json!({})).await?;
        let event = subscription.next().await?;
        let changed = matches!(event, Some(ServerNotification::ToolListChangedNotification(_)));
        ensure!(changed, "the stream has {event:?}; its end: {:?}", subscription.end());
        subscription.cancel().await?;
        Ok("acknowledged, then notifications/tools/list_changed".to_owned())
    }

    /// Drops a call once it is running; then nothing may be running any more.
    async fn cancel(&mut self) -> Result<String> {
        let arguments = json!({ "steps": ENDLESS, "interval_ms": 20 });
        tokio::select! {
            ended = self.client.call_tool(
                CallToolRequestParams::new("slow").with_arguments(arguments.as_object().cloned().unwrap_or_default()),
            ) => bail!("the call has ended: {ended:?}"),
            first = self.progress.recv() => ensure!(first == Some(1.0), "the first progress is {first:?}"),
        }
        // Other clients have calls that end by themselves.
        while self.call("active", json!({})).await? != "0" {
            tokio::time::sleep(POLL).await;
        }
        Ok("nothing is running".to_owned())
    }
}
