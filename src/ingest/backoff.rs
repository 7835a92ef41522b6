//! How long to wait before trying again: longer each time, up to a cap, and never in step with others.

use std::time::Duration;

/// Doubles from `base` to `cap`, with jitter: many clients of one device must not come back together.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    pub(super) fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempt: 0 }
    }

    /// The next pause: between half and all of base · 2^attempts, never under the base nor over the cap.
    pub(super) fn next(&mut self) -> Duration {
        let full = self.base.saturating_mul(2u32.saturating_pow(self.attempt)).min(self.cap);
        self.attempt = self.attempt.saturating_add(1);
        full.mul_f64(0.5 + 0.5 * random_unit()).max(self.base)
    }

    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// From 0 to 1. Without a source of randomness the pause is merely not jittered.
fn random_unit() -> f64 {
    getrandom::u32().map_or(1.0, |r| f64::from(r) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_cap_and_starts_over() {
        let (base, cap) = (Duration::from_millis(500), Duration::from_secs(30));
        let mut backoff = Backoff::new(base, cap);
        let pauses: Vec<Duration> = (0..100).map(|_| backoff.next()).collect();
        assert!(pauses.iter().all(|p| *p >= base && *p <= cap));
        assert!(pauses[0] <= Duration::from_secs(1));
        assert!(pauses[10..].iter().all(|p| *p >= cap / 2));
        assert!(pauses[10..].windows(2).any(|w| w[0] != w[1]), "jitter");
        backoff.reset();
        assert_eq!(backoff.next(), base);
    }
}
