//! Reads an audit log as what it is: inputs, and what followed from them.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ReplayError;
use crate::audit::{Kind, Record};
use crate::control::record::{Event, EventRecord, FrameRecord, OperatorRecord, OutcomeRecord, StopRecord};
use crate::control::{Input, Link, RunHeader, Setup, What};
use crate::decision;
use crate::prompt::Prompts;
use crate::reason::Completion;
use crate::site::{self, Site};
use crate::upgrade::Version;

/// Whether a file is an audit log rather than a trace.
#[must_use]
pub fn is_log(path: &Path) -> bool {
    let mut start = [0u8; 16];
    File::open(path).and_then(|mut f| f.read_exact(&mut start)).is_ok() && &start == b"SQLite format 3\0"
}

pub(super) fn body<T: DeserializeOwned>(record: &Record) -> Result<T, ReplayError> {
    serde_json::from_str(&record.body).map_err(|e| broken(record, e.to_string()))
}

pub(super) fn broken(record: &Record, problem: String) -> ReplayError {
    ReplayError::Record { seq: record.seq, kind: record.kind.as_str(), problem }
}

/// The site, prompts and schema that a run was started with.
pub(super) fn setup_of(record: &Record) -> Result<(RunHeader, Arc<Setup>), ReplayError> {
    let header: RunHeader = body(record)?;
    let site: Site = serde_json::from_value(header.site_config.clone())
        .map_err(|e| broken(record, format!("site_config: {e}")))?;
    let prompts = Prompts::from_files(header.prompt_files.clone())?;
    let schema = decision::schema(&site);
    Ok((header, Arc::new(Setup { site, prompts, schema })))
}

/// Replies before the one that a decision, or what a candidate would have decided, rests on.
pub(super) fn unverified(record: &Record) -> Result<Vec<Completion>, ReplayError> {
    #[derive(serde::Deserialize)]
    struct Part {
        #[serde(default)]
        unverified: Vec<Completion>,
    }
    if !matches!(record.kind, Kind::Decision | Kind::Candidate) {
        return Ok(Vec::new());
    }
    Ok(body::<Part>(record)?.unverified)
}

/// The model with as many threads as the one that was loaded had, where they were measured: what is asked again is computed in
/// the same way.
pub(super) fn as_run(model: &site::Model, loaded: &Value) -> site::Model {
    let threads = loaded.get("threads").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let threads = if model.threads == 0 { threads.unwrap_or(0) } else { model.threads };
    site::Model { threads, ..model.clone() }
}

/// The input that a record stands for; `None` when it follows from earlier inputs.
pub(super) fn input_of(record: &Record, pending_ask: Option<u64>) -> Result<Option<Input>, ReplayError> {
    Ok(match record.kind {
        Kind::Start => None,
        Kind::Frame => Some(Input::Frame(body::<FrameRecord>(record)?.frame)),
        Kind::Decision | Kind::Candidate => {
            let value: Value = body(record)?;
            let (Some(ask), Some(result)) = (pending_ask, reply_in(record, &value)?) else { return Ok(None) };
            Some(Input::Reply { ask, result })
        }
        Kind::Outcome => {
            let o: OutcomeRecord = body(record)?;
            Some(Input::Outcome { intent: o.intent, outcome: o.outcome })
        }
        Kind::Operator => Some(act_input(body(record)?)),
        Kind::Event => event_input(body(record)?),
        Kind::Stop => Some(Input::Stopped { why: body::<StopRecord>(record)?.why }),
    })
}

type Reply = Result<Completion, crate::reason::Failure>;

pub(super) fn reply_in(record: &Record, decision: &Value) -> Result<Option<Reply>, ReplayError> {
    let part = |name: &str| decision.get(name).filter(|v| !v.is_null()).cloned();
    if let Some(completion) = part("completion") {
        let c = serde_json::from_value(completion).map_err(|e| broken(record, format!("completion: {e}")))?;
        return Ok(Some(Ok(c)));
    }
    match part("failure") {
        Some(failure) => {
            let f = serde_json::from_value(failure).map_err(|e| broken(record, format!("failure: {e}")))?;
            Ok(Some(Err(f)))
        }
        None => Ok(None),
    }
}

/// What was found of a candidate is in the record; what spoke against it is the answer.
fn act_input(record: OperatorRecord) -> Input {
    let OperatorRecord { act, answer, found, .. } = record;
    if matches!(act.what, What::ProposeUpgrade { .. }) {
        Input::Proposed { act, found: found.ok_or(answer) }
    } else {
        Input::Act(act)
    }
}

/// The version that decides from this record on, if it is of an upgrade.
pub(crate) fn version_from(record: &Record) -> Option<Version> {
    let event: EventRecord = serde_json::from_str(&record.body).ok()?;
    let decides = matches!(event.event, Event::UpgradeAccepted | Event::UpgradeReverted);
    event.upgrade.filter(|_| decides).map(|u| u.to)
}

fn event_input(event: EventRecord) -> Option<Input> {
    match event.event {
        Event::LinkDown | Event::LinkUp => {
            let (link, why) = event.detail.split_once(": ")?;
            let link = [Link::Plant, Link::Source].into_iter().find(|l| l.as_str() == link)?;
            Some(Input::Link { link, up: event.event == Event::LinkUp, why: why.to_owned() })
        }
        Event::Orphans => Some(Input::Orphans(event.intents)),
        Event::Memory => Some(Input::Memory(*event.memory?)),
        Event::Reload => Some(Input::Reload { detail: event.detail, site: event.site_config }),
        Event::ReloadRefused => Some(Input::Reload { detail: event.detail, site: None }),
        Event::Archived => event.archived.map(|archived| Input::Archived(*archived)),
        Event::UpgradeShadow => Some(Input::CandidateReady(event.model)),
        Event::UpgradeAccepted => Some(Input::Installed(event.model)),
        // Where it follows from another input, it has been made already.
        Event::UpgradeAbandoned => Some(Input::CandidateLost { why: event.detail }),
        Event::UpgradeResumed => event.upgrade.map(Input::Resumed),
        Event::StandingResumed => event.standing.map(Input::Standing),
        Event::StandingLost => Some(Input::StandingLost { why: event.detail }),
        Event::AuditLost => Some(Input::AuditBack { detail: event.detail }),
        Event::Stopping => Some(Input::Stop { why: event.detail }),
        Event::TakeControl
        | Event::Release
        | Event::ModeChange
        | Event::Emergency
        | Event::EmergencyOver
        | Event::ManualHold
        | Event::NotFollowing
        | Event::AdviceExpired
        | Event::OverrideExpired
        | Event::DirectiveExpired
        | Event::WriteFailed
        | Event::SwitchedOff
        | Event::ClockBackwards
        | Event::Resolution
        | Event::UpgradeDue
        | Event::UpgradeReverted
        | Event::Broken
        | Event::Acceptance => None,
    }
}
