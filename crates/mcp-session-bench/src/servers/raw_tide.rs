//! tide with canned answers, and `TCP_NODELAY`, without which each answer takes 44 ms: the floor for
//! `mcp-session-async-std`.

use std::{
    io,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_std::{net::TcpListener, task};
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{Either, select},
    stream,
};
use mcp_session_async_std::terminate_signal;
use mcp_session_bench::{Asked, Canned, Reply, ServerArgs};
use tide::{Body, Request, Response};

fn main() -> io::Result<()> {
    task::block_on(serve(ServerArgs::read().bind))
}

async fn serve(bind: std::net::SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(bind).await?;
    let mut terminate = pin!(terminate_signal());
    let canned = Arc::new(Canned::new(|time| task::sleep(time).boxed()));
    let mut app = tide::with_state(Arc::clone(&canned));
    app.at("/mcp").all(respond);
    ServerArgs::announce(listener.local_addr()?);
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let socket = match select(pin!(listener.accept()), terminate.as_mut()).await {
            Either::Left((accepted, _)) => accepted?.0,
            Either::Right(((), _)) => break,
        };
        socket.set_nodelay(true)?;
        let (app, open) = (app.clone(), Arc::clone(&open));
        open.fetch_add(1, SeqCst);
        task::spawn(async move {
            // Fails when the client disconnects.
            let _ = async_h1::accept(socket, |request| async { app.respond(request).await }).await;
            open.fetch_sub(1, SeqCst);
        });
    }
    canned.stop();
    // tide has no graceful shutdown; this is enough for clients that disconnect once they have everything.
    while open.load(SeqCst) > 0 {
        task::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn respond(mut request: Request<Arc<Canned>>) -> tide::Result {
    let body = request.body_bytes().await?;
    let method = request.method().as_ref().parse()?;
    let header = |name: &str| request.header(name).map(|values| values.as_str());
    let (session, version) = (header("mcp-session-id"), header("mcp-protocol-version"));
    let reply = request.state().answer(Asked { method: &method, session, version, body: &body });
    Ok(match reply {
        Reply::Status(status) => Response::new(status.as_u16()),
        Reply::Json(text, session) => {
            let mut response =
                Response::builder(200).content_type("application/json").body(&text[..]).build();
            if let Some(session) = session {
                response.insert_header("mcp-session-id", session);
            }
            response
        }
        Reply::Events(events) => {
            // tide requires `Sync`. The mutex is never locked: polling has exclusive access.
            let mut events = Mutex::new(events);
            let events = stream::poll_fn(move |cx| {
                events.get_mut().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
            });
            let reader = events.map(io::Result::Ok).into_async_read();
            let body = Body::from_reader(reader, None);
            Response::builder(200).body(body).content_type("text/event-stream").build()
        }
    })
}
