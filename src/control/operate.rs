//! Operators' acts. Each is answered, and recorded whether it was accepted or not.

use jiff::Timestamp;

use super::act::{Act, What};
use super::record::{Body, Cause, Event, OperatorRecord};
use super::{Advice, Answer, Charge, Controller, Effect, Effects, Given, Override};
use crate::directive::{self, Directive};
use crate::envelope::{Proposal, ProposedBy};
use crate::site::{Mode, Name};
use crate::units::Finite;

impl Controller {
    pub(super) fn on_act(&mut self, now: Timestamp, act: Act, fx: &mut Effects<'_>) {
        let admitted = named(&act).and_then(|()| self.admit(now, &act));
        let accepted = admitted.is_ok();
        let (answer, directive) = admitted.unwrap_or_else(|refusal| (refusal, None));
        fx.record(Body::Operator(OperatorRecord {
            act: act.clone(),
            accepted,
            answer: answer.clone(),
            found: None,
        }));
        if accepted {
            self.carry_out(now, act, directive, fx);
        }
        fx.list.push(Effect::Answer(Answer { accepted, answer }));
    }

    /// Whether an act can be done now; the text says what it leads to, or why not. A directive comes as it was
    /// understood.
    fn admit(&self, now: Timestamp, act: &Act) -> Result<(String, Option<Directive>), String> {
        let answer = match &act.what {
            What::Mode { mode } if *mode == self.mode => {
                Err(format!("the mode is {} already", mode.as_str()))
            }
            What::Mode { mode } => Ok(format!("mode {}", mode.as_str())),
            What::Approve { decision } => {
                self.waiting(*decision).and_then(|advice| self.admit_approval(now, advice))
            }
            What::Reject { decision } => self.waiting(*decision).map(|_| format!("decision {decision}")),
            What::Override { setpoint, value, until } => {
                let Some(s) = self.setup.site.setpoint(setpoint) else {
                    return Err(format!("there is no setpoint {setpoint}"));
                };
                if until.is_some_and(|t| t <= now) {
                    return Err(format!("the end of the override is not after {now}"));
                }
                if *value < s.min || *value > s.max {
                    return Err(format!("{setpoint} can be set from {} to {} {}", s.min, s.max, s.unit));
                }
                if self.mode != Mode::Auto {
                    return Err("overrides act through the agent: change to mode auto first".to_owned());
                }
                let held = format!("{value} {} and held", s.unit);
                if self.in_charge() {
                    Ok(format!("{setpoint} is moved to {held}"))
                } else {
                    Ok(format!(
                        "the agent does not have the plant: once it does, {setpoint} is moved to {held}"
                    ))
                }
            }
            What::ClearOverride { setpoint } if self.overrides.contains_key(setpoint) => {
                Ok(format!("{setpoint} is the agent's again"))
            }
            What::ClearOverride { setpoint } => Err(format!("{setpoint} is not overridden")),
            What::Directive { text, until } => {
                let d = directive::understand(&self.setup.site, now, &act.who, text, *until)
                    .map_err(|e| e.to_string())?;
                return Ok((d.meaning(), Some(d)));
            }
            What::Acknowledge { alarm } if self.alarms.iter().any(|a| a.seq == *alarm) => {
                Ok(format!("alarm {alarm} is acknowledged"))
            }
            What::Acknowledge { alarm } => Err(format!("no alarm {alarm} waits to be acknowledged")),
            What::ProposeUpgrade { .. } => Err("nobody has looked at the candidate".to_owned()),
            What::AcceptUpgrade { early } => self.admit_accept(now, *early),
            What::RevertUpgrade => self.admit_revert(),
            What::WithdrawDirective { number, text } => {
                match self.directive_index(*number).and_then(|i| self.directives.get(i)) {
                    Some(d) if text.as_ref().is_some_and(|shown| *shown != d.text) => {
                        Err(format!("directive {number} is another by now: \"{}\"", d.text))
                    }
                    Some(d) => Ok(format!("directive {number} is withdrawn: \"{}\"", d.text)),
                    None => {
                        Err(format!("there is no directive {number}; {} are in force", self.directives.len()))
                    }
                }
            }
        };
        answer.map(|answer| (answer, None))
    }

    fn waiting(&self, decision: u64) -> Result<&Advice, String> {
        match &self.advice {
            Some(a) if a.decision == decision => Ok(a),
            Some(a) => {
                Err(format!("decision {decision} does not wait for an answer; decision {} does", a.decision))
            }
            None => Err("no decision waits for an answer".to_owned()),
        }
    }

