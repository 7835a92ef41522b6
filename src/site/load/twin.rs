//! Where the twin starts.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::check::Checker;
use super::spot::Spot;
use crate::site::Site;
use crate::twin;
use crate::units::Finite;

/// Longer than this is not one of the answers that the twin predicts.
const SLOWEST: SignedDuration = SignedDuration::from_hours(4);

impl Checker {
    pub(super) fn twin(&mut self, site: &Site) {
        let mut seen = BTreeSet::new();
        for (i, r) in site.twin.responses.iter().enumerate() {
            let field = format!("twin.response of \"{}\" to \"{}\"", r.signal, r.setpoint);
            let of = Spot::named(field, "twin.response", i);
            if site.setpoint(&r.setpoint).is_none() {
                self.say(of.at("setpoint"), format!("there is no [[setpoint]] named \"{}\"", r.setpoint));
            }
            if !site.signal(&r.signal).is_some_and(twin::is_predicted_temperature) {
                let problem = "expected a [[signal]] with the role of a temperature that the twin predicts";
                self.say(of.at("signal"), problem);
            }
            if !seen.insert((&r.setpoint, &r.signal)) {
                self.say(of.clone(), "is given twice");
            }
            if r.gain_sd <= Finite::ZERO {
                self.say(of.at("gain_sd"), "expected more than 0: nothing is known exactly");
            }
            for (key, time) in [("dead_time", r.dead_time), ("time_constant", r.time_constant)] {
                if time.is_negative() || time > SLOWEST {
                    self.say(of.at(key), "expected a time from 0 to 4 h");
                }
            }
        }
    }
}
