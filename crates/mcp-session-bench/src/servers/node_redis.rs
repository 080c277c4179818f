//! The tools on `mcp-session-tokio`, as a node of a store on Redis; or alone, without `--store`.

use std::{error::Error, sync::Arc};

use mcp_session_bench::{ServerArgs, endpoint_with};
use mcp_session_core::{Config, Runtime};
use mcp_session_redis::{Config as RedisConfig, RedisStore};
use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = ServerArgs::read();
    let listener = bind(args.bind)?;
    let address = listener.local_addr()?;
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current());
    let mut config = Config::default();
    if let Some(url) = &args.store {
        config.store = Some(RedisStore::connect(RedisConfig::new(url)?, Arc::clone(&runtime)).await?.store());
    }
    let server = serve(listener, endpoint_with(runtime, config)?).with_graceful_shutdown(terminate_signal);
    ServerArgs::announce(address);
    eprintln!("{}", server.await?);
    Ok(())
}
