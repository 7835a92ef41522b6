//! How a candidate compares with what decides.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::site::Name;
use crate::units::Finite;

/// Over the decisions that both were asked for.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    pub compared: u64,
    /// Decisions for which the candidate was not asked: it was not done with the one before.
    pub skipped: u64,
    /// Both gave setpoints that could be used …
    pub both: u64,
    /// … and the guard made the same of them.
    pub agreed: u64,
    /// Sum over those of how far apart they were.
    pub apart: BTreeMap<Name, Finite>,
    pub incumbent: Side,
    pub candidate: Side,
}

/// What one of the two did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Replies whose setpoints could be used.
    pub usable: u64,
    /// Replies whose claims were checked, and those in which all held.
    pub checked: u64,
    pub verified: u64,
    /// Usable ones that the guard changed for safety.
    pub interventions: u64,
    pub answers: u64,
    /// All answers took.
    pub ms: u64,
}

/// One decision of one of the two.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Turn {
    pub verified: Option<bool>,
    pub ms: Option<u64>,
    /// What the guard made of its setpoints, where they could be used.
    pub setpoints: Option<BTreeMap<Name, Finite>>,
    pub intervened: bool,
}

impl Side {
    fn count(&mut self, turn: &Turn) {
        let usable = turn.setpoints.is_some();
        self.usable += u64::from(usable);
        self.checked += u64::from(turn.verified.is_some());
        self.verified += u64::from(turn.verified == Some(true));
        self.interventions += u64::from(usable && turn.intervened);
        self.answers += u64::from(turn.ms.is_some());
        self.ms += turn.ms.unwrap_or(0);
    }

    fn shown(&self, of: u64) -> Value {
        json!({ "usable": self.usable, "usable_pct": share(self.usable, of),
            "verified_pct": share(self.verified, self.checked), "interventions": self.interventions,
            "mean_ms": self.ms.checked_div(self.answers) })
    }
}

impl Tally {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn count(&mut self, incumbent: &Turn, candidate: &Turn) {
        self.compared += 1;
        self.incumbent.count(incumbent);
        self.candidate.count(candidate);
        if let (Some(a), Some(b)) = (&incumbent.setpoints, &candidate.setpoints) {
            self.both += 1;
            self.agreed += u64::from(a == b);
            for (name, a) in a {
                let Some(b) = b.get(name) else { continue };
                let sum = self.apart.entry(name.clone()).or_insert(Finite::ZERO);
                *sum = sum.plus((a.get() - b.get()).abs());
            }
        }
    }

    /// For people: shares and means.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mean = |sum: &Finite| (self.both > 0).then(|| rounded(sum.get() / self.both as f64, 100.0));
        let apart: BTreeMap<&Name, Option<f64>> = self.apart.iter().map(|(n, sum)| (n, mean(sum))).collect();
        json!({ "compared": self.compared, "skipped": self.skipped, "both_usable": self.both,
            "agreed": self.agreed, "agreement_pct": share(self.agreed, self.both), "mean_apart": apart,
            "incumbent": self.incumbent.shown(self.compared), "candidate": self.candidate.shown(self.compared) })
    }
}

/// Percent, to a tenth; `None` of nothing.
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| rounded(100.0 * part as f64 / of as f64, 10.0))
}

fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(setpoint: Option<f64>, verified: Option<bool>) -> Turn {
        let one = |v| BTreeMap::from([("chws_sp".parse().unwrap(), Finite::constant(v))]);
        Turn { verified, ms: verified.map(|_| 40), setpoints: setpoint.map(one), intervened: false }
    }

    #[test]
    fn shares_are_of_what_could_be_compared() {
        let mut tally = Tally::default();
        assert!(tally.is_empty());
        assert_eq!(tally.shown()["agreement_pct"], Value::Null);
        tally.count(&turn(Some(8.0), Some(true)), &turn(Some(8.0), Some(true)));
        tally.count(&turn(Some(8.0), Some(true)), &turn(Some(9.0), Some(true)));
        tally.count(&turn(Some(8.0), Some(true)), &turn(None, Some(false)));
        tally.count(&turn(None, None), &turn(Some(8.0), Some(true)));
        let shown = tally.shown();
        assert_eq!((&shown["compared"], &shown["both_usable"]), (&json!(4), &json!(2)));
        assert_eq!(shown["agreement_pct"], 50.0);
        assert_eq!(shown["mean_apart"]["chws_sp"], 0.5);
        assert_eq!(shown["incumbent"]["usable_pct"], 75.0);
        assert_eq!(shown["candidate"]["verified_pct"], 75.0);
        assert_eq!(shown["candidate"]["mean_ms"], 40);
    }
}
