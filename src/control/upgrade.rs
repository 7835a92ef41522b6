//! The steps of an upgrade: proposed, tried beside what decides, accepted or given up, taken back. The map is at
//! the head of `upgrade`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use std::sync::Arc;

use super::act::{Act, MOST_SHADOW_MIN, What};
use super::candidate::Asked;
use super::operate::named;
use super::record::{Body, Event, EventRecord, OperatorRecord, Path};
use super::{Answer, Controller, Effect, Effects, Setup};
use crate::memory::{Change, Rung};
use crate::prompt::Prompts;
use crate::reason::Failure;
use crate::upgrade::{Found, Lineage, Model, Period, Turn, Upgrade, Version};

/// What is to become of the processes that hold the models.
#[derive(Clone, PartialEq, Debug)]
pub enum Staging {
    /// This is the candidate: start it beside the one that decides.
    Try(Box<Version>),
    /// There is no candidate any more: end it, and what was being installed.
    Drop,
    /// In the candidate's place, load this with all that one that decides has; [`super::Input::Installed`] follows.
    Install(Box<Version>),
    /// What was installed decides from now on; end the one before.
    TakeOver,
    /// This decides from now on, as soon as it is loaded; end the one before at once.
    Return(Box<Version>),
}

/// Where a candidate is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not asked yet.
    Loading,
    /// Asked beside the one that decides.
    Shadow,
    /// Accepted; decides when it is loaded for that.
    Installing,
}

#[derive(Debug)]
struct Trial {
    upgrade: Upgrade,
    prompts: Prompts,
    phase: Phase,
    asked: Option<Asked>,
    /// Answers in a row that never came because of the process.
    failures: u32,
    /// That the shadow period is over.
    told: bool,
}

/// Accepted upgrades, and the one that is tried.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    lineage: Option<Lineage>,
    trial: Option<Trial>,
    /// Changes so far of what outlives a restart.
    revision: u64,
}

impl Upgrades {
    pub(super) fn begin(&mut self, lineage: Option<&Lineage>) {
        self.lineage = lineage.cloned();
    }

    /// The candidate's, if it is to be asked beside the next decision.
    pub(super) fn prompts_to_try(&self) -> Option<&Prompts> {
        let trial = self.trial.as_ref()?;
        (trial.phase == Phase::Shadow && trial.asked.is_none()).then_some(&trial.prompts)
    }

    pub(super) fn skip(&mut self) {
        if let Some(trial) = self.trial.as_mut().filter(|t| t.phase == Phase::Shadow) {
            trial.upgrade.tally.skipped += 1;
            self.revision += 1;
        }
    }

    /// False: there is nobody to ask any more.
    pub(super) fn asked(&mut self, asked: Asked) -> bool {
        let trial = self.trial.as_mut().filter(|t| t.phase == Phase::Shadow);
        trial.map(|t| t.asked = Some(asked)).is_some()
    }

    pub(super) fn pending(&self) -> Option<u64> {
        Some(self.trial.as_ref()?.asked.as_ref()?.question.ask)
    }

    pub(super) fn take_asked(&mut self, ask: u64) -> Option<Asked> {
        self.trial.as_mut()?.asked.take_if(|a| a.question.ask == ask)
    }

    pub(super) fn candidate_model(&self) -> Option<Model> {
        self.trial.as_ref().map(|t| t.upgrade.to.model.clone())
    }

    /// How many answers in a row the candidate now owes for want of a process.
    pub(super) fn count(&mut self, incumbent: &Turn, candidate: &Turn, gone: bool) -> u32 {
        let Some(trial) = &mut self.trial else { return 0 };
        trial.upgrade.tally.count(incumbent, candidate);
        trial.failures = if gone { trial.failures + 1 } else { 0 };
        self.revision += 1;
        trial.failures
    }
}

impl Controller {
    /// Changes whenever what is to outlive a restart does.
    #[must_use]
    pub fn upgrades_revision(&self) -> u64 {
        self.upgrades.revision
    }

    #[must_use]
    pub fn lineage(&self) -> Option<&Lineage> {
        self.upgrades.lineage.as_ref()
    }

    /// The number of the question to the candidate that is under way.
    #[must_use]
    pub fn candidate_ask(&self) -> Option<u64> {
        self.upgrades.pending()
    }

