//! The rules. First all facts are gathered, then each setpoint's window is narrowed, then the choice as a
//! whole is checked against the outlook, then it is put in form.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::alarm::worst_high;
use super::guard::{Case, Predicted};
use super::memory::day;
use super::verdict::{ProposedBy, Rule, Touch};
use super::window::Window;
use crate::frame::{Quality, Sample};
use crate::site::{Cools, Name, Role, Setpoint, Site};
use crate::units::{DegC, Finite, Kelvin, RelHumidity, dew_point};

/// The condensation margin that no site can lower, K.
const LEAST_DEW_MARGIN: Finite = Finite::constant(2.0);
/// Shares of a move that are tried against the outlook, largest first.
const SHARES: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

/// A setpoint, where it is, and where it may go.
pub(super) type Move<'a> = (&'a Setpoint, Option<Finite>, Window);

/// What the frame and the memory say about all setpoints alike.
pub(super) struct Facts<'a> {
    site: &'a Site,
    now: Timestamp,
    emergency: bool,
    /// Nothing may move, and why.
    freeze: Option<(Rule, String)>,
    /// The worst valid inlet is at or above `no_warming_at`, or nothing says how warm it is.
    no_warming: bool,
    /// Liquid may not be colder than this; `None`: the dew point is not known.
    dew_floor: Option<Finite>,
    facility_supply: Option<Finite>,
    /// Some flow or pressure may be below its minimum.
    flow_low: bool,
    short_cycle: bool,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(site: &'a Site, case: &Case<'_>, touched: &mut Vec<Touch>) -> Self {
        let now = case.memory.at(case.now);
        let emergency = case.memory.emergency().is_some();
        let freeze = if emergency { None } else { freeze(site, case) };
        if let Some((rule, why)) = &freeze {
            touched.push(note(*rule, why));
        }
        if let Some(why) = case.memory.emergency() {
            touched.push(note(Rule::Emergency, why));
        }
        let worst = |role| samples(site, case, role).flatten().filter_map(worst_high).max();
        // Air and liquid that the equipment takes in: with none of a kind believed, it may be too warm.
        let unseen = |role| site.with_role(role).next().is_some() && worst(role).is_none();
        let blind = [Role::ItInlet, Role::LiquidSupply, Role::Bath].into_iter().any(unseen);
        let warm = worst(Role::ItInlet).is_some_and(|t| t >= site.envelope.no_warming_at);
        Self {
            site,
            now,
            emergency,
            freeze,
            no_warming: blind || warm,
            dew_floor: dew_floor(site, case),
            facility_supply: worst(Role::FacilitySupply),
            flow_low: flow_low(site, case),
            short_cycle: short_cycle(site, case, now),
        }
    }

    /// Narrows one setpoint's window by every rule, in order of precedence. `false`: too little is known
    /// to write anything.
    pub(super) fn narrow(
        &self,
        case: &Case<'_>,
        s: &Setpoint,
        current: Option<Finite>,
        window: &mut Window,
        touched: &mut Vec<Touch>,
    ) -> bool {
        let e = &self.site.envelope;
        let (all_low, all_high) = (s.min, s.max);
        let mut rule = |window: &mut Window, rule, low, high, why: &str| {
            window.narrow(rule, &s.name, low, high, why, touched);
        };
        rule(window, Rule::HardLimit, s.min, s.max, "outside the setpoint's limits");
        if s.role == Some(Role::LiquidSupply) {
            let (floor, why) = match (self.dew_floor, current) {
                (Some(floor), _) => (floor, "dew point plus margin"),
                (None, Some(current)) => (current, "the dew point is not known: not lowered"),
                (None, None) => {
                    touched.push(Touch {
                        setpoint: Some(s.name.clone()),
                        ..note(Rule::Condensation, "neither the dew point nor the present value is known")
                    });
                    return false;
                }
            };
            rule(window, Rule::Condensation, floor, all_high, why);
        }
        let Some(current) = current else { return true };
        window.insist(current);
        if self.emergency {
            return true;
        }
        let (down, up) = self.allowance(case, s);
        let (low, high) = (current.plus(-down), current.plus(up));
        rule(window, Rule::RateLimit, low, high, "faster than the rate limit");
        if let (Some(approach), Some(facility), Some(Role::LiquidSupply)) =
            (e.min_approach, self.facility_supply, s.role)
        {
            let floor = facility.plus(approach.get().get()).min(current.max(window.low));
            rule(
                window,
                Rule::Approach,
                floor,
                all_high,
                "closer to the facility water than the exchanger can hold",
            );
        }
        if self.no_warming {
            let (low, high) = colder_than(s, current);
            rule(window, Rule::NoWarming, low, high, "an inlet is, or may be, too warm for warming");
        }
        if self.flow_low && s.cools == Cools::Up {
            rule(
                window,
                Rule::MinimumFlow,
                current,
                all_high,
                "flow or pressure is, or may be, below its minimum",
            );
        }
        if let Some((why, text)) = &self.freeze {
            rule(window, *why, current, current, text);
        }
        let manual = case.memory.slots.get(&s.name).is_some_and(|slot| slot.manual_until.is_some());
        if manual {
            rule(window, Rule::ManualHold, current, current, "changed at the plant itself a short while ago");
        }
        if self.short_cycle && moves_chillers(s) {
            let (low, high) = colder_than(s, current);
            rule(
                window,
                Rule::ShortCycle,
                low,
                high,
                "a chiller started or stopped too recently for warming",
            );
        }
        for limit in
            case.limits.iter().filter(|l| l.setpoint == s.name && l.until.is_none_or(|t| self.now < t))
        {
            let why = "an operator's directive";
            if limit.hold {
                rule(window, Rule::Directive, current, current, why);
                continue;
            }
            // One after the other, so that a floor over its own ceiling makes no inverted window.
            rule(window, Rule::Directive, limit.floor.unwrap_or(all_low), all_high, why);
            rule(window, Rule::Directive, all_low, limit.ceiling.unwrap_or(all_high), why);
        }
        let changed = case.memory.slots.get(&s.name).and_then(|slot| slot.changed_at);
        // Answers take uneven time, so one cadence after a change is now and then a little less: a tenth less
        // still counts as the whole dwell.
        if changed.is_some_and(|t| self.now.duration_since(t) < s.dwell - s.dwell / 10) {
            window.adjust(
                Rule::Dwell,
                &s.name,
                current,
                None,
                "changed less than its dwell time ago",
                touched,
            );
        }
        true
    }

    /// How far a setpoint may go down and up by now.
    fn allowance(&self, case: &Case<'_>, s: &Setpoint) -> (f64, f64) {
        let e = &self.site.envelope;
        let changed = case.memory.slots.get(&s.name).and_then(|slot| slot.changed_at);
        // What moved before the first frame is not known, so nothing has been gathered by then.
        let since =
            changed.or(case.memory.first).map_or(SignedDuration::ZERO, |t| self.now.duration_since(t));
        let minutes = since.max(SignedDuration::ZERO).as_secs_f64() / 60.0;
        // A long silence permits no jump: no more than a cadence's worth is gathered, or what one step takes.
        let cap = self.site.cadence.as_secs_f64() / 60.0;
        let span = s.max.get() - s.min.get();
        // The first step outside the deadband must come into reach some time, also from between two steps.
        let least = s.step.get() + s.deadband.get();
        let gathered = |percent: Finite| {
            let per_minute = s.rate_per_min.get().min(span * percent.get() / 100.0 / 5.0);
            (per_minute * minutes).min((per_minute * cap).max(least))
        };
        let (warmer, colder) = (gathered(e.warming_pct_5min), gathered(e.cooling_pct_5min));
        match s.cools {
            Cools::Down => (colder, warmer),
            Cools::Up => (warmer, colder),
        }
    }

    /// Takes back as much of the moves as it needs for the outlook to stay inside limits, or to be no worse
    /// than without them. What is predicted is each choice in the form in which it would be written.
    pub(super) fn foresee(&self, case: &Case<'_>, moves: &mut [Move<'_>], touched: &mut Vec<Touch>) {
        if moves.iter().all(|(_, current, window)| *current == Some(window.value)) {
            return;
        }
        let at = |share: f64| -> BTreeMap<Name, Finite> {
            let part = |(s, current, w): &Move<'_>| {
                let from = current.unwrap_or(w.value);
                let mut w = w.clone();
                if share < 1.0 {
                    w.value = from.plus((w.value.get() - from.get()) * share).max(w.low).min(w.high);
                    self.settle(case, s, *current, &mut w, &mut Vec::new());
                }
                (s.name.clone(), w.value)
            };
            moves.iter().map(part).collect()
        };
        let still = (case.foresight)(&at(0.0));
        let accepted =
            SHARES.into_iter().map(&at).find(|choice| self.acceptable(&(case.foresight)(choice), &still));
        let choice = accepted.unwrap_or_else(|| at(0.0));
        for (s, _, window) in moves {
            if let Some(to) = choice.get(&s.name) {
                window.adjust(Rule::Outlook, &s.name, *to, None, "the outlook leaves its limits", touched);
            }
        }
    }

    fn acceptable(&self, ahead: &BTreeMap<Name, Predicted>, still: &BTreeMap<Name, Predicted>) -> bool {
        ahead.iter().all(|(name, p)| {
            let Some(signal) = self.site.signal(name) else { return true };
            let hold = still.get(name);
            let no_worse = |of: fn(&Predicted) -> Finite| hold.is_some_and(|h| of(p) <= of(h));
            let e = &self.site.envelope;
            let inlet = signal.role == Some(Role::ItInlet);
            let top = if inlet { Some(e.inlet_recommended[1]) } else { signal.band.map(|[_, top]| top) };
            let high_ok = top.is_none_or(|top| p.high <= top) || no_worse(|p| p.high);
            let ramp_ok = !inlet || p.ramp_15min <= e.inlet_ramp_15min.get() || no_worse(|p| p.ramp_15min);
            high_ok && ramp_ok
        })
    }

    /// Puts what is left on the setpoint's grid, and drops what is not worth a write.
    pub(super) fn settle(
        &self,
        case: &Case<'_>,
        s: &Setpoint,
        current: Option<Finite>,
        window: &mut Window,
        touched: &mut Vec<Touch>,
    ) {
        let Some(current) = current else { return };
        if window.value == current {
            return;
        }
        // Full cooling is not rounded: the nearest step may be on the warm side.
        if self.emergency {
            return;
        }
        window.adjust(Rule::Step, &s.name, on_grid(s, window), Some(s.step), "rounded to a step", touched);
        // The present value is not allowed any more: that move is for safety and needs no excuse.
        let forced = current < window.low || current > window.high;
        if forced || window.value == current {
            return;
        }
        let small = (window.value.get() - current.get()).abs() < s.deadband.get();
        if small {
            window.adjust(
                Rule::Deadband,
                &s.name,
                current,
                Some(s.deadband),
                "smaller than the deadband",
                touched,
            );
            return;
        }
        let spent = case
            .memory
            .slots
            .get(&s.name)
            .map_or(0, |slot| if slot.writes.0 == day(self.now) { slot.writes.1 } else { 0 });
        let cooling = match s.cools {
            Cools::Down => window.value < current,
            Cools::Up => window.value > current,
        };
        if s.writes_per_day.is_some_and(|budget| spent >= budget) && !cooling {
            window.adjust(Rule::WriteBudget, &s.name, current, None, "today's writes are spent", touched);
        }
    }
}

