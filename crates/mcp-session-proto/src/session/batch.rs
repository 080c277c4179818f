//! The requests of a batch: admitted together or not at all (A.2).

use std::time::Instant;

use super::{ExchangeKey, Session};
use crate::{
    config::ResponseMode,
    id::RequestId,
    state::{Input, Refusal, Verdict},
};

impl<T: Clone> Session<T> {
    /// A batch of messages: `inputs` has one input for each message, `requests` the ids of its requests apart from
    /// `ping`. Either all requests are admitted, and each is owed its own answer, or none is and nothing changes.
    ///
    /// Each reply is a stream, and the handlers answer in any order. In JSON mode each reply is JSON instead, and
    /// together they are an array. The events have no ids: all replies share one connection, and an id would
    /// bring back only one of them.
    ///
    /// # Errors
    ///
    /// [`Refusal`], the same as if a refused message had come alone.
    pub fn handle_batch(
        &mut self,
        now: Instant,
        inputs: impl IntoIterator<Item = Input>,
        requests: Vec<RequestId>,
    ) -> Result<Vec<ExchangeKey>, Refusal> {
        for input in inputs {
            if let Verdict::Refuse(refusal) = self.on(input) {
                return Err(refusal);
            }
        }
        if requests.iter().any(|id| self.runs(id)) {
            return Err(Refusal::DuplicateId);
        }
        if self.exchanges.len() + requests.len() > self.config.max_exchanges {
            return Err(Refusal::TooManyRequests);
        }
        self.touch(now);
        let mode = match self.config.response_mode {
            ResponseMode::Auto | ResponseMode::Sse => ResponseMode::Sse,
            ResponseMode::Json => ResponseMode::Json,
        };
        Ok(requests.into_iter().map(|id| self.admit(id, None, mode, None)).collect())
    }
}
