//! hyper on smol with canned answers, on one thread per core: the floor for `mcp-session-smol`.

use std::{io, pin::pin, sync::Arc, thread};

use futures::{
    FutureExt,
    future::{Either, select},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::server::graceful::GracefulShutdown;
use mcp_session_bench::{Canned, ServerArgs};
use mcp_session_smol::terminate_signal;
use smol::{Executor, Timer, net::TcpListener};
use smol_hyper::rt::FuturesIo;

fn main() -> io::Result<()> {
    let bind = ServerArgs::read().bind;
    let executor = Arc::new(Executor::new());
    let threads = thread::available_parallelism()?.get();
    let (end, ending) = smol::channel::bounded::<()>(1);
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| smol::block_on(executor.run(ending.recv())));
        }
        let served = smol::block_on(executor.run(serve(bind, &executor)));
        drop(end);
        served
    })
}

async fn serve(bind: std::net::SocketAddr, executor: &Executor<'static>) -> io::Result<()> {
    let listener = TcpListener::bind(bind).await?;
    let mut terminate = pin!(terminate_signal());
    let canned = Arc::new(Canned::new(|time| Timer::after(time).map(drop).boxed()));
    let connections = GracefulShutdown::new();
    ServerArgs::announce(listener.local_addr()?);
    loop {
        let socket = match select(pin!(listener.accept()), terminate.as_mut()).await {
            Either::Left((accepted, _)) => accepted?.0,
            Either::Right(((), _)) => break,
        };
        socket.set_nodelay(true)?;
        let canned = Arc::clone(&canned);
        let service = service_fn(move |request| {
            let canned = Arc::clone(&canned);
            async move { canned.respond(request).await }
        });
        let connection = http1::Builder::new().serve_connection(FuturesIo::new(socket), service);
        executor.spawn(connections.watch(connection)).detach();
    }
    canned.stop();
    connections.shutdown().await;
    Ok(())
}
