//! Numbers that cannot lie about what they are.
//!
//! [`Finite`] is a number that is never NaN or infinite: in a naive clamp NaN becomes the minimum and
//! fails both "is critical" and "is nominal", so it is made impossible at the door. [`Unit`] names what
//! a site's number means, and stands beside it at every boundary. Where a formula needs one
//! particular unit, the typed forms ([`DegC`], [`Kelvin`], [`RelHumidity`]) carry it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A finite number: neither NaN nor infinite, by construction.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Finite(f64);

impl Finite {
    pub const ZERO: Self = Self(0.0);

    /// `None` for NaN and infinities. Negative zero becomes zero, so that equal values print alike.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// For constants written in this program's source. A non-finite argument becomes zero.
    #[must_use]
    pub const fn constant(value: f64) -> Self {
        if value.is_finite() { Self(value) } else { Self(0.0) }
    }

    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The sum, held inside the finite range.
    #[must_use]
    pub fn plus(self, delta: f64) -> Self {
        Self::saturating(self.0 + delta)
    }

    /// Any number at all brought into the finite range: infinities to the largest value, NaN to zero.
    /// Only for results of arithmetic on finite inputs, where NaN cannot arise from bad data.
    #[must_use]
    pub fn saturating(value: f64) -> Self {
        if value.is_nan() { Self(0.0) } else { Self(value.clamp(f64::MIN, f64::MAX) + 0.0) }
    }

    #[must_use]
    pub fn min(self, other: Self) -> Self {
        if other.0 < self.0 { other } else { self }
    }

    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }

    /// Rounded to `decimals` places.
    #[must_use]
    pub fn rounded(self, decimals: u8) -> Self {
        let scale = 10f64.powi(i32::from(decimals));
        Self::saturating((self.0 * scale).round() / scale)
    }
}

impl Eq for Finite {}

#[expect(clippy::derive_ord_xor_partial_ord, reason = "total on finite numbers; agrees with partial_cmp")]
impl Ord for Finite {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl TryFrom<f64> for Finite {
    type Error = NotFinite;
    fn try_from(value: f64) -> Result<Self, NotFinite> {
        Self::new(value).ok_or(NotFinite)
    }
}

impl From<Finite> for f64 {
    fn from(value: Finite) -> f64 {
        value.0
    }
}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Finite {
    fn schema_name() -> Cow<'static, str> {
        "Finite".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

/// The value was NaN or infinite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a finite number, got NaN or an infinity")]
pub struct NotFinite;

/// What a number means. The canonical spelling is what config files, frames and prompts use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Unit {
    DegC,
    DegF,
    Kelvin,
    KilopascalGauge,
    Bar,
    Kilowatt,
    Watt,
    KilowattHour,
    LitrePerMinute,
    CubicMetrePerHour,
    Percent,
    RelativeHumidity,
    Hertz,
    Rpm,
    Count,
    /// A yes or no, as 1 or 0.
    Flag,
}

impl Unit {
    const ALL: [(Self, &'static str); 16] = [
        (Self::DegC, "degC"),
        (Self::DegF, "degF"),
        (Self::Kelvin, "K"),
        (Self::KilopascalGauge, "kPa"),
        (Self::Bar, "bar"),
        (Self::Kilowatt, "kW"),
        (Self::Watt, "W"),
        (Self::KilowattHour, "kWh"),
        (Self::LitrePerMinute, "L/min"),
        (Self::CubicMetrePerHour, "m3/h"),
        (Self::Percent, "%"),
        (Self::RelativeHumidity, "%RH"),
        (Self::Hertz, "Hz"),
        (Self::Rpm, "rpm"),
        (Self::Count, "count"),
        (Self::Flag, "flag"),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(u, _)| *u == self).map_or("count", |(_, s)| s)
    }

    /// `value` in `self`, expressed in `to`; `None` when the two do not measure the same thing.
    #[must_use]
    pub fn convert(self, value: Finite, to: Self) -> Option<Finite> {
        let v = value.get();
        let out = match (self, to) {
            (a, b) if a == b => v,
            (Self::DegF, Self::DegC) => (v - 32.0) / 1.8,
            (Self::DegC, Self::DegF) => v * 1.8 + 32.0,
            (Self::Bar, Self::KilopascalGauge) => v * 100.0,
            (Self::KilopascalGauge, Self::Bar) => v / 100.0,
            (Self::Watt, Self::Kilowatt) => v / 1000.0,
            (Self::Kilowatt, Self::Watt) => v * 1000.0,
            (Self::CubicMetrePerHour, Self::LitrePerMinute) => v * 1000.0 / 60.0,
            (Self::LitrePerMinute, Self::CubicMetrePerHour) => v * 60.0 / 1000.0,
            _ => return None,
        };
        Finite::new(out)
    }

    /// The other units that measure the same thing.
    pub fn kin(self) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .map(|(unit, _)| unit)
            .filter(move |unit| *unit != self && unit.convert(Finite::ZERO, self).is_some())
    }

