//! Recorded data as a source: our own frames as JSON lines, or anyone's CSV or Parquet with a [`Mapping`].
//!
//! A table has one row for each time and one column for each value. An empty cell, or one that says NaN,
//! is a missing value; any other cell that is not a number ends the trace with an error that names it.

mod frames;
mod mapping;
#[cfg(feature = "parquet")]
mod parquet;
mod table;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use self::mapping::{Column, Mapping, TimeColumn, TimeFormat};
use super::Reading;
use super::payload::Malformed;
use crate::site::{Name, Site};
use crate::units::Unit;

/// What was read at one time.
pub type Instant = (Timestamp, Vec<Reading>);

/// The instants of a trace, in rising order of time.
pub type Trace = Box<dyn Iterator<Item = Result<Instant, TraceError>>>;

/// Why a trace cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("{path}: cannot read: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}: expected a file that ends in .jsonl (frames), .csv or .parquet{}",
        if cfg!(feature = "parquet") { "" } else { " (this build has no Parquet: rebuild with the feature \"parquet\")" },
        path = path.display()
    )]
    Format { path: PathBuf },
    #[error("{path}: {problem}. Expected a mapping as docs/traces.md shows", path = path.display())]
    Mapping { path: PathBuf, problem: String },
    #[error("{path}: the site has no signal or setpoint \"{signal}\", named for column {column:?}", path = path.display())]
    UnknownSignal { path: PathBuf, column: String, signal: Name },
    #[error("{path}: unit of column {column:?}: {from} cannot be expressed in {to}", path = path.display())]
    Unit { path: PathBuf, column: String, from: Unit, to: Unit },
    #[error("{path}: no column {column:?}; there are: {there}. Name the right one in a mapping", path = path.display())]
    NoColumn { path: PathBuf, column: String, there: String },
    #[error("{path}: no column is named like a signal of the site. Name columns and signals in a mapping", path = path.display())]
    NothingMapped { path: PathBuf },
    #[error("{path}: column {column:?} is there twice: rename one, or leave it out", path = path.display())]
    Twice { path: PathBuf, column: String },
    #[error("{path}: {signal} has two columns, {first:?} and {second:?}: expected one", path = path.display())]
    Ambiguous { path: PathBuf, signal: Name, first: String, second: String },
    #[error("{path}:{line}: {problem}", path = path.display())]
    Cell { path: PathBuf, line: u64, problem: Malformed },
    #[error("{path}:{line}: {problem}", path = path.display())]
    Broken { path: PathBuf, line: u64, problem: String },
    #[error("{path}:{line}: expected times in rising order, got {time} after {last}", path = path.display())]
    Order { path: PathBuf, line: u64, time: Timestamp, last: Timestamp },
}

/// Opens a trace by its ending. A table without a mapping has its times in a column `time` (RFC 3339), and
/// its values in columns named like the site's signals: `NAME` in the signal's unit, or `NAME [UNIT]`.
pub fn open(path: &Path, mapping: Option<&Path>, site: &Site) -> Result<Trace, TraceError> {
    let mapping = mapping.map(Mapping::load).transpose()?;
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match ending {
        "jsonl" | "ndjson" => Ok(Box::new(in_order(path, frames::read(path, site)?))),
        "csv" => Ok(Box::new(in_order(path, table::read_csv(path, mapping.as_ref(), site)?))),
        #[cfg(feature = "parquet")]
        "parquet" => Ok(Box::new(in_order(path, parquet::read(path, mapping.as_ref(), site)?))),
        _ => Err(TraceError::Format { path: path.to_owned() }),
    }
}

/// The columns or names of a trace that [`open`] leaves out.
pub fn ignored(path: &Path, mapping: Option<&Path>, site: &Site) -> Result<Vec<String>, TraceError> {
    let mapping = mapping.map(Mapping::load).transpose()?;
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match ending {
        "jsonl" | "ndjson" => Ok(frames::ignored(path, site)?.into_iter().collect()),
        "csv" => table::ignored_csv(path, mapping.as_ref(), site),
        #[cfg(feature = "parquet")]
        "parquet" => parquet::ignored(path, mapping.as_ref(), site),
        _ => Err(TraceError::Format { path: path.to_owned() }),
    }
}

/// Ends a trace at its first error, and makes time that goes back one.
fn in_order<I: Iterator<Item = Result<(u64, Instant), TraceError>>>(
    path: &Path,
    rows: I,
) -> impl Iterator<Item = Result<Instant, TraceError>> + use<I> {
    let path = path.to_owned();
    let mut last = Timestamp::MIN;
    let mut ended = false;
    rows.map_while(move |row| {
        if ended {
            return None;
        }
        let checked = row.and_then(|(line, (time, readings))| {
            if time < last {
                return Err(TraceError::Order { path: path.clone(), line, time, last });
            }
            last = time;
            Ok((time, readings))
        });
        ended = checked.is_err();
        Some(checked)
    })
}

/// The unit of a signal or setpoint; `None` when the site has neither.
fn unit_of(site: &Site, name: &Name) -> Option<Unit> {
    site.signal(name).map(|s| s.unit).or_else(|| site.setpoint(name).map(|s| s.unit))
}
