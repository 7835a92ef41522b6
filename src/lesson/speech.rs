//! The teacher's reasons in an operator's words. Each sentence is made from facts; the claim checker then
//! reads it as it reads the model's, and what it does not find true is said in another way.

use std::collections::BTreeMap;

use crate::decision::{self, Decision, Evidence, Trend};
use crate::facts::{Facts, SetpointFacts, Side, SignalFacts};
use crate::prose::capital;
use crate::site::{Cools, Name, Role};
use crate::twin::Row;
use crate::units::Finite;

use super::dice::Dice;
use super::orders::{Kind, Order};

/// Ways of saying it that are tried before a plain one is taken.
const TRIES: usize = 12;

/// What the teacher chose and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) facts: &'a Facts,
    pub(super) setpoints: &'a BTreeMap<Name, Finite>,
    /// The directive in force.
    pub(super) order: Option<&'a Order>,
    /// The directive says something of the setpoints themselves.
    pub(super) bound: bool,
}

/// A decision whose every claim holds; `None` when none could be said.
pub(super) fn explain(choice: Choice<'_>, dice: &mut Dice) -> Option<Decision> {
    let say = |plain: bool, dice: &mut Dice| {
        let speaker = Speaker { choice, moves: choice.facts.moves(choice.setpoints), plain };
        let decision = Decision {
            assessment: speaker.assessment(dice)?,
            evidence: speaker.evidence(dice),
            setpoints: choice.setpoints.clone(),
            rationale: speaker.rationale(dice)?,
        };
        let fits = decision.assessment.len() <= decision::MAX_ASSESSMENT
            && decision.rationale.len() <= decision::MAX_RATIONALE
            && !decision.evidence.is_empty();
        let claims = decision::check(choice.facts, &decision);
        (fits && claims.verified).then_some(decision)
    };
    (0..TRIES).find_map(|n| say(n + 3 >= TRIES, dice))
}

struct Speaker<'a> {
    choice: Choice<'a>,
    moves: BTreeMap<Name, Finite>,
    /// Short and simple, when richer ways failed.
    plain: bool,
}

