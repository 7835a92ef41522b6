//! The measured claims: `isotherm bench …`.

pub mod guard;
pub mod ingest;
