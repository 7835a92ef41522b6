//! Whether to believe one sensor: everything that can be told from its own readings alone.
//!
//! A [`Track`] keeps two things apart: the *last* value, which is what the frame shows, and the
//! *trusted* one, the last that passed every test, which is what jumps and worst cases are measured
//! from.
//!
//! **A jump** is a change faster than the slew limit. It is `suspect`, and so is what follows, until
//! - readings come back to where the slew limit allows them to be, counted from the trusted value; or
//! - the new level has held, each reading within the slew limit of the one before, for
//!   [`LEVEL_READINGS`] readings and [`LEVEL_HOLDS`]: then it is the truth, and the old one was not.
//!
//! A jump that another unit explains (25 degC turning into 77 "degC") is never accepted as a new
//! level: the converted value carries the trusted one on until the unit is right again.

use jiff::{SignedDuration, Timestamp};

use super::{Doubt, Quality, Sample, Span};
use crate::ingest::Reading;
use crate::site::{Setpoint, Signal};
use crate::units::{Finite, Unit};

/// Clocks of sources may be this far ahead of ours.
const MAX_AHEAD: SignedDuration = SignedDuration::from_secs(5);
/// The slew limit is per minute and is judged over no less, so that noise and resolution are not jumps.
const JUDGED_OVER: SignedDuration = SignedDuration::from_mins(1);
const LEVEL_READINGS: u32 = 4;
const LEVEL_HOLDS: SignedDuration = SignedDuration::from_mins(1);
/// A setpoint that has not been read back for this many sample periods is stale.
const SETPOINT_PERIODS: i32 = 3;

/// What a value must be like to be believed.
#[derive(Clone, Debug)]
struct Limits {
    unit: Unit,
    low: Finite,
    high: Finite,
    /// `None` for a setpoint: it may be set to anything at once.
    slew_per_min: Option<Finite>,
    stale_after: SignedDuration,
    stuck_after: Option<SignedDuration>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    value: Finite,
    time: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    level: Level,
    doubt: Option<Doubt>,
}

/// A level the readings have jumped to, on probation.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    latest: Level,
    since: Timestamp,
    readings: u32,
}

/// One signal or setpoint over time.
#[derive(Clone, Debug)]
pub(super) struct Track {
    limits: Limits,
    last: Option<Last>,
    trusted: Option<Level>,
    candidate: Option<Candidate>,
    /// The value since when it has not changed at all.
    unchanged: Option<Level>,
}

impl Track {
    pub(super) fn of_signal(signal: &Signal) -> Self {
        let [low, high] = signal.range;
        Self::new(Limits {
            unit: signal.unit,
            low,
            high,
            slew_per_min: Some(signal.slew_per_min),
            stale_after: signal.stale_after,
            stuck_after: signal.stuck_after,
        })
    }

    /// Half a step beyond min and max is still in range: registers round.
    pub(super) fn of_setpoint(setpoint: &Setpoint, sample: SignedDuration) -> Self {
        let rounding = setpoint.step.get() / 2.0;
        Self::new(Limits {
            unit: setpoint.unit,
            low: setpoint.min.plus(-rounding),
            high: setpoint.max.plus(rounding),
            slew_per_min: None,
            stale_after: sample.saturating_mul(SETPOINT_PERIODS),
            stuck_after: None,
        })
    }

    /// The plant's own controller may be anywhere: only what is far from any limit is left out.
    pub(super) fn of_active(setpoint: &Setpoint, sample: SignedDuration) -> Self {
        let mut track = Self::of_setpoint(setpoint, sample);
        let span = setpoint.span();
        track.limits.low = setpoint.min.plus(-10.0 * span);
        track.limits.high = setpoint.max.plus(10.0 * span);
        track
    }

    pub(super) fn of_enable(sample: SignedDuration) -> Self {
        Self::new(Limits {
            unit: Unit::Count,
            low: Finite::ZERO,
            high: Finite::constant(65_535.0),
            slew_per_min: None,
            stale_after: sample.saturating_mul(SETPOINT_PERIODS),
            stuck_after: None,
        })
    }

    /// Judges from now on by the limits of another one.
    pub(super) fn judge_like(&mut self, other: &Self) {
        self.limits = other.limits.clone();
    }

    fn new(limits: Limits) -> Self {
        Self { limits, last: None, trusted: None, candidate: None, unchanged: None }
    }

    /// Takes a reading in. Late ones (older than what is known) and retained ones that come after a
    /// live one change nothing.
    pub(super) fn push(&mut self, reading: &Reading) {
        self.forget_the_future(reading.received);
        let live_known = self.last.is_some_and(|l| l.doubt != Some(Doubt::Retained));
        let late = self.last.is_some_and(|l| reading.time < l.level.time);
        if live_known && (late || reading.origin.retained) {
            return;
        }
        let Some(value) = reading.unit.convert(reading.value, self.limits.unit) else {
            if let Some(last) = &mut self.last {
                last.doubt = Some(Doubt::WrongUnit);
            }
            return;
        };
        let level = Level { value, time: reading.time };
        let doubt = self.judge(level, reading);
        if doubt.is_none() {
            self.trusted = Some(level);
            self.candidate = None;
        }
        self.last = Some(Last { level, doubt });
    }

