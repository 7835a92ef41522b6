//! From a frame to a proposal: ask the model, read its reply, replace what cannot be used.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::candidate::Judged;
use super::record::{Body, Cause, Event, EventRecord, Path, PromptRecord, Replaced};
use super::{Controller, Effect, Effects, Pending};
use crate::decision::{self, Account};
use crate::envelope::{Proposal, ProposedBy};
use crate::facts::Facts;
use crate::memory::{Change, Rung};
use crate::policy::{self, Seen};
use crate::prompt::{Prompt, PromptError, Prompts, Shown};
use crate::reason::{Completion, Failure, Request, Sampler};
use crate::site::{Backend, Unverified};
use crate::workload::{self, Headroom};

type Rendered = Result<Prompt, PromptError>;

impl Controller {
    pub(super) fn ask(&mut self, now: Timestamp, cause: Cause, fx: &mut Effects<'_>) {
        if self.policy.is_some() {
            self.follow_policy(now, cause, fx);
            return;
        }
        if self.setup.site.model.backend == Backend::None {
            let path = Path { replaced: Some(Replaced::NoModel), ..Path::default() };
            self.fall_back(now, now, cause, path, fx);
            return;
        }
        if self.rung == Rung::Parked {
            let path = Path { replaced: Some(Replaced::Parked), ..Path::default() };
            self.fall_back(now, now, cause, path, fx);
            return;
        }
        let Some((facts, rendered, beside)) = self.render(now) else { return };
        let prompt = match rendered {
            Ok(prompt) => prompt,
            Err(e) => {
                let failure = Some(Failure::Compute { why: e.to_string() });
                let path = Path { failure, replaced: Some(Replaced::ModelFailed), ..Path::default() };
                self.fall_back(now, now, cause, path, fx);
                return;
            }
        };
        let request = self.question(&prompt, &facts);
        let pending =
            Pending { ask: 0, at: now, cause, prompt, facts, unverified: Vec::new(), sure: None, beside };
        self.put(pending, request, fx);
    }

    /// Of the setpoints it leaves open what the directives in force do.
    pub(super) fn question(&self, prompt: &Prompt, facts: &Facts) -> Request {
        self.question_under(prompt, facts, decision::schema_under(&self.setup.schema, facts))
    }

    fn question_under(&self, prompt: &Prompt, facts: &Facts, schema: serde_json::Value) -> Request {
        Request {
            prefix: prompt.prefix.clone(),
            body: prompt.body.clone(),
            schema,
            account: Some(Account::new(facts)),
            sampler: Sampler::of(&self.setup.site.model),
            deadline: self.setup.site.model.deadline,
        }
    }

    fn put(&mut self, pending: Pending, request: Request, fx: &mut Effects<'_>) {
        self.asks += 1;
        self.pending = Some(Pending { ask: self.asks, ..pending });
        fx.list.push(Effect::Ask { ask: self.asks, request: Box::new(request) });
    }

    /// From the next question on, prompts and the model's being there follow from the rung.
    pub(super) fn on_memory(&mut self, change: Change, fx: &mut Effects<'_>) {
        let detail = change.to_string();
        let memory = Some(Box::new(change));
        fx.record(Body::Event(EventRecord { memory, ..EventRecord::new(Event::Memory, detail) }));
        self.rung = change.to;
        self.heed_memory(&change, fx);
    }

    /// A controller without a language model decides at once.
    fn follow_policy(&mut self, now: Timestamp, cause: Cause, fx: &mut Effects<'_>) {
        let limits = self.limits();
        let (Some(policy), Some(frame)) = (&mut self.policy, &self.frame) else { return };
        let seen = Seen { site: &self.setup.site, frame, twin: &self.twin, limits: &limits };
        if let Some(setpoints) = policy.propose(now, &seen) {
            self.judge_and_act(now, cause, &Proposal { by: ProposedBy::Policy, setpoints }, fx);
        } else {
            let path = Path { replaced: Some(Replaced::NoProposal), ..Path::default() };
            self.fall_back(now, now, cause, path, fx);
        }
    }

    /// The facts as they are, and the prompts that show them: the one that decides, and the candidate's where it is
    /// to be asked.
    fn render(&self, now: Timestamp) -> Option<(Facts, Rendered, Option<Prompt>)> {
        let beside = self.upgrades.prompts_to_try();
        let prompts = [Some(&self.setup.prompts), beside];
        let (facts, [prompt, beside]) = self.render_all(now, prompts)?;
        Some((facts, prompt?, beside.and_then(Result::ok)))
    }

    /// With prompts that do not decide.
    pub(super) fn render_with(&self, now: Timestamp, prompts: &Prompts) -> Option<Rendered> {
        let (_, [prompt]) = self.render_all(now, [Some(prompts)])?;
        prompt
    }

    fn render_all<const N: usize>(
        &self,
        now: Timestamp,
        prompts: [Option<&Prompts>; N],
    ) -> Option<(Facts, [Option<Rendered>; N])> {
        let frame = self.frame.as_ref()?;
        let limits = self.limits();
        let seen = Seen { site: &self.setup.site, frame, twin: &self.twin, limits: &limits };
        let outlook = policy::choices(&seen);
        let shown = Shown {
            site: &self.setup.site,
            now,
            frame,
            history: &self.history,
            outlook: &outlook,
            directives: &self.directives,
        };
        let facts = Facts::new(&shown);
        let site = &self.setup.site;
        let history_tokens = match self.rung {
            Rung::Full => site.model.history_tokens,
            Rung::Short | Rung::Small | Rung::Parked => {
                site.memory.short_history_tokens.min(site.model.history_tokens)
            }
        };
        let rendered = prompts.map(|p| p.map(|p| p.render_within(&shown, &facts, history_tokens)));
        Some((facts, rendered))
    }

