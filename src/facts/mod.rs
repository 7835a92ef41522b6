//! All that can truthfully be said at one moment: what the prompt shows is rendered from here, what the
//! model claims is checked against here, and reasons written for training are made from here.
//!
//! Every number is rounded as it is shown before anything is derived from it, so that the margin or change
//! told is the one that people compute from what they read.

#[cfg(test)]
pub(crate) mod example;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::decision::Trend;
use crate::directive::reading::{Reading, readings};
use crate::directive::{Directive, Limit};
use crate::frame::Frame;
use crate::history::{Change, History, WINDOWS_MIN};
use crate::site::terms::Terms;
use crate::site::{Cools, Name, Role, Setpoint, Signal, Site};
use crate::twin::{Ahead, HORIZONS_MIN, Outlook};
use crate::units::{Finite, Unit};
use crate::workload::Job;

const MOST_JOBS_SHOWN: usize = 3;

/// What the model is about to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    pub site: &'a Site,
    pub now: Timestamp,
    pub frame: &'a Frame,
    pub history: &'a History,
    pub outlook: &'a Outlook,
    pub directives: &'a [Directive],
}

#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    pub time: Timestamp,
    /// In the site's order.
    pub signals: Vec<SignalFacts>,
    pub setpoints: Vec<SetpointFacts>,
    /// Hold first; values rounded as shown.
    pub outlook: Outlook,
    /// Announced jobs; kilowatts rounded as shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
    /// Spans of time that have a meaning here: windows, horizons, cadence, dwell.
    pub durations_min: BTreeSet<u32>,
    /// Times of day that have a meaning here: now, the ends of directives, and the starts of jobs.
    pub clocks: BTreeSet<(i8, i8)>,
    /// What the directives in force may mean, and those of their bounds that the guard's reader is sure of.
    #[serde(skip)]
    pub(crate) readings: Vec<Reading>,
    #[serde(skip)]
    pub(crate) sure: Vec<Limit>,
    #[serde(skip)]
    pub(crate) terms: Terms,
}

#[derive(Clone, Debug, Serialize)]
pub struct SignalFacts {
    pub name: Name,
    pub unit: Unit,
    pub role: Option<Role>,
    /// `None` unless good.
    pub value: Option<Finite>,
    pub trend: Trend,
    /// By window, minutes.
    pub changes: BTreeMap<u32, Change>,
    /// The limits people hold it to first, then those of the emergency.
    pub bounds: Vec<Bound>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SetpointFacts {
    pub name: Name,
    pub unit: Unit,
    pub role: Option<Role>,
    pub decimals: u8,
    /// As in the plant now; `None` unless good.
    pub present: Option<Finite>,
    pub min: Finite,
    pub max: Finite,
    pub step: Finite,
    pub safe: Finite,
    pub rate_per_min: Finite,
    pub cools: Cools,
    pub changes: BTreeMap<u32, Change>,
    /// Operators' floors and ceilings.
    pub ordered: Vec<Bound>,
}

/// A value not to pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Bound {
    pub side: Side,
    pub value: Finite,
    pub kind: BoundKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Low,
    High,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundKind {
    /// What the value is to be kept in. Margins are to these.
    Operating,
    /// Where warming stops.
    NoWarming,
    /// Where the emergency begins.
    Allowable,
    /// An operator's directive.
    Ordered,
}

impl Bound {
    /// How far `value` is inside; negative outside.
    #[must_use]
    pub fn margin(&self, value: Finite) -> Finite {
        match self.side {
            Side::Low => value.plus(-self.value.get()),
            Side::High => self.value.plus(-value.get()),
        }
    }
}

impl SignalFacts {
    /// The limits it is held to.
    pub fn operating(&self) -> impl Iterator<Item = &Bound> {
        self.bounds.iter().filter(|b| b.kind == BoundKind::Operating)
    }

    /// The operating limit that `value` is closest to, and how far inside it is.
    #[must_use]
    pub fn margin_of(&self, value: Finite) -> Option<(Bound, Finite)> {
        self.operating().map(|b| (*b, b.margin(value).rounded(self.unit.decimals()))).min_by_key(|(_, m)| *m)
    }

