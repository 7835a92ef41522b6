//! What operators ask for, in their own words. Every directive is shown to the model; what can be read as
//! a bound on a setpoint is also enforced by the guard, and the operator is told which of the two it is.

mod read;
pub mod reading;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use crate::envelope::Limit;
use crate::site::Site;

/// The longest text accepted, in characters.
pub const MAX_CHARS: usize = 200;
/// The furthest end of a directive: what should hold for longer belongs in the site file.
pub const MAX_FOR: SignedDuration = SignedDuration::from_hours(24 * 31);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Directive {
    pub text: String,
    pub who: String,
    pub from: Timestamp,
    /// `None`: until withdrawn.
    pub until: Option<Timestamp>,
    /// What the guard enforces; empty when the text is for the model alone.
    pub limits: Vec<Limit>,
    /// What kept the text from being read as a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_only: Option<String>,
}

/// How a text was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Understood {
    /// Bounds that the guard enforces.
    Limits(Vec<Limit>),
    /// Words for the model; `why` says what kept it from being a bound.
    TextOnly { why: String },
}

/// Why a text is no directive.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "the directive is empty: say what is wanted, for example \"keep chilled water at or above 10 degC until 14:00\""
    )]
    Empty,
    #[error("the directive has {chars} characters; at most {MAX_CHARS} are shown to the model: shorten it")]
    TooLong { chars: usize },
    #[error("{value} is outside {setpoint}'s own limits, {min} to {max} {unit}: choose a value inside")]
    OutOfRange { setpoint: String, value: String, min: String, max: String, unit: String },
    #[error("the end, {until}, is not after {now}")]
    Ended { until: Timestamp, now: Timestamp },
    #[error("the end, {until}, is more than 31 days away: put a lasting limit into the site file")]
    TooFar { until: Timestamp },
}

/// Cleans and reads a directive. `until` from the caller wins over a time in the text; times of day in the
/// text are of the site's zone, the next such time after `now`.
pub fn understand(
    site: &Site,
    now: Timestamp,
    who: &str,
    text: &str,
    until: Option<Timestamp>,
) -> Result<Directive, Refused> {
    let text = clean(&text.replace("<=", " at most ").replace(">=", " at least "));
    if text.is_empty() {
        return Err(Refused::Empty);
    }
    let chars = text.chars().count();
    if chars > MAX_CHARS {
        return Err(Refused::TooLong { chars });
    }
    let reading = read::read(site, now, &text)?;
    let until = until.or(reading.until);
    if let Some(until) = until {
        if until <= now {
            return Err(Refused::Ended { until, now });
        }
        if until.duration_since(now) > MAX_FOR {
            return Err(Refused::TooFar { until });
        }
    }
    let (limits, text_only) = match reading.understood {
        Understood::Limits(limits) => (limits, None),
        Understood::TextOnly { why } => (Vec::new(), Some(why)),
    };
    let limits = limits.into_iter().map(|l| Limit { until, ..l }).collect();
    Ok(Directive { text, who: clean(who), from: now, until, limits, text_only })
}

impl Directive {
    /// What it leads to, for the one who gave it.
    #[must_use]
    pub fn meaning(&self) -> String {
        let until = self.until.map_or_else(|| "until withdrawn".to_owned(), |t| format!("until {t}"));
        if let Some(why) = &self.text_only {
            return format!("shown to the model {until}, but not enforced by the guard: {why}");
        }
        let bounds: Vec<String> = self.limits.iter().map(bound_text).collect();
        format!("enforced by the guard {until}: {}", bounds.join("; "))
    }
}

/// `chws_sp 10 to 12`, `chws_sp at least 10`, `chws_sp held`.
#[must_use]
pub fn bound_text(limit: &Limit) -> String {
    let name = &limit.setpoint;
    match (limit.floor, limit.ceiling) {
        _ if limit.hold => format!("{name} held where it is"),
        (Some(low), Some(high)) if low == high => format!("{name} at {low}"),
        (Some(low), Some(high)) => format!("{name} {low} to {high}"),
        (Some(low), None) => format!("{name} at least {low}"),
        (None, Some(high)) => format!("{name} at most {high}"),
        (None, None) => format!("{name} unbounded"),
    }
}

/// One line of printable text that cannot end, or pretend to be, a part of the prompt: no control or
/// invisible characters, no chat markup, no braces or quotes, no runs of spaces.
#[must_use]
pub fn clean(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && !INVISIBLE.contains(&c) && !"<>|{}[]`\"\\#=*".contains(c);
    let spaced: String =
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| allowed(*c)).collect();
    spaced.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Zero-width and direction-changing characters.
const INVISIBLE: [char; 14] = [
    '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}',
    '\u{202d}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2069}', '\u{feff}',
];

#[cfg(test)]
mod tests;
