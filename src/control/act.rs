//! What operators can do, from the CLI or the console. Every act says who and why.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::site::{Mode, Name};
use crate::units::Finite;
use crate::upgrade::SHADOW_MIN;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Act {
    pub who: String,
    pub why: String,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum What {
    Mode {
        mode: Mode,
    },
    /// Let the waiting action with this number be written.
    Approve {
        decision: u64,
    },
    Reject {
        decision: u64,
    },
    /// Hold a setpoint at a value, within the envelope. Without `until`: until cleared.
    Override {
        setpoint: Name,
        value: Finite,
        #[schemars(with = "Option<String>", extend("format" = "date-time"))]
        until: Option<Timestamp>,
    },
    ClearOverride {
        setpoint: Name,
    },
    /// Plain text, shown to the model and, where it has a hard meaning, enforced by the guard.
    Directive {
        text: String,
        #[schemars(with = "Option<String>", extend("format" = "date-time"))]
        until: Option<Timestamp>,
    },
    WithdrawDirective {
        number: u32,
        /// What it says, as it was shown: numbers move up when a directive before them ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// The alarm with this record number has been seen.
    Acknowledge {
        alarm: u64,
    },
    /// Ask another model, or ask with other prompts, beside what decides. Nothing of it is written.
    ProposeUpgrade {
        /// A GGUF file by its absolute path or, where the site's model is on a server, the name of one there.
        #[serde(default)]
        model: Option<String>,
        /// The file must have this hash.
        #[serde(default)]
        sha256: Option<String>,
        /// A folder of prompts by its absolute path.
        #[serde(default)]
        #[schemars(with = "Option<String>")]
        prompts: Option<PathBuf>,
        /// For so many minutes of control time before it can be accepted.
        #[serde(default = "shadow_min")]
        #[schemars(range(min = 1, max = MOST_SHADOW_MIN))]
        shadow_min: u32,
    },
    /// The candidate decides from now on.
    AcceptUpgrade {
        /// Before its shadow period is over.
        #[serde(default)]
        early: bool,
    },
    /// Give up the candidate or, where there is none, go back to what decided before.
    RevertUpgrade,
}

/// A year.
pub(super) const MOST_SHADOW_MIN: u32 = 366 * 24 * 60;

fn shadow_min() -> u32 {
    SHADOW_MIN
}
