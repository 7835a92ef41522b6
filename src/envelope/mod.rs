//! The guard: a pure, total function from what is known and what is proposed to what may be written.
//!
//! No I/O, no clock, no panic. [`SafeAction`] has no public constructor: the only way to have one is to
//! pass here, and the writer takes nothing else.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::expect_used)]

mod action;
mod limit;
mod verdict;

pub use action::{SafeAction, SafeWrite, Words};
pub use limit::Limit;
pub use verdict::{Proposal, ProposedBy, Rule, Touch, Verdict};
