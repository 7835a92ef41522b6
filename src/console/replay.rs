//! The view Replay: what was recorded, to be played, and what-ifs to compare it with. What-ifs are made by a
//! child process, `isotherm replay`, one at a time: the guard process stays small, and its machine its own.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::AbortHandle;

use super::access::Who;
use super::extract::{self, Query};
use super::tape::{Columns, Row, Tape};
use super::{Shared, feed, refused};
use crate::audit::{Kind, Log};
use crate::clock;
use crate::replay::{Period, Recording, frames_of, is_log};
use crate::site::Site;

/// The agent's own log, as a source.
const OWN: &str = "log";
/// What-ifs that are kept, the newest.
const KEPT: usize = 8;
/// The longest that one may take.
const PATIENCE: Duration = Duration::from_hours(1);
/// The longest period to play, and to decide again.
const LONGEST_PLAY: SignedDuration = SignedDuration::from_hours(24 * 31);
const LONGEST_WHAT_IF: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Decisions that one answer holds.
const MOST_STEPS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Replays {
    runs: Mutex<(u32, VecDeque<Run>)>,
}

#[derive(Debug)]
struct Run {
    id: u32,
    wanted: WhatIf,
    begun: Timestamp,
    state: Running,
}

#[derive(Debug)]
enum Running {
    Under(AbortHandle),
    /// What `isotherm replay --json` printed.
    Done(Value),
    Failed(String),
}

/// What there is to replay, and to replay with.
#[derive(Debug, Default, Serialize)]
struct Shelf {
    recordings: Vec<String>,
    settings: Vec<String>,
}

impl Shelf {
    fn of(folder: Option<&Path>) -> Self {
        let mut shelf = Self::default();
        let entries = folder.and_then(|f| std::fs::read_dir(f).ok()).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || name.ends_with(".mapping.toml") {
                continue;
            }
            match path.extension().and_then(|e| e.to_str()) {
                Some("jsonl" | "ndjson" | "csv" | "parquet") => shelf.recordings.push(name),
                Some("toml" | "gguf") => shelf.settings.push(name),
                _ if path.is_dir() => shelf.settings.push(name),
                _ if is_log(&path) => shelf.recordings.push(name),
                _ => {}
            }
        }
        shelf.recordings.sort();
        shelf.settings.sort();
        shelf
    }
}

pub(super) async fn sources(State(shared): State<Shared>) -> Json<Value> {
    let folder = shared.setup().site.console.recordings.clone();
    let shelf = tokio::task::spawn_blocking(move || Shelf::of(folder.as_deref())).await.unwrap_or_default();
    let span = shared.followed.tape.read().unwrap_or_else(PoisonError::into_inner).span();
    Json(json!({ "log": span.map(|(oldest, newest)| json!({ "oldest": oldest, "newest": newest })),
        "recordings": shelf.recordings, "settings": shelf.settings,
        "folder": shared.setup().site.console.recordings.is_some() }))
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Played {
    /// `log`, or a recording by its name; `log` when absent.
    source: Option<String>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    from: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    to: Option<Timestamp>,
    /// At most about so many buckets.
    #[schemars(range(max = u32::MAX))]
    points: Option<u32>,
}

/// The path of a source; only what the folder lists has one.
fn source(shared: &Shared, name: &str) -> Option<PathBuf> {
    if name == OWN {
        return Some(shared.audit.clone());
    }
    let setup = shared.setup();
    let folder = setup.site.console.recordings.as_deref();
    let known = folder.filter(|f| Shelf::of(Some(f)).recordings.iter().any(|r| r == name));
    known.map(|folder| folder.join(name))
}

fn no_source(name: &str) -> Response {
    let why = format!("source: there is no recording {name:?}; /api/replay/sources lists them");
    refused(StatusCode::NOT_FOUND, why)
}

/// `NAME.mapping.toml` beside `NAME.csv`.
fn mapping(path: &Path) -> Option<PathBuf> {
    Some(path.with_extension("mapping.toml")).filter(|p| p.is_file())
}

/// Values and decisions over a period.
pub(super) async fn course(State(shared): State<Shared>, Query(played): Query<Played>) -> Response {
    let name = played.source.as_deref().unwrap_or(OWN);
    let Some(path) = source(&shared, name) else { return no_source(name) };
    let period = Period { from: played.from, to: played.to };
    let points = played.points.unwrap_or(1500).clamp(2, 5000) as usize;
    let copy = shared.clone();
    let Ok(turn) = shared.reading.clone().acquire_owned().await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
    };
    let read = tokio::task::spawn_blocking(move || {
        // Until it is read, even if nobody waits for it any more.
        let _turn = turn;
        let columns = &copy.followed.columns;
        let read = if is_log(&path) {
            of_log(&path, period, columns)
        } else {
            of_trace(&path, period, &copy.setup().site, columns)
        };
        read.map(|read| read.shown(columns, points, copy.setup().site.sample.as_secs()))
    });
    match read.await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(why)) => refused(StatusCode::CONFLICT, why),
        Err(e) => refused(StatusCode::INTERNAL_SERVER_ERROR, e),
    }
}

