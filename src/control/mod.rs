//! The sans-I/O core. [`Controller::handle`] takes the time and one input and returns effects in the order
//! in which they must happen; the service, replay and the benches drive the same function.
//!
//! Theory of operation. Every frame is recorded, folded into history, twin and guard memory, and, while in
//! charge, answered with a heartbeat. Once a cadence, or as [`resolution`](crate::resolution) has it, the model
//! is asked; its reply, or its failure, becomes a proposal; the guard turns the proposal into an action; the
//! record of all that precedes the write. An emergency does not wait for that and does not ask.
//!
//! ```text
//!   mode = auto, or an approval; link up, frame           outcome applied
//!  Released ──────────────────────────────> Taking ──────────────────────────> Held
//!     ^                                        │ outcome failed                    │
//!     └────────────────────────────────────────┴───────────────────────────────────┘
//!          another mode, link down, write failed, three decisions without valid inputs, stop
//! ```

pub mod act;
mod alarm;
mod candidate;
mod charge;
mod decide;
mod effects;
mod judge;
mod messages;
mod operate;
pub mod record;
mod reload;
mod standing;
mod upgrade;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

pub use act::{Act, What};
pub use alarm::Alarm;
pub(crate) use charge::RELEASE_AGAIN;
use charge::{Beats, Charge, Unheard};
use effects::Effects;
pub(crate) use judge::foresee;
pub use messages::{Answer, Effect, Input, Link};
pub use record::{Body, RunHeader};
use record::{Cause, Event, EventRecord, FrameRecord, StopRecord};
use standing::Override;
pub use standing::{Given, Standing};

use crate::directive::Directive;
use crate::envelope::{Guard, Memory, Proposal, ProposedBy, Rule};
use crate::facts::Facts;
use crate::fallback::Fallback;
use crate::frame::Frame;
use crate::history::History;
use crate::memory::Rung;
use crate::policy::{self, Policy};
use crate::prompt::{Prompt, Prompts};
use crate::reason::Completion;
use crate::resolution::{Due, Pacer};
use crate::site::{Clock, Mode, Name, Site};
use crate::twin::Twin;
use crate::units::Finite;
use upgrade::Upgrades;
pub use upgrade::{Phase, Staging};

/// What a run goes by, until a reload or an upgrade.
#[derive(Debug)]
pub struct Setup {
    pub site: Site,
    pub prompts: Prompts,
    pub schema: serde_json::Value,
}

/// A question on its way.
#[derive(Debug)]
struct Pending {
    ask: u64,
    at: Timestamp,
    cause: Cause,
    prompt: Prompt,
    /// What the prompt showed: claims are judged by it, not by what has come since.
    facts: Facts,
    /// Replies to it so far in which a claim did not hold.
    unverified: Vec<Completion>,
    /// The setpoints in those, and how sure the model was of them: a reply that repeats them says nothing of that.
    sure: Option<(BTreeMap<Name, Finite>, Finite)>,
    /// The same facts in the candidate's words, where there is one to be asked.
    beside: Option<Prompt>,
}

impl Pending {
    /// How many replies came before.
    fn attempt(&self) -> u32 {
        u32::try_from(self.unverified.len()).unwrap_or(u32::MAX)
    }
}

/// An action that waits for an operator.
#[derive(Debug)]
struct Advice {
    decision: u64,
    proposal: Proposal,
    /// Where the setpoints that it moves were.
    from: BTreeMap<Name, Finite>,
    expires: Timestamp,
}

#[derive(Debug)]
pub struct Controller {
    setup: Arc<Setup>,
    guard: Guard,
    memory: Memory,
    history: History,
    twin: Twin,
    fallback: Fallback,
    /// `None` where the language model decides.
    policy: Option<Box<dyn Policy>>,
    mode: Mode,
    /// Who wanted it; the site file, where nobody did.
    mode_given: Option<Given>,
    charge: Charge,
    /// The plant has not confirmed the last release.
    unheard: Option<Unheard>,
    plant_up: bool,
    source_up: bool,
    frame: Option<Frame>,
    pacer: Pacer,
    pending: Option<Pending>,
    advice: Option<Advice>,
    /// What an operator approved, until control is taken for it.
    approved: Option<Proposal>,
    overrides: BTreeMap<Name, Override>,
    directives: Vec<Directive>,
    upgrades: Upgrades,
    /// What nobody has acknowledged yet.
    alarms: Vec<Alarm>,
    emergency: bool,
    /// How much memory the reasoner may have.
    rung: Rung,
    misses: u32,
    beats: Beats,
    asks: u64,
    /// The sequence number the next record will have in the log.
    next_seq: u64,
}