    pub(super) fn on_reply(
        &mut self,
        now: Timestamp,
        ask: u64,
        result: Result<Completion, Failure>,
        fx: &mut Effects<'_>,
    ) {
        if self.upgrades.pending() == Some(ask) {
            self.on_candidate_reply(ask, result, fx);
            return;
        }
        // Answers to questions that an emergency or a stop has overtaken are of no use.
        let Some(mut pending) = self.pending.take_if(|p| p.ask == ask) else { return };
        let mut path = self.path_of(&pending);
        match result {
            Err(failure) => path.fail(failure),
            Ok(completion) => self.read(completion, &pending, &mut path),
        }
        if let Some(request) = self.rewrite(&mut pending, &mut path) {
            self.put(pending, request, fx);
            return;
        }
        path.unverified = std::mem::take(&mut pending.unverified);
        let (at, cause) = (pending.at, pending.cause);
        let turn = path.turn();
        let site = &self.setup.site;
        let judged = match (path.replaced, &path.decision) {
            (None, Some(decision)) => {
                let proposal = Proposal { by: ProposedBy::Model, setpoints: decision.setpoints.clone() };
                self.judge(now, at, cause, &proposal, path, fx)
            }
            (Some(Replaced::ClaimsUnverified), _) if site.envelope.unverified == Unverified::Hold => {
                let proposal = Proposal { by: ProposedBy::Nobody, setpoints: BTreeMap::new() };
                self.judge(now, at, cause, &proposal, path, fx)
            }
            _ => self.fall_back(now, at, cause, path, fx),
        };
        if let Some(judged) = judged {
            self.ask_candidate(now, pending, &turn, judged, fx);
        }
    }

    /// As far as it is known before a reply is read.
    pub(super) fn path_of(&self, pending: &Pending) -> Path {
        Path {
            prompt: Some(PromptRecord::from(&pending.prompt)),
            sampler: Some(Sampler::of(&self.setup.site.model).varied(pending.attempt())),
            ..Path::default()
        }
    }

    /// Where a claim does not hold and there is time left. A server that does not heed the schema gives another
    /// decision, judged as any.
    pub(super) fn rewrite(&self, pending: &mut Pending, path: &mut Path) -> Option<Request> {
        let model = &self.setup.site.model;
        let attempt = pending.attempt().saturating_add(1);
        let again = path.replaced == Some(Replaced::ClaimsUnverified) && attempt <= model.rewrites;
        let decision = path.decision.as_ref().filter(|_| again)?;
        let took = |c: &Completion| c.prefill_ms + c.decode_ms;
        let last = path.completion.as_ref().map(took)?;
        let all = last + pending.unverified.iter().map(took).sum::<f64>();
        let left = model.deadline - SignedDuration::try_from_secs_f64(all / 1000.0).ok()?;
        if left.as_secs_f64() * 1000.0 < last {
            return None;
        }
        let asked = self.question_under(&pending.prompt, &pending.facts, self.setup.schema.clone());
        let request = decision::rewrite(asked, &pending.facts, decision, attempt)?;
        pending.sure = path.confidence.map(|sure| (decision.setpoints.clone(), sure));
        pending.unverified.extend(path.completion.take());
        Some(Request { deadline: left, ..request })
    }

    /// Strict parse, claims, measured confidence: whatever fails says why its setpoints are replaced.
    pub(super) fn read(&self, completion: Completion, pending: &Pending, path: &mut Path) {
        let site = &self.setup.site;
        match decision::parse(site, &completion.text) {
            Err(rejected) => {
                path.rejected = Some(rejected);
                path.replaced = Some(Replaced::ReplyRejected);
            }
            Ok(decision) => {
                let claims = decision::check(&pending.facts, &decision);
                if !claims.verified && site.envelope.unverified != Unverified::Accept {
                    path.replaced = Some(Replaced::ClaimsUnverified);
                }
                path.claims = Some(claims);
                let before = pending.sure.as_ref().filter(|(of, _)| *of == decision.setpoints);
                path.confidence = before.map(|(_, sure)| *sure).or_else(|| decision::confidence(&completion));
                if path.confidence.is_some_and(|c| c < site.envelope.min_confidence) {
                    path.replaced = Some(Replaced::LowConfidence);
                }
                path.decision = Some(decision);
            }
        }
        path.completion = Some(completion);
    }

    pub(super) fn fall_back(
        &mut self,
        now: Timestamp,
        decided_at: Timestamp,
        cause: Cause,
        path: Path,
        fx: &mut Effects<'_>,
    ) -> Option<Judged> {
        let frame = self.frame.as_ref()?;
        let proposal = self.fallback.step(now, frame);
        self.judge(now, decided_at, cause, &proposal, path, fx)
    }

    /// How much more IT load each place could take now.
    #[must_use]
    pub fn headroom(&self) -> Vec<Headroom> {
        let site = &self.setup.site;
        match &self.frame {
            _ if self.emergency => Headroom::none(site, "an emergency is under way"),
            None => Headroom::none(site, "no frame has come yet"),
            Some(frame) => workload::headroom(site, frame, &self.twin),
        }
    }
}
