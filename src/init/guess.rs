//! What a value probably is, by its name and by what it was seen to be. Everything here is a guess, and the
//! file says so.

use crate::site::Role;
use crate::site::terms::{self, role_units};
use crate::units::{Finite, Unit};

/// What was seen of a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Seen {
    pub(super) low: f64,
    pub(super) high: f64,
    /// The fastest change seen, a minute.
    pub(super) fastest: f64,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Guess {
    /// As it is on the wire.
    pub(super) wire: Unit,
    /// In what the site counts it.
    pub(super) unit: Unit,
    /// Why this unit; `None` when the source itself said it.
    pub(super) why: Option<String>,
    pub(super) role: Option<(Role, &'static str)>,
    pub(super) range: [Finite; 2],
    pub(super) slew_per_min: Finite,
}

/// Words of names, and the unit that goes with them. The first row with a word of the name wins.
const WORDS: [(&[&str], Unit); 16] = [
    (&["degf", "fahrenheit"], Unit::DegF),
    (&["kwh", "energy"], Unit::KilowattHour),
    (&["rh", "humidity", "hum"], Unit::RelativeHumidity),
    (&["dp", "pressure", "kpa", "dpt"], Unit::KilopascalGauge),
    (&["bar"], Unit::Bar),
    (&["m3h", "cmh"], Unit::CubicMetrePerHour),
    (&["flow", "lpm"], Unit::LitrePerMinute),
    (&["rpm"], Unit::Rpm),
    (&["hz", "freq", "frequency"], Unit::Hertz),
    (&["watt", "watts"], Unit::Watt),
    (&["kw", "power", "load"], Unit::Kilowatt),
    (&["fan", "pump", "valve", "speed", "position", "pos", "percent", "pct", "damper"], Unit::Percent),
    (&["count", "number", "running", "on", "chillers"], Unit::Count),
    (&["alarm", "status", "enable", "enabled", "fault"], Unit::Flag),
    (
        &[
            "temp",
            "temperature",
            "degc",
            "celsius",
            "inlet",
            "outlet",
            "supply",
            "return",
            "chws",
            "chwr",
            "wetbulb",
            "drybulb",
            "bulb",
            "dewpoint",
            "dew",
            "bath",
            "coolant",
            "gpu",
            "chip",
            "ambient",
            "t",
        ],
        Unit::DegC,
    ),
    (&["c"], Unit::DegC),
];

/// Spellings of units that sources use, without blanks and dots, in lower case.
const SPELLINGS: [(&[&str], Unit); 13] = [
    (&["°c", "c", "celsius", "degreescelsius"], Unit::DegC),
    (&["°f", "f", "fahrenheit", "degreesfahrenheit"], Unit::DegF),
    (&["kpag", "kilopascal", "kilopascals"], Unit::KilopascalGauge),
    (&["barg"], Unit::Bar),
    (&["kilowatt", "kilowatts"], Unit::Kilowatt),
    (&["watt", "watts"], Unit::Watt),
    (&["kilowatthours"], Unit::KilowattHour),
    (&["lpm", "litersperminute", "litresperminute"], Unit::LitrePerMinute),
    (&["m³/h", "m3/hr", "m³/hr", "cmh"], Unit::CubicMetrePerHour),
    (&["percent", "pct"], Unit::Percent),
    (&["rh%", "percentrelativehumidity"], Unit::RelativeHumidity),
    (&["hertz"], Unit::Hertz),
    (&["rev/min", "1/min", "min-1"], Unit::Rpm),
];

/// The unit that somebody else's spelling means.
pub(super) fn unit_of(spelling: &str) -> Option<Unit> {
    let plain = |text: &str| text.to_lowercase().replace([' ', '.', '_'], "");
    let wanted = plain(spelling);
    let own = Unit::spellings().into_iter().find(|own| plain(own) == wanted);
    let others = || SPELLINGS.iter().find(|(all, _)| all.contains(&wanted.as_str())).map(|(_, unit)| *unit);
    own.and_then(|own| own.parse().ok()).or_else(others)
}

/// `stated`: the unit that the source itself gives.
pub(super) fn guess(name: &str, stated: Option<Unit>, seen: Seen) -> Guess {
    let words = words(name);
    let guessed = stated.is_none().then(|| by_words(&words, seen));
    let wire = guessed.as_ref().map(|(unit, _)| *unit).or(stated).unwrap_or(Unit::Count);
    let why = guessed.map(|(_, why)| why);
    let unit = counted_in(wire);
    let in_unit = |v: f64| wire.convert(Finite::saturating(v), unit).map_or(v, Finite::get);
    let fastest = in_unit(seen.fastest) - in_unit(0.0);
    let seen = Seen { low: in_unit(seen.low), high: in_unit(seen.high), fastest };
    // Whether a pump runs is not how fast.
    let measures =
        |role: &Role| unit != Unit::Flag && role_units(*role).is_none_or(|all| all.contains(&unit));
    let role = terms::role_of(&words).filter(|(role, _)| measures(role));
    let (range, slew_per_min) = bounds(unit, role.map(|(r, _)| r), seen);
    Guess { wire, unit, why, role, range, slew_per_min }
}

/// Words of a topic or key, lower case, also where only a capital letter parts them.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in text.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            words.push(String::new());
        }
        lower_before = c.is_lowercase() || c.is_numeric();
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

