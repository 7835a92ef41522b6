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

/// Simulated hours, as every command that takes some reads them.
pub fn hours(text: &str) -> Result<f64, String> {
    more_than(0.0, text)
}

/// A finite number of hours: a loop up to NaN or infinity would have no end, or no beginning.
pub(crate) fn more_than(least: f64, text: &str) -> Result<f64, String> {
    let hours = text.parse().ok().filter(|h: &f64| *h > least && h.is_finite());
    hours.ok_or_else(|| format!("expected more than {least}"))
}
