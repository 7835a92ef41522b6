//! Range checks on scenario values, as serde deserializers: each bound is declared once and its
//! message says what was expected.

use serde::{Deserialize, Deserializer, de::Error};

fn within<'de, D: Deserializer<'de>>(de: D, low: f64, high: f64, expected: &str) -> Result<f64, D::Error> {
    let value = f64::deserialize(de)?;
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(D::Error::custom(format!("expected {expected}, found {value}")))
    }
}

macro_rules! bounds {
    ($($name:ident: $low:expr, $high:expr, $expected:literal;)*) => {
        $(
            #[doc = concat!("Accepts ", $expected, ".")]
            pub(crate) fn $name<'de, D: Deserializer<'de>>(de: D) -> Result<f64, D::Error> {
                within(de, $low, $high, $expected)
            }
        )*
    };
}

bounds! {
    fraction: 0.0, 1.0, "a fraction from 0 to 1";
    efficiency: 0.05, 1.0, "an efficiency from 0.05 to 1";
    positive: 1e-9, 1e9, "a number above 0";
    not_negative: 0.0, 1e9, "0 or more";
    any: -1e9, 1e9, "a finite number";
    power: 0.0, 1e6, "a power from 0 to 1,000,000";
    temperature: -60.0, 150.0, "a temperature from -60 to 150 degC";
    hours: 0.0, 1e5, "hours from 0 to 100,000";
}

/// Accepts `[low, high]` with low below high.
pub(crate) fn range<'de, D: Deserializer<'de>>(de: D) -> Result<[f64; 2], D::Error> {
    let [low, high] = <[f64; 2]>::deserialize(de)?;
    if low < high {
        Ok([low, high])
    } else {
        Err(D::Error::custom(format!("expected [low, high], found [{low}, {high}]")))
    }
}

/// Accepts a list with at least one entry.
pub(crate) fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(de: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(de)?;
    if list.is_empty() {
        return Err(D::Error::custom("expected at least one entry, found none"));
    }
    Ok(list)
}
