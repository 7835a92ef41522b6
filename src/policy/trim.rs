//! Trim and respond as the controller itself: the same code that stands behind the model as its
//! [`fallback`](crate::fallback), there because Guideline 36 is what a well-run plant has today.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Policy, Seen};
use crate::fallback::Fallback;
use crate::frame::Frame;
use crate::site::{Name, Site};
use crate::units::Finite;

impl Policy for Fallback {
    fn observe(&mut self, frame: &Frame) {
        Fallback::observe(self, frame);
    }

    fn stand_by(&mut self) {
        Fallback::stand_by(self);
    }

    fn go_by(&mut self, site: &Site) {
        Fallback::go_by(self, site);
    }

    fn propose(&mut self, now: Timestamp, seen: &Seen<'_>) -> Option<BTreeMap<Name, Finite>> {
        Some(self.step(now, seen.frame).setpoints)
    }
}
