//! Each runtime, entered from a synchronous test.

mod custom;
mod smol;
mod tokio;

pub(crate) use custom::PoolBed;
pub(crate) use smol::SmolBed;
pub(crate) use tokio::TokioBed;
