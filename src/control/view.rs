//! What others may see of the controller.

use jiff::Timestamp;

use super::charge::Charge;
use super::{Controller, Given};
use crate::directive::Directive;
use crate::envelope::{Floor, SafeAction, floors};
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

    /// Who wanted the mode that is in force; nobody where it is the site file's.
    #[must_use]
    pub fn mode_given(&self) -> Option<&Given> {
        self.mode_given.as_ref()
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

    /// Setpoints that operators hold: at what value, until when, and who wanted it.
    pub fn overrides(&self) -> impl Iterator<Item = (&Name, Finite, Option<Timestamp>, Option<&Given>)> {
        self.overrides.iter().map(|(name, o)| (name, o.value, o.until, o.given.as_ref()))
    }

    /// Setpoints that were changed at the plant itself: since when and until when they are left alone.
    pub fn manual_holds(&self) -> impl Iterator<Item = (&Name, Timestamp, Timestamp)> {
        let hold = self.setup.site.envelope.manual_hold;
        self.memory
            .manual_holds()
            .map(move |(name, until)| (name, until.checked_sub(hold).unwrap_or(until), until))
    }

    /// Limits that move, by the latest frame.
    #[must_use]
    pub fn floors(&self) -> Vec<Floor> {
        self.frame.as_ref().map(|frame| floors(&self.setup.site, frame)).unwrap_or_default()
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