    /// Decimals shown to people and to the model; claims are checked at this rounding.
    #[must_use]
    pub fn decimals(self) -> u8 {
        match self {
            Self::DegC | Self::DegF | Self::Kelvin | Self::Bar | Self::Hertz => 1,
            Self::KilopascalGauge
            | Self::Kilowatt
            | Self::Watt
            | Self::KilowattHour
            | Self::LitrePerMinute
            | Self::CubicMetrePerHour
            | Self::Percent
            | Self::RelativeHumidity
            | Self::Rpm
            | Self::Count
            | Self::Flag => 0,
        }
    }

    /// The spellings a config file may use.
    #[must_use]
    pub fn spellings() -> Vec<&'static str> {
        Self::ALL.iter().map(|(_, s)| *s).collect()
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A unit nobody here knows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown unit {0:?}: expected one of {list}", list = Unit::spellings().join(", "))]
pub struct UnknownUnit(pub String);

impl FromStr for Unit {
    type Err = UnknownUnit;
    fn from_str(s: &str) -> Result<Self, UnknownUnit> {
        Self::ALL
            .iter()
            .find(|(_, spelling)| *spelling == s)
            .map(|(u, _)| *u)
            .ok_or_else(|| UnknownUnit(s.to_owned()))
    }
}

impl TryFrom<String> for Unit {
    type Error = UnknownUnit;
    fn try_from(s: String) -> Result<Self, UnknownUnit> {
        s.parse()
    }
}

impl Serialize for Unit {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Unit {
    fn schema_name() -> Cow<'static, str> {
        "Unit".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::spellings() })
    }
}

/// A temperature in degrees Celsius.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DegC(Finite);

/// A temperature difference in kelvin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Kelvin(Finite);

/// Relative humidity, 0 to 100 %.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RelHumidity(Finite);

impl DegC {
    #[must_use]
    pub const fn new(value: Finite) -> Self {
        Self(value)
    }
    #[must_use]
    pub const fn get(self) -> Finite {
        self.0
    }
    #[must_use]
    pub fn plus(self, delta: Kelvin) -> Self {
        Self(self.0.plus(delta.0.get()))
    }
}

impl Kelvin {
    #[must_use]
    pub const fn new(value: Finite) -> Self {
        Self(value)
    }
    #[must_use]
    pub const fn get(self) -> Finite {
        self.0
    }
}

impl RelHumidity {
    /// `None` outside 0 to 100 %, or at 0 %, where the dew point has no value.
    #[must_use]
    pub fn new(percent: Finite) -> Option<Self> {
        (percent.get() > 0.0 && percent.get() <= 100.0).then_some(Self(percent))
    }
}

/// Dew point of moist air.
///
/// Magnus form with the coefficients of Alduchov and Eskridge (1996): over water,
/// `es = 6.1094 hPa · exp(17.625 t / (243.04 + t))`, valid from -40 to 50 degC within 0.4 %.
/// `None` outside that range.
#[must_use]
pub fn dew_point(dry_bulb: DegC, humidity: RelHumidity) -> Option<DegC> {
    let t = dry_bulb.0.get();
    if !(-40.0..=50.0).contains(&t) {
        return None;
    }
    let gamma = (humidity.0.get() / 100.0).ln() + 17.625 * t / (243.04 + t);
    Finite::new(243.04 * gamma / (17.625 - gamma)).map(DegC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite(v: f64) -> Finite {
        Finite::new(v).unwrap()
    }

    #[test]
    fn non_finite_numbers_do_not_exist() {
        assert_eq!(Finite::new(f64::NAN), None);
        assert_eq!(Finite::new(f64::INFINITY), None);
        assert!(serde_json::from_str::<Finite>("1e999").is_err());
        assert_eq!(finite(-0.0).to_string(), "0");
    }

    #[test]
    fn units_convert_only_to_their_own_kind() {
        assert_eq!(Unit::DegF.convert(finite(77.0), Unit::DegC), Some(finite(25.0)));
        assert_eq!(Unit::Bar.convert(finite(1.5), Unit::KilopascalGauge), Some(finite(150.0)));
        assert_eq!(Unit::Kilowatt.convert(finite(1.0), Unit::DegC), None);
        assert!("celsius".parse::<Unit>().unwrap_err().to_string().contains("degC"));
    }

    /// Values from the psychrometric chart: 25 degC at 50 % is 13.9 degC; saturated air is its own dew point.
    #[test]
    fn dew_point_matches_the_chart() {
        let at = |t, rh| {
            dew_point(DegC::new(finite(t)), RelHumidity::new(finite(rh)).unwrap()).unwrap().get().get()
        };
        assert!((at(25.0, 50.0) - 13.86).abs() < 0.1);
        assert!((at(20.0, 100.0) - 20.0).abs() < 1e-9);
        assert!(RelHumidity::new(finite(0.0)).is_none());
        assert!(RelHumidity::new(finite(101.0)).is_none());
    }
}