    /// What was learnt at times that, by the present clock, have yet to come is void: some clock has
    /// gone back, and new readings must not count as late.
    fn forget_the_future(&mut self, received: Timestamp) {
        let past = |time: Timestamp| time.duration_since(received) <= MAX_AHEAD;
        self.last = self.last.filter(|l| past(l.level.time));
        self.trusted = self.trusted.filter(|t| past(t.time));
        self.candidate = self.candidate.filter(|c| past(c.latest.time));
        self.unchanged = self.unchanged.filter(|u| past(u.time));
    }

    fn judge(&mut self, level: Level, reading: &Reading) -> Option<Doubt> {
        if reading.origin.retained {
            return Some(Doubt::Retained);
        }
        if level.time.duration_since(reading.received) > MAX_AHEAD {
            return Some(Doubt::Clock);
        }
        let stuck = self.is_stuck(level);
        if reading.origin.flagged {
            return Some(Doubt::Flagged);
        }
        if !self.in_range(level.value) {
            let explained = self.in_other_units(reading).any(|v| self.in_range(v));
            return Some(if explained { Doubt::WrongUnit } else { Doubt::OutOfRange });
        }
        if reading.origin.after_reconnect {
            return Some(Doubt::Reconnect);
        }
        if stuck {
            return Some(Doubt::Stuck);
        }
        self.jump(level, reading)
    }

    fn jump(&mut self, level: Level, reading: &Reading) -> Option<Doubt> {
        let (Some(slew), Some(trusted)) = (self.limits.slew_per_min, self.trusted) else { return None };
        if within(slew, trusted, level) {
            return None;
        }
        let meant = self
            .in_other_units(reading)
            .map(|value| Level { value, time: level.time })
            .find(|meant| within(slew, trusted, *meant));
        if meant.is_some() {
            self.trusted = meant;
            self.candidate = None;
            return Some(Doubt::WrongUnit);
        }
        let candidate = match self.candidate {
            Some(c) if within(slew, c.latest, level) => {
                Candidate { latest: level, since: c.since, readings: c.readings.saturating_add(1) }
            }
            Some(_) | None => Candidate { latest: level, since: level.time, readings: 1 },
        };
        self.candidate = Some(candidate);
        let held = level.time.duration_since(candidate.since);
        let settled = candidate.readings >= LEVEL_READINGS && held >= LEVEL_HOLDS;
        if settled { None } else { Some(Doubt::Jump) }
    }

    fn is_stuck(&mut self, level: Level) -> bool {
        let since = match self.unchanged {
            Some(u) if u.value == level.value => u,
            Some(_) | None => level,
        };
        self.unchanged = Some(since);
        self.limits.stuck_after.is_some_and(|limit| level.time.duration_since(since.time) >= limit)
    }

    fn in_range(&self, value: Finite) -> bool {
        (self.limits.low..=self.limits.high).contains(&value)
    }

    /// What the reading would be, had it come in one of its unit's kin.
    fn in_other_units(&self, reading: &Reading) -> impl Iterator<Item = Finite> {
        let (value, unit) = (reading.value, self.limits.unit);
        reading.unit.kin().filter_map(move |other| other.convert(value, unit))
    }

    pub(super) fn sample(&self, now: Timestamp) -> Sample {
        let unit = self.limits.unit;
        let Some(last) = self.last else { return Sample::missing(unit) };
        let age = now.duration_since(last.level.time);
        let doubt = last.doubt.or_else(|| {
            if age < -MAX_AHEAD {
                Some(Doubt::Clock)
            } else if age > self.limits.stale_after {
                Some(Doubt::TooOld)
            } else {
                None
            }
        });
        let quality = match doubt {
            None => Quality::Good,
            Some(Doubt::Retained | Doubt::TooOld) => Quality::Stale,
            Some(_) => Quality::Suspect,
        };
        let age_known = !matches!(doubt, Some(Doubt::Retained | Doubt::Clock));
        Sample {
            value: Some(last.level.value),
            unit,
            quality,
            age_s: age_known.then(|| seconds(age)),
            worst: Some(self.worst(last.level.value, quality, now)),
            doubt,
        }
    }

    fn worst(&self, shown: Finite, quality: Quality, now: Timestamp) -> Span {
        let whole = Span { low: self.limits.low, high: self.limits.high };
        let trusted = self.trusted.filter(|t| t.time.duration_since(now) <= MAX_AHEAD);
        let span = match (self.limits.slew_per_min, trusted) {
            (Some(slew), Some(trusted)) => {
                let reach = slew.get() * seconds(now.duration_since(trusted.time)).get() / 60.0;
                Span { low: trusted.value.plus(-reach), high: trusted.value.plus(reach) }
            }
            (None, Some(_)) if quality == Quality::Good => return Span { low: shown, high: shown },
            (Some(_) | None, _) => whole,
        };
        // A value that may yet turn out to be true belongs to the worst case; one that cannot be does not.
        if self.in_range(shown) {
            Span { low: span.low.min(shown), high: span.high.max(shown) }
        } else {
            span
        }
    }
}

/// Whether the slew limit allows going from one level to the other.
fn within(slew_per_min: Finite, from: Level, to: Level) -> bool {
    let minutes = to.time.duration_since(from.time).max(JUDGED_OVER).as_secs_f64() / 60.0;
    (to.value.get() - from.value.get()).abs() <= slew_per_min.get() * minutes
}

/// An age in seconds; a clock that is a little ahead counts as no age.
fn seconds(age: SignedDuration) -> Finite {
    Finite::saturating(age.as_secs_f64().max(0.0))
}
