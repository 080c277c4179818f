//! [`World::send`]: a request that is sent until a node takes it.

use std::time::{Duration, Instant};

use tokio::time;

use super::{World, http::Response};

/// For how long a request is sent again, and the answer of a stream is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// The pause after a connection that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// What came of a request.
#[derive(Debug)]
pub(super) enum Sent {
    /// A response with another status than 503.
    Response(Box<Response>),
    /// The connection ended before the head of a response.
    Unknown,
    /// Still 503 after [`PATIENCE`].
    Refused,
}

impl World {
    /// Sends a request. A node that answers 503 has not taken it, so it is sent again, as `Retry-After` says.
    pub(super) async fn send(&self, request: &str) -> Sent {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let Some(response) = Response::to(self.address, request).await else { return Sent::Unknown };
            if response.head.status != 503 {
                return Sent::Response(Box::new(response));
            }
            self.see(|seen| seen.refused += 1);
            let after = response.head.get("retry-after").and_then(|seconds| seconds.parse().ok());
            time::sleep(after.map_or(PAUSE, Duration::from_secs).min(Duration::from_secs(1))).await;
        }
        Sent::Refused
    }

    /// Sends a request that may arrive twice. Returns the status in the end.
    pub(super) async fn insist(&self, request: &str) -> Option<Response> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.send(request).await {
                Sent::Response(response) => return Some(*response),
                Sent::Unknown => time::sleep(PAUSE).await,
                Sent::Refused => break,
            }
        }
        None
    }
}
