//! The reading side of the HTTP API. Everything about the past comes from the audit log, through a
//! connection that can only read.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::extract::{Path, Query};
use super::tape::Course;
use super::{Shared, feed, limits, raw, refused};
use crate::audit::{AuditError, Kind, Log, Record, named};
use crate::control::RunHeader;
use crate::directive;
use crate::envelope::{LEAST_DEW_MARGIN, ProposedBy, Rule};
use crate::facts::Facts;
use crate::frame::Frame;
use crate::hex;
use crate::history::History;
use crate::prompt::{Prompts, Shown};
use crate::replay;
use crate::service::View;
use crate::site::Site;
use crate::twin::Outlook;

/// Runs a query beside the control loop, with a connection of its own.
pub(super) async fn from_log<T, F>(shared: &Shared, query: F) -> Response
where
    T: Serialize + Send + 'static,
    F: FnOnce(&Log) -> Result<T, AuditError> + Send + 'static,
{
    let audit = shared.audit.clone();
    match tokio::task::spawn_blocking(move || query(&Log::open(&audit)?)).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(e @ AuditError::NoRecord { .. })) => refused(StatusCode::NOT_FOUND, e),
        Ok(Err(e)) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
        Err(e) => refused(StatusCode::INTERNAL_SERVER_ERROR, e),
    }
}

pub(super) async fn state(State(shared): State<Shared>) -> Json<View> {
    Json(shared.view.borrow().clone())
}

/// What each place could take now, for a job scheduler: the same as on MQTT.
pub(super) async fn headroom(State(shared): State<Shared>) -> Response {
    match shared.view.borrow().get("headroom").filter(|h| !h.is_null()) {
        Some(headroom) => Json(headroom.clone()).into_response(),
        None => refused(StatusCode::SERVICE_UNAVAILABLE, "no frame has come yet: there is no headroom"),
    }
}

/// What hardly changes while the agent runs: names, units, limits, rules. `setup_revision` of the state tells when.
pub(super) async fn site(State(shared): State<Shared>) -> Json<Value> {
    let setup = shared.setup();
    let site = &setup.site;
    let rules: Vec<Value> =
        Rule::ALL.iter().map(|r| json!({ "name": r, "for_safety": r.is_for_safety() })).collect();
    let columns = &shared.followed.columns;
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "site": site.name,
        "plant": site.plant,
        "clock": site.clock,
        "time_zone": site.time_zone,
        "start_mode": site.mode,
        "controller": site.controller,
        "sample_s": site.sample.as_secs_f64(),
        "cadence_s": site.cadence.as_secs_f64(),
        "signals": site.signals.iter().map(|s| json!({
            "name": s.name, "unit": s.unit, "role": s.role, "range": s.range, "band": s.band,
            "limits": limits::of(site, s), "required": s.required,
        })).collect::<Vec<_>>(),
        "setpoints": site.setpoints.iter().map(|s| json!({
            "name": s.name, "unit": s.unit, "role": s.role, "min": s.min, "max": s.max, "step": s.step,
            "safe": s.safe, "cools": s.cools, "rate_per_min": s.rate_per_min,
        })).collect::<Vec<_>>(),
        "envelope": site.envelope,
        "dew_margin": site.envelope.dew_margin.get().max(LEAST_DEW_MARGIN),
        "model": { "backend": site.model.backend, "context": site.model.context,
            "history_tokens": site.model.history_tokens, "name": site.model.name,
            "file": site.model.path.as_ref().and_then(|p| p.file_name()).map(|n| n.to_string_lossy()) },
        "prompt": { "template": setup.prompts.template(), "sha256": setup.prompts.sha256() },
        "rules": rules,
        "columns": columns.names,
        "directive_max_chars": directive::MAX_CHARS,
    }))
}

/// Times in RFC 3339.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Window {
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    from: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    to: Option<Timestamp>,
    /// At most about so many buckets.
    #[schemars(range(max = u32::MAX))]
    points: Option<u32>,
    /// Columns by name, separated by commas; all when absent.
    #[schemars(with = "Option<Vec<String>>")]
    names: Option<String>,
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
}

