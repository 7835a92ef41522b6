//! A log against itself: its inputs fed again must give its records again.

use std::collections::VecDeque;
use std::path::Path;

use serde_json::Value;

use super::log::{as_run, body, broken, input_of, reply_in, setup_of, unverified};
use super::{Difference, ReplayError, Report};
use crate::audit::{Kind, Log, Record};
use crate::control::record::{Event, EventRecord};
use crate::control::{Body, Controller, Effect, Input};
use crate::reason::{Backend, Request};
use crate::site;

pub(super) fn verify(path: &Path, infer: bool) -> Result<Report, ReplayError> {
    let mut report = Report { records: Some(0), ..Report::default() };
    let mut run: Option<Run> = None;
    let mut again = infer.then(Again::new).transpose()?;
    let log = Log::open(path)?;
    let mut archived = false;
    for record in log.records(0) {
        let record = record?;
        archived |= run.is_none() && record.seq > 1 && record.kind != Kind::Start;
        if record.kind == Kind::Start {
            let (header, setup) = setup_of(&record)?;
            let loaded = header.model.clone();
            let mut controller = Controller::new(setup, record.seq);
            let effects = controller.start(header);
            let mut fresh = Run { controller, loaded, expected: VecDeque::new(), asked: None };
            fresh.collect(effects);
            run = Some(fresh);
        }
        let event = (record.kind == Kind::Event).then(|| body::<EventRecord>(&record)).transpose()?;
        if event.as_ref().is_some_and(|e| e.event.is_outside_runs()) {
            report.records = report.records.map(|n| n + 1);
            continue;
        }
        let Some(run) = &mut run else {
            if archived {
                // The run that this belongs to began in the archive.
                continue;
            }
            return Err(broken(&record, "the log does not begin with a run header".to_owned()));
        };
        let difference = run.next(&record)?;
        if let Some(event) = event.filter(|e| e.event == Event::UpgradeAccepted) {
            run.loaded = event.model;
        }
        count(&record, &mut report)?;
        if let Some(difference) = difference {
            report.differs(difference);
            return Ok(report);
        }
        if record.kind == Kind::Decision {
            match again.as_mut().map(|a| a.compare(&record, run)).transpose()?.flatten() {
                Some(difference) => report.differs(difference),
                None => report.identical += 1,
            }
        }
    }
    Ok(report)
}

fn count(record: &Record, report: &mut Report) -> Result<(), ReplayError> {
    report.records = report.records.map(|n| n + 1);
    if record.kind == Kind::Frame {
        report.frames += 1;
    }
    if record.kind == Kind::Decision {
        let value: Value = body(record)?;
        report.decisions += 1;
        report.interventions += u64::from(value.pointer("/verdict/intervened") == Some(&Value::Bool(true)));
        report.fallbacks += u64::from(value.pointer("/verdict/by").is_some_and(|v| v == "fallback"));
    }
    Ok(())
}

/// One run of the agent, being repeated.
struct Run {
    controller: Controller,
    /// What the reasoner said of the model that decides.
    loaded: Value,
    /// Records that the controller has made and the log has not yet shown.
    expected: VecDeque<Body>,
    /// The last question, to be asked again with `--infer`.
    asked: Option<Request>,
}

impl Run {
    fn feed(&mut self, record: &Record, input: Input) {
        let effects = self.controller.handle(record.time, input);
        self.collect(effects);
    }

