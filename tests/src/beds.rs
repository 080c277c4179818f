//! A bed for each runtime, with `serve`.

mod custom;
mod smol;
mod tokio;

pub use custom::PoolBed;
pub use smol::SmolBed;
pub use tokio::TokioBed;
