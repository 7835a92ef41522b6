//! The one place that reads clocks. Everything else takes time as a value.
#![allow(clippy::disallowed_methods, reason = "this is the place the ban points to")]

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

/// Wall time, for time stamps.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A wall time as the standard library has it; times before 1970 are 1970.
#[must_use]
pub fn system(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(time.as_nanosecond()).unwrap_or(0))
}

/// The monotonic clock of timers and deadlines; tests may pause it.
#[must_use]
pub fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Measures how long something took; never goes backwards.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
    #[must_use]
    pub fn millis(self) -> f64 {
        self.elapsed().as_secs_f64() * 1e3
    }
}
