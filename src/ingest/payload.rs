//! Numbers out of JSON, as they come on topics and in recorded traces. What cannot be understood is an
//! error that says what was expected; it never becomes a number.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::units::{Finite, Unit};

/// What could not be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{at}: expected {expected}, got {got}")]
pub struct Malformed {
    /// Where in the message.
    pub at: String,
    pub expected: &'static str,
    /// The beginning of what was there.
    pub got: String,
}

impl Malformed {
    pub(super) fn new(at: impl Into<String>, expected: &'static str, got: impl fmt::Display) -> Self {
        let got = got.to_string();
        let shown: String = got.chars().take(60).collect();
        let got = if shown.len() < got.len() { format!("{shown}…") } else { shown };
        Self { at: at.into(), expected, got }
    }
}

/// A value and what its source says about it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Told {
    pub(super) value: Finite,
    /// `None` when the source does not say.
    pub(super) unit: Option<Unit>,
    /// Not `good`, by the source's own judgement.
    pub(super) flagged: bool,
    /// Seconds between taking the value and the message.
    pub(super) age_s: Option<Finite>,
}

impl Told {
    pub(super) fn bare(value: Finite) -> Self {
        Self { value, unit: None, flagged: false, age_s: None }
    }

    /// When the value was taken, given the time of its message.
    pub(super) fn taken(&self, message: Timestamp) -> Timestamp {
        let age = self.age_s.and_then(|s| SignedDuration::try_from_secs_f64(s.get()).ok());
        age.and_then(|age| message.checked_sub(age).ok()).unwrap_or(message)
    }
}

/// A JSON number that is finite.
pub(super) fn number(at: &str, value: &Value) -> Result<Finite, Malformed> {
    value.as_f64().and_then(Finite::new).ok_or_else(|| Malformed::new(at, "a number", value))
}

/// Whether anything can have been measured then. Waits are counted from such times, and must not run past the end of
/// the calendar.
pub(in crate::ingest) fn is_plausible(time: &Timestamp) -> bool {
    /// 2200-01-01
    const END_S: i64 = 7_258_118_400;
    (0..END_S).contains(&time.as_second())
}

/// The optional `time` of a message, RFC 3339.
pub(super) fn time(message: &Map<String, Value>) -> Result<Option<Timestamp>, Malformed> {
    match message.get("time") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let time = value.as_str().and_then(|text| text.parse().ok()).filter(is_plausible);
            time.map(Some).ok_or_else(|| {
                Malformed::new(
                    "/time",
                    "an RFC 3339 time such as 2026-01-31T12:00:00Z, of the years 1970 to 2199",
                    value,
                )
            })
        }
    }
}

/// One value of a frame: a number, or `{"value", "unit", "quality"}`. `None` when the source says that
/// it has none.
pub(super) fn told(at: &str, value: &Value) -> Result<Option<Told>, Malformed> {
    let Value::Object(fields) = value else {
        return if value.is_null() { Ok(None) } else { number(at, value).map(|v| Some(Told::bare(v))) };
    };
    let text = |key: &'static str, expected: &'static str| match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.as_str())),
        Some(other) => Err(Malformed::new(format!("{at}/{key}"), expected, other)),
    };
    let quality = text("quality", "a text such as \"good\"")?.unwrap_or("good");
    let number_in = match fields.get("value") {
        Some(Value::Null) => return Ok(None),
        Some(value) => number(&format!("{at}/value"), value)?,
        None if quality == "missing" => return Ok(None),
        None => return Err(Malformed::new(at, "a number, or an object with \"value\"", value)),
    };
    let unit = text("unit", "a unit such as \"degC\"")?
        .map(|s| s.parse::<Unit>().map_err(|_| Malformed::new(format!("{at}/unit"), "a known unit", s)))
        .transpose()?;
    let age_s = fields.get("age_s").and_then(Value::as_f64).and_then(Finite::new);
    // Stale is a matter of age, which is judged here wherever it is given.
    let flagged = !(quality == "good" || quality == "stale" && age_s.is_some());
    Ok(Some(Told { value: number_in, unit, flagged, age_s }))
}
