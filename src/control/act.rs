//! What operators can do, from the CLI or the console. Every act says who and why.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::site::{Mode, Name};
use crate::units::Finite;

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
    },
    /// The alarm with this record number has been seen.
    Acknowledge {
        alarm: u64,
    },
}
