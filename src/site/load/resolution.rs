//! `[resolution]`: bounds that enclose the cadence and the sample period.

use jiff::SignedDuration;

use super::check::Checker;
use crate::site::{Law, Site};

impl Checker {
    pub(super) fn resolution(&mut self, site: &Site) {
        let r = &site.resolution;
        if !r.adaptive {
            return;
        }
        if r.fastest <= SignedDuration::ZERO || r.fastest > site.cadence {
            self.top("resolution.fastest", "expected more than 0 and at most one cadence");
        }
        if r.slowest < site.cadence || r.slowest > SignedDuration::from_hours(6) {
            self.top("resolution.slowest", "expected at least one cadence and at most 6 h");
        }
        if r.settle < site.sample {
            self.top("resolution.settle", "expected at least one sample period");
        }
        if r.sample.is_some_and(|s| s < SignedDuration::from_millis(100) || s > site.sample) {
            self.top(
                "resolution.sample",
                "expected from 100 ms to `sample`, by which ages and heartbeats are judged: it is never sampled less often",
            );
        }
        if site.controller == Law::Rl {
            self.top(
                "resolution.adaptive",
                "a learned policy knows one cadence: leave this off, or choose another controller",
            );
        }
    }
}
