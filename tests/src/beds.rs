//! Each runtime: entered from a synchronous test, and serving.

mod custom;
mod smol;
mod tokio;

pub use custom::PoolBed;
pub use smol::SmolBed;
pub use tokio::TokioBed;
