//! The guard: a pure, total function from what is known and what is proposed to what may be written.
//!
//! No I/O, no clock, no panic, no unsafe. [`SafeAction`] has no public constructor: the only way to have
//! one is to pass here, and the writer takes nothing else.
//!
//! Theory of operation. Every setpoint has a window of values that may be written. It starts as the hard
//! limits and is narrowed by one rule after another, in order of precedence: a later rule can never leave
//! what an earlier one allows. The proposal is clamped to the window after each rule, and a rule that moved
//! it leaves a [`Touch`]. What remains is put on the setpoint's grid, checked against the outlook, and
//! encoded so that the register itself, not only the number behind it, lies in the window.
//! `docs/envelope.md` has each rule, its default and its source.
//!
//! Nobody outside can make an action, write into one, or read one from a record:
//!
//! ```compile_fail,E0451
//! let action = isotherm::envelope::SafeAction { writes: Vec::new() };
//! ```
//! ```compile_fail,E0616
//! let action = isotherm::envelope::SafeAction::default();
//! let writes = action.writes;
//! ```
//! ```compile_fail,E0277
//! let write: isotherm::envelope::SafeWrite = serde_json::from_str("{}")?;
//! # Ok::<(), serde_json::Error>(())
//! ```
//! ```compile_fail,E0277
//! let action: isotherm::envelope::SafeAction = serde_json::from_str("[]")?;
//! # Ok::<(), serde_json::Error>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::expect_used)]

mod action;
mod alarm;
mod floor;
mod guard;
mod limit;
mod margin;
mod memory;
#[cfg(any(test, feature = "oracle"))]
pub mod oracle;
mod rules;
mod seen;
#[cfg(test)]
mod tests;
mod trial;
mod verdict;
mod window;

pub use action::{SafeAction, SafeWrite, Target, Words};
pub(crate) use alarm::watched;
pub use alarm::{coldest_supply, no_warming};
pub use floor::{Floor, floors};
pub use guard::{Case, Foresight, Guard, Predicted};
pub use limit::Limit;
pub use margin::Margin;
pub use memory::Memory;
pub(crate) use seen::LEAST_DEW_MARGIN;
pub use trial::{Consent, Trial, TrialRefused};
pub use verdict::{Proposal, ProposedBy, Rule, Touch, Verdict, WhatIf};
