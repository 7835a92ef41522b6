//! Answers the controllers' questions: one model for all runs, started when it is first asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::BenchError;
use crate::reason::{Backend, Completion, Failure, Request};
use crate::site::Site;

/// A model takes this long to load at most.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// Whoever answers a run's questions. An error ends the bench.
pub(in crate::bench) trait Answers: Sync {
    fn ask(&self, site: &Site, request: Request) -> Result<Result<Completion, Failure>, BenchError>;
}

/// The model, for several runs at once.
pub(super) struct Model {
    runtime: tokio::runtime::Runtime,
    at_once: u32,
    backend: Mutex<Option<Arc<Backend>>>,
}

impl Model {
    pub(super) fn new(at_once: usize) -> Result<Self, BenchError> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().map_err(BenchError::Io)?;
        let at_once = u32::try_from(at_once).unwrap_or(u32::MAX);
        Ok(Self { runtime, at_once, backend: Mutex::new(None) })
    }

    /// A model that cannot be started ends the bench: runs of the fallback must not pass for the model's.
    fn backend(&self, site: &Site) -> Result<Arc<Backend>, BenchError> {
        let mut started = self.backend.lock().map_err(|_| BenchError::Panic)?;
        if let Some(backend) = &*started {
            return Ok(Arc::clone(backend));
        }
        let _inside = self.runtime.enter();
        let program = std::env::current_exe().map_err(BenchError::Io)?;
        let backend = Arc::new(Backend::start_many(&site.model, program, self.at_once)?);
        self.runtime.block_on(backend.ready(READY_WITHIN)).map_err(BenchError::Model)?;
        Ok(Arc::clone(started.insert(backend)))
    }
}

impl Answers for Model {
    fn ask(&self, site: &Site, mut request: Request) -> Result<Result<Completion, Failure>, BenchError> {
        let backend = self.backend(site)?;
        // A plant has a model to itself; here each waits for the others.
        request.deadline = request.deadline.saturating_mul(self.at_once as i32);
        Ok(self.runtime.block_on(backend.ask(request)))
    }
}
