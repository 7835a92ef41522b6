//! Recorded frames under a site as it is now, in shadow. The plant's answers are the recorded ones, so a
//! decision is compared with what was decided from the same frame; what the plant would have done next is
//! a simulator's question.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::ahead::Ahead;
use super::log::{as_run, body, broken, is_log};
use super::{Coverage, Difference, Period, ReplayError, Report, Step};
use crate::actuate::Outcome;
use crate::audit::{Kind, Log};
use crate::control::record::{DecisionRecord, Disposition, FrameRecord, OutcomeRecord};
use crate::control::{Body, Controller, Effect, Input, RunHeader, Setup};
use crate::decision;
use crate::frame::{Assembler, Frame};
use crate::ingest::trace::{self, TraceError};
use crate::prompt::Prompts;
use crate::reason::{Backend, Failure};
use crate::site::{Mode, Name, Site};
use crate::units::Finite;

/// What a log has beside its frames.
#[derive(Debug, Default)]
struct Recorded {
    /// By when it was asked for: a decision's record, and the setpoints that came of it.
    decisions: BTreeMap<Timestamp, (u64, BTreeMap<Name, Finite>)>,
    /// By the frame before: what became of writes. The guard's waits and budgets follow from them.
    outcomes: BTreeMap<Timestamp, Vec<Outcome>>,
}

/// Before a period, so much is seen and not decided: history and twin begin with it.
const LEAD: SignedDuration = SignedDuration::from_hours(6);

/// A log or a trace, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    pub path: &'a Path,
    /// For CSV and Parquet.
    pub mapping: Option<&'a Path>,
    pub period: Period,
}

pub(super) fn replay(
    recording: &Recording<'_>,
    mut site: Site,
    at_once: u32,
    steps: bool,
) -> Result<Report, ReplayError> {
    site.mode = Mode::Shadow;
    let Period { from, to } = recording.period;
    let begin = from.map(|t| t.checked_sub(LEAD).unwrap_or(Timestamp::MIN));
    let whole = Recording { period: Period { from: begin, to }, ..*recording };
    let (frames, recorded) = read(&whole, &mut site)?;
    let decided = frames.partition_point(|f| from.is_some_and(|t| f.time < t));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| ReplayError::Unsuitable { path: recording.path.to_owned(), problem: e.to_string() })?;
    let mut coverage = coverage(recording, &site, &frames)?;
    let (lead, frames) = frames.split_at(decided);
    if frames.is_empty() {
        return Err(empty(recording, site));
    }
    let mut report = Report::default();
    let known = site.clone();
    runtime.block_on(run((lead, frames), &recorded.outcomes, site, at_once, |d| {
        compare(d, &recorded, &mut report);
        coverage.holds += u64::from(d.disposition == Disposition::Hold && !d.frame.is_complete(&known));
        if steps {
            report.steps.push(step(d));
        }
    }))?;
    report.frames = frames.len() as u64;
    report.coverage = Some(coverage);
    Ok(report)
}

fn read(recording: &Recording<'_>, site: &mut Site) -> Result<(Vec<Frame>, Recorded), ReplayError> {
    if is_log(recording.path) {
        return from_log(recording, site);
    }
    Ok((frames_of(recording, site)?.collect::<Result<_, _>>()?, Recorded::default()))
}

/// Says what there is instead of a period without frames.
fn empty(recording: &Recording<'_>, mut site: Site) -> ReplayError {
    let whole = Recording { period: Period::default(), ..*recording };
    let problem = match read(&whole, &mut site) {
        Err(e) => return e,
        Ok((frames, _)) => match &frames[..] {
            [] => "has no frames".to_owned(),
            [first, .., last] => format!(
                "has no frames in the period asked for; it has {} from {} to {}",
                frames.len(),
                first.time,
                last.time
            ),
            [only] => format!("has no frames in the period asked for; it has one of {}", only.time),
        },
    };
    ReplayError::Unsuitable { path: recording.path.to_owned(), problem }
}