fn note(rule: Rule, why: &str) -> Touch {
    Touch { rule, setpoint: None, from: None, to: None, limit: None, why: why.to_owned() }
}

/// One entry for each signal of a role; `None` where the frame has nothing of it.
fn samples<'a>(site: &'a Site, case: &'a Case<'_>, role: Role) -> impl Iterator<Item = Option<&'a Sample>> {
    site.with_role(role).map(|s| case.frame.signals.get(&s.name))
}

/// Why nothing may move at all: a missing required input, or an old decision.
fn freeze(site: &Site, case: &Case<'_>) -> Option<(Rule, String)> {
    let good = |name: &Name| case.frame.signals.get(name).is_some_and(|s| s.quality == Quality::Good);
    if let Some(missing) = site.signals.iter().find(|s| s.required && !good(&s.name)) {
        return Some((Rule::InputValidity, format!("{} is required and has no good value", missing.name)));
    }
    let age = case.now.duration_since(case.decided_at);
    let from_operator = case.proposal.by == ProposedBy::Operator;
    if !from_operator && (age > site.cadence || age.is_negative()) {
        return Some((Rule::Freshness, "decided more than a cadence ago, or in the future".to_owned()));
    }
    None
}

/// The highest dew point that the rooms may have, plus the margin.
fn dew_floor(site: &Site, case: &Case<'_>) -> Option<Finite> {
    let highest = |role| samples(site, case, role).map(|s| s.and_then(worst_high));
    let (direct, air, wet) =
        (highest(Role::RoomDewPoint), highest(Role::RoomDryBulb), highest(Role::RoomHumidity));
    // One unknown among several leaves the worst unknown.
    let direct: Option<Vec<Finite>> = direct.collect();
    let (air, wet): (Option<Vec<Finite>>, Option<Vec<Finite>>) = (air.collect(), wet.collect());
    let derived = match (air?.into_iter().max(), wet?.into_iter().max()) {
        (Some(t), Some(rh)) => {
            let humidity = RelHumidity::new(rh.min(Finite::constant(100.0)).max(Finite::constant(1.0)))?;
            Some(dew_point(DegC::new(t), humidity)?.get())
        }
        (None, _) | (_, None) => None,
    };
    let dew = direct?.into_iter().chain(derived).max()?;
    let margin = site.envelope.dew_margin.get().max(LEAST_DEW_MARGIN);
    Some(DegC::new(dew).plus(Kelvin::new(margin)).get())
}

