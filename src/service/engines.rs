//! The models' processes: the one that decides, a candidate beside it, and one that is to take over. Each has a
//! task of its own to ask it, so the control loop waits for none of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::socket::Call;
use super::{Question, Reply};
use crate::control::{Input, Staging};
use crate::memory::group::ReasonerGroup;
use crate::reason::{Backend, Order, StartError};
use crate::site::{self, Site};
use crate::upgrade::{Found, Version};

/// A model that is not loaded by then will not be.
const LOAD_LIMIT: Duration = Duration::from_mins(5);

/// What comes of work beside the control loop.
#[derive(Debug)]
pub(super) enum News {
    /// The files of a proposed upgrade have been looked at.
    Examined { call: Call, found: Result<Box<Found>, String> },
    /// A model is loaded, as its reasoner says, or will not be.
    Loaded { engine: u64, result: Result<Value, String> },
}

#[derive(Debug)]
struct Engine {
    number: u64,
    backend: Arc<Backend>,
    ask: mpsc::Sender<Question>,
    loading: JoinHandle<()>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.loading.abort();
        // The task that asks may still hold it: its process ends now all the same.
        if let Some(orders) = self.backend.orders() {
            orders.send_replace(Order::Park { why: "another model has taken its place".to_owned() });
        }
    }
}

pub(super) struct Engines {
    program: PathBuf,
    /// Of the process that decides, and of the one beside it.
    groups: Option<(ReasonerGroup, ReasonerGroup)>,
    kept: PathBuf,
    answers: mpsc::Sender<Reply>,
    news: mpsc::Sender<News>,
    started: u64,
    deciding: Engine,
    candidate: Option<Engine>,
    incoming: Option<Engine>,
    /// The incoming one is loaded, and waits for the end of a decision.
    installed: Option<Value>,
}

impl Engines {
    /// Starts the model that decides.
    pub(super) fn start(
        site: &Site,
        program: PathBuf,
        answers: mpsc::Sender<Reply>,
        news: mpsc::Sender<News>,
    ) -> Result<Self, StartError> {
        let groups = super::memory::groups(site);
        let kept = site.model.kept.clone().unwrap_or_else(|| site.audit.path.with_extension("kept"));
        let group = groups.as_ref().map(|(own, _)| own.clone());
        let backend = Backend::start_in(&site.model, program.clone(), group, kept.clone())?;
        let deciding = Engine::new(0, backend, &answers, &news);
        let (candidate, incoming, installed) = (None, None, None);
        Ok(Self {
            program,
            groups,
            kept,
            answers,
            news,
            started: 0,
            deciding,
            candidate,
            incoming,
            installed,
        })
    }

    pub(super) fn deciding(&self) -> &Backend {
        &self.deciding.backend
    }

    pub(super) fn orders(&self) -> Option<watch::Sender<Order>> {
        self.deciding.backend.orders()
    }

    /// Capacity one, one question at a time: full means that the last answer is still awaited.
    pub(super) fn ask(&self, question: Question) -> Result<(), String> {
        self.deciding.ask.try_send(question).map_err(|e| e.to_string())
    }

    pub(super) fn ask_candidate(&self, question: Question) -> Result<(), String> {
        let candidate = self.candidate.as_ref().ok_or("there is no candidate")?;
        candidate.ask.try_send(question).map_err(|e| e.to_string())
    }

