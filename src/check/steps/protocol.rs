//! What step tests found, to be printed, signed and filed.

use std::fmt;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::core::{Core, End};
use super::fit::{Answer, Seen};
use super::score::Errors;
use crate::check::protocol::{Step, StepResult, signatures, write_steps};
use crate::site::{Name, Response, Site};
use crate::units::{Finite, Unit};

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StepProtocol {
    pub site: Name,
    pub who: String,
    pub version: String,
    /// Of the site as it was understood: a later file is another one.
    pub site_sha256: String,
    pub recording: Recording,
    /// Why it ended before its time.
    pub stopped: Option<String>,
    pub steps: Vec<Step>,
    pub answers: Vec<Answer>,
    pub errors: Vec<Errors>,
    /// What is in the way of starting the twin from this.
    pub doubts: Vec<String>,
    /// `[twin]` of the site file, line by line: what goes, what comes, what stays.
    pub changes: Vec<Change>,
    #[serde(serialize_with = "crate::check::as_text")]
    pub ended: Timestamp,
    pub result: StepResult,
}

/// The frames of the test, as JSON lines.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Recording {
    pub path: PathBuf,
    pub sha256: String,
    pub frames: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    pub mark: Mark,
    pub line: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Stays,
    Goes,
    Comes,
}

/// Errors at 15 min may grow by this much on average, from what a start that was a good guess had already.
const MOST_WORSE: f64 = 1.05;

/// What a test has brought.
pub(super) struct Brought<'a> {
    pub(super) core: &'a Core,
    pub(super) steps: Vec<Step>,
    pub(super) answers: Vec<Answer>,
    pub(super) errors: Vec<Errors>,
    pub(super) recording: Recording,
    pub(super) ended: Timestamp,
}

impl StepProtocol {
    /// `after`: the site with what was found.
    pub(super) fn new(site: &Site, after: &Site, who: &str, brought: Brought<'_>) -> Self {
        let Brought { core, mut steps, answers, errors, recording, ended } = brought;
        for (setpoint, why) in &core.left_out {
            let step = Step::new("step", StepResult::NotTested, why.as_str());
            steps.push(Step { setpoint: Some(setpoint.clone()), ..step });
        }
        let stopped = match core.end() {
            Some(End::Stopped(why)) => Some(why.clone()),
            Some(End::Complete) | None => None,
        };
        let doubts = doubts(site, &core.moved, &answers, &errors);
        let written = steps.iter().map(|s| s.result).fold(StepResult::Passed, StepResult::max);
        let result = if stopped.is_some() || !doubts.is_empty() { StepResult::Failed } else { written };
        Self {
            site: site.name.clone(),
            who: who.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            site_sha256: site.sha256(),
            recording,
            stopped,
            steps,
            answers,
            errors,
            doubts,
            changes: changes(&site.twin.responses, &after.twin.responses),
            ended,
            result,
        }
    }
}

fn doubts(site: &Site, moved: &[Name], answers: &[Answer], errors: &[Errors]) -> Vec<String> {
    let mut doubts = Vec::new();
    if moved.is_empty() {
        doubts.push("no setpoint was moved away and back".to_owned());
    }
    for name in moved {
        let of_temperature =
            site.setpoint(name).is_some_and(|s| matches!(s.unit, Unit::DegC | Unit::DegF | Unit::Kelvin));
        let clear = answers.iter().any(|a| a.setpoint == *name && a.seen == Seen::Clearly);
        // A pressure behind valves that hold a temperature may well change none.
        if of_temperature && !clear {
            doubts.push(format!(
                "no temperature answers clearly to {name}: more steps (--steps), a longer time (--hold), a quieter hour; \
                 or a machine at its limit"
            ));
        }
    }
    let ratios: Vec<f64> = errors
        .iter()
        .filter_map(|e| Some((e.before[1]?.get(), e.after[1]?.get())))
        .filter(|(before, _)| *before > 0.0)
        .map(|(before, after)| after / before)
        .collect();
    let mean = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
    if mean > MOST_WORSE {
        doubts.push(format!("the twin predicts {:.0} % worse with it, 15 min ahead", 100.0 * (mean - 1.0)));
    }
    doubts
}

