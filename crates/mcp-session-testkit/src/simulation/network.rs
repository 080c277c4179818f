//! [`Line`]: one request and its response, over a connection that can break.

use std::fmt;

use bytes::Bytes;
use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{poll_fn, select},
};
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use mcp_session_core::{Endpoint, Runtime};

use super::{
    plan::{Millis, Upload},
    world::World,
};

/// What arrives at a client.
#[derive(Debug)]
pub(super) enum Piece {
    Head(StatusCode, HeaderMap),
    Data(Bytes),
    /// The proper end of the body.
    End,
    /// The server has cut the body.
    Cut,
}

/// A connection that carries one response. Dropping it is a reset.
pub(super) struct Line {
    pieces: mpsc::Receiver<Piece>,
    /// Dropped with the line: that tells the server.
    _hang_up: oneshot::Sender<()>,
}

impl Line {
    /// The next piece; `None` if the connection broke, because its server is gone.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        self.pieces.next().await
    }
}

/// A body that broke off.
#[derive(Debug)]
struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was reset")
    }
}

impl std::error::Error for BrokenOff {}

/// Sends a request to a node. Returns a line that is broken already if nobody listens there.
pub(super) fn send(
    world: &World,
    node: usize,
    head: http::request::Builder,
    body: Bytes,
    upload: Upload,
) -> Line {
    let (body_sender, body_receiver) = mpsc::unbounded::<Result<Frame<Bytes>, BrokenOff>>();
    let body_receiver = StreamBody::new(body_receiver);
    let request = head.body(body_receiver).expect("a request");
    let (pieces_sender, pieces) = mpsc::channel(world.plan.limits.pipe);
    let (hang_up, hung_up) = oneshot::channel();
    if let Some((process, endpoint)) = world.connect(node) {
        let task = serve(endpoint, request, pieces_sender, hung_up);
        world.sim.spawn(process.run(world.weak(), task.boxed()));
    }
    let rest = match upload {
        Upload::Whole | Upload::Abandoned(_) => {
            let _ = body_sender.unbounded_send(Ok(Frame::data(body)));
            None
        }
        Upload::Slow(time) | Upload::Broken(time) => {
            let _ = body_sender.unbounded_send(Ok(Frame::data(body.slice(..body.len() / 2))));
            let broken = matches!(upload, Upload::Broken(_));
            Some((time, if broken { Err(BrokenOff) } else { Ok(Frame::data(body.slice(body.len() / 2..))) }))
        }
    };
    if let Some((time, rest)) = rest {
        let sim = world.sim.clone();
        world.sim.spawn(Box::pin(async move {
            sleep(&sim, time).await;
            let _ = body_sender.unbounded_send(rest); // nobody listens, or the request was refused meanwhile
        }));
    }
    Line { pieces, _hang_up: hang_up }
}

pub(super) async fn sleep(sim: &crate::SimRuntime, time: Millis) {
    if time > 0 {
        sim.sleep_until(sim.now() + std::time::Duration::from_millis(time)).await;
    }
}

/// The connection's task: serves the request, and passes the response on as fast as it is read.
async fn serve<B>(
    endpoint: Endpoint,
    request: Request<B>,
    pieces: mpsc::Sender<Piece>,
    hung_up: oneshot::Receiver<()>,
) where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let work = Box::pin(pass_on(endpoint, request, pieces));
    select(hung_up, work).await;
}

async fn pass_on<B>(endpoint: Endpoint, request: Request<B>, mut pieces: mpsc::Sender<Piece>)
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let response = endpoint.handle(request).await;
    drop(endpoint);
    let (head, body) = response.into_parts();
    let mut sent = pieces.send(Piece::Head(head.status, head.headers)).await;
    let mut body = Box::pin(body);
    while sent.is_ok() {
        let at_end = body.is_end_stream();
        let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        assert!(!at_end || frame.is_none(), "a body that said that it is at its end goes on");
        let piece = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Piece::Data(data),
                Err(_) => panic!("a body with trailers"),
            },
            Some(Err(_)) => Piece::Cut,
            None => Piece::End,
        };
        let over = !matches!(piece, Piece::Data(_));
        if over {
            // The server lets go of the body before its client can know that it is over.
            drop(body);
            let _ = pieces.send(piece).await;
            return;
        }
        sent = pieces.send(piece).await;
    }
}
