//! Each runtime, entered from a synchronous test.

mod custom;
mod tokio;

pub(crate) use custom::PoolBed;
pub(crate) use tokio::TokioBed;