    /// Does what the controller wants. True: another process decides now.
    pub(super) fn stage(&mut self, staging: &Staging, site: &Site) -> bool {
        let beside =
            |groups: &Option<(ReasonerGroup, ReasonerGroup)>| groups.as_ref().map(|(_, b)| b.clone());
        match staging {
            Staging::Try(version) => {
                (self.candidate, self.incoming, self.installed) = (None, None, None);
                let model = model_of(version, site);
                let group = beside(&self.groups);
                let started = Backend::start_beside(&model, self.program.clone(), group);
                self.candidate = Some(self.engine(started));
            }
            Staging::Drop => (self.candidate, self.incoming, self.installed) = (None, None, None),
            Staging::Install(version) => {
                (self.candidate, self.installed) = (None, None);
                let group = beside(&self.groups);
                let started = self.start_to_decide(version, site, group);
                self.incoming = Some(self.engine(started));
            }
            Staging::TakeOver => {
                let Some(incoming) = self.incoming.take() else { return false };
                self.groups = self.groups.take().map(|(own, beside)| (beside, own));
                self.deciding = incoming;
                return true;
            }
            Staging::Return(version) => {
                (self.candidate, self.incoming, self.installed) = (None, None, None);
                let group = self.groups.as_ref().map(|(own, _)| own.clone());
                let started = self.start_to_decide(version, site, group);
                self.deciding = self.engine(started);
                return true;
            }
        }
        false
    }

    fn start_to_decide(
        &self,
        version: &Version,
        site: &Site,
        group: Option<ReasonerGroup>,
    ) -> Result<Backend, StartError> {
        Backend::start_in(&model_of(version, site), self.program.clone(), group, self.kept.clone())
    }

    /// One that cannot even be started is news like one that is not loaded.
    fn engine(&mut self, started: Result<Backend, StartError>) -> Engine {
        self.started += 1;
        let number = self.started;
        match started {
            Ok(backend) => Engine::new(number, backend, &self.answers, &self.news),
            Err(e) => {
                let none = Engine::new(number, Backend::None, &self.answers, &self.news);
                none.loading.abort();
                let news = self.news.clone();
                let result = Err(e.to_string());
                tokio::spawn(async move { news.send(News::Loaded { engine: number, result }).await });
                none
            }
        }
    }

    /// What a model's being loaded, or not, means for the controller. `None`: nothing, or not yet.
    pub(super) fn loaded(&mut self, engine: u64, result: Result<Value, String>) -> Option<Input> {
        let is = |e: &Option<Engine>| e.as_ref().is_some_and(|e| e.number == engine);
        match result {
            Ok(facts) if is(&self.candidate) => Some(Input::CandidateReady(facts)),
            Ok(facts) if is(&self.incoming) => {
                self.installed = Some(facts);
                None
            }
            Err(why) if is(&self.candidate) => {
                Some(Input::CandidateLost { why: format!("the candidate does not come up: {why}") })
            }
            Err(why) if is(&self.incoming) => {
                Some(Input::CandidateLost { why: format!("the accepted version does not come up: {why}") })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// The version that can take over now.
    pub(super) fn take_installed(&mut self) -> Option<Value> {
        self.installed.take()
    }

    pub(super) fn news(&self) -> mpsc::Sender<News> {
        self.news.clone()
    }

    /// What is loaded to decide.
    pub(super) fn facts(&self) -> Value {
        serde_json::to_value(self.deciding.backend.facts()).unwrap_or_default()
    }
}

impl Engine {
    fn new(number: u64, backend: Backend, answers: &mpsc::Sender<Reply>, news: &mpsc::Sender<News>) -> Self {
        let backend = Arc::new(backend);
        let (ask, mut questions) = mpsc::channel::<Question>(1);
        let (asked, answers) = (backend.clone(), answers.clone());
        tokio::spawn(async move {
            while let Some((number, request)) = questions.recv().await {
                let result = asked.ask(*request).await;
                if answers.send((number, result)).await.is_err() {
                    return;
                }
            }
        });
        let (loaded, news) = (backend.clone(), news.clone());
        let loading = tokio::spawn(async move {
            let ready = loaded.ready(LOAD_LIMIT).await;
            let facts = || serde_json::to_value(loaded.facts()).unwrap_or_default();
            let result = ready.map(|()| facts()).map_err(|e| e.to_string());
            news.send(News::Loaded { engine: number, result }).await.ok();
        });
        Self { number, backend, ask, loading }
    }
}

fn model_of(version: &Version, site: &Site) -> site::Model {
    version.applied_to(site).model
}
