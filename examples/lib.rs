//! What some examples share. The examples are the `[[example]]` targets of this package.

#[path = "shared/client.rs"]
pub mod client;
#[path = "shared/progress.rs"]
pub mod progress;
