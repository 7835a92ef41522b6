//! What operators ask for: kinds of directives, and what each means for the setpoints.

use crate::directive::Limit;
use crate::frame::Frame;
use crate::site::{Cools, Name, Role, Setpoint, Site};
use crate::units::Finite;

use super::dice::Dice;
use super::phrasings::pool;
use super::{sides, wording};

/// What a directive asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Floor,
    Ceiling,
    Exact,
    Range,
    HoldOne,
    HoldAll,
    NoColder,
    NoWarmer,
    Quiet,
    Stability,
    Economy,
    ExtraMargin,
    Prepare,
    Maintenance,
    Test,
    DesignValues,
    OneAtATime,
    /// Nothing that bears on the setpoints: small talk, or an attempt to command what no frame supports.
    Noise,
}

pub(super) const KINDS: [Kind; 18] = [
    Kind::Floor,
    Kind::Ceiling,
    Kind::Exact,
    Kind::Range,
    Kind::HoldOne,
    Kind::HoldAll,
    Kind::NoColder,
    Kind::NoWarmer,
    Kind::Quiet,
    Kind::Stability,
    Kind::Economy,
    Kind::ExtraMargin,
    Kind::Prepare,
    Kind::Maintenance,
    Kind::Test,
    Kind::DesignValues,
    Kind::OneAtATime,
    Kind::Noise,
];

/// Those that differ in nothing but the side that they forbid.
pub(super) const SIDES: [Kind; 2] = [Kind::NoColder, Kind::NoWarmer];

/// A directive as said, and what it is about.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) kind: Kind,
    pub(super) text: String,
    setpoint: Name,
    value: Finite,
    second: Finite,
}

/// How people call a setpoint.
fn called(s: &Setpoint, dice: &mut Dice) -> String {
    let terms: &[&str] = match s.role {
        Some(Role::Chws) => &["chilled water", "CHWS", "chilled water supply"],
        Some(Role::CrahSupply) => &["supply air", "CRAH supply", "supply air temperature"],
        Some(Role::LiquidSupply) => &["coolant supply", "CDU supply", "liquid supply"],
        Some(Role::Bath) => &["fluid", "bath"],
        Some(Role::FacilitySupply) => &["facility water", "facility supply"],
        Some(Role::DiffPressure) => &["pump pressure", "differential pressure", "delta P"],
        Some(Role::PumpSpeed) => &["pump speed", "pumps"],
        _ => &[],
    };
    let own = s.name.as_str();
    match dice.pick(terms) {
        Some(term) if dice.often(0.7) => (*term).to_owned(),
        _ => own.to_owned(),
    }
}

fn hold(s: &Setpoint) -> Limit {
    Limit { setpoint: s.name.clone(), floor: None, ceiling: None, hold: true, until: None }
}

fn bound(s: &Setpoint, floor: Option<Finite>, ceiling: Option<Finite>) -> Limit {
    Limit { setpoint: s.name.clone(), floor, ceiling, hold: false, until: None }
}

/// Not to cool more (or less) than `at`.
fn no_further(s: &Setpoint, at: Finite, colder: bool) -> Limit {
    if (s.cools == Cools::Down) == colder { bound(s, Some(at), None) } else { bound(s, None, Some(at)) }
}

fn is_water(s: &Setpoint) -> bool {
    s.cools == Cools::Down && matches!(s.role, Some(Role::Chws | Role::FacilitySupply))
}

impl Order {
    /// What is asked, in the same few words however it was said. A reply begins with them: what is to be
    /// done follows from what was understood, and an operator sees it.
    fn understood(&self) -> String {
        let own = &self.setpoint;
        match self.kind {
            Kind::Floor => format!("floor for {own}"),
            Kind::Ceiling => format!("ceiling for {own}"),
            Kind::Exact => format!("value for {own}"),
            Kind::Range => format!("range for {own}"),
            Kind::HoldOne => format!("leave {own}"),
            Kind::HoldAll => "leave all".to_owned(),
            Kind::NoColder => "no colder".to_owned(),
            Kind::NoWarmer => "no warmer".to_owned(),
            Kind::Quiet => "quiet pumps and fans".to_owned(),
            Kind::Stability => "few moves".to_owned(),
            Kind::Economy => "economy".to_owned(),
            Kind::ExtraMargin => "more margin".to_owned(),
            Kind::Prepare => "prepare for load".to_owned(),
            Kind::Maintenance => "spare the water plant".to_owned(),
            Kind::Test => "a test, leave all".to_owned(),
            Kind::DesignValues => "safe values".to_owned(),
            Kind::OneAtATime => "one move each time".to_owned(),
            Kind::Noise => "nothing for the setpoints".to_owned(),
        }
    }

    /// How a reply to it begins.
    pub(super) fn heading(&self) -> String {
        format!("Order: {}", self.understood())
    }

