//! What the audit log holds. The controller makes every record; the fields' order here is their order in
//! the log, so equal inputs give equal bytes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::act::Act;
use super::standing::Standing;
use crate::actuate::Outcome;
use crate::audit::{Archived, Kind};
use crate::decision::{Claims, Decision, Rejected};
use crate::envelope::{Verdict, WhatIf};
use crate::frame::Frame;
use crate::memory::Change;
use crate::prompt::Prompt;
use crate::reason::{Completion, Failure, Sampler};
use crate::site::{Mode, Site};
use crate::units::Finite;
use crate::upgrade::{Found, Lineage, Upgrade};

/// What one entry of the audit log says: its kind, and the body of that kind.
#[derive(Debug, JsonSchema)]
#[schemars(tag = "kind", content = "body", rename_all = "lowercase")]
pub enum Body {
    Start(Box<RunHeader>),
    Frame(Box<FrameRecord>),
    Decision(Box<DecisionRecord>),
    Candidate(Box<CandidateRecord>),
    Outcome(OutcomeRecord),
    Operator(OperatorRecord),
    Event(EventRecord),
    Stop(StopRecord),
}

/// Who runs what: replays never mix runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunHeader {
    pub run: String,
    pub version: String,
    /// The commit, and the llama.cpp inside.
    pub build: String,
    pub site: String,
    /// Of the site as it was understood, as JSON: of `site_config`.
    pub site_sha256: String,
    /// The whole site as it was understood, so that a replay needs nothing else.
    pub site_config: serde_json::Value,
    /// Name and version of the prompt.
    pub prompt_template: String,
    pub prompt_sha256: String,
    /// The files themselves.
    pub prompt_files: BTreeMap<String, String>,
    /// Of the JSON Schema that constrains the model.
    pub schema_sha256: String,
    /// What the reasoner said of its model; `null` without one.
    pub model: serde_json::Value,
    pub sampler: Sampler,
    /// Accepted upgrades that this run goes by: `site_config`, prompts and model are those in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades: Option<Box<Lineage>>,
}

/// A frame between two decisions, and what the heartbeat writes with it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct FrameRecord {
    pub frame: Frame,
    /// The heartbeat about to be written, while in charge.
    pub heartbeat: Option<u16>,
}

/// All that led to a proposal, or to none.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Path {
    /// `null` where no model was asked.
    pub prompt: Option<PromptRecord>,
    pub sampler: Option<Sampler>,
    /// Replies before this one, in which a claim did not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unverified: Vec<Completion>,
    /// The reply that counts.
    pub completion: Option<Completion>,
    /// Why there is no reply.
    pub failure: Option<Failure>,
    /// Why the reply is no decision.
    pub rejected: Option<Rejected>,
    /// The reply as read.
    pub decision: Option<Decision>,
    /// Its claims against what was shown.
    pub claims: Option<Claims>,
    /// The probability, after constraint, of the setpoints chosen, and of how an order was read: from 0 to 1.
    pub confidence: Option<Finite>,
    /// Why the model's own setpoints are not what was judged, or of a candidate: would not have been.
    pub replaced: Option<Replaced>,
}

/// One pass from frame to verdict: the intent, on disk before anything is written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DecisionRecord {
    pub cause: Cause,
    pub mode: Mode,
    #[schemars(with = "String")]
    pub asked_at: Timestamp,
    pub frame: Frame,
    #[serde(flatten)]
    pub path: Path,
    /// What the guard makes of it.
    pub verdict: Verdict,
    pub disposition: Disposition,
}

/// What a candidate for an upgrade would have decided. It is on nobody's way to a register: there is no action in
/// it, no disposition, and no outcome.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CandidateRecord {
    /// The decision that was made instead.
    pub beside: u64,
    #[schemars(with = "String")]
    pub asked_at: Timestamp,
    pub model: crate::upgrade::Model,
    #[serde(flatten)]
    pub path: Path,
    /// What the guard would have made of it.
    pub verdict: Option<WhatIf>,
}

/// The prompt of a decision.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PromptRecord {
    pub template: String,
    pub template_sha256: String,
    /// Of the whole prompt, prefix and text.
    pub sha256: String,
    /// Frame, history, look-ahead and directives as the model saw them; the prefix is in the template.
    pub text: String,
}

impl From<&Prompt> for PromptRecord {
    fn from(p: &Prompt) -> Self {
        Self {
            template: p.template.clone(),
            template_sha256: p.template_sha256.clone(),
            sha256: p.sha256.clone(),
            text: p.body.clone(),
        }
    }
}

/// Why a decision was made now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Cadence,
    /// Something changed, and the site is watched at adaptive resolution.
    Change,
    Emergency,
    /// A setpoint in the plant is outside what the envelope allows now.
    Limit,
    /// An operator's act calls for one.
    Operator,
}

/// Why the setpoints judged are not the model's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replaced {
    ModelFailed,
    ReplyRejected,
    ClaimsUnverified,
    LowConfidence,
    NoModel,
    /// For want of memory the model does not run.
    Parked,
    /// The site's controller could not say.
    NoProposal,
}

/// What becomes of the verdict's action.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Written next; an outcome follows.
    Write,
    /// Nothing to change.
    Hold,
    /// Not in charge: recorded only.
    Shadow,
    /// Waits for an operator.
    Advise,
}

