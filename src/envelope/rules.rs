//! The rules. First all facts are gathered, then each setpoint's window is narrowed and the choice put in form (step,
//! deadband, write budget); then the choice as a whole, in that form, is checked against the outlook.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::alarm::{coldest_supply, no_warming};
use super::guard::{Case, Predicted};
use super::limit::Limit;
use super::memory::Slot;
use super::seen::{Dew, dew, flow_low, freeze, short_cycle};
use super::verdict::{Rule, Touch};
use super::window::Window;
use crate::site::{Cools, Name, PlantKind, Role, Setpoint, Site};
use crate::units::Finite;

/// Shares of a move that are tried against the outlook, largest first.
const SHARES: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

/// A setpoint, where it is, and where it may go.
pub(super) type Move<'a> = (&'a Setpoint, Option<Finite>, Window);

/// How far a setpoint is walked, each way.
struct Pace {
    down: f64,
    up: f64,
}

impl Pace {
    fn colder(&self, s: &Setpoint) -> f64 {
        match s.cools {
            Cools::Down => self.down,
            Cools::Up => self.up,
        }
    }
}

/// What the frame and the memory say about all setpoints alike.
pub(super) struct Facts<'a> {
    site: &'a Site,
    now: Timestamp,
    emergency: bool,
    /// Nothing may move, and why.
    freeze: Option<(Rule, String)>,
    no_warming: bool,
    dew: Dew,
    /// Some flow or pressure may be below its minimum.
    flow_low: bool,
    short_cycle: bool,
    /// One step that is taken back at once: how fast a setpoint may travel does not matter.
    trial: bool,
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
        Self {
            site,
            now,
            emergency,
            freeze,
            no_warming: no_warming(site, case.frame),
            dew: dew(site, case.frame),
            flow_low: flow_low(site, case),
            short_cycle: short_cycle(site, case, now),
            trial: false,
        }
    }

    pub(super) fn for_trial(self) -> Self {
        Self { trial: true, ..self }
    }

    /// Liquid may not be colder than this in a setpoint's pipes; `None`: no such floor, or not known.
    pub(super) fn floor(&self, s: &Setpoint) -> Option<Finite> {
        self.dew.floor.filter(|_| self.site.in_white_space(s))
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
        let (all_low, all_high) = (s.min, s.max);
        let mut rule = |window: &mut Window, rule, low, high, why: &str| {
            window.narrow(rule, &s.name, low, high, why, touched);
        };
        rule(window, Rule::HardLimit, s.min, s.max, "outside the setpoint's limits");
        if self.site.in_white_space(s) {
            let (floor, why) = match (self.dew.floor, current) {
                (Some(floor), _) => (floor, "dew point plus margin"),
                (None, Some(current)) => {
                    let least = self.dew.at_least.unwrap_or(current);
                    (
                        current.max(least),
                        "the dew point is not known: not lowered, and not under what is known of it",
                    )
                }
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
        let (rate, pace) = (self.rate(case, s), self.pace(case, s));
        if !self.trial {
            let (low, high) = (current.plus(-rate), current.plus(rate));
            rule(window, Rule::RateLimit, low, high, "faster than the rate limit");
            let (low, high) = (current.plus(-pace.down), current.plus(pace.up));
            rule(window, Rule::Pace, low, high, "on its way, a step at a time");
        }
        if let Some(floor) = coldest_supply(self.site, case.frame, s) {
            let floor = floor.min(current.max(window.low));
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
        if self.flow_low {
            let (low, high) = colder_than(s, current);
            rule(window, Rule::MinimumFlow, low, high, "flow or pressure is, or may be, below its minimum");
        }
        if let Some((why, text)) = &self.freeze {
            rule(window, *why, current, current, text);
        }
        let slot = case.memory.slots.get(&s.name);
        if slot.is_some_and(|slot| slot.manual_until.is_some()) {
            rule(window, Rule::ManualHold, current, current, "changed at the plant itself a short while ago");
        }
        if slot.is_some_and(Slot::is_stuck) {
            // What piles up in the register would come all at once when the plant does follow.
            let (low, high) = colder_than(s, current);
            let why = "the plant has not taken over what its register holds: not warmed further";
            rule(window, Rule::NotFollowing, low, high, why);
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
            if !self.trial && Self::gathers(s, current, limit, [rate.min(pace.down), rate.min(pace.up)]) {
                let why = "on its way to where an operator wants it, in strides that are worth a write";
                rule(window, Rule::Pace, current, current, why);
                continue;
            }
            // One after the other, so that a floor over its own ceiling makes no inverted window.
            rule(window, Rule::Directive, limit.floor.unwrap_or(all_low), all_high, why);
            rule(window, Rule::Directive, all_low, limit.ceiling.unwrap_or(all_high), why);
        }
        if let Some(least) = self.cooling_due(case, s, rate.min(pace.colder(s))) {
            let (low, high) = match s.cools {
                Cools::Down => (all_low, current.plus(-least)),
                Cools::Up => (current.plus(least), all_high),
            };
            rule(window, Rule::Cool, low, high, "an inlet is too warm, and nothing was done about it");
        }
        if self.waited(case, s) < less_a_tenth(s.dwell) {
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

    /// Whether a setpoint that an operator wants elsewhere may not yet go as far as is worth a write. `reach`: down, up.
    fn gathers(s: &Setpoint, current: Finite, limit: &Limit, [down, up]: [f64; 2]) -> bool {
        let below = limit.floor.map_or(0.0, |floor| floor.get() - current.get());
        let above = limit.ceiling.map_or(0.0, |ceiling| current.get() - ceiling.get());
        let (way, reach) = if below > 0.0 { (below, up) } else { (above, down) };
        reach < way.min(s.least_move().get()) - 1e-9
    }

    /// How much colder a setpoint has to become now because of a warm inlet. Whoever decides has a cadence
    /// to see to it; after that the guard does, a step a cadence.
    fn cooling_due(&self, case: &Case<'_>, s: &Setpoint, reach: f64) -> Option<f64> {
        let cadence = less_a_tenth(self.site.cadence);
        let hot_for = self.now.duration_since(case.memory.hot_since?);
        // Elsewhere no setpoint cools the air that the equipment takes in.
        let cools_air = self.site.plant == PlantKind::Air;
        let patient = hot_for < cadence || self.waited(case, s) < cadence.max(less_a_tenth(s.dwell));
        let step = s.least_move().get();
        (cools_air && !patient && reach >= step).then_some(step)
    }

    /// The time since a setpoint was last changed, if it ever was.
    fn waited(&self, case: &Case<'_>, s: &Setpoint) -> SignedDuration {
        let changed = case.memory.slots.get(&s.name).and_then(|slot| slot.changed_at);
        changed.map_or(SignedDuration::MAX, |t| self.now.duration_since(t))
    }

    /// How far a setpoint's own rate lets it go by now.
    fn rate(&self, case: &Case<'_>, s: &Setpoint) -> f64 {
        self.gathered(case, s, s.rate_per_min.get())
    }

    /// How far it is walked by now, at a share of its range in 5 min.
    fn pace(&self, case: &Case<'_>, s: &Setpoint) -> Pace {
        let span = s.span();
        let walked = |percent: Finite| self.gathered(case, s, span * percent.get() / 100.0 / 5.0);
        let e = &self.site.envelope;
        let (warmer, colder) = (walked(e.warming_pct_5min), walked(e.cooling_pct_5min));
        match s.cools {
            Cools::Down => Pace { down: colder, up: warmer },
            Cools::Up => Pace { down: warmer, up: colder },
        }
    }

    fn gathered(&self, case: &Case<'_>, s: &Setpoint, per_minute: f64) -> f64 {
        let changed = case.memory.slots.get(&s.name).and_then(|slot| slot.changed_at);
        // What moved before the first frame is not known, so nothing has been gathered by then.
        let since =
            changed.or(case.memory.first).map_or(SignedDuration::ZERO, |t| self.now.duration_since(t));
        let minutes = since.max(SignedDuration::ZERO).as_secs_f64() / 60.0;
        // A long silence permits no jump: no more than a cadence's worth is gathered, or what one step takes.
        let cap = self.site.cadence.as_secs_f64() / 60.0;
        // The first step outside the deadband must come into reach some time, also from between two steps.
        // A hair more, for what is lost of a decimal number on the way.
        let least = s.step.get() + s.deadband.get() + 1e-9;
        (per_minute * minutes).min((per_minute * cap).max(least))
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
        let spent = case.memory.slots.get(&s.name).map_or(0, |slot| slot.sent.on(self.now));
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

/// Answers take uneven time, so one cadence after a change is now and then a little less: a tenth less still
/// counts as the whole.
fn less_a_tenth(span: SignedDuration) -> SignedDuration {
    span - span / 10
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