impl Controller {
    /// `first_seq`: the number that the log will give to the first record, the run header.
    #[must_use]
    pub fn new(setup: Arc<Setup>, first_seq: u64) -> Self {
        let policy = policy::of(&setup.site);
        Self::with_policy(setup, policy, first_seq)
    }

    /// The same with a policy that no site file names, as experiments need.
    #[must_use]
    pub fn with_policy(setup: Arc<Setup>, policy: Option<Box<dyn Policy>>, first_seq: u64) -> Self {
        let site = &setup.site;
        Self {
            guard: Guard::new(site),
            memory: Memory::new(site),
            history: History::new(site),
            twin: Twin::new(site),
            fallback: Fallback::new(site),
            policy,
            mode: site.mode,
            mode_given: None,
            charge: Charge::Released { retake: None },
            unheard: None,
            plant_up: true,
            source_up: true,
            frame: None,
            pacer: Pacer::new(site),
            pending: None,
            advice: None,
            approved: None,
            overrides: BTreeMap::new(),
            directives: Vec::new(),
            upgrades: Upgrades::default(),
            alarms: Vec::new(),
            emergency: false,
            rung: Rung::Full,
            misses: 0,
            beats: Beats::default(),
            asks: 0,
            next_seq: first_seq,
            setup,
        }
    }