fn by_words(words: &[String], seen: Seen) -> (Unit, String) {
    let found = WORDS.iter().find_map(|(all, unit)| {
        let word = words.iter().find(|w| all.contains(&w.as_str()))?;
        Some((*unit, word.clone()))
    });
    let Some((unit, word)) = found else {
        return (Unit::Count, "nothing in its name says what it is".to_owned());
    };
    let is_chip = words.iter().any(|w| ["gpu", "chip", "cpu"].contains(&w.as_str()));
    // Air and water of a data centre are not that hot; chips are.
    if unit == Unit::DegC && seen.low > 55.0 && seen.high < 130.0 && !is_chip {
        (Unit::DegF, format!("{word:?} in its name, and too warm for degC"))
    } else if unit == Unit::Percent && seen.high > 100.0 {
        (Unit::Rpm, format!("{word:?} in its name, and more than 100"))
    } else if unit == Unit::Kilowatt && seen.high > 50_000.0 {
        (Unit::Watt, format!("{word:?} in its name, and too large for kW"))
    } else {
        (unit, format!("{word:?} in its name"))
    }
}

/// The unit in which roles and limits are.
fn counted_in(wire: Unit) -> Unit {
    let counted = [
        (Unit::DegF, Unit::DegC),
        (Unit::Watt, Unit::Kilowatt),
        (Unit::Bar, Unit::KilopascalGauge),
        (Unit::CubicMetrePerHour, Unit::LitrePerMinute),
    ];
    counted.into_iter().find(|(from, _)| *from == wire).map_or(wire, |(_, to)| to)
}

/// A plausible range that holds all that was seen, and a rate well above the fastest seen.
fn bounds(unit: Unit, role: Option<Role>, seen: Seen) -> ([Finite; 2], Finite) {
    let usual = match (unit, role) {
        (Unit::DegC, Some(Role::ChipTemp)) => Some((5.0, 110.0, 60.0)),
        (Unit::DegC, Some(Role::OutdoorDryBulb | Role::OutdoorWetBulb)) => Some((-40.0, 55.0, 2.0)),
        (Unit::DegC, _) => Some((0.0, 60.0, 5.0)),
        (Unit::RelativeHumidity, _) => Some((1.0, 100.0, 10.0)),
        (Unit::Percent, _) => Some((0.0, 100.0, 120.0)),
        (Unit::Flag, _) => Some((0.0, 1.0, 60.0)),
        _ => None,
    };
    let width = (seen.high - seen.low).max(seen.high.abs()).max(1.0);
    let (low, high, slew) = usual.unwrap_or_else(|| {
        let high = round_up(seen.high.max(0.0) + width);
        let low = if seen.low < 0.0 { -round_up(width - seen.low) } else { 0.0 };
        (low, high, high - low)
    });
    let low = if seen.low < low { -round_up(width - seen.low) } else { low };
    let high = if seen.high > high { round_up(seen.high + width / 5.0) } else { high };
    let slew = slew.max(round_up(seen.fastest * 3.0));
    ([Finite::saturating(low), Finite::saturating(high)], Finite::saturating(slew))
}

