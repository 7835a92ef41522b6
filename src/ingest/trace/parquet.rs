//! Parquet by its row interface: flat files with one column for each value.

use std::fs::File;
use std::path::Path;

use jiff::Timestamp;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::mapping::Mapping;
use super::table::{Cell, Plan};
use super::{Instant, TraceError};
use crate::site::Site;

fn open(
    path: &Path,
    mapping: Option<&Mapping>,
    site: &Site,
) -> Result<(SerializedFileReader<File>, Plan), TraceError> {
    let file = File::open(path).map_err(|source| TraceError::Unreadable { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(|e| broken(path, 0, &e))?;
    let fields = reader.metadata().file_metadata().schema().get_fields();
    let header: Vec<String> = fields.iter().map(|f| f.name().to_owned()).collect();
    let plan = Plan::new(path, &header, mapping, site)?;
    Ok((reader, plan))
}

pub(super) fn ignored(
    path: &Path,
    mapping: Option<&Mapping>,
    site: &Site,
) -> Result<Vec<String>, TraceError> {
    Ok(open(path, mapping, site)?.1.ignored)
}

pub(super) fn read(
    path: &Path,
    mapping: Option<&Mapping>,
    site: &Site,
) -> Result<impl Iterator<Item = Result<(u64, Instant), TraceError>> + use<>, TraceError> {
    let (reader, plan) = open(path, mapping, site)?;
    let path = path.to_owned();
    Ok(reader.into_iter().zip(1u64..).map(move |(row, number)| {
        let row = row.map_err(|e| broken(&path, number, &e))?;
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        let instant = plan.row(number, |index| fields.get(index).map_or(Cell::Empty, |f| cell(f)))?;
        Ok((number, instant))
    }))
}

fn broken(path: &Path, line: u64, error: &ParquetError) -> TraceError {
    TraceError::Broken { path: path.to_owned(), line, problem: error.to_string() }
}

fn cell(field: &Field) -> Cell {
    match field {
        Field::Null => Cell::Empty,
        Field::Bool(v) => Cell::Number(f64::from(u8::from(*v))),
        Field::Byte(v) => Cell::Number(f64::from(*v)),
        Field::Short(v) => Cell::Number(f64::from(*v)),
        Field::Int(v) => Cell::Number(f64::from(*v)),
        Field::Long(v) => Cell::Number(*v as f64),
        Field::UByte(v) => Cell::Number(f64::from(*v)),
        Field::UShort(v) => Cell::Number(f64::from(*v)),
        Field::UInt(v) => Cell::Number(f64::from(*v)),
        Field::ULong(v) => Cell::Number(*v as f64),
        Field::Float(v) => Cell::Number(f64::from(*v)),
        Field::Double(v) => Cell::Number(*v),
        Field::Float16(v) => Cell::Number(f64::from(*v)),
        Field::Str(v) => Cell::Text(v.clone()),
        Field::TimestampMillis(v) => time(Timestamp::from_millisecond(*v).ok(), field),
        Field::TimestampMicros(v) => time(Timestamp::from_microsecond(*v).ok(), field),
        // Shown in the error that follows: none of these is a number.
        Field::Decimal(_)
        | Field::Bytes(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::Group(_)
        | Field::ListInternal(_)
        | Field::MapInternal(_) => Cell::Text(field.to_string()),
    }
}

fn time(time: Option<Timestamp>, field: &Field) -> Cell {
    time.map_or_else(|| Cell::Text(field.to_string()), Cell::Time)
}