/// Whether a flow or pressure is, or may be, below its minimum. Unknown counts as low.
fn flow_low(site: &Site, case: &Case<'_>) -> bool {
    let e = &site.envelope;
    e.min_flow.iter().chain(&e.min_diff_pressure).any(|(name, least)| {
        let sample = case.frame.signals.get(name);
        let lowest = sample.and_then(|s| match s.quality {
            Quality::Good => s.value,
            Quality::Stale => s.worst.map(|w| w.low),
            Quality::Suspect | Quality::Missing => None,
        });
        lowest.is_none_or(|low| low < *least)
    })
}

/// Whether stopping a chiller now, or starting it again after that, would come too soon. Seen only by the
/// number running. Warming is what stops them; cooling is never refused for this, the chillers' own timers
/// stand behind it.
fn short_cycle(site: &Site, case: &Case<'_>, now: Timestamp) -> bool {
    let limits = &site.envelope.chiller;
    let chillers = &case.memory.chillers;
    let starts = u32::try_from(chillers.started.len()).unwrap_or(u32::MAX);
    let within = |at: Option<&Timestamp>, span| at.is_some_and(|t| now.duration_since(*t) < span);
    starts >= limits.max_starts_per_hour
        || within(chillers.started_at.as_ref(), limits.min_run)
        || within(chillers.stopped_at.as_ref(), limits.min_off)
}

/// Setpoints whose moves make chillers start and stop.
fn moves_chillers(s: &Setpoint) -> bool {
    matches!(s.role, Some(Role::Chws | Role::FacilitySupply))
}

/// The values at least as cold as `current`.
fn colder_than(s: &Setpoint, current: Finite) -> (Finite, Finite) {
    match s.cools {
        Cools::Down => (s.min, current),
        Cools::Up => (current, s.max),
    }
}

/// The step nearest to the window's value that lies in the window; the value itself where there is none.
fn on_grid(s: &Setpoint, window: &Window) -> Finite {
    let step = s.step.get();
    let nearest = ((window.value.get() - s.min.get()) / step).round();
    [nearest, nearest - 1.0, nearest + 1.0]
        .into_iter()
        .filter_map(|n| Finite::new(s.min.get() + n * step))
        .map(|v| v.rounded(6))
        .find(|v| *v >= window.low && *v <= window.high)
        .unwrap_or(window.value)
}