/// The next number with one significant digit.
fn round_up(v: f64) -> f64 {
    if v <= 0.0 {
        return 0.0;
    }
    let scale = 10f64.powf(v.log10().floor());
    (v / scale).ceil() * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, low: f64, high: f64) -> Guess {
        guess(name, None, Seen { low, high, fastest: 0.1 })
    }

    #[test]
    fn names_and_values_tell() {
        let inlet = of("hall_a/rack3/inlet_temp", 21.0, 24.0);
        assert_eq!(
            (inlet.wire, inlet.unit, inlet.role.map(|r| r.0)),
            (Unit::DegC, Unit::DegC, Some(Role::ItInlet))
        );
        assert_eq!(inlet.range[0], Finite::ZERO);
        assert!(inlet.why.unwrap().contains("inlet"));
        let hot = of("crah/supplyAirTemp", 66.0, 70.0);
        assert_eq!((hot.wire, hot.unit), (Unit::DegF, Unit::DegC), "nobody supplies air at 66 degC");
        assert!(hot.range[1] < Finite::constant(100.0), "the range is in degC");
        assert_eq!(of("bms/totalPower", 4e5, 5e5).wire, Unit::Watt);
        assert_eq!(of("fan1/speed", 900.0, 1200.0).wire, Unit::Rpm);
        assert_eq!(of("room/RH", 40.0, 45.0).role.map(|r| r.0), Some(Role::RoomHumidity));
        let unknown = of("x/y17", -4.0, 900.0);
        assert_eq!((unknown.unit, unknown.role), (Unit::Count, None));
        assert!(unknown.range[0] <= Finite::constant(-4.0) && unknown.range[1] >= Finite::constant(900.0));
    }

    #[test]
    fn what_the_source_says_is_no_guess_and_a_role_needs_its_unit() {
        let stated = guess("it_load", Some(Unit::Watt), Seen { low: 4e5, high: 5e5, fastest: 0.0 });
        assert_eq!((stated.wire, stated.unit, &stated.why), (Unit::Watt, Unit::Kilowatt, &None));
        assert_eq!(stated.role.map(|r| r.0), Some(Role::ItLoad));
        assert_eq!(
            guess("inlet", Some(Unit::Percent), Seen { low: 1.0, high: 2.0, fastest: 0.0 }).role,
            None
        );
    }

    #[test]
    fn units_are_spelled_in_many_ways() {
        for (spelling, unit) in [
            ("degC", Unit::DegC),
            ("° C", Unit::DegC),
            ("KW", Unit::Kilowatt),
            ("l/min", Unit::LitrePerMinute),
        ] {
            assert_eq!(unit_of(spelling), Some(unit), "{spelling}");
        }
        assert_eq!((unit_of(""), unit_of("furlongs")), (None, None));
    }

    #[test]
    fn ranges_hold_all_that_was_seen() {
        for (low, high) in [(-70.0, 5.0), (3.0, 300.0), (0.0, 0.0), (-1e-3, 1e9)] {
            for name in ["a_temp", "b", "c_rh", "d_kw", "e_valve"] {
                let g = of(name, low, high);
                let to = |v| g.wire.convert(Finite::saturating(v), g.unit).unwrap_or(Finite::saturating(v));
                assert!(
                    g.range[0] <= to(low) && g.range[1] >= to(high) && g.range[0] < g.range[1],
                    "{name} {g:?}"
                );
                assert!(g.slew_per_min > Finite::ZERO);
            }
        }
    }
}
