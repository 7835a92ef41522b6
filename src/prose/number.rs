//! Numbers as people write them.

use super::Kind;
use crate::units::{Finite, Unit};

/// A number and the unit written with it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number {
    pub value: f64,
    /// Written with `+` or `-`.
    pub signed: bool,
    pub unit: Option<Written>,
    /// A unit each minute.
    pub rate: bool,
}

/// A unit as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    Celsius,
    Fahrenheit,
    Kelvin,
    Percent,
    Humidity,
    Megawatt,
    Kilowatt,
    Watt,
    KilowattHour,
    Kilopascal,
    Bar,
    LitrePerMinute,
    CubicMetrePerHour,
    Hertz,
    Rpm,
    Seconds,
    Minutes,
    Hours,
    Steps,
}

const SPELLINGS: [(&str, Written); 51] = [
    ("degrees celsius", Written::Celsius),
    ("degrees c", Written::Celsius),
    ("degree c", Written::Celsius),
    ("degrees", Written::Celsius),
    ("degree", Written::Celsius),
    ("celsius", Written::Celsius),
    ("deg c", Written::Celsius),
    ("degc", Written::Celsius),
    ("deg", Written::Celsius),
    ("° c", Written::Celsius),
    ("°c", Written::Celsius),
    ("°", Written::Celsius),
    ("c", Written::Celsius),
    ("degf", Written::Fahrenheit),
    ("°f", Written::Fahrenheit),
    ("f", Written::Fahrenheit),
    ("kelvins", Written::Kelvin),
    ("kelvin", Written::Kelvin),
    ("k", Written::Kelvin),
    ("percent rh", Written::Humidity),
    ("% rh", Written::Humidity),
    ("%rh", Written::Humidity),
    ("per cent", Written::Percent),
    ("percent", Written::Percent),
    ("pct", Written::Percent),
    ("%", Written::Percent),
    ("mw", Written::Megawatt),
    ("kilowatts", Written::Kilowatt),
    ("kilowatt", Written::Kilowatt),
    ("kwh", Written::KilowattHour),
    ("kw", Written::Kilowatt),
    ("w", Written::Watt),
    ("kpa", Written::Kilopascal),
    ("bar", Written::Bar),
    ("l/min", Written::LitrePerMinute),
    ("lpm", Written::LitrePerMinute),
    ("m3/h", Written::CubicMetrePerHour),
    ("hz", Written::Hertz),
    ("rpm", Written::Rpm),
    ("seconds", Written::Seconds),
    ("sec", Written::Seconds),
    ("s", Written::Seconds),
    ("minutes", Written::Minutes),
    ("minute", Written::Minutes),
    ("mins", Written::Minutes),
    ("min", Written::Minutes),
    ("hours", Written::Hours),
    ("hour", Written::Hours),
    ("hrs", Written::Hours),
    ("h", Written::Hours),
    ("steps", Written::Steps),
];

impl Written {
    /// Minutes in one of this unit, for a unit of time.
    fn minutes(self) -> Option<f64> {
        let units = [(Self::Seconds, 1.0 / 60.0), (Self::Minutes, 1.0), (Self::Hours, 60.0)];
        units.into_iter().find(|(u, _)| *u == self).map(|(_, m)| m)
    }

    fn unit(self) -> Option<Unit> {
        match self {
            Self::Celsius => Some(Unit::DegC),
            Self::Fahrenheit => Some(Unit::DegF),
            Self::Kelvin => Some(Unit::Kelvin),
            Self::Percent => Some(Unit::Percent),
            Self::Humidity => Some(Unit::RelativeHumidity),
            Self::Megawatt | Self::Kilowatt => Some(Unit::Kilowatt),
            Self::Watt => Some(Unit::Watt),
            Self::KilowattHour => Some(Unit::KilowattHour),
            Self::Kilopascal => Some(Unit::KilopascalGauge),
            Self::Bar => Some(Unit::Bar),
            Self::LitrePerMinute => Some(Unit::LitrePerMinute),
            Self::CubicMetrePerHour => Some(Unit::CubicMetrePerHour),
            Self::Hertz => Some(Unit::Hertz),
            Self::Rpm => Some(Unit::Rpm),
            Self::Seconds | Self::Minutes | Self::Hours | Self::Steps => None,
        }
    }
}

impl Number {
    /// The number as a value in `unit`; `None` when it is written in a unit of something else.
    #[must_use]
    pub fn as_level(&self, unit: Unit) -> Option<f64> {
        let Some(written) = self.unit else { return Some(self.value) };
        let value = if written == Written::Megawatt { self.value * 1000.0 } else { self.value };
        // People write plain % for humidity.
        if written == Written::Percent && unit == Unit::RelativeHumidity {
            return Some(value);
        }
        written.unit()?.convert(Finite::new(value)?, unit).map(Finite::get)
    }