/// Every value over a window, at a resolution that fits, with the extremes of each bucket.
pub(super) async fn series(State(shared): State<Shared>, Query(window): Query<Window>) -> Response {
    let columns = &shared.followed.columns;
    let mut chosen = Vec::new();
    match &window.names {
        None => chosen.extend(columns.names.iter().cloned().enumerate().map(|(i, n)| (n, i))),
        Some(names) => {
            for name in names.split(',') {
                let Some(place) = columns.place(name) else {
                    return refused(
                        StatusCode::BAD_REQUEST,
                        format!("names: there is no {name:?}; /api/site lists the columns"),
                    );
                };
                if chosen.iter().any(|(known, _)| known == name) {
                    return refused(StatusCode::BAD_REQUEST, format!("names: {name} is there twice"));
                }
                chosen.push((name.to_owned(), place));
            }
        }
    }
    let sample_s = shared.setup().site.sample.as_secs();
    let tape = || shared.followed.tape.read().unwrap_or_else(PoisonError::into_inner);
    let (oldest, newest) = tape().span().unwrap_or((0, 0));
    let to = window.to.map_or(newest, Timestamp::as_second);
    let wanted = window.from.map_or(oldest, Timestamp::as_second);
    let from = wanted.max(oldest.min(to));
    let points = window.points.unwrap_or(600).clamp(2, 5000) as usize;
    let finer = raw::is_wanted(&tape(), &(wanted..to), points, sample_s);
    let from_log = if finer { raw::tape(&shared, wanted..to).await } else { None };
    let course = match from_log {
        Some(raw) => raw.course(&chosen, wanted, to, points, sample_s),
        None => tape().course(&chosen, from, to, points, sample_s),
    };
    if window.format == Some(Format::Csv) {
        let disposition = format!("attachment; filename=\"{}-{from}-{to}.csv\"", shared.setup().site.name);
        let headers = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
        ];
        return (headers, csv(&course)).into_response();
    }
    Json(json!({ "from": from, "to": to, "oldest": oldest, "newest": newest, "course": course }))
        .into_response()
}

