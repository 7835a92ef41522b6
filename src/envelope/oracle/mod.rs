//! Says whether a verdict is safe, by plain assertions on the words that would be written. Shares nothing
//! with the guard but the site: its own history, its own register codec, its own dew point.

mod due;
mod ledger;
mod physics;
mod plants;
mod trial;

use jiff::Timestamp;

use super::{Case, Limit, Memory, SafeWrite, Target, Verdict};
use crate::actuate::Outcome;
use crate::frame::Frame;
use crate::site::{Cools, Role, Setpoint, Site};
use crate::units::Finite;
use ledger::{Ledger, Past, good, highest};
pub use plants::sites;
pub use trial::{Fate, Step, Trial};

/// Two dew point formulas agree within this, K.
const DEW_TOLERANCE: f64 = 0.1;
const EPS: f64 = 1e-6;

/// See the module.
#[derive(Clone)]
pub struct Oracle {
    site: Site,
    ledger: Ledger,
}

/// What is known of one setpoint before a verdict.
struct At<'a> {
    s: &'a Setpoint,
    past: Past,
    current: Option<f64>,
    /// The least and the most that hard limits and condensation allow; `None`: neither dew point nor
    /// present value is known.
    must: Option<[f64; 2]>,
    tolerance: f64,
    count: f64,
}

impl At<'_> {
    /// How much warmer `to` is than `from`; negative when colder.
    fn warming(&self, from: f64, to: f64) -> f64 {
        if self.s.cools == Cools::Down { to - from } else { from - to }
    }

    fn coldest(&self, [low, high]: [f64; 2]) -> f64 {
        if self.s.cools == Cools::Down { low } else { high }
    }

    fn outside(&self, slack: f64) -> bool {
        match (self.current, self.must) {
            (Some(c), Some([low, high])) => c < low + slack - EPS || c > high + EPS,
            (None, _) | (_, None) => false,
        }
    }
}

