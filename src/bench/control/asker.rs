//! Answers the controller's questions: the model of the site, started when it is first asked.

use std::time::Duration;

use super::BenchError;
use crate::reason::{Backend, Completion, Failure, Request};
use crate::site::Site;

/// A model takes this long to load at most.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// One a thread: a model answers one question at a time.
pub(super) struct Asker {
    runtime: tokio::runtime::Runtime,
    backend: Option<Backend>,
}

impl Asker {
    pub(super) fn new() -> Result<Self, BenchError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::Io)?;
        Ok(Self { runtime, backend: None })
    }

    /// A model that cannot be started ends the bench: runs of the fallback must not pass for the model's.
    pub(super) fn ask(
        &mut self,
        site: &Site,
        request: Request,
    ) -> Result<Result<Completion, Failure>, BenchError> {
        let runtime = &self.runtime;
        let backend = match &mut self.backend {
            Some(backend) => backend,
            empty => {
                let _inside = runtime.enter();
                let program = std::env::current_exe().map_err(BenchError::Io)?;
                let backend = Backend::start(&site.model, program)?;
                runtime.block_on(backend.ready(READY_WITHIN)).map_err(BenchError::Model)?;
                empty.insert(backend)
            }
        };
        Ok(runtime.block_on(backend.ask(request)))
    }
}