    #[must_use]
    pub fn margin(&self) -> Option<(Bound, Finite)> {
        self.margin_of(self.value?)
    }
}

impl SetpointFacts {
    /// A value of this setpoint as it is shown.
    #[must_use]
    pub fn shown(&self, value: Finite) -> Finite {
        value.rounded(self.decimals)
    }
}

impl Facts {
    #[must_use]
    pub fn new(shown: &Shown<'_>) -> Self {
        let site = shown.site;
        let minutes = |d: jiff::SignedDuration| u32::try_from(d.as_mins()).ok().filter(|m| *m > 0);
        let durations = [site.cadence, site.envelope.outlook]
            .into_iter()
            .chain(site.setpoints.iter().map(|s| s.dwell))
            .filter_map(minutes)
            .chain(WINDOWS_MIN)
            .chain(HORIZONS_MIN);
        let ends = shown.directives.iter().filter_map(|d| d.until);
        let jobs = jobs(shown);
        let mut facts = Self {
            time: shown.now,
            signals: site.signals.iter().map(|s| signal(s, shown)).collect(),
            setpoints: site.setpoints.iter().map(|s| setpoint(s, shown)).collect(),
            outlook: rounded(shown.outlook, site),
            durations_min: durations.collect(),
            clocks: ends
                .chain(jobs.iter().map(|j| j.start))
                .chain([shown.now])
                .map(|t| clock(t, site))
                .collect(),
            jobs,
            readings: Vec::new(),
            sure: shown.directives.iter().flat_map(|d| d.limits.clone()).collect(),
            terms: Terms::new(site),
        };
        let readings: BTreeSet<Reading> = shown.directives.iter().flat_map(|d| may_mean(d, &facts)).collect();
        facts.readings = readings.into_iter().collect();
        facts
    }

    #[must_use]
    pub fn signal(&self, name: &Name) -> Option<&SignalFacts> {
        self.signals.iter().find(|s| s.name == *name)
    }

    #[must_use]
    pub fn setpoint(&self, name: &Name) -> Option<&SetpointFacts> {
        self.setpoints.iter().find(|s| s.name == *name)
    }

    /// The signal closest to one of its limits, with the limit and the margin to it.
    #[must_use]
    pub fn tightest(&self) -> Option<(&SignalFacts, Bound, Finite)> {
        let margins = self.signals.iter().filter_map(|s| s.margin().map(|(bound, m)| (s, bound, m)));
        margins.min_by_key(|(.., m)| *m)
    }

    /// The signal that will be closest to one of its limits at the last horizon if nothing is moved.
    #[must_use]
    pub fn tightest_ahead(&self) -> Option<&SignalFacts> {
        let hold = self.outlook.rows.first().filter(|r| r.moves.is_empty())?;
        let margin = |s: &&SignalFacts| Some(s.margin_of(hold.ahead.get(&s.name)?.last()?.value)?.1);
        self.signals.iter().filter(|s| margin(s).is_some()).min_by_key(margin)
    }

