//! A bed for each runtime, with `serve`.

mod custom;
mod smol;
mod tls;
mod tokio;
mod unix;

pub use custom::PoolBed;
pub use smol::SmolBed;
pub use tls::TlsBed;
pub use tokio::TokioBed;
pub use unix::UnixBed;