    /// The step that is tried.
    #[must_use]
    pub fn trial(&self) -> Option<&Upgrade> {
        self.upgrades.trial.as_ref().map(|t| &t.upgrade)
    }

    /// For people.
    #[must_use]
    pub fn upgrade_shown(&self, now: Timestamp) -> Value {
        let candidate = self.upgrades.trial.as_ref().map(|t| {
            let u = &t.upgrade;
            let left = u.period.map(|p| p.until.duration_since(now).max(SignedDuration::ZERO));
            json!({ "phase": t.phase, "from": u.from.shown(), "to": u.to.shown(), "who": u.who, "why": u.why,
                "shadow_min": u.shadow_min, "since": u.period.map(|p| p.since),
                "until": u.period.map(|p| p.until), "left_min": left.map(|l| (l.as_secs() + 59) / 60),
                "tally": u.tally.shown() })
        });
        let lineage = self.upgrades.lineage.as_ref();
        json!({ "candidate": candidate, "in_force": lineage.map(|l| l.in_force.shown()),
            "before": lineage.and_then(|l| l.before.last()).map(Version::shown) })
    }

    pub(super) fn on_proposed(
        &mut self,
        now: Timestamp,
        act: Act,
        found: Result<Box<Found>, String>,
        fx: &mut Effects<'_>,
    ) {
        let admitted = named(&act).and_then(|()| self.admit_candidate(now, &act, found.as_deref()));
        let (accepted, answer) = match &admitted {
            Ok(trial) => {
                (true, format!("{}: the candidate is loaded, and asked from then on", trial.upgrade.told()))
            }
            Err(why) => (false, why.clone()),
        };
        let record = OperatorRecord { act, accepted, answer: answer.clone(), found: found.ok() };
        fx.record(Body::Operator(record));
        if let Ok(trial) = admitted {
            self.stage_trial(trial, fx);
        }
        fx.list.push(Effect::Answer(Answer { accepted, answer }));
    }

    fn stage_trial(&mut self, trial: Trial, fx: &mut Effects<'_>) {
        let to = Box::new(trial.upgrade.to.clone());
        let staging = if trial.upgrade.accepted { Staging::Install(to) } else { Staging::Try(to) };
        fx.list.push(Effect::Stage(staging));
        self.upgrades.trial = Some(trial);
        self.upgrades.revision += 1;
    }

    fn admit_candidate(
        &self,
        now: Timestamp,
        act: &Act,
        found: Result<&Found, &String>,
    ) -> Result<Trial, String> {
        let What::ProposeUpgrade { shadow_min, .. } = act.what else {
            return Err("this proposes nothing".to_owned());
        };
        let Found { from, to } = found.map_err(Clone::clone)?;
        if self.upgrades.trial.is_some() {
            return Err("a candidate is tried already: accept or revert it first".to_owned());
        }
        if !(1..=MOST_SHADOW_MIN).contains(&shadow_min) {
            return Err(format!("the shadow period can be from 1 minute to {MOST_SHADOW_MIN}, a year"));
        }
        if from.applied_to(&self.setup.site).model.path != self.setup.site.model.path
            || from.prompts.sha256 != self.setup.prompts.sha256()
        {
            return Err("what decides has changed meanwhile: propose again".to_owned());
        }
        if self.rung != Rung::Full {
            let rung = self.rung.as_str();
            return Err(format!("memory is short (rung {rung}): there is no room for a second model now"));
        }
        let trial = Trial::new(
            Upgrade {
                from: from.clone(),
                to: to.clone(),
                who: act.who.clone(),
                why: act.why.clone(),
                shadow_min,
                period: None,
                tally: crate::upgrade::Tally::default(),
                accepted: false,
            },
            Phase::Loading,
        )?;
        match self.render_with(now, &trial.prompts) {
            None => Err("no frame has come yet: propose when there is one to try the prompts on".to_owned()),
            Some(Err(e)) => Err(e.to_string()),
            Some(Ok(_)) => Ok(trial),
        }
    }