    /// What it allows the setpoints now. Words like "no colder" speak of what is in force, so that what is
    /// asked for can be seen in the prompt.
    pub(super) fn limits(&self, site: &Site, frame: &Frame) -> Vec<Limit> {
        let here = |s: &Setpoint| frame.good(&s.name);
        let each = |limit: &dyn Fn(&Setpoint, Finite) -> Limit| -> Vec<Limit> {
            site.setpoints.iter().filter_map(|s| Some(limit(s, here(s)?))).collect()
        };
        let some = |which: &dyn Fn(&Setpoint) -> bool, colder: bool| -> Vec<Limit> {
            let those = site.setpoints.iter().filter(|s| which(s));
            those.filter_map(|s| Some(no_further(s, here(s)?, colder))).collect()
        };
        let own = |floor, ceiling| {
            site.setpoint(&self.setpoint).map(|s| bound(s, floor, ceiling)).into_iter().collect()
        };
        match self.kind {
            Kind::Floor => own(Some(self.value), None),
            Kind::Ceiling => own(None, Some(self.value)),
            Kind::Exact => own(Some(self.value), Some(self.value)),
            Kind::Range => own(Some(self.value), Some(self.second)),
            Kind::HoldOne => site.setpoint(&self.setpoint).map(hold).into_iter().collect(),
            Kind::HoldAll | Kind::Test => site.setpoints.iter().map(hold).collect(),
            Kind::NoColder => some(&|_| true, true),
            Kind::NoWarmer => some(&|_| true, false),
            Kind::Quiet => some(&is_fan_or_pump, true),
            Kind::Maintenance => some(&is_water, true),
            Kind::DesignValues => each(&|s, _| bound(s, Some(s.safe), Some(s.safe))),
            Kind::Stability
            | Kind::Economy
            | Kind::ExtraMargin
            | Kind::Prepare
            | Kind::OneAtATime
            | Kind::Noise => Vec::new(),
        }
    }
}

fn is_fan_or_pump(s: &Setpoint) -> bool {
    s.cools == Cools::Up
}

/// Directives that one grammar makes are made by it this often.
const COMPOSED: f64 = 0.6;

/// A way to say it that training may see: none that is held out, and none close to one.
fn trained(kind: Kind, dice: &mut Dice) -> Option<String> {
    for _ in 0..20 {
        let said = if SIDES.contains(&kind) && dice.often(COMPOSED) {
            sides::forbidding(kind == Kind::NoColder, dice)
        } else {
            wording::expanded(dice.pick(pool(kind, false))?, dice)
        };
        let said = wording::varied(&said, dice);
        if !pool(kind, true).iter().any(|other| wording::close(&said, other)) {
            return Some(said);
        }
    }
    None
}

/// A directive of this kind for this site now; `None` where the site has nothing that it could be about.
pub(super) fn give(
    kind: Kind,
    site: &Site,
    frame: &Frame,
    clock: &str,
    held_out: bool,
    dice: &mut Dice,
) -> Option<Order> {
    let text = if held_out { dice.pick(pool(kind, true))?.clone() } else { trained(kind, dice)? };
    let s = dice.pick(&site.setpoints)?;
    let present = frame.good(&s.name)?;
    let near = |dice: &mut Dice, low: f64, high: f64| {
        s.at_step(s.steps_to(present).round() + dice.between(low, high).round())
    };
    let (value, second) = match kind {
        Kind::Floor => (near(dice, -4.0, 3.0), present),
        Kind::Ceiling => (near(dice, -3.0, 4.0), present),
        Kind::Exact => (near(dice, -3.0, 3.0), present),
        Kind::Range => (near(dice, -4.0, 0.0), near(dice, 0.0, 4.0)),
        Kind::HoldOne
        | Kind::HoldAll
        | Kind::NoColder
        | Kind::NoWarmer
        | Kind::Quiet
        | Kind::Stability
        | Kind::Economy
        | Kind::ExtraMargin
        | Kind::Prepare
        | Kind::Maintenance
        | Kind::Test
        | Kind::DesignValues
        | Kind::OneAtATime
        | Kind::Noise => (present, present),
    };
    let about_nothing = (kind == Kind::Range && value >= second)
        || (kind == Kind::Quiet && !site.setpoints.iter().any(is_fan_or_pump))
        || (kind == Kind::Maintenance && !site.setpoints.iter().any(is_water));
    if about_nothing {
        return None;
    }
    let text = text
        .replace("{sp}", &called(s, dice))
        .replace("{v}", &value.to_string())
        .replace("{w}", &second.to_string())
        .replace("{u}", s.unit.as_str())
        .replace("{t}", clock);
    Some(Order { kind, text, setpoint: s.name.clone(), value, second })
}
