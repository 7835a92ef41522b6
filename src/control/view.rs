//! What others may see of the controller.

use jiff::Timestamp;

use super::Controller;
use super::charge::Charge;
use crate::directive::Directive;
use crate::envelope::SafeAction;
use crate::frame::Frame;
use crate::memory::Rung;
use crate::resolution::Pace;
use crate::site::{Mode, Name};
use crate::units::Finite;

impl Controller {
    /// Whether an ask is under way: its frame's control time has not ended yet.
    #[must_use]
    pub fn is_thinking(&self) -> bool {
        self.pending.is_some()
    }

    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    #[must_use]
    pub fn in_charge(&self) -> bool {
        self.charge == Charge::Held
    }

    #[must_use]
    pub fn next_decision(&self) -> Option<Timestamp> {
        self.pacer.next()
    }

    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pacer.pace()
    }

    /// The action that waits for an operator: its decision's record and when it expires.
    #[must_use]
    pub fn advice(&self) -> Option<(u64, Timestamp)> {
        self.advice.as_ref().map(|a| (a.decision, a.expires))
    }

    /// The number of the question that is under way.
    #[must_use]
    pub fn pending_ask(&self) -> Option<u64> {
        self.pending.as_ref().map(|p| p.ask)
    }

    #[must_use]
    pub fn in_emergency(&self) -> bool {
        self.emergency
    }

    #[must_use]
    pub fn rung(&self) -> Rung {
        self.rung
    }

    #[must_use]
    pub fn directives(&self) -> &[Directive] {
        &self.directives
    }

    /// Setpoints that operators hold: at what value, and until when.
    pub fn overrides(&self) -> impl Iterator<Item = (&Name, Finite, Option<Timestamp>)> {
        self.overrides.iter().map(|(name, o)| (name, o.value, o.until))
    }

    #[must_use]
    pub fn frame(&self) -> Option<&Frame> {
        self.frame.as_ref()
    }

    /// What hands the plant back when nothing can be recorded any more.
    #[must_use]
    pub fn release_action(&self) -> SafeAction {
        if matches!(self.charge, Charge::Released { .. }) {
            SafeAction::default()
        } else {
            self.guard.release()
        }
    }
}