    fn collect(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record(body) => self.expected.push_back(body),
                Effect::Ask { request, .. } => self.asked = Some(*request),
                // The log has what came of these.
                Effect::Write { .. }
                | Effect::Heartbeat { .. }
                | Effect::Answer(_)
                | Effect::AskCandidate { .. }
                | Effect::Stage(_) => {}
            }
        }
    }

    /// The question that a record of this kind has the answer to.
    fn ask_of(&self, kind: Kind) -> Option<u64> {
        if kind == Kind::Candidate { self.controller.candidate_ask() } else { self.controller.pending_ask() }
    }

    fn next(&mut self, record: &Record) -> Result<Option<Difference>, ReplayError> {
        if self.expected.is_empty() {
            for completion in unverified(record)? {
                if let Some(ask) = self.ask_of(record.kind) {
                    self.feed(record, Input::Reply { ask, result: Ok(completion) });
                }
            }
            if let Some(input) = input_of(record, self.ask_of(record.kind))? {
                self.feed(record, input);
            }
        }
        let Some(made) = self.expected.pop_front() else {
            return Ok(Some(Difference {
                seq: Some(record.seq),
                field: "record".to_owned(),
                recorded: format!("a {} record", record.kind.as_str()),
                replayed: "nothing".to_owned(),
            }));
        };
        let json = made.to_json();
        let text = json.get();
        if made.kind() != record.kind {
            return Ok(Some(Difference {
                seq: Some(record.seq),
                field: "kind".to_owned(),
                recorded: record.kind.as_str().to_owned(),
                replayed: made.kind().as_str().to_owned(),
            }));
        }
        if text == record.body {
            return Ok(None);
        }
        let (recorded, replayed): (Value, Value) =
            (body(record)?, serde_json::from_str(text).unwrap_or_default());
        let (field, recorded, replayed) = first_difference("", &recorded, &replayed)
            .unwrap_or_else(|| ("bytes".to_owned(), record.body.clone(), text.to_owned()));
        Ok(Some(Difference { seq: Some(record.seq), field, recorded, replayed }))
    }
}

/// The first place, in the recorded order, where two values differ.
fn first_difference(path: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys = x.keys().chain(y.keys().filter(|k| !x.contains_key(*k)));
            keys.into_iter().find_map(|k| {
                let null = Value::Null;
                first_difference(&format!("{path}/{k}"), x.get(k).unwrap_or(&null), y.get(k).unwrap_or(&null))
            })
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().find_map(|(i, (p, q))| first_difference(&format!("{path}/{i}"), p, q))
        }
        _ if a == b => None,
        _ => Some((path.to_owned(), short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(400).collect()
}

/// Asks the model that decided again; candidates are not asked.
struct Again {
    runtime: tokio::runtime::Runtime,
    /// The one that was asked last: an upgrade, or another run, brings another.
    reasoner: Option<(site::Model, Backend)>,
}

impl Again {
    fn new() -> Result<Self, ReplayError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| ReplayError::Unsuitable { path: "tokio".into(), problem: e.to_string() })?;
        Ok(Self { runtime, reasoner: None })
    }

    fn compare(&mut self, record: &Record, run: &Run) -> Result<Option<Difference>, ReplayError> {
        let value: Value = body(record)?;
        let Some(Ok(recorded)) = reply_in(record, &value)? else { return Ok(None) };
        let Some(request) = run.asked.clone() else { return Ok(None) };
        let model = as_run(&run.controller.setup().site.model, &run.loaded);
        let (_, reasoner) = match &mut self.reasoner {
            Some(same) if same.0 == model => same,
            other => {
                let program = std::env::current_exe().map_err(|e| broken(record, e.to_string()))?;
                let reasoner = Backend::start(&model, program).map_err(|e| broken(record, e.to_string()))?;
                self.runtime
                    .block_on(reasoner.ready(std::time::Duration::from_mins(2)))
                    .map_err(|e| broken(record, format!("the model cannot be asked again: {e}")))?;
                other.insert((model, reasoner))
            }
        };
        let replayed = self.runtime.block_on(reasoner.ask(request));
        let ids = |c: &crate::reason::Completion| c.tokens.iter().map(|t| t.id).collect::<Vec<_>>();
        Ok(match replayed {
            Ok(c) if c.text == recorded.text && ids(&c) == ids(&recorded) => None,
            Ok(c) => Some(Difference {
                seq: Some(record.seq),
                field: "/completion/tokens".to_owned(),
                recorded: recorded.text,
                replayed: c.text,
            }),
            Err(failure) => Some(Difference {
                seq: Some(record.seq),
                field: "/completion".to_owned(),
                recorded: recorded.text,
                replayed: failure.to_string(),
            }),
        })
    }
}