struct Read {
    tape: Tape,
    steps: Vec<Value>,
    /// Times of the first frame and the last, in seconds.
    span: Option<(f64, f64)>,
    /// The period is longer, or has more decisions, than can be shown at once.
    is_cut: bool,
}

impl Read {
    fn new() -> Self {
        Self { tape: Tape::new(), steps: Vec::new(), span: None, is_cut: false }
    }

    /// Takes a frame; `false` when it is too late to be shown with the first.
    fn push(&mut self, row: &Row) -> bool {
        let begun = self.span.map_or(row.t, |(begun, _)| begun);
        self.is_cut = row.t - begun > LONGEST_PLAY.as_secs_f64();
        if !self.is_cut {
            self.span = Some((begun, row.t));
            self.tape.push(row);
        }
        !self.is_cut
    }

    /// Takes a decision; `false` when there are as many as one answer holds.
    fn decide(&mut self, item: &Value) -> bool {
        self.is_cut = self.steps.len() == MOST_STEPS;
        if !self.is_cut {
            self.steps.push(json!({ "seq": item["seq"], "at": item["asked_at"], "by": item["verdict"]["by"],
                "setpoints": item["verdict"]["setpoints"], "intervened": item["verdict"]["intervened"],
                "replaced": item["replaced"], "rationale": item["decision"]["rationale"] }));
        }
        !self.is_cut
    }

    fn shown(self, columns: &Columns, points: usize, sample_s: i64) -> Value {
        let (from, to) = self.span.map_or((0, 0), |(from, to)| (from as i64, to as i64));
        let all: Vec<(String, usize)> =
            columns.names.iter().cloned().enumerate().map(|(i, n)| (n, i)).collect();
        let course = self.tape.course(&all, from, to, points, sample_s);
        json!({ "from": from, "to": to, "cut": self.is_cut, "course": course, "steps": self.steps })
    }
}

fn of_log(path: &Path, period: Period, columns: &Columns) -> Result<Read, String> {
    let log = Log::open(path).map_err(|e| e.to_string())?;
    let after = period.from.map(|t| log.seq_at(t)).transpose().map_err(|e| e.to_string())?;
    let mut read = Read::new();
    for record in log.records(after.unwrap_or(1).saturating_sub(1)) {
        let record = record.map_err(|e| e.to_string())?;
        if period.to.is_some_and(|t| record.time > t) && record.kind == Kind::Frame {
            break;
        }
        if record.kind == Kind::Decision && !read.decide(&feed::item(&record)) {
            break;
        }
        if record.kind == Kind::Frame && columns.read(&record.body).is_some_and(|row| !read.push(&row)) {
            break;
        }
    }
    Ok(read)
}

fn of_trace(path: &Path, period: Period, site: &Site, columns: &Columns) -> Result<Read, String> {
    let mapping = mapping(path);
    let recording = Recording { path, mapping: mapping.as_deref(), period };
    let mut read = Read::new();
    for frame in frames_of(&recording, site).map_err(|e| e.to_string())? {
        let row = columns.of(&frame.map_err(|e| e.to_string())?);
        if !read.push(&row) {
            break;
        }
    }
    Ok(read)
}

/// A period, decided again with other settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct WhatIf {
    /// `log`, or a recording by its name.
    source: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    from: Timestamp,
    #[schemars(with = "String", extend("format" = "date-time"))]
    to: Timestamp,
    /// A site file, a model or a folder of prompts by its name; the site as it is when absent.
    with: Option<String>,
}

