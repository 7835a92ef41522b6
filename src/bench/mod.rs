//! The measured claims: what `isotherm bench` prints.

pub mod ingest;
