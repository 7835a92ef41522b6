//! The only place that reads the wall clock: how long something took. Plants live in simulated time.

use std::time::{Duration, Instant};

/// Runs `work`; how long it took.
#[expect(clippy::disallowed_methods, reason = "the one place that reads a clock")]
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
