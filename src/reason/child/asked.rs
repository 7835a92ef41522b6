//! Questions on their way to the process: in time, late, or given up.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::{Completion, Failure, Request};
use super::GRACE;
use crate::clock::{Stopwatch, monotonic};

#[derive(Debug)]
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) since: Stopwatch,
    pub(super) reply: oneshot::Sender<Result<Completion, Failure>>,
}

impl Ask {
    pub(super) fn answer(self, result: Result<Completion, Failure>) {
        // Whoever asked may have given up.
        self.reply.send(result).ok();
    }
}

/// A question that the process has been asked.
pub(super) struct Asked {
    /// `None`: told that it is late. The answer must still be taken off the pipe.
    reply: Option<oneshot::Sender<Result<Completion, Failure>>>,
    deadline: Duration,
    pub(super) due: Instant,
}

impl Asked {
    /// The request with what is left of its time; `None`: nothing is, and whoever asked has been told.
    pub(super) fn new(ask: Ask) -> Option<(Request, Self)> {
        let deadline = Duration::try_from(ask.request.deadline).unwrap_or(Duration::ZERO);
        let left = deadline.saturating_sub(ask.since.elapsed());
        let mut asked = Self { reply: Some(ask.reply), deadline, due: monotonic() + left };
        if left.is_zero() {
            asked.is_given_up();
            return None;
        }
        let deadline = left.try_into().unwrap_or(ask.request.deadline);
        Some((Request { deadline, ..ask.request }, asked))
    }

    /// Once it is due: says that it is late, and the next time that no answer is waited for any longer.
    pub(super) fn is_given_up(&mut self) -> bool {
        let Some(reply) = self.reply.take() else { return true };
        reply.send(Err(Failure::late(self.deadline))).ok();
        self.due += GRACE;
        false
    }

    pub(super) fn answer(self, result: Result<Completion, Failure>) {
        if let Some(reply) = self.reply {
            // Whoever asked may have given up.
            reply.send(result).ok();
        }
    }
}
