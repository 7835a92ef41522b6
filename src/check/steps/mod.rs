//! Step tests: each setpoint that somebody consents to is moved some steps away and back while frames are recorded, and
//! what its temperatures answered becomes where the twin starts. [`core`] says what is done when; this is the shell around
//! it.

mod core;
mod feed;
mod fit;
mod protocol;
mod score;

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use self::core::{Core, Effect, End};
use self::feed::Feed;
use super::hand::Hand;
use super::protocol::{Step, StepResult};
use crate::audit::AuditError;
use crate::clock;
use crate::envelope::{Consent, Guard};
use crate::frame::Frame;
use crate::ingest::modbus::Bus;
use crate::model;
use crate::service;
use crate::site::{Response, Site};

pub use self::core::Plan;
pub use fit::{Answer, Measured, Seen};
pub use protocol::StepProtocol;
pub use score::Errors;

#[derive(Debug, thiserror::Error)]
pub enum StepsError {
    /// Also when an agent runs: it has the plant, and the log.
    #[error("nothing more is written: {0}")]
    Audit(#[from] AuditError),
    #[error("nothing was written: the recording {path} cannot be made: {source}. Name a new file with --record", path = path.display())]
    Recording { path: PathBuf, source: std::io::Error },
    #[error("nothing was written: {0}")]
    Source(String),
    #[error("the recording {path} cannot be written: {source}; what was moved is restored", path = path.display())]
    Lost { path: PathBuf, source: std::io::Error },
}

/// Moves what is consented to, records, and says what was learned.
pub async fn steps(
    site: &Site,
    who: &str,
    consents: &[Consent],
    plan: Plan,
    record: &Path,
) -> Result<StepProtocol, StepsError> {
    let bus = Bus::open(site);
    let hand = Hand::new(site, who, bus.clone())?;
    let feed = Feed::open(site, bus).map_err(StepsError::Source)?;
    let file = File::options().write(true).create_new(true).open(record);
    let file = file.map_err(|source| StepsError::Recording { path: record.to_owned(), source })?;
    let mut test = Test {
        core: Core::new(site, plan, consents),
        guard: Guard::new(site),
        hand,
        feed,
        file,
        path: record,
        frames: Vec::new(),
        beats: 0,
    };
    let went = test.run().await;
    if went.is_err() {
        test.abandon().await;
    }
    test.feed.close().await;
    let Test { core, mut hand, frames, .. } = test;
    let sha256 = model::sha256(record).map_err(|source| StepsError::Lost { path: record.to_owned(), source });
    went?;
    let sha256 = sha256?;
    hand.note(format_args!("step test recorded in {}, SHA-256 {sha256}", record.display()))?;
    let steps = hand.close()?;
    let answers = fit::answers(site, &frames, &core.moved);
    let after = with_answers(site, &answers);
    let errors = score::errors(site, &after, &frames, plan.hold);
    let recording = protocol::Recording { path: record.to_owned(), sha256, frames: frames.len() };
    let brought = protocol::Brought { core: &core, steps, answers, errors, recording, ended: clock::now() };
    Ok(StepProtocol::new(site, &after, who, brought))
}

struct Test<'a> {
    core: Core,
    guard: Guard,
    hand: Hand<'a>,
    feed: Feed<'a>,
    file: File,
    path: &'a Path,
    frames: Vec<Frame>,
    beats: u16,
}

impl Test<'_> {
    async fn run(&mut self) -> Result<(), StepsError> {
        let stop = service::stop_or_hang_up();
        tokio::pin!(stop);
        while self.core.end().is_none() {
            let next = tokio::select! {
                frame = self.feed.next() => frame,
                why = &mut stop => Err(format!("interrupted: {why}")),
            };
            match next {
                Ok(frame) => {
                    self.keep(&frame)?;
                    let effects = self.core.on_frame(&frame);
                    self.carry_out(&frame, effects).await?;
                    if self.core.in_charge() {
                        self.beat().await?;
                    }
                    self.feed.done(&frame);
                    self.frames.push(frame);
                }
                Err(why) => {
                    let effects = self.core.stop(why);
                    if let Some(last) = self.frames.last().cloned() {
                        self.carry_out(&last, effects).await?;
                    }
                }
            }
        }
        let end = match self.core.end() {
            Some(End::Stopped(why)) => format!("step test stopped: {why}"),
            Some(End::Complete) | None => "step test complete".to_owned(),
        };
        Ok(self.hand.note(end)?)
    }

    fn keep(&mut self, frame: &Frame) -> Result<(), StepsError> {
        let line = serde_json::to_string(frame).unwrap_or_default();
        let lost = |source| StepsError::Lost { path: self.path.to_owned(), source };
        writeln!(self.file, "{line}").and_then(|()| self.file.flush()).map_err(lost)
    }

    async fn carry_out(&mut self, frame: &Frame, effects: Vec<Effect>) -> Result<(), StepsError> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let step = Step::new(effect.what, StepResult::Failed, "");
            if effect.action.is_empty() {
                let detail = "the site has no link.enable".to_owned();
                self.hand.steps.push(Step { result: StepResult::NotTested, detail, ..step });
                continue;
            }
            let step = match effect.moved {
                Some(m) => Step { setpoint: Some(m.setpoint), from: Some(m.from), to: Some(m.to), ..step },
                None => step,
            };
            let outcome = self.hand.carry_out(step, &effect.action).await?;
            effects.extend(self.core.on_outcome(frame.time, &outcome));
        }
        Ok(())
    }

    /// One beat a frame; the first one's intent stands in the log for all.
    async fn beat(&mut self) -> Result<(), StepsError> {
        self.beats = self.beats.wrapping_add(1);
        let action = self.guard.heartbeat(self.beats);
        if action.is_empty() {
            return Ok(());
        }
        if self.beats == 1 {
            let step = Step::new("heartbeat", StepResult::Failed, "");
            self.hand.beat(step, &action, "taken; one with every frame from here on").await?;
        } else if let Err(lost) = self.hand.beat_on(&action).await {
            // The next frame shows whether the link is lost.
            tracing::warn!(trouble = %lost.trouble(), "heartbeat not written");
        }
        Ok(())
    }

    /// What was begun is undone, also where it cannot be recorded.
    async fn abandon(&mut self) {
        for effect in self.core.undo() {
            self.hand.undo_unrecorded(&effect.action).await;
        }
    }
}

/// The site with what was clearly seen as its twin's start; what it had of other answers stays.
fn with_answers(site: &Site, answers: &[Answer]) -> Site {
    let mut site = site.clone();
    for answer in answers.iter().filter(|a| a.seen == Seen::Clearly) {
        let minutes = |m: Measured| jiff::SignedDuration::from_secs((60.0 * m.value.get()).round() as i64);
        let response = Response {
            setpoint: answer.setpoint.clone(),
            signal: answer.signal.clone(),
            gain: answer.gain.value.rounded(3),
            gain_sd: answer.gain.sd.rounded(3).max(crate::units::Finite::constant(0.001)),
            dead_time: minutes(answer.dead_time_min),
            time_constant: minutes(answer.time_constant_min),
        };
        let same = |r: &&mut Response| r.setpoint == response.setpoint && r.signal == response.signal;
        match site.twin.responses.iter_mut().find(same) {
            Some(old) => *old = response,
            None => site.twin.responses.push(response),
        }
    }
    site
}
