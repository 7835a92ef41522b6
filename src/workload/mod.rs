//! What the IT will do, and how much more of it the cooling can take: both ways between the scheduler of the
//! jobs and the agent.
//!
//! A scheduler announces a job (when, how many kilowatts, where). The [`Board`] believes what makes sense and
//! refuses the rest; what stands on it is part of every frame, and so of the record. The twin takes the
//! announced load as fed forward, so that what plans on it (`mpc`, the choices shown to the model) cools ahead.
//! **The guard does not hear announcements, and nothing is learned from them**: somebody's word can change
//! what is proposed, never what is allowed.
//!
//! The other way, [`Headroom`] says how many kilowatts of load each place could take now.

mod board;
mod headroom;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use board::{Board, Heard, Refused};
pub use headroom::{Binding, Headroom, MINUTES as HEADROOM_MIN, headroom};

use crate::site::Name;
use crate::units::Finite;

/// A job that has been announced and has not started.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    pub id: JobId,
    #[schemars(with = "String")]
    pub start: Timestamp,
    /// IT power that it will add.
    pub kw: Finite,
    /// Where; none: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Name>,
}

/// A scheduler's name for a job: 1 to 64 letters, digits and `_.:-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    const EXPECTED: &'static str = "1 to 64 letters, digits and _ . : -";
}

impl TryFrom<String> for JobId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        let good = (1..=64).contains(&text.len()) && text.chars().all(plain);
        if good { Ok(Self(text)) } else { Err(Self::EXPECTED) }
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
