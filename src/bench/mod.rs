//! The measured claims: `isotherm bench …`.

#[cfg(feature = "demo")]
pub mod control;
#[cfg(all(feature = "demo", feature = "llama"))]
pub mod decide;
pub mod guard;
pub mod ingest;
#[cfg(feature = "demo")]
pub mod resolution;
#[cfg(feature = "demo")]
pub mod twin;
#[cfg(feature = "demo")]
pub mod workload;
