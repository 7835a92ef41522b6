//! Recorded load: power traces and request arrivals, from CSV files read by path.

use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use serde::Deserialize;

/// A series of load shares at a fixed step, repeated for ever.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    shares: Vec<f64>,
    step_s: f64,
    elapsed_s: f64,
}

impl Recorded {
    /// The share at the present moment, interpolated; then `dt` seconds pass.
    pub(super) fn step(&mut self, dt: f64) -> f64 {
        let position = self.elapsed_s / self.step_s;
        self.elapsed_s = (self.elapsed_s + dt) % (self.step_s * self.shares.len() as f64);
        let before = position as usize % self.shares.len();
        let after = (before + 1) % self.shares.len();
        let part = position.fract();
        self.shares[before] * (1.0 - part) + self.shares[after] * part
    }
}

/// A power trace: a `time` column in seconds at a fixed step, and power columns that are summed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerTrace {
    /// A relative path counts from the scenario's folder.
    path: PathBuf,
    /// Columns whose name starts with this are summed.
    columns: String,
    /// Their sum, in the file's unit, at no and at full load.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    idle: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    full: f64,
}

impl PowerTrace {
    pub(super) fn read(&self, folder: &Path) -> Result<Recorded, String> {
        if self.full <= self.idle {
            return Err(format!("workload: expected full above idle ({}), found {}", self.idle, self.full));
        }
        let path = folder.join(&self.path);
        let (header, rows) = table(&path)?;
        let shown = path.display();
        let time = column(&path, &header, "time")?;
        let power: Vec<usize> = (0..header.len()).filter(|i| header[*i].starts_with(&self.columns)).collect();
        if power.is_empty() {
            return Err(format!("{shown}:1: expected columns that start with {:?}", self.columns));
        }
        let mut shares = Vec::with_capacity(rows.len());
        let mut times = Vec::with_capacity(rows.len());
        for (line, row) in &rows {
            let at = |i: usize| number(&path, *line, &header[i], row.get(i));
            times.push(at(time)?);
            let mut sum = 0.0;
            for i in &power {
                sum += at(*i)?;
            }
            shares.push(((sum - self.idle) / (self.full - self.idle)).clamp(0.0, 1.0));
        }
        let [first, second, ..] = times[..] else {
            return Err(format!("{shown}: expected at least two rows"));
        };
        let step_s = second - first;
        for (i, pair) in times.windows(2).enumerate() {
            if (pair[1] - pair[0] - step_s).abs() > 1e-3 * step_s || step_s <= 0.0 {
                return Err(format!("{shown}:{}: expected a step of {step_s} s", i + 3));
            }
        }
        Ok(Recorded { shares, step_s, elapsed_s: 0.0 })
    }
}

/// Request arrivals with the columns TIMESTAMP, ContextTokens and GeneratedTokens. A request asks for
/// `context_weight` times its context plus its generated tokens of work, spread over its run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// A relative path counts from the scenario's folder.
    path: PathBuf,
    /// Work of a context token relative to a generated one.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    context_weight: f64,
    /// Generated tokens a second of one request, and of the servers at full load.
    #[serde(deserialize_with = "crate::bounds::positive")]
    request_tokens_s: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    full_tokens_s: f64,
    /// Load without requests.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    base: f64,
}

impl Requests {
    pub(super) fn read(&self, folder: &Path) -> Result<Recorded, String> {
        let path = folder.join(&self.path);
        let (header, rows) = table(&path)?;
        let time = column(&path, &header, "TIMESTAMP")?;
        let context = column(&path, &header, "ContextTokens")?;
        let generated = column(&path, &header, "GeneratedTokens")?;
        let mut work = Vec::new();
        let mut origin = None;
        for (line, row) in &rows {
            let at = |i: usize| number(&path, *line, &header[i], row.get(i));
            let text = row.get(time).unwrap_or_default();
            let stamp: DateTime = text.parse().map_err(|_| {
                format!("{}:{line}: expected a date and time, found {text:?}", path.display())
            })?;
            let start: DateTime = *origin.get_or_insert(stamp);
            let second = stamp.duration_since(start).as_secs().max(0) as usize;
            let tokens = at(generated)? + self.context_weight * at(context)?;
            // The work is done at the rate of one request, from its arrival on.
            let seconds = (tokens / self.request_tokens_s).ceil().max(1.0) as usize;
            if work.len() < second + 1 {
                work.resize(second + 1, 0.0);
            }
            let end = (second + seconds).min(work.len() + seconds);
            if work.len() < end {
                work.resize(end, 0.0);
            }
            for slot in &mut work[second..end] {
                *slot += tokens / seconds as f64;
            }
        }
        if work.is_empty() {
            return Err(format!("{}: expected at least one request", path.display()));
        }
        let share = |tokens: &f64| (self.base + (1.0 - self.base) * tokens / self.full_tokens_s).min(1.0);
        Ok(Recorded { shares: work.iter().map(share).collect(), step_s: 1.0, elapsed_s: 0.0 })
    }
}

type Rows = Vec<(u64, csv::StringRecord)>;

/// Header and rows (with their line numbers) of a CSV file.
fn table(path: &Path) -> Result<(Vec<String>, Rows), String> {
    let error = |e: csv::Error| format!("{}: {e}", path.display());
    let mut reader = csv::Reader::from_path(path).map_err(error)?;
    let header = reader.headers().map_err(error)?;
    let header = header.iter().map(|h| h.trim_start_matches('\u{feff}').to_owned()).collect();
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(error)?;
        rows.push((row.position().map_or(0, csv::Position::line), row));
    }
    Ok((header, rows))
}

fn column(path: &Path, header: &[String], name: &str) -> Result<usize, String> {
    header
        .iter()
        .position(|h| h == name)
        .ok_or_else(|| format!("{}:1: expected a column named {name:?}", path.display()))
}

fn number(path: &Path, line: u64, name: &str, text: Option<&str>) -> Result<f64, String> {
    let text = text.unwrap_or_default();
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|v| v.is_finite())
        .ok_or_else(|| format!("{}:{line}: {name}: expected a number, found {text:?}", path.display()))
}
