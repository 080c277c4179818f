//! [`Link`]: the transport of a minted peer. It has no channel: what the peer sends goes into the exchange at once, and
//! what is for the peer waits in a queue.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{AbortHandle, BoxFuture, abortable, poll_fn},
    task::AtomicWaker,
};
use mcp_session_core::{RequestError, RpcError, Session};
use rmcp::{
    RoleServer,
    model::{JsonRpcMessage, RequestId, ServerNotification},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use serde_json::value::RawValue;

use crate::message::{self, Named};

/// How long a request to the client may take. A day: rmcp's tools set their own time limit, and the end of the exchange or
/// the session ends it in any case.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the messages of a peer go.
#[derive(Clone, Default)]
pub(crate) enum Target {
    /// Nowhere yet, or no longer.
    #[default]
    Nothing,
    /// Onto the reply of this request.
    Exchange(mcp_session_core::RequestContext),
    /// Onto the standalone stream of this session.
    Session(Session),
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the request has been answered and there is no session that could take the message")]
    Closed,
    #[error("a request to the client must belong to one of its own requests")]
    Unassociated,
    #[error("not a message: {0}")]
    Invalid(#[from] serde_json::Error),
    #[error(transparent)]
    Send(#[from] mcp_session_core::SendError),
}

/// The part of a [`Link`] that the bridge holds.
#[derive(Default)]
pub(crate) struct Shared {
    target: Mutex<Target>,
    inbox: Mutex<VecDeque<RxJsonRpcMessage<RoleServer>>>,
    arrived: AtomicWaker,
    /// How many messages of the peer have been handled.
    handled: AtomicUsize,
    /// The numbers of those that are handled, and wait for space in their stream.
    waiting: Mutex<BTreeSet<usize>>,
    /// The peer's loop has ended: nothing more is handled.
    ended: AtomicBool,
    progressed: AtomicWaker,
    acknowledgement: Mutex<Acknowledgement>,
}

/// The acknowledgement of a subscription.
#[derive(Default)]
enum Acknowledgement {
    /// Is sent when it comes.
    #[default]
    Free,
    /// Is held when it comes.
    Awaited,
    /// Waits for [`Shared::acknowledge`], and all that comes after it waits as well.
    Held(Sending),
}

type Sending = BoxFuture<'static, Result<(), LinkError>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn aim(&self, target: Target) {
        *lock(&self.target) = target;
    }

    /// Hands a message to the peer's loop.
    pub(crate) fn push(&self, message: RxJsonRpcMessage<RoleServer>) {
        lock(&self.inbox).push_back(message);
        self.arrived.wake();
    }

    pub(crate) fn handled(&self) -> usize {
        self.handled.load(SeqCst)
    }

    /// Holds the next acknowledgement of a subscription until [`acknowledge`](Self::acknowledge).
    pub(crate) fn hold_acknowledgement(&self) {
        *lock(&self.acknowledgement) = Acknowledgement::Awaited;
    }

    /// Sends the acknowledgement that is held.
    pub(crate) async fn acknowledge(&self) {
        let held = std::mem::take(&mut *lock(&self.acknowledgement));
        if let Acknowledgement::Held(sending) = held {
            let _ = sending.await; // an error: the exchange has ended, and the server is told so
        }
    }

    /// Drops the acknowledgement that is held, and holds none any more.
    pub(crate) fn drop_acknowledgement(&self) {
        let held = std::mem::take(&mut *lock(&self.acknowledgement));
        drop(held); // not under the lock: wakes who waits for it
    }

    /// Waits until this many messages of the peer are in their streams, or could not get there. Only one task may wait.
    pub(crate) async fn until_sent(&self, count: usize) {
        poll_fn(|cx| {
            self.progressed.register(cx.waker());
            let sent = || lock(&self.waiting).first().is_none_or(|first| *first > count);
            let done = self.ended.load(SeqCst) || (self.handled() >= count && sent());
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A message that waits for space in its stream, until this is dropped.
struct Waits {
    shared: Arc<Shared>,
    number: usize,
}

impl Waits {
    fn new(shared: &Arc<Shared>, number: usize) -> Self {
        lock(&shared.waiting).insert(number);
        Self { shared: Arc::clone(shared), number }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        lock(&self.shared.waiting).remove(&self.number);
        self.shared.progressed.wake();
    }
}

/// The transport that rmcp's loop drives.
pub(crate) struct Link {
    shared: Arc<Shared>,
    /// Ready when the last message that had to wait is sent.
    last: Option<oneshot::Receiver<()>>,
    /// The requests to the client, by rmcp's ids, each with a token that lives while it runs.
    asked: HashMap<RequestId, (AbortHandle, Weak<()>)>,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, last: None, asked: HashMap::new() }
    }

    /// Sends the notification, which is the message of the peer with this number.
    fn notify(&mut self, notification: &ServerNotification, number: usize) -> Sending {
        if let ServerNotification::CancelledNotification(cancelled) = notification {
            // Core tells the client, with the id that the client knows.
            let asked = cancelled.params.request_id.as_ref().and_then(|id| self.asked.remove(id));
            if let Some((asked, _)) = asked {
                asked.abort();
            }
            return async { Ok(()) }.boxed();
        }
        let named = match message::named(notification) {
            Ok(named) => named,
            Err(error) => return async { Err(error.into()) }.boxed(),
        };
        let target = lock(&self.shared.target).clone();
        let sending = async move { notify(target, &named).await }.boxed();
        if let ServerNotification::SubscriptionsAcknowledgedNotification(_) = notification {
            return self.acknowledge(sending, number);
        }
        self.in_order(sending, number)
    }

    /// Polls the future once in place, so that messages are sent in the order in which they come: rmcp polls what `send`
    /// returns in tasks of their own. If it has to wait for space, those behind it wait for it.
    fn in_order(&mut self, mut sending: Sending, number: usize) -> Sending {
        let mut before = self.last.take();
        if !matches!(before.as_mut().map(oneshot::Receiver::try_recv), Some(Ok(None))) {
            before = None; // it is sent
        }
        let sent = if before.is_none() { sending.as_mut().now_or_never() } else { None };
        match sent {
            Some(sent) => async { sent }.boxed(),
            None => self.wait(before, sending, number),
        }
    }

    /// Sends the acknowledgement of a subscription, or holds it if that is wished.
    fn acknowledge(&mut self, sending: Sending, number: usize) -> Sending {
        let shared = Arc::clone(&self.shared);
        let mut acknowledgement = lock(&shared.acknowledgement);
        match *acknowledgement {
            Acknowledgement::Awaited => {
                let before = self.last.take();
                *acknowledgement = Acknowledgement::Held(self.wait(before, sending, number));
                async { Ok(()) }.boxed()
            }
            _ => self.in_order(sending, number),
        }
    }

    /// What sends a message after those before it. Those behind it wait for it.
    fn wait(&mut self, before: Option<oneshot::Receiver<()>>, sending: Sending, number: usize) -> Sending {
        let (done, last) = oneshot::channel();
        self.last = Some(last);
        let waits = Waits::new(&self.shared, number);
        async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            let sent = sending.await;
            drop((done, waits));
            sent
        }
        .boxed()
    }

    fn ask(&mut self, request: &rmcp::model::ServerRequest, id: RequestId) -> Sending {
        let named = match message::named(request) {
            Ok(named) => named,
            Err(error) => return async { Err(error.into()) }.boxed(),
        };
        let Target::Exchange(cx) = lock(&self.shared.target).clone() else {
            return async { Err(LinkError::Unassociated) }.boxed();
        };
        self.asked.retain(|_, (_, runs)| runs.strong_count() > 0);
        let running = Arc::new(());
        let runs = Arc::downgrade(&running);
        let shared = Arc::clone(&self.shared);
        let reply_id = id.clone();
        let (asking, handle) = abortable(async move {
            let _running = running;
            let Named { method, params } = named;
            let reply = cx.request(&method, params.as_deref(), REQUEST_TIMEOUT).await;
            let reply = reply.map_err(|error| match error {
                RequestError::Client(error) => error,
                other => RpcError::from(other),
            });
            shared.push(message::reply(reply, reply_id));
        });
        self.asked.insert(id, (handle, runs));
        let mut asking = Box::pin(asking);
        if asking.as_mut().now_or_never().is_some() {
            return async { Ok(()) }.boxed();
        }
        asking.map(|_| Ok(())).boxed()
    }
}

/// Sends a notification. What comes after the answer goes to the session, if there is one.
async fn notify(target: Target, named: &Named) -> Result<(), LinkError> {
    let Named { method, params } = named;
    let params: Option<&RawValue> = params.as_deref();
    let session = match target {
        Target::Nothing => return Err(LinkError::Closed),
        Target::Session(session) => session,
        Target::Exchange(cx) => match cx.notify(method, params).await {
            Err(mcp_session_core::SendError::Closed) => cx.session().cloned().ok_or(LinkError::Closed)?,
            sent => return Ok(sent?),
        },
    };
    Ok(session.notify(method, params).await?)
}

impl Transport<RoleServer> for Link {
    type Error = LinkError;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), LinkError>> + Send + 'static {
        let number = self.shared.handled() + 1;
        let sending = match item {
            JsonRpcMessage::Notification(message) => self.notify(&message.notification, number),
            JsonRpcMessage::Request(message) => self.ask(&message.request, message.id),
            // Requests of the client are not handled by the loop, so there is nothing to answer.
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => return async { Ok(()) }.boxed(),
        };
        self.shared.handled.store(number, SeqCst);
        self.shared.progressed.wake();
        sending
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        poll_fn(|cx| {
            self.shared.arrived.register(cx.waker());
            match lock(&self.shared.inbox).pop_front() {
                Some(message) => Poll::Ready(Some(message)),
                None => Poll::Pending,
            }
        })
        .await
    }

    async fn close(&mut self) -> Result<(), LinkError> {
        self.shared.aim(Target::Nothing);
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.shared.progressed.wake();
    }
}