    pub(super) fn on_candidate_ready(&mut self, now: Timestamp, model: Value, fx: &mut Effects<'_>) {
        let Some(trial) = self.upgrades.trial.as_mut().filter(|t| t.phase == Phase::Loading) else { return };
        let length = SignedDuration::from_mins(i64::from(trial.upgrade.shadow_min));
        let period = *trial.upgrade.period.get_or_insert(Period { since: now, until: now + length });
        trial.phase = Phase::Shadow;
        self.upgrades.revision += 1;
        let detail = format!("{}: tried until {}", trial.upgrade.told(), period.until);
        let upgrade = Some(Box::new(trial.upgrade.clone()));
        let event = EventRecord { upgrade, model, ..EventRecord::new(Event::UpgradeShadow, detail) };
        fx.record(Body::Event(event));
    }

    pub(super) fn on_candidate_lost(&mut self, why: String, fx: &mut Effects<'_>) {
        self.abandon(why, fx);
    }

    /// Ends a trial; what decides goes on.
    pub(super) fn abandon(&mut self, why: String, fx: &mut Effects<'_>) {
        let upgrade = self.upgrades.trial.take().map(|t| Box::new(t.upgrade));
        self.upgrades.revision += 1;
        fx.record(Body::Event(EventRecord { upgrade, ..EventRecord::new(Event::UpgradeAbandoned, why) }));
        fx.list.push(Effect::Stage(Staging::Drop));
    }

    /// A second model is the first thing to be given up.
    pub(super) fn heed_memory(&mut self, change: &Change, fx: &mut Effects<'_>) {
        if change.to != Rung::Full && self.upgrades.trial.is_some() {
            self.abandon(format!("memory is short: {change}"), fx);
        }
    }

    pub(super) fn tell_when_due(&mut self, now: Timestamp, fx: &mut Effects<'_>) {
        let Some(trial) = &mut self.upgrades.trial else { return };
        let over = trial.upgrade.period.is_some_and(|p| now >= p.until);
        if over && trial.phase == Phase::Shadow && !trial.told {
            trial.told = true;
            let detail = format!("{}: the shadow period is over; accept or revert it", trial.upgrade.told());
            let upgrade = Some(Box::new(trial.upgrade.clone()));
            fx.record(Body::Event(EventRecord { upgrade, ..EventRecord::new(Event::UpgradeDue, detail) }));
        }
    }

    pub(super) fn admit_accept(&self, now: Timestamp, early: bool) -> Result<String, String> {
        let Some(trial) = &self.upgrades.trial else {
            return Err("there is no candidate: propose one first".to_owned());
        };
        match (trial.phase, trial.upgrade.period) {
            (Phase::Installing, _) => return Err("it is accepted already, and being loaded".to_owned()),
            (Phase::Loading, _) | (_, None) => return Err("the candidate is still being loaded".to_owned()),
            (Phase::Shadow, Some(period)) if now < period.until && !early => {
                return Err(format!(
                    "the shadow period ends at {}; to accept it before that, say so (--early) and why",
                    period.until
                ));
            }
            (Phase::Shadow, Some(_)) => {}
        }
        if trial.upgrade.tally.compared == 0 && !early {
            return Err("no decision has been compared yet: nothing speaks for the candidate".to_owned());
        }
        let told = trial.upgrade.told();
        Ok(format!("{told}: decides as soon as it is loaded for that; until then all goes on as it is"))
    }

    /// The candidate ran at low priority, which a process cannot leave again: it is loaded anew, while the one
    /// before goes on deciding.
    pub(super) fn install(&mut self, who: String, why: String, fx: &mut Effects<'_>) {
        let Some(trial) = &mut self.upgrades.trial else { return };
        (trial.phase, trial.asked) = (Phase::Installing, None);
        (trial.upgrade.who, trial.upgrade.why, trial.upgrade.accepted) = (who, why, true);
        self.upgrades.revision += 1;
        fx.list.push(Effect::Stage(Staging::Install(Box::new(trial.upgrade.to.clone()))));
    }