pub(super) async fn begin(
    State(shared): State<Shared>,
    who: Who,
    headers: HeaderMap,
    extract::Json(wanted): extract::Json<WhatIf>,
) -> Response {
    if let Err(denied) = shared.access.may_compute(who, &headers) {
        return denied.into_response();
    }
    let span = wanted.to.duration_since(wanted.from);
    if span <= SignedDuration::ZERO || span > LONGEST_WHAT_IF {
        let why = "to: expected a time after `from`, at most 7 days";
        return refused(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    let Some(path) = source(&shared, &wanted.source) else { return no_source(&wanted.source) };
    let mut arguments = Arguments::new(&path, &shared.audit, &wanted);
    if let Some(name) = &wanted.with {
        let setup = shared.setup();
        let folder = setup.site.console.recordings.as_deref();
        let known = folder.filter(|f| Shelf::of(Some(f)).settings.contains(name));
        let Some(folder) = known else {
            let why = format!("with: there is no {name:?}; /api/replay/sources lists the settings");
            return refused(StatusCode::NOT_FOUND, why);
        };
        arguments.0.extend(["--what-if".into(), folder.join(name).into()]);
    }
    let replays = shared.replays.clone();
    let mut runs = replays.runs.lock().unwrap_or_else(PoisonError::into_inner);
    let (last, list) = &mut *runs;
    if list.iter().any(|r| matches!(r.state, Running::Under(_))) {
        return refused(StatusCode::CONFLICT, "another what-if is being made: wait for it, or stop it");
    }
    *last += 1;
    let id = *last;
    let task = tokio::spawn(make(id, arguments, shared.replays.clone()));
    list.push_back(Run { id, wanted, begun: clock::now(), state: Running::Under(task.abort_handle()) });
    if list.len() > KEPT {
        list.pop_front();
    }
    (StatusCode::ACCEPTED, Json(json!({ "id": id }))).into_response()
}

struct Arguments(Vec<std::ffi::OsString>);

impl Arguments {
    fn new(path: &Path, audit: &Path, wanted: &WhatIf) -> Self {
        let mut list = vec!["replay".into(), path.into(), "--site".into(), audit.into()];
        list.extend(["--json", "--steps", "--background", "--at-once", "1"].map(Into::into));
        list.extend(["--from".into(), wanted.from.to_string().into()]);
        list.extend(["--to".into(), wanted.to.to_string().into()]);
        if let Some(mapping) = mapping(path) {
            list.extend(["--mapping".into(), mapping.into()]);
        }
        Self(list)
    }
}

async fn make(id: u32, arguments: Arguments, replays: Arc<Replays>) {
    let made = tokio::time::timeout(PATIENCE, run(arguments)).await;
    let state = match made.unwrap_or_else(|_| Err("it took longer than an hour".to_owned())) {
        Ok(report) => Running::Done(report),
        Err(why) => Running::Failed(why),
    };
    replays.settle(id, state);
}

async fn run(arguments: Arguments) -> Result<Value, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's own path: {e}"))?;
    let child = Command::new(program)
        .args(arguments.0)
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())?;
    let output = child.wait_with_output().await.map_err(|e| e.to_string())?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout).map_err(|e| e.to_string());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().map_or_else(|| output.status.to_string(), ToOwned::to_owned))
}

impl Replays {
    fn settle(&self, id: u32, state: Running) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = runs.1.iter_mut().find(|r| r.id == id) {
            run.state = state;
        }
    }
}

impl Run {
    fn shown(&self, with_report: bool) -> Value {
        let (state, error, report) = match &self.state {
            Running::Under(_) => ("running", None, None),
            Running::Done(report) => ("done", None, Some(report)),
            Running::Failed(why) => ("failed", Some(why), None),
        };
        json!({ "id": self.id, "wanted": self.wanted, "begun": self.begun, "state": state, "error": error,
            "report": report.filter(|_| with_report) })
    }
}

pub(super) async fn runs(State(shared): State<Shared>) -> Json<Value> {
    let runs = shared.replays.runs.lock().unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "runs": runs.1.iter().map(|r| r.shown(false)).collect::<Vec<_>>() }))
}

pub(super) async fn one(State(shared): State<Shared>, extract::Path(id): extract::Path<u64>) -> Response {
    let runs = shared.replays.runs.lock().unwrap_or_else(PoisonError::into_inner);
    match runs.1.iter().find(|r| u64::from(r.id) == id) {
        Some(run) => Json(run.shown(true)).into_response(),
        None => refused(StatusCode::NOT_FOUND, format!("there is no what-if {id}")),
    }
}

pub(super) async fn stop(
    State(shared): State<Shared>,
    who: Who,
    headers: HeaderMap,
    extract::Path(id): extract::Path<u64>,
) -> Response {
    if let Err(denied) = shared.access.may_compute(who, &headers) {
        return denied.into_response();
    }
    let mut runs = shared.replays.runs.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(run) = runs.1.iter_mut().find(|r| u64::from(r.id) == id) else {
        return refused(StatusCode::NOT_FOUND, format!("there is no what-if {id}"));
    };
    if let Running::Under(task) = &run.state {
        task.abort();
        run.state = Running::Failed("stopped".to_owned());
    }
    Json(run.shown(false)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_decisions_than_an_answer_holds_cut_it() {
        let mut read = Read::new();
        assert!((0..MOST_STEPS).all(|seq| read.decide(&json!({ "seq": seq }))) && !read.is_cut);
        assert!(!read.decide(&json!({ "seq": MOST_STEPS })));
        assert!(read.is_cut && read.steps.len() == MOST_STEPS);
    }
}