    /// The setpoints that a choice really moves, with where they go.
    #[must_use]
    pub fn moves(&self, chosen: &BTreeMap<Name, Finite>) -> BTreeMap<Name, Finite> {
        let moved = self
            .setpoints
            .iter()
            .filter_map(|s| Some((s.name.clone(), moved(s.present, *chosen.get(&s.name)?, s.decimals)?)));
        moved.collect()
    }
}

/// Where a choice moves a setpoint, as it is shown; `None`: it stays.
pub(crate) fn moved(present: Option<Finite>, chosen: Finite, decimals: u8) -> Option<Finite> {
    Some(chosen.rounded(decimals)).filter(|to| Some(*to) != present)
}

/// All that a directive may mean; where the guard's reader is sure of just what one reading says, that alone.
fn may_mean(directive: &Directive, facts: &Facts) -> Vec<Reading> {
    let all = readings(&directive.text, &facts.setpoints);
    let sure: Vec<Limit> = directive.limits.iter().map(|l| Limit { until: None, ..l.clone() }).collect();
    let known: Vec<Reading> = all.iter().filter(|r| r.limits(facts) == sure).cloned().collect();
    if sure.is_empty() || known.is_empty() { all } else { known }
}

/// Hour and minute of the site's day.
#[must_use]
pub fn clock(at: Timestamp, site: &Site) -> (i8, i8) {
    let here = site.zone().to_datetime(at);
    (here.hour(), here.minute())
}

fn signal(s: &Signal, shown: &Shown<'_>) -> SignalFacts {
    let value = shown.frame.good(&s.name).map(|v| v.rounded(s.unit.decimals()));
    SignalFacts {
        name: s.name.clone(),
        unit: s.unit,
        role: s.role,
        value,
        trend: shown.history.trend(&s.name),
        changes: changes(&s.name, shown.history),
        bounds: bounds(s, shown.site),
    }
}

fn changes(name: &Name, history: &History) -> BTreeMap<u32, Change> {
    WINDOWS_MIN.into_iter().filter_map(|w| Some((w, history.change(name, w)?))).collect()
}

fn setpoint(s: &Setpoint, shown: &Shown<'_>) -> SetpointFacts {
    let decimals = [s.min, s.step].map(needed_decimals).into_iter().fold(s.unit.decimals(), u8::max);
    let limits = shown.directives.iter().flat_map(|d| &d.limits).filter(|l| l.setpoint == s.name);
    let ordered = limits.flat_map(|l| {
        let bound =
            |side, value: Option<Finite>| value.map(|value| Bound { side, value, kind: BoundKind::Ordered });
        [bound(Side::Low, l.floor), bound(Side::High, l.ceiling)].into_iter().flatten()
    });
    SetpointFacts {
        name: s.name.clone(),
        unit: s.unit,
        role: s.role,
        decimals,
        present: shown.frame.good(&s.name).map(|v| v.rounded(decimals)),
        min: s.min,
        max: s.max,
        step: s.step,
        safe: s.safe,
        rate_per_min: s.rate_per_min,
        cools: s.cools,
        changes: changes(&s.name, shown.history),
        ordered: ordered.collect(),
    }
}

/// Decimals that `value` needs to be shown in full, at most 3.
#[must_use]
pub fn needed_decimals(value: Finite) -> u8 {
    (0..3).find(|d| (value.rounded(*d).get() - value.get()).abs() < 1e-9).unwrap_or(3)
}

/// A site says a signal's band, or its role has one in the envelope.
fn bounds(s: &Signal, site: &Site) -> Vec<Bound> {
    let e = &site.envelope;
    let bound = |side, value: Option<Finite>, kind| value.map(|value| Bound { side, value, kind });
    let pair = |[low, high]: [Finite; 2]| (Some(low), Some(high));
    let inlet = s.role == Some(Role::ItInlet);
    let high = match s.role {
        Some(Role::LiquidSupply | Role::Bath) => e.liquid_allowable,
        Some(Role::ChipTemp) => e.chip_allowable,
        _ => None,
    };
    let low = e.min_flow.get(&s.name).or_else(|| e.min_diff_pressure.get(&s.name)).copied();
    let operating = s.band.or(inlet.then_some(e.inlet_recommended)).map_or((low, high), pair);
    let allowable = if inlet { pair(e.inlet_allowable) } else { (low, high) };
    let no_warming = (None, inlet.then_some(e.no_warming_at));
    [(operating, BoundKind::Operating), (no_warming, BoundKind::NoWarming), (allowable, BoundKind::Allowable)]
        .into_iter()
        .flat_map(|((low, high), kind)| [bound(Side::Low, low, kind), bound(Side::High, high, kind)])
        .flatten()
        .collect()
}

/// The next few: more would crowd out the rest.
fn jobs(shown: &Shown<'_>) -> Vec<Job> {
    let rounded = |j: &Job| Job { kw: j.kw.rounded(Unit::Kilowatt.decimals()), ..j.clone() };
    shown.frame.jobs.iter().take(MOST_JOBS_SHOWN).map(rounded).collect()
}

fn rounded(outlook: &Outlook, site: &Site) -> Outlook {
    let mut outlook = outlook.clone();
    for row in &mut outlook.rows {
        for (name, ahead) in &mut row.ahead {
            let decimals = site.signal(name).map_or(1, |s| s.unit.decimals());
            for Ahead { value, sigma } in ahead {
                *value = value.rounded(decimals);
                *sigma = sigma.rounded(decimals);
            }
        }
    }
    outlook
}
