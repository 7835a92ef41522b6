//! Slows down whoever guesses passwords.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Failures that cost nothing: people mistype.
const FREE: u32 = 5;
/// The same for one address, whatever the name: many people may share one behind a proxy.
const FREE_OF_ADDRESS: u32 = 30;
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_mins(15);
/// The most that is remembered; what failed longest ago is forgotten first, names before addresses.
const MOST: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// By address and name, and by address alone (no name).
    failures: BTreeMap<(IpAddr, Option<String>), Failures>,
}

impl Attempts {
    /// How long this one has to wait yet.
    pub(super) fn wait(&self, from: IpAddr, name: &str, now: Instant) -> Option<Duration> {
        let left = |key, free| {
            let f = self.failures.get(&(from, key))?;
            let over = f.count.checked_sub(free)?;
            let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(over)).min(LONGEST_WAIT);
            (f.last + wait).checked_duration_since(now).filter(|d| !d.is_zero())
        };
        left(Some(short(name)), FREE).max(left(None, FREE_OF_ADDRESS))
    }

    pub(super) fn failed(&mut self, from: IpAddr, name: &str, now: Instant) {
        for key in [Some(short(name)), None] {
            let f = self.failures.entry((from, key)).or_insert(Failures { count: 0, last: now });
            if now - f.last > LONGEST_WAIT {
                f.count = 0;
            }
            *f = Failures { count: f.count.saturating_add(1), last: now };
        }
        while self.failures.len() > MOST {
            let oldest = self
                .failures
                .iter()
                .min_by_key(|((_, name), f)| (name.is_none(), f.last))
                .map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.failures.remove(&oldest);
        }
    }

    pub(super) fn succeeded(&mut self, from: IpAddr, name: &str) {
        self.failures.remove(&(from, Some(short(name))));
    }
}

/// Enough of a name to tell people apart.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn guessing_takes_longer_and_longer() {
        let now = clock::monotonic();
        let (here, there) = ([127, 0, 0, 1].into(), [10, 0, 0, 1].into());
        let mut attempts = Attempts::default();
        for _ in 0..FREE {
            assert_eq!(attempts.wait(here, "ann", now), None);
            attempts.failed(here, "ann", now);
        }
        assert_eq!(attempts.wait(here, "ann", now), Some(FIRST_WAIT));
        assert_eq!(attempts.wait(here, "bob", now), None);
        assert_eq!(attempts.wait(there, "ann", now), None);
        assert_eq!(attempts.wait(here, "ann", now + FIRST_WAIT), None);
        attempts.failed(here, "ann", now + FIRST_WAIT);
        assert_eq!(attempts.wait(here, "ann", now + FIRST_WAIT), Some(2 * FIRST_WAIT));
        attempts.succeeded(here, "ann");
        assert_eq!(attempts.wait(here, "ann", now + FIRST_WAIT), None);
    }

    #[test]
    fn trying_many_names_is_slowed_down_too() {
        let now = clock::monotonic();
        let here = [127, 0, 0, 1].into();
        let mut attempts = Attempts::default();
        for i in 0..5000 {
            attempts.failed(here, &format!("user{i}"), now);
        }
        assert!(attempts.failures.len() <= MOST);
        assert_eq!(attempts.wait(here, "somebody else", now), Some(LONGEST_WAIT));
    }
}
