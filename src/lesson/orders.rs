//! What operators ask for: kinds of directives, said in many words.

use crate::directive::reading::{Reading, is_fan_or_pump, is_water};
use crate::frame::Frame;
use crate::site::{Role, Setpoint, Site};

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
    /// What it means.
    pub(super) reading: Reading,
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
    let own = || s.name.clone();
    let (mut value, mut second) = (present, present);
    let reading = match kind {
        Kind::Floor => {
            value = near(dice, -4.0, 3.0);
            Reading::Floor(own(), value)
        }
        Kind::Ceiling => {
            value = near(dice, -3.0, 4.0);
            Reading::Ceiling(own(), value)
        }
        Kind::Exact => {
            value = near(dice, -3.0, 3.0);
            Reading::Value(own(), value)
        }
        Kind::Range => {
            (value, second) = (near(dice, -4.0, 0.0), near(dice, 0.0, 4.0));
            Reading::Range(own(), value, second)
        }
        Kind::HoldOne => Reading::Leave(own()),
        Kind::HoldAll => Reading::LeaveAll,
        Kind::NoColder => Reading::NoColder,
        Kind::NoWarmer => Reading::NoWarmer,
        Kind::Quiet => Reading::Quiet,
        Kind::Stability => Reading::FewMoves,
        Kind::Economy => Reading::Economy,
        Kind::ExtraMargin => Reading::MoreMargin,
        Kind::Prepare => Reading::Prepare,
        Kind::Maintenance => Reading::SpareWater,
        Kind::Test => Reading::Test,
        Kind::DesignValues => Reading::SafeValues,
        Kind::OneAtATime => Reading::OneMove,
        Kind::Noise => Reading::Nothing,
    };
    let about_nothing = (kind == Kind::Range && value >= second)
        || (kind == Kind::Quiet && !site.setpoints.iter().any(|s| is_fan_or_pump(s.cools)))
        || (kind == Kind::Maintenance && !site.setpoints.iter().any(|s| is_water(s.cools, s.role)));
    if about_nothing {
        return None;
    }
    let text = text
        .replace("{sp}", &called(s, dice))
        .replace("{v}", &value.to_string())
        .replace("{w}", &second.to_string())
        .replace("{u}", s.unit.as_str())
        .replace("{t}", clock);
    Some(Order { kind, text, reading })
}
