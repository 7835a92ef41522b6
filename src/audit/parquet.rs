//! Whole records as Parquet, for query engines and archives: hashes as hex, the time as a time stamp.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{AuditError, Kind, Record, summary};

/// Records in a row group: with prompts in the bodies, some tens of megabytes.
const GROUP: usize = 4096;

const SCHEMA: &str = "message record {
    REQUIRED INT64 seq;
    REQUIRED INT64 time (TIMESTAMP(NANOS, true));
    REQUIRED BYTE_ARRAY kind (STRING);
    REQUIRED BYTE_ARRAY previous (STRING);
    REQUIRED BYTE_ARRAY hash (STRING);
    REQUIRED BYTE_ARRAY summary (STRING);
    REQUIRED BYTE_ARRAY body (JSON);
}";

/// How many records were written.
pub(super) fn write(
    path: &Path,
    file: File,
    records: impl Iterator<Item = Result<Record, AuditError>>,
) -> Result<u64, AuditError> {
    let failed = |e: ParquetError| AuditError::Parquet { path: path.to_owned(), why: e.to_string() };
    let schema = parse_message_type(SCHEMA).map_err(failed)?;
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut out = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
    let mut group = Vec::with_capacity(GROUP);
    let mut written = 0;
    for record in records {
        group.push(record?);
        if group.len() == GROUP {
            written += group.len() as u64;
            write_group(&mut out, &group).map_err(failed)?;
            group.clear();
        }
    }
    if !group.is_empty() {
        written += group.len() as u64;
        write_group(&mut out, &group).map_err(failed)?;
    }
    out.close().map_err(failed)?;
    Ok(written)
}

fn write_group(out: &mut SerializedFileWriter<File>, records: &[Record]) -> Result<(), ParquetError> {
    let nanoseconds = |r: &Record| {
        i64::try_from(r.time.as_nanosecond())
            .map_err(|_| ParquetError::General(format!("record {}: its time does not fit 64 bits", r.seq)))
    };
    let times = records.iter().map(nanoseconds).collect::<Result<Vec<_>, _>>()?;
    let mut group = out.next_row_group()?;
    numbers(&mut group, &records.iter().map(|r| r.seq as i64).collect::<Vec<_>>())?;
    numbers(&mut group, &times)?;
    texts(&mut group, records.iter().map(|r| r.kind.to_string()))?;
    texts(&mut group, records.iter().map(|r| r.previous.to_string()))?;
    texts(&mut group, records.iter().map(|r| r.hash.to_string()))?;
    texts(&mut group, records.iter().map(|r| summary(r.kind, &r.body)))?;
    texts(&mut group, records.iter().map(|r| r.body.clone()))?;
    group.close()?;
    Ok(())
}

type Group<'a> = parquet::file::writer::SerializedRowGroupWriter<'a, File>;

fn numbers(group: &mut Group<'_>, values: &[i64]) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<Int64Type>().write_batch(values, None, None)?;
        column.close()?;
    }
    Ok(())
}

fn texts(group: &mut Group<'_>, values: impl Iterator<Item = String>) -> Result<(), ParquetError> {
    let values: Vec<ByteArray> = values.map(|v| ByteArray::from(v.into_bytes())).collect();
    if let Some(mut column) = group.next_column()? {
        column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
        column.close()?;
    }
    Ok(())
}

/// The records of a file, in order, a row group at a time. Nobody has followed their chain yet.
pub(super) fn read(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Record, AuditError>> + use<>, AuditError> {
    let unreadable = |source| AuditError::Io { path: path.to_owned(), doing: "read the archive", source };
    let file = File::open(path).map_err(unreadable)?;
    let path = path.to_owned();
    let failed = move |e: ParquetError| AuditError::Parquet { path: path.clone(), why: e.to_string() };
    let reader = SerializedFileReader::new(file).map_err(&failed)?;
    let groups = 0..reader.num_row_groups();
    Ok(groups.flat_map(move |i| {
        let group = reader.get_row_group(i).and_then(|group| read_group(group.as_ref())).map_err(&failed);
        match group {
            Ok(records) => records.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(e) => vec![Err(e)],
        }
    }))
}

fn read_group(group: &dyn RowGroupReader) -> Result<Vec<Record>, ParquetError> {
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
    let (seqs, times) = (column::<Int64Type>(group, 0, rows)?, column::<Int64Type>(group, 1, rows)?);
    let texts = |i| column::<ByteArrayType>(group, i, rows);
    let (kinds, previous, hashes, bodies) = (texts(2)?, texts(3)?, texts(4)?, texts(6)?);
    let wrong = |what: &str| ParquetError::General(format!("expected {what} in each row"));
    let text = |column: &[ByteArray], i: usize| {
        let bytes = column.get(i).ok_or_else(|| wrong("a value"))?;
        bytes.as_utf8().map(str::to_owned)
    };
    (0..rows)
        .map(|i| {
            let number = |column: &[i64]| column.get(i).copied().ok_or_else(|| wrong("a number"));
            let seq = u64::try_from(number(&seqs)?).map_err(|_| wrong("a seq"))?;
            let time = Timestamp::from_nanosecond(number(&times)?.into()).map_err(|_| wrong("a time"))?;
            Ok(Record {
                seq,
                time,
                kind: Kind::from_bytes(text(&kinds, i)?.as_bytes()).ok_or_else(|| wrong("a kind"))?,
                previous: text(&previous, i)?.parse().map_err(|_| wrong("a hash"))?,
                hash: text(&hashes, i)?.parse().map_err(|_| wrong("a hash"))?,
                body: text(&bodies, i)?,
            })
        })
        .collect()
}

fn column<T: DataType>(group: &dyn RowGroupReader, i: usize, rows: usize) -> Result<Vec<T::T>, ParquetError> {
    let reader: ColumnReader = group.get_column_reader(i)?;
    let mut typed = parquet::column::reader::get_typed_column_reader::<T>(reader);
    let mut values = Vec::with_capacity(rows);
    while values.len() < rows {
        let (read, _, _) = typed.read_records(rows - values.len(), None, None, &mut values)?;
        if read == 0 {
            return Err(ParquetError::General(format!("column {i} ends before row {rows}")));
        }
    }
    Ok(values)
}
