use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TraceError;
use super::table::Cell;
use crate::ingest::payload::is_plausible;
use crate::site::Name;
use crate::units::Unit;

/// Which columns of a table are what. A small TOML file:
///
/// ```toml
/// [time]
/// column = "time"
/// format = "seconds"                 # rfc3339, seconds, milliseconds, microseconds, nanoseconds,
///                                    # or a pattern such as "%Y-%m-%d %H:%M" (UTC)
/// start = "2024-04-07T00:00:00Z"     # what the numbers count from; 1970 when absent
///
/// [[column]]
/// column = "OA Wetbulb Temp"
/// signal = "outdoor_wetbulb"
/// unit = "degC"                      # the signal's own when absent
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    pub time: TimeColumn,
    #[serde(rename = "column")]
    pub columns: Vec<Column>,
    /// Where it was read from, for messages.
    #[serde(skip)]
    pub path: PathBuf,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeColumn {
    pub column: String,
    #[serde(default)]
    pub format: TimeFormat,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub start: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
pub enum TimeFormat {
    #[default]
    Rfc3339,
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// As `strptime` has it.
    Pattern(String),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub column: String,
    /// A signal or setpoint of the site.
    pub signal: Name,
    #[serde(default)]
    pub unit: Option<Unit>,
}

impl Mapping {
    pub fn load(path: &Path) -> Result<Self, TraceError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TraceError::Unreadable { path: path.to_owned(), source })?;
        let mapping: Self = toml::from_str(&text)
            .map_err(|e| TraceError::Mapping { path: path.to_owned(), problem: e.to_string() })?;
        Ok(Self { path: path.to_owned(), ..mapping })
    }
}

impl From<String> for TimeFormat {
    fn from(text: String) -> Self {
        match text.as_str() {
            "rfc3339" => Self::Rfc3339,
            "seconds" => Self::Seconds,
            "milliseconds" => Self::Milliseconds,
            "microseconds" => Self::Microseconds,
            "nanoseconds" => Self::Nanoseconds,
            _ => Self::Pattern(text),
        }
    }
}

impl From<TimeFormat> for String {
    fn from(format: TimeFormat) -> Self {
        match format {
            TimeFormat::Rfc3339 => "rfc3339".to_owned(),
            TimeFormat::Seconds => "seconds".to_owned(),
            TimeFormat::Milliseconds => "milliseconds".to_owned(),
            TimeFormat::Microseconds => "microseconds".to_owned(),
            TimeFormat::Nanoseconds => "nanoseconds".to_owned(),
            TimeFormat::Pattern(pattern) => pattern,
        }
    }
}

impl TimeColumn {
    /// The time a cell names; `None` when it does not fit the format. A cell that is a time by the file's
    /// own type needs no format.
    pub(super) fn read(&self, cell: &Cell) -> Option<Timestamp> {
        self.parsed(cell).filter(is_plausible)
    }

    fn parsed(&self, cell: &Cell) -> Option<Timestamp> {
        let per_second = match (&self.format, cell) {
            (_, Cell::Time(time)) => return Some(*time),
            (TimeFormat::Rfc3339, _) => return cell.text()?.parse().ok(),
            (TimeFormat::Pattern(pattern), _) => return by_pattern(pattern, cell.text()?),
            (TimeFormat::Seconds, _) => 1.0,
            (TimeFormat::Milliseconds, _) => 1e3,
            (TimeFormat::Microseconds, _) => 1e6,
            (TimeFormat::Nanoseconds, _) => 1e9,
        };
        let offset = SignedDuration::try_from_secs_f64(cell.number()? / per_second).ok()?;
        self.start.unwrap_or(Timestamp::UNIX_EPOCH).checked_add(offset).ok()
    }

    pub(super) fn expected(&self) -> &'static str {
        match self.format {
            TimeFormat::Rfc3339 => {
                "an RFC 3339 time such as 2026-01-31T12:00:00Z (or name the format in a mapping)"
            }
            TimeFormat::Seconds => "a number of seconds",
            TimeFormat::Milliseconds => "a number of milliseconds",
            TimeFormat::Microseconds => "a number of microseconds",
            TimeFormat::Nanoseconds => "a number of nanoseconds",
            TimeFormat::Pattern(_) => "a time in the mapping's format",
        }
    }
}

/// With a zone in the pattern that zone, else UTC.
fn by_pattern(pattern: &str, text: &str) -> Option<Timestamp> {
    let broken = jiff::fmt::strtime::parse(pattern, text).ok()?;
    broken.to_timestamp().ok().or_else(|| {
        let local = broken.to_datetime().ok()?;
        TimeZone::UTC.to_timestamp(local).ok()
    })
}
