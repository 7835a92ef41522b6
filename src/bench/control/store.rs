//! Results on disk: one line a run, so that a bench that was stopped goes on where it was.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BenchError;
use super::metrics::{Metrics, Point};
use crate::envelope::Rule;
use crate::site::Law;

/// One run's results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) key: String,
    pub(super) plant: String,
    pub(super) scenario: String,
    pub(super) controller: Law,
    pub(super) seed: u64,
    pub(super) hours: f64,
    #[serde(flatten)]
    pub(super) metrics: Metrics,
    /// Decisions that each rule of the guard changed for safety.
    #[serde(default)]
    pub(super) interventions_by: BTreeMap<Rule, u64>,
}

/// A folder, or nothing but memory.
#[derive(Debug)]
pub(super) struct Store {
    folder: Option<PathBuf>,
    lines: BTreeMap<String, Line>,
    series: BTreeMap<(String, Law), Vec<Point>>,
}

const RUNS: &str = "runs.jsonl";

impl Store {
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, BenchError> {
        let mut store =
            Self { folder: folder.map(ToOwned::to_owned), lines: BTreeMap::new(), series: BTreeMap::new() };
        let Some(folder) = folder else { return Ok(store) };
        let series = folder.join("series");
        fs::create_dir_all(&series).map_err(|source| BenchError::File { path: series, source })?;
        // A line that a killed run left half-written is one run to be repeated.
        let text = fs::read_to_string(folder.join(RUNS)).unwrap_or_default();
        let lines = text.lines().filter_map(|l| serde_json::from_str::<Line>(l).ok());
        store.lines = lines.map(|l| (l.key.clone(), l)).collect();
        if !text.is_empty() && !text.ends_with('\n') {
            store.write(RUNS, &format!("{text}\n"))?;
        }
        Ok(store)
    }

    pub(super) fn line(&self, key: &str) -> Option<&Line> {
        self.lines.get(key)
    }

    pub(super) fn append(&mut self, line: Line) -> Result<(), BenchError> {
        if let Some(folder) = &self.folder {
            let path = folder.join(RUNS);
            let text = format!("{}\n", serde_json::to_string(&line).unwrap_or_default());
            let written = OpenOptions::new().create(true).append(true).open(&path);
            written
                .and_then(|mut f| f.write_all(text.as_bytes()))
                .map_err(|source| BenchError::File { path, source })?;
        }
        self.lines.insert(line.key.clone(), line);
        Ok(())
    }

    pub(super) fn keep_series(
        &mut self,
        scenario: &str,
        law: Law,
        points: &[Point],
    ) -> Result<(), BenchError> {
        if self.folder.is_some() {
            let text = serde_json::to_string(points).unwrap_or_default();
            self.write(&series_name(scenario, law), &text)?;
        }
        self.series.insert((scenario.to_owned(), law), points.to_vec());
        Ok(())
    }

    /// The course of a scenario's first seed.
    pub(super) fn series(&self, scenario: &str, law: Law) -> Option<Vec<Point>> {
        if let Some(points) = self.series.get(&(scenario.to_owned(), law)) {
            return Some(points.clone());
        }
        let text = fs::read_to_string(self.folder.as_ref()?.join(series_name(scenario, law))).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes a file of results, where there is a folder for it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), BenchError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| BenchError::File { path, source })
    }

    /// The folder for plots, made; `None` without a folder for results.
    pub(super) fn plots(&self) -> Result<Option<PathBuf>, BenchError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let path = folder.join("plots");
        fs::create_dir_all(&path).map_err(|source| BenchError::File { path: path.clone(), source })?;
        Ok(Some(path))
    }
}

fn series_name(scenario: &str, law: Law) -> String {
    format!("series/{scenario}.{}.json", law.as_str())
}
