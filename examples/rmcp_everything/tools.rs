//! The tools, by what they need of the client: nothing, notifications, an answer during the call, or rounds of questions.

mod asking;
mod content;
mod input;
mod notifying;

pub(crate) use content::PIXEL;
