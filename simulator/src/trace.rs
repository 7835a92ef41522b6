//! Traces: what the sensors read, sample by sample.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::plant::Plant;
use crate::sensor::SignalSpec;

/// A trace in memory: one column per signal, one row per sample.
#[derive(Debug, Clone)]
pub struct Trace {
    signals: Vec<SignalSpec>,
    times: Vec<jiff::Timestamp>,
    columns: Vec<Vec<Option<f64>>>,
}

impl Trace {
    pub fn new(plant: &Plant) -> Self {
        let signals: Vec<_> = plant.sensors().iter().map(|(spec, _)| *spec).collect();
        Self { columns: vec![Vec::new(); signals.len()], times: Vec::new(), signals }
    }

    /// Adds the plant's last sample.
    pub fn push(&mut self, plant: &Plant) {
        self.times.push(plant.time());
        for (column, (_, value)) in self.columns.iter_mut().zip(plant.sensors()) {
            column.push(value);
        }
    }

    pub fn signals(&self) -> &[SignalSpec] {
        &self.signals
    }

    /// One column per signal; `None` where a sample is missing.
    pub fn columns(&self) -> &[Vec<Option<f64>>] {
        &self.columns
    }

    /// Hours since the first sample.
    pub fn hours(&self) -> Vec<f64> {
        let Some(first) = self.times.first() else {
            return Vec::new();
        };
        self.times.iter().map(|time| time.duration_since(*first).as_secs_f64() / 3600.0).collect()
    }

    /// Writes the trace in the format that the file's name ends in.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => self.write_csv(path).with_context(|| format!("writing {shown}")),
            Some("parquet") => self.write_parquet(path).with_context(|| format!("writing {shown}")),
            _ => anyhow::bail!("{shown}: expected a name ending in .csv or .parquet"),
        }
    }

    /// CSV with a header of `NAME [UNIT]`; a missing sample is an empty field.
    fn write_csv(&self, path: &Path) -> anyhow::Result<()> {
        let mut out = csv::Writer::from_path(path)?;
        let names = self.signals.iter().map(|s| format!("{} [{}]", s.name, s.unit));
        out.write_record(std::iter::once("time".to_owned()).chain(names))?;
        for (row, time) in self.times.iter().enumerate() {
            let values = self.columns.iter().map(|column| match column[row] {
                Some(value) => format!("{value:.3}"),
                None => String::new(),
            });
            out.write_record(std::iter::once(time.to_string()).chain(values))?;
        }
        out.flush()?;
        Ok(())
    }

    /// Parquet: `time` in UTC milliseconds, then one optional double per signal with its unit in the
    /// file's metadata under the signal's name.
    fn write_parquet(&self, path: &Path) -> anyhow::Result<()> {
        let columns: Vec<_> = self.signals.iter().map(|s| format!("optional double {};", s.name)).collect();
        let schema = format!(
            "message trace {{ required int64 time (TIMESTAMP(MILLIS, true)); {} }}",
            columns.join(" ")
        );
        let units =
            self.signals.iter().map(|s| KeyValue::new(s.name.to_owned(), s.unit.to_owned())).collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(units))
            .build();
        let file = std::fs::File::create(path)?;
        let schema = Arc::new(parse_message_type(&schema)?);
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
        let mut group = writer.next_row_group()?;
        let missing = || anyhow::anyhow!("the schema has fewer columns than the trace");
        let mut time = group.next_column()?.ok_or_else(missing)?;
        let millis: Vec<i64> = self.times.iter().map(|t| t.as_millisecond()).collect();
        time.typed::<Int64Type>().write_batch(&millis, None, None)?;
        time.close()?;
        for column in &self.columns {
            let present: Vec<i16> = column.iter().map(|v| i16::from(v.is_some())).collect();
            let values: Vec<f64> = column.iter().flatten().copied().collect();
            let mut out = group.next_column()?.ok_or_else(missing)?;
            out.typed::<DoubleType>().write_batch(&values, Some(&present), None)?;
            out.close()?;
        }
        group.close()?;
        writer.close()?;
        Ok(())
    }
}
