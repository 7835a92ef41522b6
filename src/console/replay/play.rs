//! What was recorded, over a period.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{OWN, mapping, no_source, source};
use crate::audit::{Kind, Log};
use crate::console::columns::{Columns, Row};
use crate::console::extract::Query;
use crate::console::tape::Tape;
use crate::console::{Shared, feed, refused};
use crate::replay::{Period, Recording, frames_of, is_log};
use crate::site::Site;

/// The longest period to play.
const LONGEST_PLAY: SignedDuration = SignedDuration::from_hours(24 * 31);
/// Decisions that one answer holds.
const MOST_STEPS: usize = 10_000;

#[derive(Deserialize, JsonSchema)]
pub(in crate::console) struct Played {
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

/// Values and decisions over a period.
pub(in crate::console) async fn course(
    State(shared): State<Shared>,
    Query(played): Query<Played>,
) -> Response {
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