    /// The run header, which must be the first thing recorded.
    pub fn start(&mut self, header: RunHeader) -> Vec<Effect> {
        self.next_seq += 1;
        self.upgrades.begin(header.upgrades.as_deref());
        vec![Effect::Record(Body::Start(Box::new(header)))]
    }

    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        let mut seq = self.next_seq;
        let mut fx = Effects { list: Vec::new(), next_seq: &mut seq };
        match input {
            Input::Frame(frame) => self.on_frame(now, frame, &mut fx),
            Input::Reply { ask, result } => self.on_reply(now, ask, result, &mut fx),
            Input::Outcome { intent, outcome } => self.on_outcome(now, intent, outcome, &mut fx),
            Input::Act(act) => self.on_act(now, act, &mut fx),
            Input::Proposed { act, found } => self.on_proposed(now, act, found, &mut fx),
            Input::CandidateReady(model) => self.on_candidate_ready(now, model, &mut fx),
            Input::CandidateLost { why } => self.on_candidate_lost(why, &mut fx),
            Input::Installed(model) => self.on_installed(model, &mut fx),
            Input::Resumed(upgrade) => self.on_resumed(*upgrade, &mut fx),
            Input::Standing(standing) => self.on_standing(now, *standing, &mut fx),
            Input::StandingLost { why } => self.on_standing_lost(why, &mut fx),
            Input::AuditBack { detail } => {
                fx.event(Event::AuditLost, detail);
            }
            Input::Link { link, up, why } => self.on_link(now, link, up, &why, &mut fx),
            Input::Orphans(intents) => {
                let detail = "an earlier run ended between these intents and their outcomes: whether the writes reached the plant is shown by its registers, which are read before anything is decided";
                fx.record(Body::Event(EventRecord { intents, ..EventRecord::new(Event::Orphans, detail) }));
            }
            Input::Memory(change) => self.on_memory(change, &mut fx),
            Input::Archived(archived) => {
                fx.record(Body::Event(EventRecord::of_archived(archived)));
            }
            Input::Reload { detail, site } => self.on_reload(detail, site, &mut fx),
            Input::Stop { why } => {
                fx.event(Event::Stopping, why);
                self.release("stopping", None, &mut fx);
            }
            Input::Stopped { why } => {
                fx.record(Body::Stop(StopRecord { why }));
            }
        }
        let list = fx.list;
        self.raise_alarms(now, self.next_seq, &list);
        self.next_seq = seq;
        list
    }

    fn on_frame(&mut self, now: Timestamp, frame: Frame, fx: &mut Effects<'_>) {
        if let Some(last) = &self.frame
            && frame.time < last.time
        {
            let what = format!("a frame of {} came after one of {}", frame.time, last.time);
            // Old data from a source that is there never actuates. The wall's clock, or a source that was lost, is
            // believed: nobody knows which of its times was wrong.
            if self.setup.site.clock == Clock::Frames && self.source_up {
                fx.event(Event::ClockBackwards, format!("{what}: not used"));
                return;
            }
            fx.event(Event::ClockBackwards, format!("{what}: all waits begin again"));
            self.begin_again(now, fx);
        }
        self.history.push(&frame);
        self.twin.update(&frame);
        self.fallback.observe(&frame);
        self.policy.iter_mut().for_each(|p| p.observe(&frame));
        self.memory = self.guard.observe(&self.memory, now, &frame);

        let last = self.frame.as_ref().map(|f| f.time);
        let lapse = self.lapse(now, last);
        let heartbeat = (self.in_charge() && lapse.is_none()).then(|| self.beats.next());
        let intent = fx.record(Body::Frame(Box::new(FrameRecord { frame: frame.clone(), heartbeat })));
        if let Some((event, why, retake)) = lapse {
            fx.event(event, why);
            self.let_go(retake);
        }
        if let Some(counter) = heartbeat {
            let action = self.guard.heartbeat(counter);
            if !action.is_empty() {
                fx.list.push(Effect::Heartbeat { intent, action });
            }
        }
        if !self.memory.new_manual_holds().is_empty() {
            self.look_again();
        }
        for setpoint in self.memory.new_manual_holds() {
            fx.event(
                Event::ManualHold,
                format!("{setpoint} was changed at the plant itself: left alone until the hold ends"),
            );
        }
        for setpoint in self.memory.new_laggards() {
            fx.event(
                Event::NotFollowing,
                format!("{setpoint}: its register holds what was written, but the setpoint in force does not follow: not warmed further until it does"),
            );
        }
        self.frame = Some(frame);
        self.expire(now, fx);
        self.maybe_take(now, fx);
        self.repeat_release(now, fx);
        self.check_emergency(now, fx);

        if self.in_charge() && !self.emergency {
            // The dew point rises without asking: a limit that the present setpoints break does not wait.
            let hold = Proposal { by: ProposedBy::Nobody, setpoints: BTreeMap::new() };
            let before = fx.list.len();
            self.judge_and_act(now, Cause::Limit, &hold, fx);
            if fx.list.iter().skip(before).any(|e| matches!(e, Effect::Write { .. })) {
                // A decision made now would not know of this write, and might send it once more.
                return;
            }
        }
        self.keep_pace(now, fx);
    }

    /// Somebody else has moved setpoints: whoever goes on from where they were starts from where they are.
    fn look_again(&mut self) {
        self.fallback.stand_by();
        self.policy.iter_mut().for_each(|p| p.stand_by());
    }

    /// Decides if it is time to.
    fn keep_pace(&mut self, now: Timestamp, fx: &mut Effects<'_>) {
        let sighted = self.inputs_are_good();
        let change = self.frame.as_ref().and_then(|frame| self.pacer.observe(now, frame, sighted));
        if let Some(change) = change {
            fx.event(Event::Resolution, change.to_string());
        }
        let Some(due) = self.pacer.due(now) else { return };
        if self.pending.is_none() && !self.emergency {
            self.pacer.decide(now);
            let cause = match due {
                Due::Interval => Cause::Cadence,
                Due::Change => Cause::Change,
            };
            self.ask(now, cause, fx);
        }
    }

    /// The clock was put back: what waits for a time that has yet to come again would wait too long. The guard's
    /// memory and the twin see to themselves.
    fn begin_again(&mut self, now: Timestamp, fx: &mut Effects<'_>) {
        let site = &self.setup.site;
        self.history = History::new(site);
        self.fallback = Fallback::new(site);
        if self.policy.is_some() {
            self.policy = policy::of(site);
        }
        self.pacer = Pacer::new(site);
        if let Charge::Released { retake: Some(at) } = &mut self.charge {
            *at = (*at).min(now + charge::RETAKE_AFTER);
        }
        self.unheard.iter_mut().for_each(|u| u.tried = u.tried.min(now));
        self.pending = None;
        self.forget_candidate_question();
        self.drop_advice("the clock was put back", fx);
    }

    fn drop_advice(&mut self, why: &str, fx: &mut Effects<'_>) {
        if let Some(advice) = self.advice.take() {
            fx.event(Event::AdviceExpired, format!("decision {}: {why}", advice.decision));
        }
    }

    /// Ends what has run out.
    fn expire(&mut self, now: Timestamp, fx: &mut Effects<'_>) {
        self.tell_when_due(now, fx);
        if self.advice.as_ref().is_some_and(|a| now >= a.expires) {
            self.drop_advice("not answered in time", fx);
        }
        let gone: Vec<Name> = self
            .overrides
            .iter()
            .filter(|(_, o)| o.until.is_some_and(|t| now >= t))
            .map(|(n, _)| n.clone())
            .collect();
        for name in gone {
            self.overrides.remove(&name);
            fx.event(Event::OverrideExpired, format!("{name} is the agent's again"));
        }
        self.directives.retain(|d| {
            let over = d.until.is_some_and(|t| now >= t);
            if over {
                fx.event(Event::DirectiveExpired, d.text.clone());
            }
            !over
        });
    }
}

/// Whether a rule had a say in a verdict.
fn touched(verdict: &crate::envelope::Verdict, rule: Rule) -> bool {
    verdict.touched.iter().any(|t| t.rule == rule)
}

#[cfg(test)]
mod tests;
