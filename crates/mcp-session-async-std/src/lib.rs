mod convert;
mod endpoint;
mod runtime;
mod signal;

pub use endpoint::McpEndpoint;
pub use runtime::AsyncStdRuntime;
pub use signal::terminate_signal;