impl Speaker<'_> {
    fn facts(&self) -> &Facts {
        self.choice.facts
    }

    /// The signal closest to a limit.
    fn tight(&self) -> Option<&SignalFacts> {
        self.facts().tightest().map(|(s, ..)| s)
    }

    fn with_role(&self, role: Role) -> Option<&SignalFacts> {
        self.facts().signals.iter().find(|s| s.role == Some(role) && s.value.is_some())
    }

    /// How a signal is called: by its own name, or by its role's where that means it alone.
    fn called(&self, s: &SignalFacts, dice: &mut Dice) -> String {
        let alone = self.facts().signals.iter().filter(|o| o.role == s.role).count() == 1;
        let terms: &[&str] = match s.role {
            Some(Role::ItLoad) => &["IT load", "load"],
            Some(Role::OutdoorWetBulb) => &["wet bulb"],
            Some(Role::ChipTemp) => &["GPU", "chip temperature"],
            Some(Role::CoolingPower) => &["cooling power"],
            Some(Role::LiquidSupply) => &["coolant supply"],
            Some(Role::ValvePosition) => &["valve"],
            Some(Role::ItInlet) => &["inlet"],
            Some(Role::Bath) => &["bath"],
            _ => &[],
        };
        let hottest = s.role == Some(Role::ItInlet)
            && self.facts().signals.iter().all(|o| o.role != s.role || o.name == s.name || o.value < s.value);
        match dice.pick(terms) {
            Some(_) if hottest && !alone && dice.often(0.4) => "hottest inlet".to_owned(),
            Some(term) if alone && dice.often(0.7) => (*term).to_owned(),
            _ => s.name.to_string(),
        }
    }

    fn setpoint_called(&self, s: &SetpointFacts, dice: &mut Dice) -> String {
        let alone = self.facts().setpoints.iter().filter(|o| o.role == s.role).count() == 1;
        let terms: &[&str] = match s.role {
            Some(Role::Chws) => &["CHWS", "chilled water"],
            Some(Role::CrahSupply) => &["supply air", "CRAH supply"],
            Some(Role::LiquidSupply) => &["coolant supply setpoint", "CDU supply setpoint"],
            Some(Role::FacilitySupply) => &["facility water"],
            Some(Role::DiffPressure) => &["pump pressure", "differential pressure"],
            Some(Role::PumpSpeed) => &["pump speed"],
            _ => &[],
        };
        match dice.pick(terms) {
            Some(term) if alone && dice.often(0.5) => (*term).to_owned(),
            _ => s.name.to_string(),
        }
    }

    /// What is asked, then what is seen.
    fn assessment(&self, dice: &mut Dice) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        if let Some(s) = self.tight() {
            parts.push(self.state(s, dice)?);
        }
        // Short: every word is waited for.
        if let Some(load) = self.with_role(Role::ItLoad).filter(|l| l.trend != Trend::Steady) {
            parts.push(self.change(load, dice)?);
            if dice.often(0.5) {
                parts.reverse();
            }
        }
        if parts.is_empty() {
            let other = [Role::OutdoorWetBulb, Role::CoolingPower, Role::ChipTemp];
            parts
                .extend(dice.pick(&other).and_then(|r| self.with_role(*r)).and_then(|s| self.state(s, dice)));
        }
        let seen = (!parts.is_empty()).then(|| parts.join(", "))?;
        Some(match self.choice.order {
            Some(order) => format!("{}; {seen}", order.reading.heading()),
            None => capital(&seen),
        })
    }

    /// "hall_a_inlet_max 22.0 and steady", with its margin now and then.
    fn state(&self, s: &SignalFacts, dice: &mut Dice) -> Option<String> {
        let (name, value, unit) = (self.called(s, dice), shown(s.value?, s), s.unit.as_str());
        let trend = s.trend.as_str();
        let margin = s.margin().map(|(bound, m)| (bound, shown(m, s), m.get() >= 0.0));
        Some(match (dice.below(5), margin) {
            (0, Some((_, m, true))) => format!("{name} {value}, margin {m} K"),
            (1, Some((bound, m, true))) if bound.side == Side::High => {
                format!("{name} at {value}, {m} K below its limit")
            }
            (2, _) => format!("{name} {value} {unit} and {trend}"),
            (3, _) => format!("{name} at {value} and {trend}"),
            _ => format!("{name} {value} {trend}"),
        })
    }

    /// "IT load up 12 % in 10 min", or that it is steady.
    fn change(&self, s: &SignalFacts, dice: &mut Dice) -> Option<String> {
        let (name, value) = (self.called(s, dice), shown(s.value?, s));
        if s.trend == Trend::Steady {
            return Some(format!("{name} {value} and steady"));
        }
        let change = s.changes.get(&10).copied();
        let up = s.trend == Trend::Rising;
        let by = change.map(|c| shown(c.delta(), s).trim_start_matches('-').to_owned());
        Some(match (dice.below(3), by) {
            (0, Some(by)) => {
                format!("{name} {} {by} {} in 10 min", if up { "up" } else { "down" }, s.unit)
            }
            (1, _) => format!("{name} {value} and {}", s.trend.as_str()),
            _ => format!("{name} {}", s.trend.as_str()),
        })
    }

    /// The signals that matter: the tightest, what drives it, and what is saved.
    fn evidence(&self, dice: &mut Dice) -> Vec<Evidence> {
        let mut list: Vec<&SignalFacts> = self.tight().into_iter().collect();
        let load = self.with_role(Role::ItLoad);
        if let Some(load) = load.filter(|l| l.trend != Trend::Steady || dice.often(0.2)) {
            list.push(load);
        }
        let more = [Role::CoolingPower, Role::ChipTemp, Role::OutdoorWetBulb, Role::ValvePosition];
        if list.len() < 2 && dice.often(0.5) {
            list.extend(dice.pick(&more).and_then(|r| self.with_role(*r)));
        }
        let mut seen = Vec::new();
        for s in list {
            if !seen.iter().any(|e: &Evidence| e.signal == s.name)
                && let Some(value) = s.value
            {
                seen.push(Evidence { signal: s.name.clone(), value, trend: s.trend });
            }
        }
        seen
    }

    fn rationale(&self, dice: &mut Dice) -> Option<String> {
        let action = self.action(dice)?;
        let reasons = self.reasons(dice);
        if reasons.is_empty() {
            return Some(format!("{}.", capital(&action)));
        }
        let why = reasons.join(", ");
        Some(match dice.below(4) {
            0 => format!("{}: {why}.", capital(&action)),
            1 => format!("{} because {why}.", capital(&action)),
            2 => format!("{}. {}.", capital(&why), capital(&action)),
            _ => format!("{}. {}.", capital(&action), capital(&why)),
        })
    }

    /// What is done.
    fn action(&self, dice: &mut Dice) -> Option<String> {
        let facts = self.facts();
        if self.moves.is_empty() {
            let ways = ["hold all setpoints", "hold", "no change", "keep all setpoints", "hold everything"];
            return Some((*dice.pick(&ways)?).to_owned());
        }
        let mut parts = Vec::new();
        for (name, to) in &self.moves {
            let s = facts.setpoint(name)?;
            let (from, up) = (s.present?, to > &s.present?);
            let (called, unit) =
                (self.setpoint_called(s, dice), if dice.often(0.3) { s.unit.as_str() } else { "" });
            // The prompt's own words: with synonyms beside them a small model mixes up which is which.
            let verb = if up { "raise" } else { "lower" };
            let to = s.shown(*to);
            let text = match dice.below(4) {
                0 => format!("{verb} {called} from {from} to {to} {unit}"),
                1 | 2 => format!("{verb} {called} to {to} {unit}"),
                _ => format!("{verb} {called}"),
            };
            parts.push(text.trim_end().to_owned());
        }
        if self.moves.len() < facts.setpoints.len() && dice.often(0.25) {
            parts.push("hold the rest".to_owned());
        }
        Some(parts.join(", "))
    }

    /// Why: orders first, then limits, then what is coming, then what is saved.
    fn reasons(&self, dice: &mut Dice) -> Vec<String> {
        let mut reasons: Vec<String> = self.order(dice).into_iter().collect();
        let cooling = self.cools();
        let tight = self.tight();
        let ample = tight.and_then(SignalFacts::margin).is_some_and(|(_, m)| m.get() > 1.5);
        let mut more: Vec<Option<String>> = Vec::new();
        if let Some(s) = tight {
            more.push(self.margin_reason(s, ample, dice));
        }
        more.push(self.ahead_reason(dice));
        if cooling != Some(true) {
            more.push(self.power_reason(dice));
        }
        if let Some(load) = self.with_role(Role::ItLoad).filter(|l| l.trend != Trend::Steady) {
            more.push(self.change(load, dice));
        }
        if self.plain {
            more.truncate(1);
        } else {
            dice.shuffle(&mut more);
            more.truncate(if reasons.is_empty() && dice.often(0.3) { 2 } else { 1 });
        }
        reasons.extend(more.into_iter().flatten());
        reasons
    }

    /// Whether the moves cool; `None` when they do not agree or there are none.
    fn cools(&self) -> Option<bool> {
        let each = self.moves.iter().filter_map(|(name, to)| {
            let s = self.facts().setpoint(name)?;
            Some((to > &s.present?) == (s.cools == Cools::Up))
        });
        let all: Vec<bool> = each.collect();
        let first = *all.first()?;
        all.iter().all(|c| *c == first).then_some(first)
    }

    fn order(&self, dice: &mut Dice) -> Option<String> {
        let kind = self.choice.order?.kind;
        let relevant = self.choice.bound || dice.often(0.5);
        let ways: &[&str] = match kind {
            Kind::Floor | Kind::Ceiling | Kind::Exact | Kind::Range => &[
                "the operator set a bound",
                "the operator asked for it",
                "that is inside the operator's bounds",
            ],
            Kind::HoldOne | Kind::HoldAll => {
                &["the operator wants it left alone", "the operator asked for a hold"]
            }
            Kind::Test => &["a test is under way", "the operator's test is not to be disturbed"],
            Kind::Maintenance => &["equipment is to be spared", "the water plant is to be spared"],
            Kind::NoColder => &["the operator wants it no colder", "the operator wants no more cooling"],
            Kind::NoWarmer => &["the operator wants it no warmer", "the operator wants no less cooling"],
            Kind::Quiet => &["the operator wants pumps and fans quiet", "quiet was asked for"],
            Kind::Stability => &["the operator prefers few moves", "stability has priority"],
            Kind::Economy => &["the operator wants economy", "saving has priority"],
            Kind::ExtraMargin => &["the operator wants extra margin", "more reserve was asked for"],
            Kind::Prepare => &["the operator expects more load", "a job is announced"],
            Kind::DesignValues => &["the operator wants the safe values", "the safe values were asked for"],
            Kind::OneAtATime => &["the operator wants single moves", "one move at a time was asked for"],
            Kind::Noise => &[],
        };
        relevant.then(|| dice.pick(ways).map(|w| (*w).to_owned())).flatten()
    }

    fn margin_reason(&self, s: &SignalFacts, ample: bool, dice: &mut Dice) -> Option<String> {
        let (name, value) = (self.called(s, dice), shown(s.value?, s));
        let (bound, margin) = s.margin()?;
        let m = shown(margin, s);
        if margin.get() < 0.0 {
            return Some(format!("{name} {value} is past its limit of {}", bound.value));
        }
        let leaves = if ample { "leaves" } else { "has only" };
        Some(match (dice.below(4), bound.side) {
            (0, _) => format!("{name} {value} {leaves} {m} K of margin"),
            (1, Side::High) => format!("{name} at {value}, {m} K below its limit of {}", bound.value),
            (1, Side::Low) => format!("{name} at {value}, {m} K above its limit of {}", bound.value),
            (2, _) => format!("{name} margin {m} K"),
            _ => format!("{name} {value} against its limit of {}", bound.value),
        })
    }

    /// The row of the look-ahead for what was chosen, where it is shown.
    fn row(&self) -> Option<&Row> {
        self.facts().outlook.rows.iter().find(|r| r.moves == self.moves)
    }

    /// The look-ahead shows one signal.
    fn ahead_reason(&self, dice: &mut Dice) -> Option<String> {
        let s = self.facts().tightest_ahead()?;
        let value = shown(self.row()?.ahead.get(&s.name)?[2].value, s);
        let name = self.called(s, dice);
        let ways = ["comes to", "will be at", "reaches"];
        Some(format!("{name} {} {value} in 30 min", dice.pick(&ways)?))
    }

    fn power_reason(&self, dice: &mut Dice) -> Option<String> {
        let power = self.with_role(Role::CoolingPower)?;
        let then = shown(self.row()?.ahead.get(&power.name)?[2].value, power);
        let now = shown(power.value?, power);
        let name = self.called(power, dice);
        Some(match dice.below(2) {
            0 => format!("{name} {now} kW, {then} kW in 30 min"),
            _ => format!("{name} comes to {then} kW in 30 min"),
        })
    }
}

/// With the decimals of its unit, as the prompt shows it.
fn shown(value: Finite, s: &SignalFacts) -> String {
    format!("{:.*}", usize::from(s.unit.decimals()), value.get())
}
