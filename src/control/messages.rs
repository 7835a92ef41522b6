//! What the controller is told, and what it asks for.

use super::act::Act;
use super::record::Body;
use super::standing::Standing;
use super::upgrade::Staging;
use crate::actuate::Outcome;
use crate::audit::Archived;
use crate::envelope::SafeAction;
use crate::frame::Frame;
use crate::memory::Change;
use crate::reason::{Completion, Failure, Request};
use crate::site::Site;
use crate::upgrade::{Found, Upgrade};

/// What reaches the controller.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    Frame(Frame),
    Reply {
        ask: u64,
        result: Result<Completion, Failure>,
    },
    Outcome {
        intent: u64,
        outcome: Outcome,
    },
    Act(Act),
    /// A candidate for an upgrade, and what its files were found to be or what speaks against it.
    Proposed {
        act: Act,
        found: Result<Box<Found>, String>,
    },
    /// The candidate is loaded, as its reasoner says.
    CandidateReady(serde_json::Value),
    /// The candidate, or the accepted version, does not come up; or what an earlier run left of one cannot be used.
    CandidateLost {
        why: String,
    },
    /// The accepted version is loaded and can take over.
    Installed(serde_json::Value),
    /// A trial that an earlier run began.
    Resumed(Box<Upgrade>),
    /// What an earlier run left standing.
    Standing(Box<Standing>),
    /// There is something that an earlier run left, and it cannot be read.
    StandingLost {
        why: String,
    },
    /// The audit log can be written again after it could not be: from when on, and why.
    AuditBack {
        detail: String,
    },
    Link {
        link: Link,
        up: bool,
        why: String,
    },
    /// Intents of an earlier run that have no outcome in the log.
    Orphans(Vec<u64>),
    /// The reasoner has to do with less memory, or may have more again.
    Memory(Change),
    /// The site file was read anew: `site` has other limits than the one in force, or is `None` where what was
    /// read cannot be taken over. The detail says what changes, or why nothing does.
    Reload {
        detail: String,
        site: Option<Box<Site>>,
    },
    /// Old records are in an archive that has been verified, and may leave the log.
    Archived(Archived),
    /// The run is to end: release.
    Stop {
        why: String,
    },
    /// Nothing is under way any more.
    Stopped {
        why: String,
    },
}

/// A connection whose loss changes what may be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// The devices that hold the setpoints.
    Plant,
    /// The source of the frames.
    Source,
}

impl Link {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plant => "plant",
            Self::Source => "source",
        }
    }
}

/// What is to be done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Append to the audit log.
    Record(Body),
    Ask {
        ask: u64,
        request: Box<Request>,
    },
    /// The same of the candidate, after all that was asked for so far; its answer comes as [`Input::Reply`] too.
    AskCandidate {
        ask: u64,
        request: Box<Request>,
    },
    /// What is to become of the processes that hold the models.
    Stage(Staging),
    /// Make all records so far durable, then write; report back as [`Input::Outcome`] for `intent`.
    Write {
        intent: u64,
        action: SafeAction,
    },
    /// A heartbeat: `intent` is the frame's record. Only one that did not arrive is reported back, as
    /// [`Input::Outcome`].
    Heartbeat {
        intent: u64,
        action: SafeAction,
    },
    /// The answer to the operator whose act was just handled.
    Answer(Answer),
}

#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Answer {
    pub accepted: bool,
    pub answer: String,
}
