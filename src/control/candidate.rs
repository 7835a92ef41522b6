//! The candidate of an upgrade is asked what has just been decided, and its answer is read and judged like any
//! other, for the record alone.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::judge::foresee;
use super::record::{Body, CandidateRecord, Path, Replaced};
use super::{Controller, Effect, Effects, Pending};
use crate::envelope::{Case, Limit, Memory, Proposal, ProposedBy, WhatIf};
use crate::frame::Frame;
use crate::reason::{Completion, Failure};
use crate::site::Name;
use crate::twin::Twin;
use crate::units::Finite;
use crate::upgrade::Turn;

/// In a row, and the candidate is given up.
const FAILURES_TO_GIVE_UP: u32 = 3;

/// A question to the candidate on its way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Pending,
    scene: Scene,
    /// What was decided instead: its record, and how.
    beside: u64,
    incumbent: Turn,
}

/// What the guard went by when it judged the decision itself: by the time the candidate has answered, the plant
/// has moved on.
#[derive(Debug)]
struct Scene {
    now: Timestamp,
    frame: Frame,
    memory: Memory,
    limits: Vec<Limit>,
    twin: Twin,
}

/// What became of a proposal, for the candidate's sake.
pub(super) struct Judged {
    pub(super) seq: u64,
    pub(super) by: ProposedBy,
    pub(super) setpoints: BTreeMap<Name, Finite>,
    pub(super) intervened: bool,
}

impl Path {
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.replaced = Some(Replaced::ModelFailed);
    }

    /// For the tally; the guard's part comes later.
    pub(super) fn turn(&self) -> Turn {
        let ms = self.completion.as_ref().map(|c| {
            let all = self.unverified.iter().chain([c]);
            all.map(|c| c.prefill_ms + c.decode_ms).sum::<f64>().round() as u64
        });
        Turn { verified: self.claims.as_ref().map(|c| c.verified), ms, setpoints: None, intervened: false }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.replaced.is_none() && self.decision.is_some()
    }
}

impl Controller {
    /// Its decision is recorded and on its way to the plant: now the candidate may say what it would have done.
    pub(super) fn ask_candidate(
        &mut self,
        now: Timestamp,
        mut decided: Pending,
        incumbent: &Turn,
        judged: Judged,
        fx: &mut Effects<'_>,
    ) {
        let Some(frame) = self.frame.clone() else { return };
        let Some(prompt) = decided.beside.take() else {
            self.upgrades.skip();
            return;
        };
        let Judged { seq: beside, setpoints, intervened, by } = judged;
        let setpoints = (by == ProposedBy::Model).then_some(setpoints);
        let request = self.question(&prompt, &decided.facts);
        self.asks += 1;
        let question = Pending { ask: self.asks, prompt, sure: None, ..decided };
        let limits = self.limits();
        let scene = Scene { now, frame, memory: self.memory.clone(), limits, twin: self.twin.clone() };
        let incumbent = Turn { setpoints, intervened, ..incumbent.clone() };
        if self.upgrades.asked(Asked { question, scene, beside, incumbent }) {
            fx.list.push(Effect::AskCandidate { ask: self.asks, request: Box::new(request) });
        }
    }

    pub(super) fn on_candidate_reply(
        &mut self,
        ask: u64,
        result: Result<Completion, Failure>,
        fx: &mut Effects<'_>,
    ) {
        let Some(mut asked) = self.upgrades.take_asked(ask) else { return };
        let mut path = self.path_of(&asked.question);
        match result {
            Err(failure) => path.fail(failure),
            Ok(completion) => self.read(completion, &asked.question, &mut path),
        }
        if let Some(request) = self.rewrite(&mut asked.question, &mut path) {
            self.asks += 1;
            asked.question.ask = self.asks;
            if self.upgrades.asked(asked) {
                fx.list.push(Effect::AskCandidate { ask: self.asks, request: Box::new(request) });
            }
            return;
        }
        path.unverified = std::mem::take(&mut asked.question.unverified);
        let usable = path.decision.as_ref().filter(|_| path.is_usable());
        let verdict = usable.map(|d| self.what_if(&asked, d.setpoints.clone()));
        let turn = Turn {
            setpoints: verdict.as_ref().map(|v| v.setpoints.clone()),
            intervened: verdict.as_ref().is_some_and(|v| v.intervened),
            ..path.turn()
        };
        let gone = path.failure.as_ref().filter(|f| f.is_of_the_process()).map(ToString::to_string);
        self.record_candidate(&asked, path, verdict, fx);
        let failures = self.upgrades.count(&asked.incumbent, &turn, gone.is_some());
        if let Some(failure) = gone.filter(|_| failures >= FAILURES_TO_GIVE_UP) {
            self.abandon(format!("the candidate failed {failures} times in a row: {failure}"), fx);
        }
    }

    /// What the guard would have made of these setpoints, had they come in place of those decided.
    fn what_if(&self, asked: &Asked, setpoints: BTreeMap<Name, Finite>) -> WhatIf {
        let scene = &asked.scene;
        self.guard.what_if(&Case {
            now: scene.now,
            decided_at: asked.question.at,
            frame: &scene.frame,
            memory: &scene.memory,
            limits: &scene.limits,
            foresight: &|setpoints| foresee(&self.setup.site, &scene.twin, &scene.frame, setpoints),
            proposal: &Proposal { by: ProposedBy::Model, setpoints },
        })
    }

    fn record_candidate(&self, asked: &Asked, path: Path, verdict: Option<WhatIf>, fx: &mut Effects<'_>) {
        let Some(model) = self.upgrades.candidate_model() else { return };
        fx.record(Body::Candidate(Box::new(CandidateRecord {
            beside: asked.beside,
            asked_at: asked.question.at,
            model,
            path,
            verdict,
        })));
    }
}
