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
