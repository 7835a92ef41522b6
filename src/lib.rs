//! Isotherm: cools data centres with a small local language model, and can prove why it did what it did.
//!
//! One decision is one pass from left to right; `ARCHITECTURE.md` has the map.

pub mod clock;
pub mod decision;
pub mod directive;
pub mod envelope;
pub mod facts;
pub mod frame;
pub mod history;
pub mod ingest;
pub mod prompt;
pub mod prose;
pub mod reason;
pub mod site;
pub mod twin;
pub mod units;
