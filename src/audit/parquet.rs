//! Whole records as Parquet, for query engines: hashes as hex, the time as a time stamp.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{AuditError, Log, Record, summary};

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
pub(super) fn write(path: &Path, file: File, log: &Log) -> Result<u64, AuditError> {
    let failed = |e: ParquetError| AuditError::Parquet { path: path.to_owned(), why: e.to_string() };
    let schema = parse_message_type(SCHEMA).map_err(failed)?;
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut out = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
    let mut group = Vec::with_capacity(GROUP);
    let mut written = 0;
    for record in log.records(0) {
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