    /// The number as a difference of two values in `unit`.
    #[must_use]
    pub fn as_difference(&self, unit: Unit) -> Option<f64> {
        match (self.unit, unit) {
            (Some(Written::Kelvin), Unit::DegC) => Some(self.value),
            (Some(Written::Fahrenheit), Unit::DegC) => Some(self.value / 1.8),
            _ => self.as_level(unit),
        }
    }

    /// The number as a span of time.
    #[must_use]
    pub fn as_minutes(&self) -> Option<f64> {
        Some(self.value * self.unit?.minutes()?)
    }
}

/// Whether a number begins here: a digit, or a sign right before one that does not join two things.
pub(super) fn starts(rest: &str, before: Option<char>) -> bool {
    let mut chars = rest.chars();
    match chars.next() {
        Some(c) if c.is_ascii_digit() => true,
        Some('.') => {
            chars.next().is_some_and(|c| c.is_ascii_digit()) && !before.is_some_and(char::is_alphanumeric)
        }
        Some('-' | '−' | '+') => {
            let mut rest = chars.skip_while(|c| *c == '.');
            rest.next().is_some_and(|c| c.is_ascii_digit())
                && !before.is_some_and(|b| b.is_alphanumeric() || matches!(b, '%' | '°' | ')'))
        }
        _ => false,
    }
}

/// Reads the number at `start`, with its unit. Returns where it ends.
pub(super) fn read(text: &str, start: usize) -> (Kind, usize) {
    let rest = &text[start..];
    let sign = rest.chars().next().filter(|c| matches!(c, '-' | '−' | '+'));
    let digits_at = sign.map_or(0, char::len_utf8);
    let body = &rest[digits_at..];
    let mut len = digits(body);
    // A point or comma, and what follows, belongs to the number only when a digit comes next.
    let mut marks = Vec::new();
    while let Some(mark @ ('.' | ',' | ':')) = body[len..].chars().next()
        && digits(&body[len + 1..]) > 0
    {
        let more = digits(&body[len + 1..]);
        marks.push((mark, more));
        len += 1 + more;
    }
    let end = start + digits_at + len;
    let written = &body[..len];
    let value = match marks.as_slice() {
        [] | [('.', _)] => written.parse::<f64>().ok(),
        // Three digits after a comma may be thousands: nobody can tell.
        [(',', n)] if *n != 3 => written.replace(',', ".").parse::<f64>().ok(),
        [(':', 2)] if sign.is_none() => return clock(written, text, end),
        _ => None,
    };
    let value = value.filter(|v| v.is_finite()).map(|v| if matches!(sign, Some('-' | '−')) { -v } else { v });
    let after = &text[end..];
    if let Some((unit, rate, len)) = unit(after) {
        let kind = value.map_or(Kind::Odd, |value| {
            Kind::Number(Number { value, signed: sign.is_some(), unit: Some(unit), rate })
        });
        return (kind, end + len);
    }
    let glued = after.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_');
    if glued {
        let len = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
        return (Kind::Odd, end + len);
    }
    let kind = value.map_or(Kind::Odd, |value| {
        Kind::Number(Number { value, signed: sign.is_some(), unit: None, rate: false })
    });
    (kind, end)
}

fn clock(written: &str, text: &str, end: usize) -> (Kind, usize) {
    let parts =
        written.split_once(':').and_then(|(h, m)| Some((h.parse::<i8>().ok()?, m.parse::<i8>().ok()?)));
    let glued = text[end..].chars().next().is_some_and(|c| c.is_alphanumeric() && c != 'Z');
    match parts {
        Some((hour, minute)) if hour < 24 && minute < 60 && !glued => {
            let utc = usize::from(text[end..].starts_with('Z'));
            (Kind::Clock { hour, minute }, end + utc)
        }
        _ => (Kind::Odd, end),
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The unit that `rest` begins with, after at most one space or hyphen; whether it is per minute; its length.
pub(super) fn unit(rest: &str) -> Option<(Written, bool, usize)> {
    let skipped = rest.starts_with([' ', '-']).into();
    let rest = rest.get(skipped..)?;
    let (len, unit) = spelled(rest)?;
    let after = rest.get(len..).unwrap_or_default();
    let per = ["/min", " per minute", " a minute", " per min"].into_iter().find(|p| starts_word(after, p));
    Some((unit, per.is_some(), skipped + len + per.map_or(0, str::len)))
}

fn spelled(rest: &str) -> Option<(usize, Written)> {
    let step = starts_word(rest, "step").then_some((4, Written::Steps));
    SPELLINGS.iter().find(|(s, _)| starts_word(rest, s)).map(|(s, unit)| (s.len(), *unit)).or(step)
}

/// Whether `rest` begins with `word`, in any case, and the word ends there.
fn starts_word(rest: &str, word: &str) -> bool {
    let Some(head) = rest.get(..word.len()) else { return false };
    let next = rest.get(word.len()..).and_then(|r| r.chars().next());
    let ends = !next.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let symbol = word.ends_with('%') || word.ends_with('°');
    head.eq_ignore_ascii_case(word) && (ends || symbol && !next.is_some_and(|c| c.is_ascii_digit()))
}