fn csv(course: &Course) -> String {
    // Writing to a string cannot fail.
    use std::fmt::Write as _;
    let mut out = "time".to_owned();
    for name in course.series.keys() {
        write!(out, ",{name}_mean,{name}_min,{name}_max").unwrap_or_default();
    }
    out.push('\n');
    for (i, t) in course.t.iter().enumerate() {
        out.push_str(&Timestamp::from_second(*t).unwrap_or_default().to_string());
        for lines in course.series.values() {
            for line in [&lines.mean, &lines.min, &lines.max] {
                out.push(',');
                if let Some(v) = line.get(i).copied().flatten() {
                    write!(out, "{v}").unwrap_or_default();
                }
            }
        }
        out.push('\n');
    }
    out
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Page {
    /// Only records before this one.
    #[schemars(range(max = u64::MAX))]
    before: Option<u64>,
    /// At most so many; 100 are the most, 2,000 if brief.
    #[schemars(range(max = u32::MAX))]
    limit: Option<u32>,
    /// `decision`, `operator`, `event`, …, separated by commas.
    #[schemars(with = "Option<Vec<Kind>>", length(min = 1))]
    kinds: Option<String>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    since: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    until: Option<Timestamp>,
    /// Decisions that this rule had a say in.
    #[schemars(with = "Option<Rule>")]
    rule: Option<String>,
    /// Decisions proposed by this one.
    #[schemars(with = "Option<ProposedBy>")]
    by: Option<String>,
    /// Decisions whose rationale did not hold.
    #[serde(default)]
    unverified: bool,
    /// Decisions that the guard changed for safety.
    #[serde(default)]
    intervened: bool,
    /// Decisions in which something else stood in for the model.
    #[serde(default)]
    replaced: bool,
    /// Only what a mark on a time axis needs.
    #[serde(default)]
    brief: bool,
}

/// Records that one request looks at; the next goes on from there.
const LOOKED_AT: usize = 2000;

impl Page {
    fn wants(&self, item: &Value) -> bool {
        let verdict = &item["verdict"];
        let touched = |rule: &String| {
            verdict["touched"].as_array().into_iter().flatten().any(|t| t["rule"] == rule.as_str())
        };
        self.rule.as_ref().is_none_or(touched)
            && self.by.as_ref().is_none_or(|by| verdict["by"] == by.as_str())
            && (!self.unverified || item["claims"]["verified"] == false)
            && (!self.intervened || verdict["intervened"] == true)
            && (!self.replaced || !item["replaced"].is_null())
    }
}

/// The newest records first, with what came of each.
pub(super) async fn decisions(State(shared): State<Shared>, Query(page): Query<Page>) -> Response {
    let kinds: Result<Vec<Kind>, _> =
        page.kinds.as_deref().unwrap_or("decision").split(',').map(named::<Kind>).collect();
    let kinds = match kinds {
        Ok(kinds) => kinds,
        Err(e) => return refused(StatusCode::BAD_REQUEST, format!("kinds: {e}")),
    };
    if let Some(Err(e)) = page.rule.as_deref().map(named::<Rule>) {
        return refused(StatusCode::BAD_REQUEST, format!("rule: {e}"));
    }
    if let Some(Err(e)) = page.by.as_deref().map(named::<ProposedBy>) {
        return refused(StatusCode::BAD_REQUEST, format!("by: {e}"));
    }
    from_log(&shared, move |log| {
        let limit = page.limit.unwrap_or(50).clamp(1, if page.brief { 2000 } else { 100 }) as usize;
        let mut before = page.before;
        if let Some(until) = page.until
            && let Some(end) = first_frame(log, log.seq_at(until)?)?
        {
            before = Some(before.map_or(end, |b| b.min(end)));
        }
        let (mut items, mut intents, mut looked, mut next) = (Vec::new(), Vec::new(), 0, None);
        log.back(&kinds, before, |record| {
            if page.since.is_some_and(|t| record.time < t) {
                return false;
            }
            // What came after the last frame before the end.
            if page.until.is_some_and(|t| record.time >= t) {
                return true;
            }
            if items.len() == limit || looked == LOOKED_AT {
                next = Some(record.seq + 1);
                return false;
            }
            looked += 1;
            let item = feed::item(&record);
            if page.wants(&item) {
                if page.brief {
                    items.push(brief(&item));
                } else {
                    intents.push(record);
                    items.push(item);
                }
            }
            true
        })?;
        for (record, item) in intents.iter().zip(&mut items) {
            if let Some(outcome) = log.outcome_of(record)? {
                item["outcome"] = feed::item(&outcome);
            }
        }
        Ok(json!({ "items": items, "next": next }))
    })
    .await
}

/// The first frame from a record on; `None` where none has come since.
fn first_frame(log: &Log, seq: u64) -> Result<Option<u64>, AuditError> {
    for record in log.records(seq.saturating_sub(1)) {
        let record = record?;
        if record.kind == Kind::Frame {
            return Ok(Some(record.seq));
        }
    }
    Ok(None)
}

fn brief(item: &Value) -> Value {
    json!({ "seq": item["seq"], "time": item["time"], "kind": item["kind"],
        "intervened": item["verdict"]["intervened"] == true,
        "unverified": item["claims"]["verified"] == false,
        "alarm": item["alarm"] == true })
}

/// One record in full, with its outcome, and for a decision of the model the exact prompt.
pub(super) async fn record(State(shared): State<Shared>, Path(seq): Path<u64>) -> Response {
    from_log(&shared, move |log| {
        let record = log.get(seq)?;
        let outcome = log.outcome_of(&record)?;
        let item = feed::item(&record);
        let mut start = None;
        log.back(&[Kind::Start], Some(seq), |r| {
            start = Some(r);
            false
        })?;
        let prompt = match &start {
            Some(start) => prompt(log, start, &record)?,
            None => None,
        };
        let run = start.as_ref().map(feed::item);
        Ok(json!({ "record": record, "item": item, "outcome": outcome.as_ref().map(feed::item),
            "run": run, "prompt": prompt }))
    })
    .await
}

/// The prompt as the model got it. The record holds what was new in it; what never changes is made again
/// from the templates in the run's header, or of an upgrade since, and the hash of both tells whether this is it.
fn prompt(log: &Log, start: &Record, record: &Record) -> Result<Option<Value>, AuditError> {
    let Ok(body) = serde_json::from_str::<Value>(&record.body) else { return Ok(None) };
    let Ok(header) = serde_json::from_str::<RunHeader>(&start.body) else { return Ok(None) };
    let mut files = header.prompt_files.clone();
    if body["prompt"]["template_sha256"] != header.prompt_sha256.as_str() {
        // An upgrade in this run brought others.
        log.back(&[Kind::Event], Some(record.seq), |event| {
            let Some(version) = replay::version_from(&event) else { return event.seq > start.seq };
            files = version.prompts.files;
            false
        })?;
    }
    Ok(shown_prompt(header, files, &body))
}

fn shown_prompt(header: RunHeader, files: BTreeMap<String, String>, body: &Value) -> Option<Value> {
    let (text, sha256) = (body["prompt"]["text"].as_str()?, body["prompt"]["sha256"].as_str()?);
    let site: Site = serde_json::from_value(header.site_config).ok()?;
    let frame: Frame = serde_json::from_value(body["frame"].clone()).ok()?;
    let prompts = Prompts::from_files(files).ok()?;
    let history = History::new(&site);
    let shown = Shown {
        site: &site,
        now: frame.time,
        frame: &frame,
        history: &history,
        outlook: &Outlook::default(),
        directives: &[],
    };
    let prefix = prompts.render(&shown, &Facts::new(&shown)).ok()?.prefix;
    let exact = hex::sha256(format!("{prefix}{text}").as_bytes()) == sha256;
    Some(json!({ "prefix": prefix, "text": text, "sha256": sha256, "exact": exact }))
}
