//! Rows of cells to readings, whatever file they come from; and CSV.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::mapping::{Column, Mapping, TimeColumn, TimeFormat};
use super::{Instant, TraceError, unit_of};
use crate::ingest::payload::Malformed;
use crate::ingest::{Origin, Reading};
use crate::site::{Name, Site};
use crate::units::{Finite, Unit};

/// What stands in one place of a table.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Cell {
    Empty,
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only Parquet cells are numbers"))]
    Number(f64),
    Text(String),
    /// A time by the file's own type.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "CSV has no types"))]
    Time(Timestamp),
}

impl Cell {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text.trim()) } else { None }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Empty | Self::Time(_) => None,
        }
    }

    fn is_missing(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Number(number) => number.is_nan(),
            Self::Text(text) => text.trim().is_empty() || text.trim().eq_ignore_ascii_case("nan"),
            Self::Time(_) => false,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Empty => "nothing".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::Time(time) => time.to_string(),
        }
    }
}

/// A mapping that has been found to fit a table's header and a site.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    path: PathBuf,
    time: TimeColumn,
    time_index: usize,
    values: Vec<Value>,
    /// Columns that nobody asks for.
    pub(super) ignored: Vec<String>,
}

#[derive(Clone, Debug)]
struct Value {
    index: usize,
    column: String,
    name: Name,
    unit: Unit,
}

impl Plan {
    pub(super) fn new(
        path: &Path,
        header: &[String],
        mapping: Option<&Mapping>,
        site: &Site,
    ) -> Result<Self, TraceError> {
        let time = mapping.map_or_else(
            || TimeColumn { column: "time".to_owned(), format: TimeFormat::default(), start: None },
            |m| m.time.clone(),
        );
        let find = |column: &str| {
            let mut found = header.iter().enumerate().filter(|(_, h)| *h == column).map(|(i, _)| i);
            match (found.next(), found.next()) {
                (Some(index), None) => Ok(index),
                (Some(_), Some(_)) => {
                    Err(TraceError::Twice { path: path.to_owned(), column: column.to_owned() })
                }
                (None, _) => Err(TraceError::NoColumn {
                    path: path.to_owned(),
                    column: column.to_owned(),
                    there: header.join(", "),
                }),
            }
        };
        let time_index = find(&time.column)?;
        let named_alike: Vec<Column>;
        let (columns, blame) = if let Some(mapping) = mapping {
            (&mapping.columns, mapping.path.as_path())
        } else {
            let alike = |column: &String| {
                let with_unit = column.strip_suffix(']').and_then(|c| c.split_once(" ["));
                let (name, unit) = with_unit.map_or((column.as_str(), None), |(n, u)| (n, Some(u)));
                let signal: Name = name.parse().ok()?;
                unit_of(site, &signal)?;
                let unit = unit.map(str::parse::<Unit>).transpose().map_err(|_| TraceError::Cell {
                    path: path.to_owned(),
                    line: 1,
                    problem: Malformed::new("header", "a unit in brackets, such as [degC]", column),
                });
                Some(unit.map(|unit| Column { column: column.clone(), signal, unit }))
            };
            named_alike = header.iter().filter_map(alike).collect::<Result<_, _>>()?;
            (&named_alike, path)
        };
        if columns.is_empty() {
            return Err(TraceError::NothingMapped { path: path.to_owned() });
        }
        let value = |c: &Column| {
            let own = unit_of(site, &c.signal).ok_or_else(|| TraceError::UnknownSignal {
                path: blame.to_owned(),
                column: c.column.clone(),
                signal: c.signal.clone(),
            })?;
            let unit = c.unit.unwrap_or(own);
            if unit.convert(Finite::ZERO, own).is_none() {
                let (path, column) = (blame.to_owned(), c.column.clone());
                return Err(TraceError::Unit { path, column, from: unit, to: own });
            }
            Ok(Value { index: find(&c.column)?, column: c.column.clone(), name: c.signal.clone(), unit })
        };
        let values = columns.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        for (i, second) in values.iter().enumerate() {
            if let Some(first) = values.iter().take(i).find(|v| v.name == second.name) {
                let signal = second.name.clone();
                let (first, second) = (first.column.clone(), second.column.clone());
                return Err(TraceError::Ambiguous { path: blame.to_owned(), signal, first, second });
            }
        }
        let used = |i: usize| i == time_index || values.iter().any(|v| v.index == i);
        let ignored = (0..).zip(header).filter(|(i, _)| !used(*i)).map(|(_, h)| h.clone()).collect();
        Ok(Self { path: path.to_owned(), time, time_index, values, ignored })
    }

    pub(super) fn row(&self, line: u64, cell: impl Fn(usize) -> Cell) -> Result<Instant, TraceError> {
        let bad = |column: &str, expected, cell: &Cell| TraceError::Cell {
            path: self.path.clone(),
            line,
            problem: Malformed::new(format!("column {column:?}"), expected, cell.show()),
        };
        let stamp = cell(self.time_index);
        let time =
            self.time.read(&stamp).ok_or_else(|| bad(&self.time.column, self.time.expected(), &stamp))?;
        let mut readings = Vec::with_capacity(self.values.len());
        for value in &self.values {
            let cell = cell(value.index);
            if cell.is_missing() {
                continue;
            }
            let number =
                cell.number().and_then(Finite::new).ok_or_else(|| bad(&value.column, "a number", &cell))?;
            readings.push(Reading {
                name: value.name.clone(),
                value: number,
                unit: value.unit,
                time,
                received: time,
                origin: Origin { timed: true, ..Origin::default() },
            });
        }
        Ok((time, readings))
    }
}

type Csv = csv::Reader<std::io::BufReader<std::fs::File>>;

fn open_csv(path: &Path, mapping: Option<&Mapping>, site: &Site) -> Result<(Csv, Plan), TraceError> {
    let file = std::fs::File::open(path)
        .map_err(|source| TraceError::Unreadable { path: path.to_owned(), source })?;
    let mut reader = csv::Reader::from_reader(std::io::BufReader::new(file));
    let header = reader.headers().map_err(|e| broken(path, &e))?;
    let header: Vec<String> = header.iter().map(|h| h.trim().to_owned()).collect();
    let plan = Plan::new(path, &header, mapping, site)?;
    Ok((reader, plan))
}

pub(super) fn ignored_csv(
    path: &Path,
    mapping: Option<&Mapping>,
    site: &Site,
) -> Result<Vec<String>, TraceError> {
    Ok(open_csv(path, mapping, site)?.1.ignored)
}

pub(super) fn read_csv(
    path: &Path,
    mapping: Option<&Mapping>,
    site: &Site,
) -> Result<impl Iterator<Item = Result<(u64, Instant), TraceError>> + use<>, TraceError> {
    let (reader, plan) = open_csv(path, mapping, site)?;
    Ok(reader.into_records().map(move |record| {
        let record = record.map_err(|e| broken(&plan.path, &e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |index| match record.get(index) {
            None | Some("") => Cell::Empty,
            Some(text) => Cell::Text(text.to_owned()),
        };
        plan.row(line, cell).map(|instant| (line, instant))
    }))
}

fn broken(path: &Path, error: &csv::Error) -> TraceError {
    TraceError::Broken {
        path: path.to_owned(),
        line: error.position().map_or(1, csv::Position::line),
        problem: error.to_string(),
    }
}
