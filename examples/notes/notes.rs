//! The notes: four tools, a resource for each note, and a prompt.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mcp_session_core::{RequestContext, ResourceTemplate, Router, RpcError, Tool, ToolError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All notes, by their titles.
#[derive(Default)]
struct Notes(Mutex<BTreeMap<String, String>>);

impl Notes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize, JsonSchema)]
struct Note {
    /// The title, which names the note.
    title: String,
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Title {
    /// The title of a note.
    title: String,
}

#[derive(Deserialize, JsonSchema)]
struct Search {
    /// What to look for.
    text: String,
}

#[derive(Serialize, JsonSchema)]
struct Found {
    titles: Vec<String>,
}

/// The form that the user fills in.
#[derive(Deserialize, JsonSchema)]
struct Confirm {
    /// Whether to remove it.
    sure: bool,
}

/// The server.
pub(crate) fn router() -> Router {
    let notes = Arc::new(Notes::default());
    let (write, remove, search, export) = (notes.clone(), notes.clone(), notes.clone(), notes.clone());
    let (read, summarize) = (notes.clone(), notes);
    Router::new("notes", "0.1.0")
        .instructions("Keeps short notes.")
        .page_size(3)
        .resource_subscriptions()
        .tool("write", "Writes a note", move |cx: RequestContext, Note { title, text }: Note| {
            let notes = write.clone();
            async move {
                let new = notes.lock().insert(title.clone(), text).is_none();
                cx.resource_updated(&format!("notes://{title}"));
                Ok(if new { "written" } else { "replaced" }.to_owned())
            }
        })
        .tool_with(
            Tool::new("remove", "Removes a note, if the user agrees").destructive(true),
            move |cx: RequestContext, Title { title }: Title| {
                let notes = remove.clone();
                async move {
                    if !notes.lock().contains_key(&title) {
                        return Err(ToolError::new(format!("there is no note `{title}`")));
                    }
                    let question = format!("Remove `{title}`?");
                    match cx.elicit_as("sure", &question, Duration::from_secs(300)).await? {
                        Some(Confirm { sure: true }) => {}
                        _ => return Ok("kept".to_owned()),
                    }
                    notes.lock().remove(&title);
                    cx.resource_updated(&format!("notes://{title}"));
                    Ok("removed".to_owned())
                }
            },
        )
        .tool_with(
            Tool::new("search", "Finds notes").read_only(),
            move |_: RequestContext, Search { text }: Search| {
                let notes = search.clone();
                async move {
                    let notes = notes.lock();
                    let found = notes.iter().filter(|(_, note)| note.contains(&text));
                    Ok(Found { titles: found.map(|(title, _)| title.clone()).collect() })
                }
            },
        )
        .tool_with(
            Tool::new("export", "Writes out all notes").read_only(),
            move |cx: RequestContext, (): ()| {
                let notes = export.lock().clone();
                async move {
                    let (mut all, total) = (String::new(), notes.len() as f64);
                    for (done, (title, text)) in (1..).zip(&notes) {
                        all += &format!("# {title}\n{text}\n");
                        cx.progress(f64::from(done), Some(total), Some(title)).await?;
                    }
                    Ok(all)
                }
            },
        )
        .resource_template_with(
            ResourceTemplate::new("notes://{title}", "A note").mime_type("text/plain"),
            move |_: RequestContext, Title { title }: Title| {
                let text = read.lock().get(&title).cloned();
                async move { Ok(text) }
            },
        )
        .prompt("summarize", "Summarizes a note", move |_: RequestContext, Title { title }: Title| {
            let text = summarize.lock().get(&title).cloned();
            async move {
                let text =
                    text.ok_or_else(|| RpcError::invalid_params(format!("there is no note `{title}`")))?;
                Ok(format!("Summarize this note: {text}"))
            }
        })
}
