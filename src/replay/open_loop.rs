//! Recorded frames under a site as it is now, in shadow. The plant's answers are the recorded ones, so a
//! decision is compared with what was decided from the same frame; what the plant would have done next is
//! a simulator's question.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::ahead::Ahead;
use super::log::{as_run, body, broken};
use super::{Difference, ReplayError, Report};
use crate::audit::{Kind, Log};
use crate::control::record::{DecisionRecord, FrameRecord};
use crate::control::{Body, Controller, Effect, Input, Setup};
use crate::decision;
use crate::frame::{Assembler, Frame};
use crate::ingest::trace;
use crate::prompt::Prompts;
use crate::reason::Backend;
use crate::site::{Mode, Name, Site};
use crate::units::Finite;

/// What was decided at one time: the record, and the setpoints that came of it.
type Recorded = BTreeMap<Timestamp, (u64, BTreeMap<Name, Finite>)>;

pub(super) fn replay(
    path: &Path,
    is_log: bool,
    mapping: Option<&Path>,
    mut site: Site,
    at_once: u32,
) -> Result<Report, ReplayError> {
    site.mode = Mode::Shadow;
    let (frames, recorded) = if is_log {
        from_log(path, &mut site)?
    } else {
        (from_trace(path, mapping, &site)?, Recorded::new())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| ReplayError::Unsuitable { path: path.to_owned(), problem: e.to_string() })?;
    runtime.block_on(run(&frames, &recorded, site, at_once))
}

fn from_log(path: &Path, site: &mut Site) -> Result<(Vec<Frame>, Recorded), ReplayError> {
    let mut frames = Vec::new();
    let mut recorded = Recorded::new();
    for record in Log::open(path)?.records(0) {
        let record = record?;
        if record.kind == Kind::Start {
            site.model = as_run(&site.model, &body(&record)?);
        } else if record.kind == Kind::Frame {
            frames.push(body::<FrameRecord>(&record)?.frame);
        } else if record.kind == Kind::Decision {
            let value: Value = body(&record)?;
            let setpoints = value.pointer("/verdict/setpoints").cloned().unwrap_or_default();
            let setpoints = serde_json::from_value(setpoints)
                .map_err(|e| broken(&record, format!("verdict.setpoints: {e}")))?;
            let at = value.get("asked_at").cloned().unwrap_or_default();
            let at = serde_json::from_value(at).map_err(|e| broken(&record, format!("asked_at: {e}")))?;
            recorded.insert(at, (record.seq, setpoints));
        }
    }
    Ok((frames, recorded))
}

fn from_trace(path: &Path, mapping: Option<&Path>, site: &Site) -> Result<Vec<Frame>, ReplayError> {
    let mut assembler = Assembler::new(site);
    let mut frames = Vec::new();
    for instant in trace::open(path, mapping, site)? {
        let (time, readings) = instant?;
        for reading in readings {
            assembler.push(&reading);
        }
        frames.push(assembler.snapshot(time));
    }
    Ok(frames)
}

async fn run(frames: &[Frame], recorded: &Recorded, site: Site, at_once: u32) -> Result<Report, ReplayError> {
    let prompts = Prompts::load(site.model.prompts.as_deref())?;
    let schema = decision::schema(&site);
    let program = std::env::current_exe().map_err(ReplayError::Program)?;
    let reasoner = Backend::start_many(&site.model, program, at_once)?;
    if let Err(why) = reasoner.ready(Duration::from_mins(2)).await {
        tracing::warn!(%why, "no model: every decision is the fallback's");
    }
    let setup = Arc::new(Setup { site, prompts, schema });
    let mut ahead = Ahead::new(Arc::clone(&setup), frames, reasoner, at_once);
    let mut controller = Controller::new(setup, 0);
    let mut report = Report::default();
    for frame in frames {
        report.frames += 1;
        let now = frame.time;
        let mut inputs = vec![Input::Frame(frame.clone())];
        while let Some(input) = inputs.pop() {
            for effect in controller.handle(now, input) {
                match effect {
                    Effect::Ask { ask, request } => {
                        let result = ahead.answer(now, *request).await;
                        inputs.push(Input::Reply { ask, result });
                    }
                    Effect::Record(Body::Decision(d)) => compare(&d, recorded, &mut report),
                    // In shadow there is nothing to write and nobody to answer.
                    Effect::Record(_)
                    | Effect::Write { .. }
                    | Effect::Heartbeat { .. }
                    | Effect::Answer(_) => {}
                }
            }
        }
    }
    Ok(report)
}

fn compare(d: &DecisionRecord, recorded: &Recorded, report: &mut Report) {
    report.decisions += 1;
    report.interventions += u64::from(d.verdict.intervened);
    report.fallbacks += u64::from(d.verdict.by == crate::envelope::ProposedBy::Fallback);
    match recorded.get(&d.asked_at) {
        None => report.uncompared += 1,
        Some((_, setpoints)) if *setpoints == d.verdict.setpoints => report.identical += 1,
        Some((seq, setpoints)) => {
            let difference = Difference {
                seq: Some(*seq),
                field: "/verdict/setpoints".to_owned(),
                recorded: show(setpoints),
                replayed: show(&d.verdict.setpoints),
            };
            report.first_difference.get_or_insert_with(|| difference.clone());
            report.differing.push(difference);
        }
    }
}

fn show(setpoints: &BTreeMap<Name, Finite>) -> String {
    setpoints.iter().map(|(n, v)| format!("{n} {v}")).collect::<Vec<_>>().join(", ")
}
