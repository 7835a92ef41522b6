//! Who has the plant: taking control, holding it, handing it back, and the emergency that overrides all.

use jiff::{SignedDuration, Timestamp};

use super::effects::Effects;
use super::record::{Body, Cause, Event, OutcomeRecord};
use super::{Controller, Link};
use crate::actuate::Outcome;
use crate::envelope::SafeAction;
use crate::site::Mode;

/// After a failed write control is not taken again before this.
pub(super) const RETAKE_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// A release that was not confirmed is repeated after this.
pub(crate) const RELEASE_AGAIN: SignedDuration = SignedDuration::from_mins(2);
/// Decisions in a row without valid inputs before control is released.
const MISSES_TO_RELEASE: u32 = 3;
/// Heartbeats in a row that did not arrive before control is released.
const LOST_BEATS_TO_RELEASE: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Charge {
    Released {
        /// Not before this time; `None`: as soon as possible.
        retake: Option<Timestamp>,
    },
    Taking {
        intent: u64,
    },
    Held,
}

/// A release that the plant has not confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unheard {
    /// The record that meant it.
    pub(super) intent: u64,
    pub(super) tried: Timestamp,
}

/// Heartbeats, of which only those that do not arrive are heard of again.
#[derive(Default, Debug)]
pub(super) struct Beats {
    counter: u16,
    /// The last one did not arrive.
    last_lost: bool,
    /// How many in a row did not.
    lost: u32,
}

impl Beats {
    /// Counts the last one, of which nothing more has been heard, as arrived.
    pub(super) fn next(&mut self) -> u16 {
        if !self.last_lost {
            self.lost = 0;
        }
        self.last_lost = false;
        self.counter = self.counter.wrapping_add(1);
        self.counter
    }

    fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
        self.last_lost = true;
    }
}

impl Controller {
    pub(super) fn maybe_take(&mut self, now: Timestamp, fx: &mut Effects<'_>) {
        let Charge::Released { retake } = self.charge else { return };
        let due = retake.is_none_or(|at| now >= at);
        if self.mode == Mode::Auto && self.plant_up && self.source_up && due && self.inputs_are_good() {
            self.take(now, "mode auto, plant reachable, inputs good", fx);
        }
    }

    /// Held at once where nothing has to be written for it.
    pub(super) fn take(&mut self, now: Timestamp, why: &str, fx: &mut Effects<'_>) {
        self.unheard = None;
        // While somebody else had the plant, its setpoints may have gone anywhere: what moves them by the change
        // since it last looked looks again.
        self.look_again();
        let action = self.guard.take_control();
        let empty = action.is_empty();
        let intent = fx.event_and_write(Event::TakeControl, why, action);
        if empty {
            self.hold(now);
        } else {
            self.charge = Charge::Taking { intent };
        }
    }

    fn hold(&mut self, now: Timestamp) {
        self.charge = Charge::Held;
        self.memory = self.memory.handed(Some(now));
        self.beats.lost = 0;
    }

    /// The plant is not the agent's from here on, whoever has ended it. Writes nothing.
    pub(super) fn let_go(&mut self, retake: Option<Timestamp>) {
        self.charge = Charge::Released { retake };
        self.memory = self.memory.handed(None);
        self.approved = None;
    }

    /// Why the plant is not the agent's any more although it has it: it was switched off there, or its watchdog has run
    /// out. `last`: when the heartbeat before was due. The time is that before which control is not taken again.
    pub(super) fn lapse(
        &self,
        now: Timestamp,
        last: Option<Timestamp>,
    ) -> Option<(Event, String, Option<Timestamp>)> {
        let (link, wait) = (&self.setup.site.link, self.setup.site.envelope.manual_hold);
        // One frame that is late is no gap, however short the watchdog.
        let watchdog = link.watchdog.max(self.setup.site.sample.saturating_mul(2));
        let gap = last.map_or(SignedDuration::ZERO, |last| now.duration_since(last));
        if !self.in_charge() {
            None
        } else if self.memory.is_switched_off() {
            let why = format!(
                "the plant's enable register shows that it is not the agent's any more: left alone for {wait:#}"
            );
            Some((Event::SwitchedOff, why, Some(now + wait)))
        } else if link.heartbeat.is_some() && gap > watchdog {
            let why = format!("no heartbeat for {gap:#}: the plant's watchdog has handed it back");
            Some((Event::Release, why, None))
        } else {
            None
        }
    }

    /// A heartbeat that did not arrive. One is no matter; of several in a row the plant's watchdog makes an end.
    fn on_lost_beat(&mut self, now: Timestamp, why: &str, fx: &mut Effects<'_>) {
        self.beats.lose();
        if self.in_charge() && self.beats.lost >= LOST_BEATS_TO_RELEASE {
            fx.event(Event::WriteFailed, why);
            self.release("the heartbeat does not arrive", Some(now + RETAKE_AFTER), fx);
        }
    }

