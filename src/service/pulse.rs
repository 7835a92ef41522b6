//! Whether the control loop still turns, for whoever watches from outside: a server beside it answers also when the
//! loop hangs.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock;

/// A turn may wait for devices, each as long as its timeout; a loop that takes longer than so many periods hangs.
const PERIODS: u32 = 5;
/// However short the period is.
const LEAST: Duration = Duration::from_secs(20);
/// From the start to the first turn, beside the wait for the model.
const START: Duration = Duration::from_mins(2);

/// The loop's side.
pub(super) struct Pulse(watch::Sender<Beat>);

/// The latest turn, and how long the next one may take.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    at: Instant,
    patience: Duration,
    turns: bool,
}

impl Pulse {
    /// Of a loop that begins when the model is ready, or after this wait.
    pub(super) fn starting(wait: Duration) -> Self {
        let beat = Beat { at: clock::monotonic(), patience: START.saturating_add(wait), turns: false };
        Self(watch::Sender::new(beat))
    }

    pub(super) fn listen(&self) -> watch::Receiver<Beat> {
        self.0.subscribe()
    }

    /// One turn of a loop that is woken every `period` at least.
    pub(super) fn beat(&self, period: Duration) {
        let patience = period.saturating_mul(PERIODS).max(LEAST);
        self.0.send_replace(Beat { at: clock::monotonic(), patience, turns: true });
    }
}

impl Beat {
    /// Why the loop does not live; `None` while it does.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble_at(clock::monotonic())
    }

    fn trouble_at(&self, now: Instant) -> Option<String> {
        let since = now.saturating_duration_since(self.at);
        let what =
            if self.turns { "the control loop has not turned" } else { "the control loop has not begun" };
        (since > self.patience).then(|| {
            format!("{what} for {} s; it should within {} s", since.as_secs(), self.patience.as_secs())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_lives_while_it_turns() {
        let pulse = Pulse::starting(Duration::from_secs(30));
        let beat = pulse.listen();
        let after = |seconds| {
            let beat = *beat.borrow();
            beat.trouble_at(beat.at + Duration::from_secs(seconds))
        };
        assert_eq!(after(150), None, "it may wait for the model");
        assert_eq!(after(151).unwrap(), "the control loop has not begun for 151 s; it should within 150 s");
        for (period, patience) in [(Duration::from_millis(250), 20), (Duration::from_secs(15), 75)] {
            pulse.beat(period);
            assert_eq!(after(patience), None, "{period:?}");
            let said = after(patience + 1).unwrap();
            assert!(said.starts_with("the control loop has not turned for "), "{said}");
        }
    }
}
