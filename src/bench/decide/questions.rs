//! What a model is asked: the prompts of consecutive decisions of a simulated plant.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::bench::control::BenchError;
use crate::bench::control::asker::Answers;
use crate::bench::control::cases::Case;
use crate::bench::control::rig::{self, Rig};
use crate::reason::{Completion, Failure, Request};
use crate::site::{Backend, Law, Site};

/// Decisions before the first that is used: by then the history is full and the twin looks ahead.
const BEFORE: usize = 12;
/// A plant that asks no more often than this many samples a question will not ask.
const PATIENCE: usize = 10_000;

/// Writes questions down and answers none, so that the fallback, trim and respond, runs the plant.
#[derive(Default)]
struct Notebook(Mutex<Vec<Request>>);

impl Notebook {
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Answers for Notebook {
    fn ask(&self, _: &Site, request: Request) -> Result<Result<Completion, Failure>, BenchError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        Ok(Err(Failure::NotRunning { why: "this run only asks".to_owned() }))
    }
}

/// `count` consecutive questions about a plant, and the site that asks them.
pub(super) fn of(case: &Case, model: &Path, count: usize) -> Result<(Site, Vec<Request>), BenchError> {
    let mut site = case.site()?;
    site.controller = Law::Llm;
    site.model.backend = Backend::Local;
    site.model.path = Some(model.to_owned());
    let notebook = Notebook::default();
    let scenario = case.scenario(rig::band(&site)?)?;
    let mut rig = Rig::new(site.clone(), scenario, 1, None, &notebook)?;
    let mut left = PATIENCE * count;
    while notebook.len() < BEFORE + count && left > 0 {
        rig.sample()?;
        left -= 1;
    }
    drop(rig);
    let asked = notebook.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((site, asked.into_iter().skip(BEFORE).collect()))
}