    /// Control is taken only with eyes open: every required signal and every setpoint good.
    pub(super) fn inputs_are_good(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.is_complete(&self.setup.site))
    }

    /// Hands the plant back to its own controller, if this agent has it.
    pub(super) fn release(&mut self, why: &str, retake: Option<Timestamp>, fx: &mut Effects<'_>) {
        let before = match self.charge {
            Charge::Released { retake } => Some(retake),
            Charge::Taking { .. } | Charge::Held => None,
        };
        if before.is_none() || self.unheard.is_some() {
            // Also where the plant seems lost: of several devices some may hear it.
            fx.event_and_write(Event::Release, why, self.guard.release());
        }
        // A wait that is under way is not cut short: `None` is before all times.
        self.let_go(retake.max(before.flatten()));
    }

    /// Until the plant confirms that it is its own again, or control is taken, it is told.
    pub(super) fn repeat_release(&mut self, now: Timestamp, fx: &mut Effects<'_>) {
        if self.plant_up && self.unheard.is_some_and(|u| now.duration_since(u.tried) >= RELEASE_AGAIN) {
            self.release_again(now, "it has not been confirmed", fx);
        }
    }

    fn release_again(&mut self, now: Timestamp, why: &str, fx: &mut Effects<'_>) {
        let intent = fx.event_and_write(Event::Release, why, self.guard.release());
        self.unheard = Some(Unheard { intent, tried: now });
    }

    /// The record that meant the last release, where the plant has not confirmed it, and how it is released. For a
    /// time without frames, in which nothing is decided.
    #[must_use]
    pub fn unconfirmed_release(&self) -> Option<(u64, SafeAction)> {
        self.unheard.map(|u| (u.intent, self.guard.release()))
    }

    pub(super) fn on_outcome(&mut self, now: Timestamp, intent: u64, outcome: Outcome, fx: &mut Effects<'_>) {
        if let Some(why) = outcome.lost_beat() {
            fx.record(Body::Outcome(OutcomeRecord { intent, outcome }));
            self.on_lost_beat(now, &why, fx);
            return;
        }
        let applied = !outcome.release_needed;
        self.memory = self.guard.after(&self.memory, now, &outcome);
        let summary = outcome.trouble();
        fx.record(Body::Outcome(OutcomeRecord { intent, outcome }));
        if !applied {
            // Of a release that fails time and again, once is enough.
            if self.unheard.is_none() {
                fx.event(Event::WriteFailed, summary);
            }
            if matches!(self.charge, Charge::Released { .. }) {
                // That was the release: when control may be taken again stays as it is.
                self.unheard = Some(Unheard { intent, tried: now });
            } else {
                self.release("a write was not confirmed", Some(now + RETAKE_AFTER), fx);
            }
        } else if matches!(self.charge, Charge::Released { .. }) {
            self.unheard = None;
        } else if self.charge == (Charge::Taking { intent }) {
            self.hold(now);
            if let Some(proposal) = self.approved.take() {
                self.judge_and_act(now, Cause::Operator, &proposal, fx);
            }
        }
    }

    pub(super) fn on_link(&mut self, now: Timestamp, link: Link, up: bool, why: &str, fx: &mut Effects<'_>) {
        let event = if up { Event::LinkUp } else { Event::LinkDown };
        fx.event(event, format!("{}: {why}", link.as_str()));
        match link {
            Link::Plant => self.plant_up = up,
            Link::Source => self.source_up = up,
        }
        if !up {
            self.drop_advice("the link is lost", fx);
            self.release("the link is lost", None, fx);
        } else if link == Link::Plant
            && self.unheard.is_some()
            && !(self.mode == Mode::Auto && self.source_up)
        {
            // Nobody will take control now and say it anew.
            self.release_again(now, "it was not confirmed while the plant was away", fx);
        }
    }

    pub(super) fn check_emergency(&mut self, now: Timestamp, fx: &mut Effects<'_>) {
        let emergency = self.memory.emergency().map(ToOwned::to_owned);
        match (&emergency, self.emergency) {
            (Some(why), false) => {
                fx.event(Event::Emergency, why.clone());
                // A reply still to come would be about a world that no longer is.
                self.pending = None;
            }
            (None, true) => {
                fx.event(Event::EmergencyOver, "temperatures are back below their hand-back limits");
            }
            (Some(_), true) | (None, false) => {}
        }
        self.emergency = emergency.is_some();
        if self.emergency && self.in_charge() {
            self.judge_and_act(now, Cause::Emergency, &self.guard.full_cooling(), fx);
        }
    }

    /// Counts decisions for which the guard had no valid inputs.
    pub(super) fn count_misses(&mut self, touched_by_input_validity: bool, fx: &mut Effects<'_>) {
        self.misses = if touched_by_input_validity { self.misses + 1 } else { 0 };
        if self.misses >= MISSES_TO_RELEASE {
            self.release("three decisions in a row without valid inputs", None, fx);
        }
    }
}