/// What became of an intent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeRecord {
    /// Sequence number of the record that holds the intent: a decision, or an event with an action.
    pub intent: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a person did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OperatorRecord {
    #[serde(flatten)]
    pub act: Act,
    pub accepted: bool,
    /// What it led to, or why it was refused.
    pub answer: String,
    /// Of a proposed upgrade: what its files were found to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Box<Found>>,
}

/// Something that happened. Lost and regained links and memory are inputs of a replay; most others follow
/// from inputs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord {
    pub event: Event,
    pub detail: String,
    /// Writes this event is the intent of (taking and releasing control).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Box<serde_json::Value>>,
    /// Intents of an earlier run that have no outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<u64>,
    /// What was given up or taken back for want of memory, with the numbers that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Box<Change>>,
    /// The site from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub site_config: Option<Box<Site>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<Box<Archived>>,
    /// Old and new version, who and why, and what the trial found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Box<Upgrade>>,
    /// What an earlier run left standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub standing: Option<Box<Standing>>,
    /// What the reasoner said of a model that was loaded for it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub model: serde_json::Value,
}

impl EventRecord {
    #[must_use]
    pub fn new(event: Event, detail: impl Into<String>) -> Self {
        Self {
            event,
            detail: detail.into(),
            action: None,
            intents: Vec::new(),
            memory: None,
            site_config: None,
            archived: None,
            upgrade: None,
            standing: None,
            model: serde_json::Value::Null,
        }
    }

    #[must_use]
    pub fn of_archived(archived: Archived) -> Self {
        let Archived { from, to, file, sha256, .. } = &archived;
        let detail = format!("records {from} to {to} are in {file}, SHA-256 {sha256}");
        Self { archived: Some(Box::new(archived)), ..Self::new(Event::Archived, detail) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    LinkDown,
    LinkUp,
    TakeControl,
    Release,
    ModeChange,
    Emergency,
    EmergencyOver,
    ManualHold,
    /// Acknowledged, but the plant goes on with another setpoint.
    NotFollowing,
    AdviceExpired,
    OverrideExpired,
    DirectiveExpired,
    WriteFailed,
    ClockBackwards,
    Orphans,
    /// A rung of the memory ladder was taken.
    Memory,
    /// Decisions or samples come more or less often from now on.
    Resolution,
    Stopping,
    /// The control loop broke; the run ends here.
    Broken,
    /// Limits of the site were changed while it runs; everything the agent now goes by is in the record.
    Reload,
    /// A changed site file was not taken over: the old one stays in force.
    ReloadRefused,
    /// Old records have left the log for an archive.
    Archived,
    /// A candidate is loaded: its shadow period runs.
    UpgradeShadow,
    /// The shadow period is over; somebody has to say what becomes of the candidate.
    UpgradeDue,
    /// From here on the new version decides.
    UpgradeAccepted,
    /// From here on the version before decides again.
    UpgradeReverted,
    /// A candidate was given up; what decided goes on.
    UpgradeAbandoned,
    /// A trial goes on that an earlier run began.
    UpgradeResumed,
    /// What operators had set before, and what the guard must not forget, goes on.
    StandingResumed,
    /// What operators had set before cannot be read: the agent only advises until somebody says more.
    StandingLost,
    /// For a while nothing could be recorded; the plant was released for as long.
    AuditLost,
    /// The plant shows that it is not the agent's any more, although nobody here has released it.
    SwitchedOff,
    /// Of an acceptance or step test, between two runs: the intent of a write, what became of it, how it ended.
    Acceptance,
}

impl Event {
    /// Recorded by somebody else than a running controller: a replay passes over it.
    #[must_use]
    pub fn is_outside_runs(self) -> bool {
        matches!(self, Self::Broken | Self::Acceptance)
    }
}

/// A run ended in order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StopRecord {
    pub why: String,
}

/// The JSON Schema of a record as exported, as published in `schemas/`.
#[must_use]
pub fn schema() -> serde_json::Value {
    // As written, not as read: what is left out when empty is not required.
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Body>().to_value()
}

impl Body {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Start(_) => Kind::Start,
            Self::Frame(_) => Kind::Frame,
            Self::Decision(_) => Kind::Decision,
            Self::Candidate(_) => Kind::Candidate,
            Self::Outcome(_) => Kind::Outcome,
            Self::Operator(_) => Kind::Operator,
            Self::Event(_) => Kind::Event,
            Self::Stop(_) => Kind::Stop,
        }
    }

    /// The exact text that is hashed and stored.
    #[must_use]
    pub fn to_json(&self) -> Box<RawValue> {
        let text = match self {
            Self::Start(b) => to_raw_value(b),
            Self::Frame(b) => to_raw_value(b),
            Self::Decision(b) => to_raw_value(b),
            Self::Candidate(b) => to_raw_value(b),
            Self::Outcome(b) => to_raw_value(b),
            Self::Operator(b) => to_raw_value(b),
            Self::Event(b) => to_raw_value(b),
            Self::Stop(b) => to_raw_value(b),
        };
        // Finite numbers and string keys only: there is nothing in these types that JSON cannot hold.
        text.unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}
