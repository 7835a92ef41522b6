//! What a site did until now: fine where recent or fast, coarse where old or calm, and bounded.
//!
//! Only good values enter. Beside every mean the lowest and highest value are kept, so that a short peak
//! is not averaged away. Whatever is said about the past (trends, changes, the rows of the prompt) is read
//! here, by the prompt and by the claim check alike.

mod rows;
mod series;
mod trend;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use rows::{Cell, Row};
pub use trend::WINDOW_MIN as TREND_WINDOW_MIN;

use crate::decision::Trend;
use crate::frame::Frame;
use crate::site::{Name, Site};
use crate::units::{Finite, Unit};
use series::{FINE_S, Series};

/// Windows, in minutes, over which changes can be told.
pub const WINDOWS_MIN: [u32; 5] = [5, 10, 15, 30, 60];

#[derive(Clone, Debug)]
pub struct History {
    series: BTreeMap<Name, (Unit, Series)>,
    /// The longest gap between two samples that is still no gap, s.
    reach_s: i64,
    now: Option<Timestamp>,
}

/// How a value came to be what it is. Both ends are rounded as they are shown, so that the difference of
/// what people read is the difference told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    pub from: Finite,
    pub to: Finite,
}

impl Change {
    #[must_use]
    pub fn delta(self) -> Finite {
        self.to.plus(-self.from.get())
    }

    /// In percent of where it came from; `None` from zero.
    #[must_use]
    pub fn percent(self) -> Option<Finite> {
        Finite::new(100.0 * self.delta().get() / self.from.get().abs())
    }
}

impl History {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let signals = site.signals.iter().map(|s| (s.name.clone(), (s.unit, Series::default())));
        let setpoints = site.setpoints.iter().map(|s| (s.name.clone(), (s.unit, Series::default())));
        Self {
            series: signals.chain(setpoints).collect(),
            reach_s: site.sample.as_secs().max(FINE_S),
            now: None,
        }
    }

    /// Adds the good values of a frame. Frames not newer than the last one are left out.
    pub fn push(&mut self, frame: &Frame) {
        if self.now.is_some_and(|now| frame.time <= now) {
            return;
        }
        self.now = Some(frame.time);
        let at = frame.time.as_second();
        for (name, (_, series)) in &mut self.series {
            if let Some(value) = frame.good(name) {
                series.push(at, value.get());
            }
        }
    }

    /// The trend of a signal or setpoint by now; see [`TREND_WINDOW_MIN`].
    #[must_use]
    pub fn trend(&self, name: &Name) -> Trend {
        let Some(now) = self.now else { return Trend::Steady };
        let Some((unit, series)) = self.series.get(name) else { return Trend::Steady };
        let to = now.as_second();
        let from = to - i64::from(TREND_WINDOW_MIN) * 60;
        let points: Vec<(f64, f64)> =
            series.fine(from, to).map(|b| ((b.start - from) as f64, b.mean())).collect();
        trend::trend(&points, *unit)
    }

    /// How a value changed in the last `minutes`. `None` without a good value at both ends.
    #[must_use]
    pub fn change(&self, name: &Name, minutes: u32) -> Option<Change> {
        let now = self.now?.as_second();
        let (unit, series) = self.series.get(name)?;
        let (at, last) = series.last?;
        let then = now - i64::from(minutes) * 60;
        let before = series
            .fine(then - self.reach_s, then + self.reach_s)
            .min_by_key(|b| (b.start + FINE_S / 2 - then).abs())?;
        let shown = |v| Finite::new(v).map(|v| v.rounded(unit.decimals()));
        if at == now { Some(Change { from: shown(before.mean())?, to: shown(last)? }) } else { None }
    }

    /// Rows of `columns`, oldest first and at most `count`, chosen to show what happened: see [`Row`].
    #[must_use]
    pub fn rows(&self, columns: &[Name], count: usize) -> Vec<Row> {
        let Some(now) = self.now else { return Vec::new() };
        let columns: Vec<_> = columns.iter().filter_map(|n| self.series.get(n)).collect();
        rows::choose(&columns, now.as_second(), count)
    }
}

#[cfg(test)]
mod tests;