impl Oracle {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        Self { site: site.clone(), ledger: Ledger::default() }
    }

    /// From here on the plant is the agent's.
    pub fn take(&mut self, now: Timestamp) {
        self.ledger.taken = Some(now);
    }

    /// The guard has observed this frame too, and `theirs` is its memory after it. What is wrong, if anything.
    pub fn observe(&mut self, now: Timestamp, frame: &Frame, theirs: &Memory) -> Vec<String> {
        self.ledger.observe(&self.site, now, frame, theirs);
        let mut wrong = Vec::new();
        let emergency = theirs.emergency();
        if emergency.is_some() != self.ledger.emergency {
            wrong.push(format!("emergency should be {}, is {emergency:?}", self.ledger.emergency));
        }
        for (name, past) in &self.ledger.past {
            if past.stuck != theirs.is_stuck(name) {
                wrong.push(format!("{name}: not following should be {}", past.stuck));
            }
        }
        wrong
    }

    pub fn after(&mut self, now: Timestamp, outcome: &Outcome) {
        self.ledger.after(&self.site, now, outcome);
    }

    /// Everything that is wrong with a verdict.
    #[must_use]
    pub fn check(&self, case: &Case<'_>, verdict: &Verdict) -> Vec<String> {
        let mut wrong = Vec::new();
        for write in verdict.action.writes() {
            let Target::Setpoint(name) = write.target() else {
                wrong.push(format!("{:?} is not a setpoint", write.target()));
                continue;
            };
            if self.site.setpoint(name).is_none() {
                wrong.push(format!("there is no setpoint {name}"));
            }
        }
        for s in &self.site.setpoints {
            let target = Target::Setpoint(s.name.clone());
            let mut writes = verdict.action.writes().iter().filter(|w| *w.target() == target);
            let write = writes.next();
            let at = self.at(case, s);
            let value = write.and_then(|w| physics::decode(s, w.words().as_slice()));
            let mut say = |what: String| {
                wrong.push(format!("{}: {what} (present {:?}, wrote {value:?})", s.name, at.current));
            };
            if writes.next().is_some() {
                say("written twice".to_owned());
            }
            if let Some(w) = write {
                self.form(&at, w, value, verdict, &mut say);
            }
            match (write, value) {
                (Some(_), None) => say("words of the wrong type".to_owned()),
                (Some(_), Some(v)) => self.written(case, &at, v, &mut say),
                (None, _) => {}
            }
            self.moved_if_it_must(&at, value, &mut say);
            self.cooled_if_it_must(case, &at, value, &mut say);
        }
        let unknown = case.proposal.setpoints.keys().filter(|n| self.site.setpoint(n).is_none());
        for name in unknown.filter(|_| !verdict.emergency) {
            if !verdict.touched.iter().any(|t| t.setpoint.as_ref() == Some(name) && t.to.is_none()) {
                wrong.push(format!("{name} was dropped without a word"));
            }
        }
        if verdict.emergency != self.ledger.emergency {
            wrong.push("the verdict does not say that there is an emergency".to_owned());
        }
        wrong
    }

    fn at<'a>(&self, case: &Case<'_>, s: &'a Setpoint) -> At<'a> {
        let past = self.ledger.past.get(&s.name).cloned().unwrap_or_default();
        let current = good(case.frame.setpoints.get(&s.name)).or(past.holds);
        let (min, max) = (s.min.get(), s.max.get());
        let (mut must, mut tolerance) = (Some([min, max]), 0.0);
        if self.wet(s) {
            let known = self.dew_floor(case.frame);
            // Where the worst is not known: not lowered, and not under what is known of it.
            let least = known.or_else(|| self.dew_at_least(case.frame));
            tolerance = if least.is_some() { DEW_TOLERANCE } else { 0.0 };
            let floor = known.or_else(|| current.map(|c| least.map_or(c, |f| f.max(c))));
            must = floor.map(|f| [f.clamp(min, max), max]);
        }
        At { s, past, current, must, tolerance, count: physics::count(s) }
    }

    fn form(
        &self,
        at: &At<'_>,
        w: &SafeWrite,
        value: Option<f64>,
        verdict: &Verdict,
        say: &mut impl FnMut(String),
    ) {
        let point = &at.s.register;
        let base = self.site.device(&point.device).map_or(0, |d| d.address_base);
        if *w.device() != point.device || Some(w.address()) != point.address.checked_sub(base) {
            say(format!("goes to {} {}", w.device(), w.address()));
        }
        let shown = verdict.setpoints.get(&at.s.name).map(|v| v.get());
        let near = |other: f64| value.is_some_and(|v| (v - other).abs() <= EPS * (1.0 + v.abs()));
        if w.unit() != at.s.unit || !near(w.value().get()) || !shown.is_some_and(near) {
            say(format!("the words, the value {} and the setpoint shown {shown:?} differ", w.value()));
        }
        if at.current.is_some_and(near) {
            say("writes what the register holds".to_owned());
        }
    }

    /// Rules on a value that is written, in order of precedence.
    fn written(&self, case: &Case<'_>, at: &At<'_>, v: f64, say: &mut impl FnMut(String)) {
        let (s, e) = (at.s, &self.site.envelope);
        if v < s.min.get() - EPS || v > s.max.get() + EPS {
            say(format!("outside {} to {}", s.min, s.max));
        }
        let Some([low, high]) = at.must else {
            return say("written without dew point and present value".to_owned());
        };
        if v < low - at.tolerance - EPS {
            say(format!("below the condensation floor {low}"));
        }
        if self.ledger.emergency {
            if at.current.is_some_and(|c| at.warming(c, v) > EPS) && !at.outside(at.tolerance) {
                say("warmer in an emergency".to_owned());
            }
            return;
        }
        let Some(c) = at.current else {
            return say("written without knowing the present value".to_owned());
        };
        let (down, up) = self.allowance(case, at);
        let still = self.freeze(case).is_some() || at.past.hold_until.is_some();
        if at.outside(at.tolerance) {
            let slack = at.count + at.tolerance + EPS;
            let (up, down) = if still { (0.0, 0.0) } else { (up, down) };
            if (c < low - at.tolerance && v < c) || (c > high && v > c) {
                say("moved further out".to_owned());
            }
            if (c < low && v > (c + up).max(low) + slack) || (c > high && v < (c - down).min(high) - slack) {
                say("moved further than it must and may".to_owned());
            }
            return;
        }
        if v > c + up + EPS || v < c - down - EPS {
            say(format!("faster than -{down} and +{up}"));
        }
        if let Some(why) = self.freeze(case) {
            say(format!("moved although {why}"));
        }
        if at.past.hold_until.is_some() {
            say("moved during a manual hold".to_owned());
        }
        let warming = at.warming(c, v);
        if warming > EPS && self.inlet(case.frame).is_some_and(|t| t >= e.no_warming_at.get()) {
            say("warmer with a warm inlet".to_owned());
        }
        let unseen = |role| {
            let mut of_role = self.site.with_role(role).peekable();
            of_role.peek().is_some() && of_role.all(|s| highest(case.frame, &s.name).is_none())
        };
        if warming > EPS && [Role::ItInlet, Role::LiquidSupply, Role::Bath].into_iter().any(unseen) {
            say("warmer while nobody sees the equipment".to_owned());
        }
        if warming > EPS && at.past.stuck {
            say("warmer although the plant does not follow".to_owned());
        }
        if warming > EPS && self.flow_low(case.frame) {
            say("warmer with too little flow".to_owned());
        }
        let facility = self.site.with_role(Role::FacilitySupply);
        let facility = facility.filter_map(|s| highest(case.frame, &s.name)).reduce(f64::max);
        if let (Some(Role::LiquidSupply), Some(k), Some(facility)) = (s.role, e.min_approach, facility)
            && v < c - EPS
            && v < facility + k.get().get() - EPS
        {
            say(format!("nearer to facility water at {facility} than the exchanger can hold"));
        }
        if warming > EPS
            && matches!(s.role, Some(Role::Chws | Role::FacilitySupply))
            && self.short_cycle(case)
        {
            say("warmer right after a chiller started or stopped".to_owned());
        }
        let limits = self.limits(case, at);
        let asked = limits.iter().any(|l| outside(l, c));
        if let Some(first) = limits.first() {
            directive(first, at.count, c, v, say);
        }
        if asked {
            return;
        }
        let now = self.ledger.now(case.now);
        let waited = at.past.changed_at.map(|t| now.duration_since(t).as_secs_f64());
        if waited.is_some_and(|w| w < 0.9 * s.dwell.as_secs_f64() - EPS) {
            say("changed again within its dwell time".to_owned());
        }
        // The last bit of the way that a warm inlet calls for may be shorter: to the limits, or to an operator's.
        let asked = |of: fn(&Limit) -> Option<Finite>| limits.iter().filter_map(of).map(Finite::get);
        let floor = asked(|l| l.floor).fold(low, f64::max);
        let ceiling = asked(|l| l.ceiling).fold(high, f64::min);
        let at_the_end =
            self.cooling_due(case, at).is_some() && at.warming(at.coldest([floor, ceiling]), v) < at.count;
        if (v - c).abs() < s.deadband.get() - at.count - EPS && !at_the_end {
            say("a move inside the deadband".to_owned());
        }
        let spent = at.past.sent.get(&now.as_second().div_euclid(86_400)).copied().unwrap_or(0);
        if warming > EPS && s.writes_per_day.is_some_and(|budget| spent >= budget) {
            say("over the day's budget".to_owned());
        }
    }

    /// Whether the condensation floor holds for a setpoint.
    fn wet(&self, s: &Setpoint) -> bool {
        let has = |role| self.site.signals.iter().any(|x| x.role == Some(role));
        let measured = has(Role::RoomDewPoint) || has(Role::RoomHumidity) && has(Role::RoomDryBulb);
        let facility = s.role == Some(Role::FacilitySupply) && measured && s.white_space != Some(false);
        s.role == Some(Role::LiquidSupply) || facility || s.white_space == Some(true)
    }

    /// A warm inlet that nobody has answered: a step colder, as far as what comes first allows.
    fn cooled_if_it_must(
        &self,
        case: &Case<'_>,
        at: &At<'_>,
        value: Option<f64>,
        say: &mut impl FnMut(String),
    ) {
        let (Some(least), Some(c), Some(must)) = (self.cooling_due(case, at), at.current, at.must) else {
            return;
        };
        let (down, up) = self.allowance(case, at);
        let reach = if at.s.cools == Cools::Down { down } else { up };
        let others = self.ledger.emergency
            || self.freeze(case).is_some()
            || at.past.hold_until.is_some()
            || !self.limits(case, at).is_empty()
            || at.outside(at.tolerance)
            // The register may have no value between the least and the most.
            || reach < least + 2.0 * at.count;
        let v = value.unwrap_or(c);
        let cooled = at.warming(v, c) >= least - at.count - EPS;
        if !others && !cooled && at.warming(at.coldest(must), v) > at.count + EPS {
            say(format!("an inlet has been too warm for a cadence: expected {least} colder"));
        }
    }

    /// What has to be written: a way back into the limits, and full cooling in an emergency.
    fn moved_if_it_must(&self, at: &At<'_>, value: Option<f64>, say: &mut impl FnMut(String)) {
        let Some([low, high]) = at.must else { return };
        let room = high - low > 2.0 * at.count + 2.0 * at.tolerance;
        if at.outside(-at.tolerance) && room && value.is_none() {
            say("left outside what it must not leave".to_owned());
        }
        let Some(v) = value.or(at.current).filter(|_| self.ledger.emergency) else {
            if self.ledger.emergency {
                say("not cooled in an emergency".to_owned());
            }
            return;
        };
        let coldest = at.coldest([low, high]);
        if room && at.warming(coldest, v) > at.count + at.tolerance + EPS {
            say(format!("an emergency, and not at {coldest}"));
        }
    }
}

fn outside(limit: &Limit, c: f64) -> bool {
    let below = limit.floor.is_some_and(|f| c < f.get());
    !limit.hold && (below || limit.ceiling.is_some_and(|top| c > top.get()))
}

/// Inside an operator's bound, or on the way to it.
fn directive(limit: &Limit, count: f64, c: f64, v: f64, say: &mut impl FnMut(String)) {
    if limit.hold {
        return say("moved against an operator's hold".to_owned());
    }
    let floor = limit.floor.map_or(f64::MIN, Finite::get);
    let ceiling = limit.ceiling.map_or(f64::MAX, Finite::get);
    // A floor over its own ceiling: the floor wins, as nearly as the register can hold it.
    // So does one number, or two that no register value lies between.
    let ceiling = ceiling.max(floor + count);
    let fine = (v >= floor - EPS || (c < floor && v >= c)) && (v <= ceiling + EPS || (c > ceiling && v <= c));
    if !fine {
        say(format!("against an operator's {floor} to {ceiling}"));
    }
}
