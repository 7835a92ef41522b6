//! Traces: what the sensors read, sample by sample.

use std::path::Path;

use anyhow::Context as _;

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
        Self {
            columns: vec![Vec::new(); signals.len()],
            times: Vec::new(),
            signals,
        }
    }

    /// Adds the plant's last sample.
    pub fn push(&mut self, plant: &Plant) {
        self.times.push(plant.time());
        for (column, (_, value)) in self.columns.iter_mut().zip(plant.sensors()) {
            column.push(value);
        }
    }

    /// Writes the trace in the format that the file's name ends in.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => self
                .write_csv(path)
                .with_context(|| format!("writing {shown}")),
            _ => anyhow::bail!("{shown}: expected a name ending in .csv or .parquet"),
        }
    }

    /// CSV with a header of `NAME [UNIT]`; a missing sample is an empty field.
    fn write_csv(&self, path: &Path) -> anyhow::Result<()> {
        let mut out = csv::Writer::from_path(path)?;
        let names = self
            .signals
            .iter()
            .map(|s| format!("{} [{}]", s.name, s.unit));
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
}
