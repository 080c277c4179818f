//! Drives one MCP server with the client of the official Rust SDK.
//!
//! ```text
//! mcp-session-interop-rmcp sessions|modern|fallback all|two|notes http://127.0.0.1:PORT/mcp
//! ```
//!
//! Prints one JSON line, `{"client", "ok", "steps": [{"name", "ok", "detail"}]}`, and exits with 0 or 1. The arguments and the
//! steps are those of `client.py`.
//!
//! `sessions` is rmcp's `ClientLifecycleMode::Initialize`, `modern` is `Discover` with revision 2026-07-28, which never falls
//! back, `fallback` is `Auto` with a server that declines it.

mod client;
mod notes;
mod report;
mod steps;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rmcp::{ClientLifecycleMode, model::ProtocolVersion};

use crate::report::Report;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [way, tools, url] = words.try_into().ok().context("three arguments: the way, the tools, the URL")?;
    let lifecycle = match &*way {
        "sessions" => ClientLifecycleMode::Initialize,
        "modern" => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
        "fallback" => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        },
        _ => bail!("the way is `sessions`, `modern` or `fallback`, not {way}"),
    };
    let mut report = Report::default();
    steps::drive(&url, lifecycle, &way, &tools, &mut report).await;
    Ok(if report.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
