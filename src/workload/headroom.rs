//! How much IT load each place could take now: the most that, by the twin and two standard deviations of its
//! error, leaves every temperature inside its limit for the next 15 min with the setpoints as they are.
//!
//! Made of measurements alone: what is announced is for the scheduler to subtract. Where an input is not
//! good, or the twin cannot say, there is no headroom, and the reason says what is missing.

use std::fmt;

use serde::Serialize;

use crate::frame::Frame;
use crate::site::{Name, Place, Role, Signal, Site};
use crate::twin::{Lookahead, Twin};
use crate::units::Finite;

/// The time ahead that it holds for.
pub const MINUTES: u32 = 15;
/// Steps of five minutes.
const STEPS: usize = 3;
/// One-sided: 98 % of errors that are normal.
const SIGMAS: f64 = 2.0;
/// The answer is found to this part of the capacity.
const HALVINGS: u32 = 9;

/// What one place could take.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Headroom {
    pub place: Name,
    pub kw: Finite,
    pub binding: Binding,
    /// The same in words.
    pub reason: String,
}

/// What there is no more headroom for.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// With more, this signal would pass this limit.
    Signal { signal: Name, limit: Finite },
    /// Nothing warms up too much, but the place takes no more.
    Capacity { kw: Finite },
    /// An input that has to be good is not.
    NotGood { signal: Name },
    /// The twin does not know this signal well enough, or nothing yet.
    Unknown { signal: Option<Name> },
    /// The agent is not able to look after more load.
    State { why: String },
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal { signal, limit } => {
                write!(f, "with more, {signal} could pass {limit} within {MINUTES} min")
            }
            Self::Capacity { kw } => write!(f, "the place takes {kw} kW in all"),
            Self::NotGood { signal } => write!(f, "{signal} has no good value"),
            Self::Unknown { signal: Some(signal) } => write!(f, "{signal} cannot be predicted yet"),
            Self::Unknown { signal: None } => f.write_str("nothing can be predicted yet"),
            Self::State { why } => f.write_str(why),
        }
    }
}

impl Headroom {
    pub(crate) fn new(place: Name, kw: Finite, binding: Binding) -> Self {
        Self { reason: binding.to_string(), place, kw, binding }
    }

    /// No headroom anywhere, for one reason.
    #[must_use]
    pub fn none(site: &Site, why: &str) -> Vec<Self> {
        let none = |p: Place| Self::new(p.name, Finite::ZERO, Binding::State { why: why.to_owned() });
        site.places().into_iter().map(none).collect()
    }
}

/// The headroom of every place of the site.
#[must_use]
pub fn headroom(site: &Site, frame: &Frame, twin: &Twin) -> Vec<Headroom> {
    let load: Option<f64> = site.with_role(Role::ItLoad).map(|s| frame.good(&s.name).map(Finite::get)).sum();
    let whole = site.capacity_kw().get().max(1.0);
    let of = |place: Place| {
        let carried = load.unwrap_or_default() * place.capacity_kw.get() / whole;
        let most = (place.capacity_kw.get() - carried).max(0.0);
        let (kw, binding) = match Search::new(site, frame, twin, &place) {
            Ok(search) => search.most(most),
            Err(missing) => (0.0, missing),
        };
        // Rounded down: a promise.
        Headroom::new(place.name, Finite::saturating(kw.floor()), binding)
    };
    site.places().into_iter().map(of).collect()
}

struct Search<'a> {
    frame: &'a Frame,
    twin: &'a Twin,
    place: &'a Place,
    /// Signals that bind, with their limits.
    limits: Vec<(&'a Signal, Finite)>,
}

impl<'a> Search<'a> {
    fn new(site: &'a Site, frame: &'a Frame, twin: &'a Twin, place: &'a Place) -> Result<Self, Binding> {
        let concerns = |s: &&Signal| s.place.as_ref().is_none_or(|p| *p == place.name);
        let limits: Vec<_> =
            site.signals.iter().filter(concerns).filter_map(|s| Some((s, limit(site, s)?))).collect();
        let loads = site.with_role(Role::ItLoad);
        if let Some(s) = loads.chain(limits.iter().map(|(s, _)| *s)).find(|s| frame.good(&s.name).is_none()) {
            return Err(Binding::NotGood { signal: s.name.clone() });
        }
        if limits.is_empty() {
            return Err(Binding::Unknown { signal: None });
        }
        Ok(Self { frame, twin, place, limits })
    }

    /// The most, up to `most`, and what binds there. More load warms everything, so halving finds it.
    fn most(&self, most: f64) -> (f64, Binding) {
        let Some(binding) = self.broken(most) else {
            return (most, Binding::Capacity { kw: self.place.capacity_kw });
        };
        if let Some(binding) = self.broken(0.0) {
            return (0.0, binding);
        }
        let (mut fits, mut breaks, mut binding) = (0.0, most, binding);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(fits, breaks);
            match self.broken(middle) {
                None => fits = middle,
                Some(b) => (breaks, binding) = (middle, b),
            }
        }
        (fits, binding)
    }

    /// The first limit that so many kW more would break.
    fn broken(&self, kw: f64) -> Option<Binding> {
        let Some(ahead) = self.twin.loaded(self.frame, &self.place.name, kw) else {
            return Some(Binding::Unknown { signal: None });
        };
        let course = Course::of(&ahead);
        self.limits.iter().find_map(|(signal, limit)| {
            let now = self.frame.good(&signal.name)?.get();
            let signal = signal.name.clone();
            match course.highest(&signal) {
                None => Some(Binding::Unknown { signal: Some(signal) }),
                Some(high) => {
                    (high.max(now) > limit.get()).then_some(Binding::Signal { signal, limit: *limit })
                }
            }
        })
    }
}

/// The highest that each signal may be within the time.
struct Course<'a>(Vec<(&'a Name, Option<f64>)>);

impl<'a> Course<'a> {
    fn of(ahead: &'a Lookahead<'_>) -> Self {
        let paths = ahead.run(&[ahead.setpoints().to_vec()]).signals;
        let highest = |path: crate::twin::Path| {
            let steps = path.values.iter().take(STEPS).enumerate();
            steps.map(|(k, value)| value + SIGMAS * path.sigma(k)).fold(f64::NEG_INFINITY, f64::max)
        };
        let each = ahead.outputs().iter().zip(paths);
        Self(each.map(|(output, path)| (&output.name, path.map(highest))).collect())
    }

    fn highest(&self, signal: &Name) -> Option<f64> {
        self.0.iter().find(|(name, _)| *name == signal)?.1
    }
}

/// What a signal must stay under for load to be welcome.
fn limit(site: &Site, s: &Signal) -> Option<Finite> {
    let e = &site.envelope;
    let top = s.band.map(|[_, top]| top);
    match s.role {
        Some(Role::ItInlet) => Some(top.unwrap_or(e.inlet_recommended[1])),
        Some(Role::LiquidSupply | Role::Bath) => top.or(e.liquid_allowable),
        Some(Role::ChipTemp) => top.or(e.chip_allowable),
        _ => None,
    }
}
