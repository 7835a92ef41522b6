//! Whether a model fits, before it is loaded: finding out afterwards costs the machine.

use crate::memory::kernel::Kernel;
use crate::model::inspect::Inspection;

use super::protocol::CacheType;

/// Most prompt tokens computed at once. Smaller batches find more of the cache reusable and need smaller
/// buffers; larger ones are faster when the cache is cold.
pub const BATCH: u32 = 64;

/// What loading would take, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Need {
    pub weights: u64,
    pub cache: u64,
    /// Buffers of the computation. An estimate, somewhat high on purpose.
    pub compute: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the model needs about {total} MB ({weights} weights + {cache} cache + {compute} computation), \
     but {limit} allows {allowed} MB; use a smaller model or context, or free memory"
)]
pub struct DoesNotFit {
    total: u64,
    weights: u64,
    cache: u64,
    compute: u64,
    limit: &'static str,
    allowed: u64,
}

impl Need {
    /// For a context of so many tokens.
    #[must_use]
    pub fn of(model: &Inspection, context: u32, cache: CacheType) -> Self {
        let f16 = u64::from(context).saturating_mul(model.kv_bytes_per_token);
        let cache = match cache {
            CacheType::F16 => f16,
            // Blocks of 32 numbers take 34 bytes instead of 64.
            CacheType::Q8_0 => f16 / 64 * 34,
        };
        // For each token of a batch: logits, the widest activations twice, and attention scores.
        let floats = model
            .vocabulary
            .saturating_add(2 * model.feed_forward.saturating_add(4 * model.embedding))
            .saturating_add(model.heads.saturating_mul(u64::from(context)));
        let compute = floats.saturating_mul(4 * u64::from(BATCH)).saturating_add(32 << 20);
        Self { weights: model.file_bytes, cache, compute }
    }

    #[must_use]
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.cache).saturating_add(self.compute)
    }

    /// Compares the need with each limit: a name and the bytes it leaves.
    pub fn check(self, limits: &[(&'static str, u64)]) -> Result<(), DoesNotFit> {
        let tightest = limits.iter().min_by_key(|(_, bytes)| *bytes);
        match tightest {
            Some((limit, allowed)) if self.total() > *allowed => Err(DoesNotFit {
                total: mb(self.total()),
                weights: mb(self.weights),
                cache: mb(self.cache),
                compute: mb(self.compute),
                limit,
                allowed: mb(*allowed),
            }),
            _ => Ok(()),
        }
    }
}

fn mb(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

/// The limits that hold here: memory the kernel can still hand out, and what this control group may still
/// take. One that is not there, or cannot be read, is left out.
#[must_use]
pub fn limits() -> Vec<(&'static str, u64)> {
    let reading = Kernel::here().sample().unwrap_or_default();
    let group = reading.group.and_then(|g| Some(g.limit?.saturating_sub(g.used)));
    let machine = reading.available.map(|bytes| ("available memory (MemAvailable)", bytes));
    let group = group.map(|bytes| ("the control group's memory.high or memory.max", bytes));
    machine.into_iter().chain(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_is_named_with_numbers() {
        let need = Need { weights: 100_000_000, cache: 50_000_000, compute: 25_000_000 };
        assert_eq!(need.check(&[("a", 175_000_000)]), Ok(()));
        assert_eq!(need.check(&[]), Ok(()));
        let refusal = need.check(&[("a", 1 << 40), ("b", 170_000_000)]).unwrap_err().to_string();
        for part in ["175 MB", "100 weights", "50 cache", "25 computation", "b allows 170 MB"] {
            assert!(refusal.contains(part), "{part:?} in {refusal:?}");
        }
    }
}
