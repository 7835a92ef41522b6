//! The measured claims: `isotherm bench …`.

#[cfg(feature = "demo")]
pub mod control;
pub mod guard;
pub mod ingest;
#[cfg(feature = "demo")]
pub mod twin;
