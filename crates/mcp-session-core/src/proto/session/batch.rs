//! The requests of a batch: admitted together or not at all (A.2).

use std::time::Instant;

use super::{ExchangeKey, Session};
use crate::proto::{
    config::ResponseMode,
    id::RequestId,
    state::{Input, Refusal, Verdict},
};

impl<T: Clone> Session<T> {
    /// A batch that brings these inputs, its requests apart from `ping` among them with their ids. Either every one of
    /// them is admitted, and each is owed an answer of its own, or none is, and nothing has happened.
    ///
    /// Its replies are streams, in whatever order the handlers answer, unless every answer has to be JSON: then each
    /// is, and together they are an array. They have no event ids: all of them are on one connection, and an id would
    /// bring back one.
    ///
    /// # Errors
    ///
    /// [`Refusal`], as if one message that would be refused had come alone.
    pub fn handle_batch(
        &mut self,
        now: Instant,
        inputs: impl IntoIterator<Item = Input>,
        requests: Vec<RequestId>,
    ) -> Result<Vec<ExchangeKey>, Refusal> {
        for input in inputs {
            if let Verdict::Refuse(refusal) = self.state.on(input) {
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