    /// Comes between two decisions: no question is under way.
    pub(super) fn on_installed(&mut self, model: Value, fx: &mut Effects<'_>) {
        let installing = |t: &mut Trial| t.phase == Phase::Installing;
        let Some(Trial { upgrade, prompts, .. }) = self.upgrades.trial.take_if(installing) else { return };
        let detail = upgrade.told();
        let lineage = Lineage::extended(self.lineage(), upgrade.from.clone(), upgrade.to.clone());
        self.go_by_version(&upgrade.to, prompts, Some(lineage));
        let upgrade = Some(Box::new(upgrade));
        let event = EventRecord { upgrade, model, ..EventRecord::new(Event::UpgradeAccepted, detail) };
        fx.record(Body::Event(event));
        fx.list.push(Effect::Stage(Staging::TakeOver));
    }

    fn go_by_version(&mut self, version: &Version, prompts: Prompts, lineage: Option<Lineage>) {
        let site = version.applied_to(&self.setup.site);
        self.setup = Arc::new(Setup { site, prompts, schema: self.setup.schema.clone() });
        self.upgrades.lineage = lineage;
        self.upgrades.revision += 1;
    }

    pub(super) fn admit_revert(&self) -> Result<String, String> {
        if let Some(trial) = &self.upgrades.trial {
            return Ok(format!("{}: the candidate is given up", trial.upgrade.told()));
        }
        let Some((before, _)) = self.lineage().and_then(Lineage::back) else {
            return Err("nothing was upgraded: the site file's model and prompts decide".to_owned());
        };
        before.prompts().map_err(|e| e.to_string())?;
        Ok("what decided before does again, as soon as it is loaded; until then the fallback decides"
            .to_owned())
    }

    pub(super) fn revert(&mut self, now: Timestamp, who: String, why: String, fx: &mut Effects<'_>) {
        if self.upgrades.trial.is_some() {
            self.abandon(format!("given up by {who}: {why}"), fx);
            return;
        }
        let Some(lineage) = self.upgrades.lineage.clone() else { return };
        let Some((to, remains)) = lineage.back() else { return };
        let Ok(prompts) = to.prompts() else { return };
        self.go_by_version(&to, prompts, remains);
        let upgrade = Upgrade {
            from: lineage.in_force,
            to: to.clone(),
            who,
            why,
            shadow_min: 0,
            period: None,
            tally: crate::upgrade::Tally::default(),
            accepted: false,
        };
        let detail = upgrade.told();
        let upgrade = Some(Box::new(upgrade));
        fx.record(Body::Event(EventRecord { upgrade, ..EventRecord::new(Event::UpgradeReverted, detail) }));
        fx.list.push(Effect::Stage(Staging::Return(Box::new(to))));
        // Whatever it would have answered is not wanted any more, and the interval still gets its decision.
        if let Some(pending) = self.pending.take() {
            let why = "it was taken back while it was being asked".to_owned();
            let mut path = Path::default();
            path.fail(Failure::NotRunning { why });
            self.fall_back(now, pending.at, pending.cause, path, fx);
        }
    }

    pub(super) fn on_resumed(&mut self, upgrade: Upgrade, fx: &mut Effects<'_>) {
        let (phase, before) = if upgrade.accepted {
            (Phase::Installing, "accepted in an earlier run, which ended before it was loaded")
        } else {
            (Phase::Loading, "tried by an earlier run too")
        };
        let resumed = Trial::new(upgrade.clone(), phase);
        let detail = format!("{}: {before}", upgrade.told());
        let upgrade = Some(Box::new(upgrade));
        fx.record(Body::Event(EventRecord { upgrade, ..EventRecord::new(Event::UpgradeResumed, detail) }));
        match resumed {
            Ok(trial) => self.stage_trial(trial, fx),
            Err(why) => self.abandon(why, fx),
        }
        if self.rung != Rung::Full && self.upgrades.trial.is_some() {
            self.abandon(format!("memory is short: rung {}", self.rung.as_str()), fx);
        }
    }

    /// Questions under way were made under other limits.
    pub(super) fn forget_candidate_question(&mut self) {
        self.upgrades.trial.iter_mut().for_each(|t| t.asked = None);
    }
}

impl Trial {
    fn new(upgrade: Upgrade, phase: Phase) -> Result<Self, String> {
        let prompts = upgrade.to.prompts().map_err(|e| e.to_string())?;
        Ok(Self { upgrade, prompts, phase, asked: None, failures: 0, told: false })
    }
}

#[cfg(test)]
mod tests;
