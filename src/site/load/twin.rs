//! Where the twin starts.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::check::Checker;
use crate::site::Site;
use crate::twin;
use crate::units::Finite;

/// Longer than this is not one of the answers that the twin predicts.
const SLOWEST: SignedDuration = SignedDuration::from_hours(4);

impl Checker<'_> {
    pub(super) fn twin(&mut self, site: &Site) {
        let mut seen = BTreeSet::new();
        for r in &site.twin.responses {
            let mut wrong = |key: &str, problem: String| {
                let field = format!("twin.response of \"{}\" to \"{}\"{key}", r.signal, r.setpoint);
                self.top("twin.response", format!("{field}: {problem}"));
            };
            if site.setpoint(&r.setpoint).is_none() {
                wrong(": setpoint", format!("there is no [[setpoint]] named \"{}\"", r.setpoint));
            }
            if !site.signal(&r.signal).is_some_and(twin::is_predicted_temperature) {
                let problem = "expected a [[signal]] with the role of a temperature that the twin predicts";
                wrong(": signal", problem.to_owned());
            }
            if !seen.insert((&r.setpoint, &r.signal)) {
                wrong("", "is given twice".to_owned());
            }
            if r.gain_sd <= Finite::ZERO {
                wrong(": gain_sd", "expected more than 0: nothing is known exactly".to_owned());
            }
            for (key, time) in [(": dead_time", r.dead_time), (": time_constant", r.time_constant)] {
                if time.is_negative() || time > SLOWEST {
                    wrong(key, "expected a time from 0 to 4 h".to_owned());
                }
            }
        }
    }
}