fn changes(old: &[Response], new: &[Response]) -> Vec<Change> {
    let change = |mark, line: String| Change { mark, line };
    let same = |a: &Response, b: &Response| a.setpoint == b.setpoint && a.signal == b.signal;
    if new.is_empty() {
        return Vec::new();
    }
    let frame = if old.is_empty() { Mark::Comes } else { Mark::Stays };
    let mut lines = vec![change(frame, "[twin]".to_owned()), change(frame, "response = [".to_owned())];
    for response in new {
        let before = old.iter().find(|o| same(o, response));
        if before == Some(response) {
            lines.push(change(Mark::Stays, line(response)));
            continue;
        }
        lines.extend(before.map(|o| change(Mark::Goes, line(o))));
        lines.push(change(Mark::Comes, line(response)));
    }
    lines.push(change(frame, "]".to_owned()));
    lines
}

fn line(r: &Response) -> String {
    let time = |t: SignedDuration| format!("{}s", t.as_secs());
    format!(
        "  {{ setpoint = \"{}\", signal = \"{}\", gain = {}, gain_sd = {}, dead_time = \"{}\", time_constant = \"{}\" }},",
        r.setpoint,
        r.signal,
        r.gain,
        r.gain_sd,
        time(r.dead_time),
        time(r.time_constant)
    )
}

impl fmt::Display for StepProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "STEP TEST of site {}", self.site)?;
        writeln!(f, "isotherm {}, site as understood {}", self.version, self.site_sha256)?;
        writeln!(f, "carried out by {}", self.who)?;
        let Recording { path, sha256, frames } = &self.recording;
        writeln!(f, "recorded in {}: {frames} frames, SHA-256 {sha256}\n", path.display())?;
        writeln!(f, "1. Write, with consent; each setpoint some steps away and back")?;
        write_steps(f, &self.steps)?;
        if let Some(why) = &self.stopped {
            writeln!(f, "   stopped: {why}")?;
        }
        writeln!(f, "\n2. Answers (value ± standard deviation)")?;
        writeln!(
            f,
            "   {:<18} {:<20} {:>16} {:>14} {:>18}",
            "setpoint", "temperature", "gain, K per unit", "dead time, min", "time constant, min"
        )?;
        for a in &self.answers {
            let shown = |m: super::Measured, decimals: usize| {
                format!("{:.decimals$} ± {:.decimals$}", m.value.get(), m.sd.get())
            };
            let (dead, tau) = match a.seen {
                Seen::Clearly => (shown(a.dead_time_min, 1), shown(a.time_constant_min, 1)),
                Seen::Nothing | Seen::Unclear => ("-".to_owned(), "-".to_owned()),
            };
            let (setpoint, signal) = (a.setpoint.as_str(), a.signal.as_str());
            writeln!(
                f,
                "   {setpoint:<18} {signal:<20} {:>16} {dead:>14} {tau:>18}  {}",
                shown(a.gain, 3),
                a.seen.as_str()
            )?;
        }
        writeln!(f, "\n3. Errors of predictions of this recording, K, 5 / 15 / 30 min ahead")?;
        writeln!(
            f,
            "   {:<20} {:>20} {:>20} {:>20}",
            "temperature", "it stays as it is", "twin before", "twin after"
        )?;
        for e in &self.errors {
            let shown = |errors: &[Option<Finite>; 3]| {
                let one = |e: &Option<Finite>| e.map_or("-".to_owned(), |v| format!("{:.2}", v.get()));
                errors.each_ref().map(one).join(" / ")
            };
            let [stays, before, after] = [&e.stays, &e.before, &e.after].map(shown);
            writeln!(f, "   {:<20} {stays:>20} {before:>20} {after:>20}", e.signal.as_str())?;
        }
        if !self.changes.is_empty() {
            writeln!(
                f,
                "\n4. For the site file (+ comes, - goes); the twin starts from it with the next `isotherm run`"
            )?;
            for c in &self.changes {
                let mark = match c.mark {
                    Mark::Stays => ' ',
                    Mark::Goes => '-',
                    Mark::Comes => '+',
                };
                writeln!(f, "{mark} {}", c.line)?;
            }
        }
        writeln!(f)?;
        for doubt in &self.doubts {
            writeln!(f, "not good enough: {doubt}")?;
        }
        writeln!(f, "Result: {} (ended {})", self.result.as_str(), self.ended)?;
        signatures(f)
    }
}
