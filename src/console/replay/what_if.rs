//! Decided again with other settings, by a child process, `isotherm replay`, one at a time: the guard process stays small, and
//! its machine its own.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

use super::{Shelf, mapping, no_source, source};
use crate::clock;
use crate::console::access::Who;
use crate::console::{Shared, extract, refused};

/// What-ifs that are kept, the newest.
const KEPT: usize = 8;
/// The longest that one may take.
const PATIENCE: Duration = Duration::from_hours(1);
/// The longest period to decide again.
const LONGEST_WHAT_IF: SignedDuration = SignedDuration::from_hours(24 * 7);

#[derive(Debug, Default)]
pub(in crate::console) struct Replays {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    /// The number of the newest.
    last: u32,
    runs: VecDeque<Run>,
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

/// A period, decided again with other settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::console) struct WhatIf {
    /// `log`, or a recording by its name.
    source: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    from: Timestamp,
    #[schemars(with = "String", extend("format" = "date-time"))]
    to: Timestamp,
    /// A site file, a model or a folder of prompts by its name; the site as it is when absent.
    with: Option<String>,
}

pub(in crate::console) async fn begin(
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
    let mut made = replays.lock();
    if made.runs.iter().any(|r| matches!(r.state, Running::Under(_))) {
        return refused(StatusCode::CONFLICT, "another what-if is being made: wait for it, or stop it");
    }
    made.last += 1;
    let id = made.last;
    let task = tokio::spawn(make(id, arguments, shared.replays.clone()));
    made.runs.push_back(Run { id, wanted, begun: clock::now(), state: Running::Under(task.abort_handle()) });
    if made.runs.len() > KEPT {
        made.runs.pop_front();
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
    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, id: u32, state: Running) {
        if let Some(run) = self.lock().runs.iter_mut().find(|r| r.id == id) {
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

pub(in crate::console) async fn runs(State(shared): State<Shared>) -> Json<Value> {
    let made = shared.replays.lock();
    Json(json!({ "runs": made.runs.iter().map(|r| r.shown(false)).collect::<Vec<_>>() }))
}

pub(in crate::console) async fn one(
    State(shared): State<Shared>,
    extract::Path(id): extract::Path<u64>,
) -> Response {
    let made = shared.replays.lock();
    match made.runs.iter().find(|r| u64::from(r.id) == id) {
        Some(run) => Json(run.shown(true)).into_response(),
        None => refused(StatusCode::NOT_FOUND, format!("there is no what-if {id}")),
    }
}

pub(in crate::console) async fn stop(
    State(shared): State<Shared>,
    who: Who,
    headers: HeaderMap,
    extract::Path(id): extract::Path<u64>,
) -> Response {
    if let Err(denied) = shared.access.may_compute(who, &headers) {
        return denied.into_response();
    }
    let mut made = shared.replays.lock();
    let Some(run) = made.runs.iter_mut().find(|r| u64::from(r.id) == id) else {
        return refused(StatusCode::NOT_FOUND, format!("there is no what-if {id}"));
    };
    if let Running::Under(task) = &run.state {
        task.abort();
        run.state = Running::Failed("stopped".to_owned());
    }
    Json(run.shown(false)).into_response()
}
