//! Isotherm: cools data centres with a small local language model, and can prove why it did what it did.
//!
//! One decision is one pass from left to right; `ARCHITECTURE.md` has the map.

pub mod actuate;
pub mod audit;
pub mod bench;
pub mod check;
pub mod clock;
pub mod console;
pub mod control;
pub mod decision;
pub mod directive;
pub mod doctor;
mod durable;
pub mod envelope;
pub mod facts;
pub mod fallback;
pub mod frame;
pub mod hex;
pub mod history;
pub mod ingest;
pub mod init;
#[cfg(feature = "demo")]
pub mod lesson;
pub mod memory;
pub mod model;
pub mod policy;
pub mod prompt;
pub mod prose;
pub mod reason;
pub mod register;
pub mod replay;
pub mod resolution;
pub mod service;
pub mod site;
pub mod sparkplug;
pub mod twin;
pub mod units;
pub mod upgrade;
pub mod workload;