fn coverage(recording: &Recording<'_>, site: &Site, frames: &[Frame]) -> Result<Coverage, ReplayError> {
    let told = |frame: &Frame, name: &Name| {
        frame.signals.get(name).or_else(|| frame.setpoints.get(name)).is_some_and(|s| s.value.is_some())
    };
    let (mut missing, mut there) = (Vec::new(), false);
    for name in site.signals.iter().map(|s| &s.name).chain(site.setpoints.iter().map(|s| &s.name)) {
        if frames.iter().any(|f| told(f, name)) {
            there = true;
        } else {
            missing.push(name.clone());
        }
    }
    if !frames.is_empty() && !there {
        let problem =
            "none of the site's signals and setpoints is in it: give the site that it was recorded at";
        return Err(ReplayError::Unsuitable { path: recording.path.to_owned(), problem: problem.to_owned() });
    }
    let ignored = if is_log(recording.path) {
        let names: BTreeSet<&Name> =
            frames.iter().flat_map(|f| f.signals.keys().chain(f.setpoints.keys())).collect();
        let has = |n: &Name| site.signal(n).is_some() || site.setpoint(n).is_some();
        names.into_iter().filter(|n| !has(n)).map(ToString::to_string).collect()
    } else {
        trace::ignored(recording.path, recording.mapping, site)?
    };
    Ok(Coverage { missing, ignored, holds: 0 })
}

fn from_log(recording: &Recording<'_>, site: &mut Site) -> Result<(Vec<Frame>, Recorded), ReplayError> {
    let Period { from, to } = recording.period;
    let mut frames = Vec::new();
    let mut recorded = Recorded::default();
    let log = Log::open(recording.path)?;
    let after = from.map(|t| log.seq_at(t)).transpose()?.unwrap_or(1).saturating_sub(1);
    for record in log.records(after) {
        let record = record?;
        if record.kind == Kind::Start {
            site.model = as_run(&site.model, &body::<RunHeader>(&record)?.model);
        } else if record.kind == Kind::Frame {
            let frame = body::<FrameRecord>(&record)?.frame;
            if to.is_some_and(|t| frame.time > t) {
                break;
            }
            frames.push(frame);
        } else if record.kind == Kind::Outcome {
            let outcome = body::<OutcomeRecord>(&record)?.outcome;
            if let Some(before) = frames.last() {
                recorded.outcomes.entry(before.time).or_default().push(outcome);
            }
        } else if record.kind == Kind::Decision {
            let value: Value = body(&record)?;
            let setpoints = value.pointer("/verdict/setpoints").cloned().unwrap_or_default();
            let setpoints = serde_json::from_value(setpoints)
                .map_err(|e| broken(&record, format!("verdict.setpoints: {e}")))?;
            let at = value.get("asked_at").cloned().unwrap_or_default();
            let at = serde_json::from_value(at).map_err(|e| broken(&record, format!("asked_at: {e}")))?;
            recorded.decisions.insert(at, (record.seq, setpoints));
        }
    }
    Ok((frames, recorded))
}

/// The frames of a trace, as the site would have seen them.
pub fn frames_of(
    recording: &Recording<'_>,
    site: &Site,
) -> Result<impl Iterator<Item = Result<Frame, TraceError>> + use<>, TraceError> {
    let Period { from, to } = recording.period;
    let mut assembler = Assembler::new(site);
    let frames = trace::open(recording.path, recording.mapping, site)?.map(move |instant| {
        let (time, readings) = instant?;
        for reading in readings {
            assembler.push(&reading);
        }
        Ok(assembler.snapshot(time))
    });
    let time = |frame: &Result<Frame, TraceError>| frame.as_ref().map_or(Timestamp::MIN, |f| f.time);
    let early = move |frame: &Result<Frame, _>| frame.is_ok() && from.is_some_and(|t| time(frame) < t);
    Ok(frames.skip_while(early).take_while(move |frame| to.is_none_or(|t| time(frame) <= t)))
}

