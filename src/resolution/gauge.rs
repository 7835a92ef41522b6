//! How restless one signal is: its change against its own noise, and a test for changes.
//!
//! The test is Page's two-sided cumulative sum (E. S. Page, "Continuous inspection schemes", *Biometrika* 41,
//! 1954) on the distance from a slowly following level, in units of the noise. Each sample adds what exceeds
//! [`REFERENCE`]; a sum of [`DECISION`] is a change, after which level and sums begin anew. The noise is the mean
//! moving range over 1.128, as on control charts (D. C. Montgomery, *Introduction to Statistical Quality
//! Control*), and never counts as less than what the signal's own unit makes worth a decision.
//!
//! With independent normal noise of a known level and size a false change would come once in some 400,000 samples
//! (Siegmund's approximation for these two numbers); with both estimated, as here, it comes every day or two. It
//! costs a few decisions.

use jiff::Timestamp;

use crate::units::{Finite, Unit};

/// What a sample may be off, in units of the noise, without adding to the sum.
const REFERENCE: f64 = 1.0;
const DECISION: f64 = 6.0;
/// A sample counts as at most this far off, so that a single one, however wild, is no change.
const FURTHEST: f64 = 4.0;
/// Seconds that a sample stands for at most. More samples in that time share it, so that looking more often makes
/// nobody more nervous.
const WEIGHT_S: f64 = 15.0;
/// Time constants of the level and of the noise, s.
const LEVEL_S: f64 = 600.0;
const NOISE_S: f64 = 1800.0;
/// The mean moving range of normal noise, in standard deviations.
const RANGE: f64 = 1.128;
/// Samples by which the noise is known well enough to test anything.
const KNOWN_BY: u32 = 20;

/// A signal that has come to another level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shift {
    pub(super) from: Finite,
    pub(super) to: Finite,
}

#[derive(Clone, Debug)]
pub(super) struct Gauge {
    unit: Unit,
    state: Option<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    at: Timestamp,
    last: f64,
    samples: u32,
    level: f64,
    /// Mean moving range.
    range: f64,
    up: f64,
    down: f64,
}

impl Gauge {
    pub(super) fn new(unit: Unit) -> Self {
        Self { unit, state: None }
    }

    /// Takes in a good value. Values not later than the last one change nothing.
    pub(super) fn push(&mut self, at: Timestamp, value: Finite) -> Option<Shift> {
        let x = value.get();
        let Some(s) = &mut self.state else {
            self.state = Some(State { at, last: x, samples: 0, level: x, range: 0.0, up: 0.0, down: 0.0 });
            return None;
        };
        let seconds = at.duration_since(s.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let sigma = (s.range / RANGE).max(least(self.unit, s.level));
        s.samples = s.samples.saturating_add(1);
        // A step is not noise; but at first nothing else is known.
        let known = s.samples > KNOWN_BY;
        let range = (x - s.last).abs().min(if known { FURTHEST * sigma } else { f64::MAX });
        s.range += (range - s.range) * share(seconds, NOISE_S).max(1.0 / f64::from(s.samples));
        (s.at, s.last) = (at, x);
        let from = s.level;
        if known {
            let off = ((x - s.level) / sigma).clamp(-FURTHEST, FURTHEST);
            let weight = (seconds / WEIGHT_S).min(1.0);
            s.up = (s.up + weight * (off - REFERENCE)).max(0.0);
            s.down = (s.down + weight * (-off - REFERENCE)).max(0.0);
        }
        let changed = s.up.max(s.down) >= DECISION;
        if changed {
            (s.level, s.up, s.down) = (x, 0.0, 0.0);
        } else if s.up.max(s.down) <= 0.0 {
            // It follows while nothing is suspected.
            s.level += (x - s.level) * share(seconds, LEVEL_S);
        }
        let shown = |v: f64| Finite::saturating(v).rounded(self.unit.decimals());
        changed.then(|| Shift { from: shown(from), to: value.rounded(self.unit.decimals()) })
    }
}

/// The least noise to measure by. For temperatures it is what two of the agent's own moves change, so that it does not
/// startle itself while it walks half a kelvin every five minutes; for powers and shares, what the guard and the
/// plant's own loops take as it comes.
fn least(unit: Unit, level: f64) -> f64 {
    match unit {
        Unit::DegC | Unit::Kelvin => 1.0,
        Unit::DegF => 1.8,
        Unit::Flag | Unit::Count => 0.25,
        Unit::KilopascalGauge
        | Unit::Bar
        | Unit::Kilowatt
        | Unit::Watt
        | Unit::KilowattHour
        | Unit::LitrePerMinute
        | Unit::CubicMetrePerHour
        | Unit::Percent
        | Unit::RelativeHumidity
        | Unit::Hertz
        | Unit::Rpm => (0.03 * level.abs()).max(10f64.powi(-i32::from(unit.decimals()))),
    }
}

/// How much of the way a first-order follower goes in a time.
fn share(seconds: f64, constant: f64) -> f64 {
    1.0 - (-seconds / constant).exp()
}