    /// Only what was advised with eyes open, and has not become old since.
    fn admit_approval(&self, now: Timestamp, advice: &Advice) -> Result<String, String> {
        let decision = advice.decision;
        if now >= advice.expires {
            return Err(format!("decision {decision} was to be answered by {}", advice.expires));
        }
        if !(self.plant_up && self.source_up && self.inputs_are_good()) {
            return Err(format!(
                "decision {decision} cannot be carried out: the plant, the source of the frames or a value that decisions need is missing"
            ));
        }
        let elsewhere = |(name, from): (&Name, &Finite)| {
            let now = self.frame.as_ref()?.good(name)?;
            let step = self.setup.site.setpoint(name)?.step.get();
            ((now.get() - from.get()).abs() > step / 2.0)
                .then(|| format!("{name} was at {from} and is at {now}"))
        };
        if let Some(moved) = advice.from.iter().find_map(elsewhere) {
            return Err(format!("decision {decision} was advised of another state: {moved}"));
        }
        Ok(format!("decision {decision}"))
    }

    /// Directives are numbered from 1, as they are listed.
    fn directive_index(&self, number: u32) -> Option<usize> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        (index < self.directives.len()).then_some(index)
    }

    fn carry_out(&mut self, now: Timestamp, act: Act, directive: Option<Directive>, fx: &mut Effects<'_>) {
        let wants = match act.what {
            What::Mode { .. }
            | What::Override { .. }
            | What::ClearOverride { .. }
            | What::Directive { .. }
            | What::WithdrawDirective { .. } => true,
            What::Acknowledge { .. }
            | What::Approve { .. }
            | What::Reject { .. }
            | What::ProposeUpgrade { .. }
            | What::AcceptUpgrade { .. }
            | What::RevertUpgrade => false,
        };
        if wants && let Some(change) = self.pacer.notice(now, "an operator wants something else") {
            fx.event(Event::Resolution, change.to_string());
        }
        match act.what {
            What::Mode { mode } => {
                self.mode = mode;
                self.mode_given = Some(Given { who: act.who, why: act.why, from: now });
                self.drop_advice("the mode changed", fx);
                fx.event(Event::ModeChange, mode.as_str());
                if mode == Mode::Auto {
                    if let Charge::Released { retake } = &mut self.charge {
                        *retake = None;
                    }
                    self.maybe_take(now, fx);
                } else {
                    self.pending = None;
                    self.release("the mode left auto", None, fx);
                }
            }
            What::Approve { .. } => {
                let Some(advice) = self.advice.take() else { return };
                if self.in_charge() || self.take_for_approval(now, fx) {
                    self.judge_and_act(now, Cause::Operator, &advice.proposal, fx);
                } else {
                    self.approved = Some(advice.proposal);
                }
            }
            What::Reject { .. } => self.advice = None,
            What::Override { setpoint, value, until } => {
                let given = Some(Given { who: act.who, why: act.why, from: now });
                self.overrides.insert(setpoint.clone(), Override { value, until, given });
                let proposal = Proposal {
                    by: ProposedBy::Operator,
                    setpoints: std::iter::once((setpoint, value)).collect(),
                };
                self.judge_and_act(now, Cause::Operator, &proposal, fx);
            }
            What::ClearOverride { setpoint } => {
                self.overrides.remove(&setpoint);
            }
            // One at a time: an alarm of a log that was lost may have the number of another.
            What::Acknowledge { alarm } => {
                if let Some(at) = self.alarms.iter().position(|a| a.seq == alarm) {
                    self.alarms.remove(at);
                }
            }
            // Carried out where it is admitted.
            What::ProposeUpgrade { .. } => {}
            What::AcceptUpgrade { .. } => self.install(act.who, act.why, fx),
            What::RevertUpgrade => self.revert(now, act.who, act.why, fx),
            What::Directive { .. } => self.directives.extend(directive),
            What::WithdrawDirective { number, .. } => {
                if let Some(index) = self.directive_index(number) {
                    self.directives.remove(index);
                }
            }
        }
    }

    /// In `advise` control is taken with the first approval, and kept until the mode changes: releasing
    /// after each action would undo it. True where nothing has to be written for it.
    fn take_for_approval(&mut self, now: Timestamp, fx: &mut Effects<'_>) -> bool {
        self.take(now, "an operator approved an action", fx);
        self.in_charge()
    }
}

/// Every act says who and why.
pub(super) fn named(act: &Act) -> Result<(), String> {
    if act.who.trim().is_empty() || act.why.trim().is_empty() {
        return Err("an act needs a name and a reason: --who and --why".to_owned());
    }
    Ok(())
}