async fn run(
    (lead, frames): (&[Frame], &[Frame]),
    outcomes: &BTreeMap<Timestamp, Vec<Outcome>>,
    site: Site,
    at_once: u32,
    mut decided: impl FnMut(&DecisionRecord),
) -> Result<(), ReplayError> {
    let prompts = Prompts::load(site.model.prompts.as_deref())?;
    let schema = decision::schema(&site);
    let program = std::env::current_exe().map_err(ReplayError::Program)?;
    let reasoner = Backend::start_many(&site.model, program, at_once)?;
    if let Err(why) = reasoner.ready(Duration::from_mins(2)).await {
        return Err(ReplayError::NoModel { why: why.to_string() });
    }
    let setup = Arc::new(Setup { site, prompts, schema });
    let mut ahead = Ahead::new(Arc::clone(&setup), lead, frames, reasoner, at_once);
    let mut controller = warmed(setup, lead, outcomes);
    for frame in frames {
        let now = frame.time;
        let mut inputs = vec![Input::Frame(frame.clone())];
        while let Some(input) = inputs.pop() {
            for effect in controller.handle(now, input) {
                match effect {
                    Effect::Ask { ask, request } => {
                        let result = ahead.answer(now, *request).await;
                        inputs.push(Input::Reply { ask, result });
                    }
                    Effect::Record(Body::Decision(d)) => decided(&d),
                    // In shadow there is nothing to write and nobody to answer, and a candidate is the site itself.
                    Effect::Record(_)
                    | Effect::Write { .. }
                    | Effect::Heartbeat { .. }
                    | Effect::AskCandidate { .. }
                    | Effect::Stage(_)
                    | Effect::Answer(_) => {}
                }
            }
        }
        hear(&mut controller, now, outcomes);
    }
    Ok(())
}

/// What became of the writes after a frame. In shadow it moves nothing but the guard's memory.
fn hear(controller: &mut Controller, now: Timestamp, outcomes: &BTreeMap<Timestamp, Vec<Outcome>>) {
    for outcome in outcomes.get(&now).into_iter().flatten() {
        controller.handle(now, Input::Outcome { intent: 0, outcome: outcome.clone() });
    }
}

/// A controller that has seen what came before. Nobody is asked: in shadow nothing depends on the answers.
pub(super) fn warmed(
    setup: Arc<Setup>,
    lead: &[Frame],
    outcomes: &BTreeMap<Timestamp, Vec<Outcome>>,
) -> Controller {
    let mut controller = Controller::new(setup, 0);
    for frame in lead {
        let now = frame.time;
        for effect in controller.handle(now, Input::Frame(frame.clone())) {
            if let Effect::Ask { ask, .. } = effect {
                let result = Err(Failure::NotRunning { why: "before the period".to_owned() });
                controller.handle(now, Input::Reply { ask, result });
            }
        }
        hear(&mut controller, now, outcomes);
    }
    controller
}

fn step(d: &DecisionRecord) -> Step {
    Step {
        at: d.asked_at,
        by: d.verdict.by,
        setpoints: d.verdict.setpoints.clone(),
        intervened: d.verdict.intervened,
        replaced: d.path.replaced,
        rationale: d.path.decision.as_ref().map(|d| d.rationale.clone()),
    }
}

fn compare(d: &DecisionRecord, recorded: &Recorded, report: &mut Report) {
    report.decisions += 1;
    report.interventions += u64::from(d.verdict.intervened);
    report.fallbacks += u64::from(d.verdict.by == crate::envelope::ProposedBy::Fallback);
    match recorded.decisions.get(&d.asked_at) {
        None => report.uncompared += 1,
        Some((_, setpoints)) if *setpoints == d.verdict.setpoints => report.identical += 1,
        Some((seq, setpoints)) => {
            report.differs(Difference {
                seq: Some(*seq),
                field: "/verdict/setpoints".to_owned(),
                recorded: show(setpoints),
                replayed: show(&d.verdict.setpoints),
            });
        }
    }
}

fn show(setpoints: &BTreeMap<Name, Finite>) -> String {
    setpoints.iter().map(|(n, v)| format!("{n} {v}")).collect::<Vec<_>>().join(", ")
}
