//! Run with `cargo run --example notes -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
//!
//! A server of notes: typed tools, resources that clients subscribe to, a prompt, a question to the user, and progress.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mcp_session_core::{Endpoint, RequestContext, Router, Tool, ToolError};
use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

const PAGE: usize = 2;
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<BTreeMap<String, String>>>);

impl Notes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize, JsonSchema)]
struct Note {
    title: String,
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Title {
    /// The title of a note.
    title: String,
}

#[derive(Deserialize, JsonSchema)]
struct From {
    /// The `next` of the last page. None for the first page.
    from: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Page {
    titles: Vec<String>,
    next: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Sure {
    /// Whether to delete the note.
    sure: bool,
}

#[derive(Serialize, JsonSchema)]
struct Count {
    words: usize,
}

fn router() -> Router {
    let notes = Notes::default();
    let (writer, lister, remover, counter) = (notes.clone(), notes.clone(), notes.clone(), notes.clone());
    Router::new("notes", "0.1.0")
        .instructions("Keeps notes by title.")
        .page_size(3)
        .resource_subscriptions()
        .tool("write", "Writes a note", move |cx: RequestContext, note: Note| {
            let notes = writer.clone();
            async move {
                let uri = format!("notes://{}", note.title);
                notes.lock().insert(note.title, note.text);
                cx.resource_updated(&uri);
                Ok(format!("written: {uri}"))
            }
        })
        .tool_with(
            Tool::new("list", "Lists the titles, page by page").read_only(),
            move |_, From { from }| {
                let notes = lister.clone();
                async move {
                    let notes = notes.lock();
                    let mut titles = notes.range(from.unwrap_or_default()..).map(|(title, _)| title.clone());
                    Ok(Page { titles: titles.by_ref().take(PAGE).collect(), next: titles.next() })
                }
            },
        )
        .tool("delete", "Deletes a note, if the user is sure", move |cx: RequestContext, Title { title }| {
            let notes = remover.clone();
            async move {
                let question = format!("Delete the note `{title}`?");
                match cx.elicit_as("sure", &question, PATIENCE).await? {
                    Some(Sure { sure: true }) => {}
                    _ => return Err(ToolError::new("the user wants to keep it")),
                }
                let removed = notes.lock().remove(&title);
                removed.ok_or_else(|| ToolError::new(format!("there is no note `{title}`")))?;
                cx.resource_updated(&format!("notes://{title}"));
                Ok("deleted")
            }
        })
        .tool("count", "Counts the words of all notes", move |cx: RequestContext, (): ()| {
            let texts: Vec<String> = counter.lock().values().cloned().collect();
            async move {
                let mut words = 0;
                for (done, text) in texts.iter().enumerate() {
                    words += text.split_whitespace().count();
                    cx.progress((done + 1) as f64, Some(texts.len() as f64), None).await?;
                }
                Ok(Count { words })
            }
        })
        .resource_template("notes://{title}", "A note", move |_, Title { title }| {
            let text = notes.lock().get(&title).cloned();
            async move { Ok(text) }
        })
        .prompt("summary", "Asks for a summary of a note", |_, Title { title }| async move {
            Ok(format!("Summarize the note notes://{title} in one sentence."))
        })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().skip_while(|arg| arg != "--bind").nth(1);
    let listener = bind(at.as_deref().unwrap_or("127.0.0.1:8000"))?;
    println!("http://{}/mcp", listener.local_addr()?);
    let endpoint = Endpoint::new(TokioRuntime::current(), router());
    let report = serve(listener, endpoint).with_graceful_shutdown(terminate_signal).await?;
    println!("{report}");
    std::process::exit(i32::from(!report.is_clean()))
}
