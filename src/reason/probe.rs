//! How many threads the model is computed with here: measured, since cores that share a cache, a memory bus or
//! an arithmetic unit are not worth as much as their number says.

use std::num::NonZeroU32;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::Failure;
use super::protocol::Probed;
use crate::clock::Stopwatch;

/// Tokens of the cache that is tried with.
const CONTEXT: u32 = 64;
/// Passes of a round, each by one token; the quickest counts, which other work on the machine hides least.
const PASSES: i32 = 6;
const ROUNDS: u32 = 4;
/// No further round begins after this: a slow model tells enough in one.
const PATIENCE_MS: f64 = 400.0;
/// More threads have to be worth this much, percent: they are taken from others.
const WORTH_PCT: u64 = 5;

struct Trial<'m> {
    context: LlamaContext<'m>,
    found: Probed,
}

/// The time a token takes with 1, 2, 4, … and `most` threads.
pub(super) fn measure(backend: &LlamaBackend, model: &LlamaModel, most: u32) -> Result<Vec<Probed>, Failure> {
    let watch = Stopwatch::start();
    let counts = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < most).chain([most]);
    let mut trials = Vec::new();
    for threads in counts {
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(CONTEXT))
            .with_n_ubatch(1)
            .with_n_threads(threads as i32)
            .with_n_threads_batch(threads as i32);
        let context = model.new_context(backend, params).map_err(|e| broken(&e))?;
        trials.push(Trial { context, found: Probed { threads, us_per_token: u64::MAX } });
    }
    for round in 0..ROUNDS {
        if round > 0 && watch.millis() > PATIENCE_MS {
            break;
        }
        for trial in &mut trials {
            trial.run()?;
        }
    }
    Ok(trials.into_iter().map(|t| t.found).collect())
}

/// The fewest threads that more of them hardly beat.
pub(super) fn best(probed: &[Probed]) -> Option<u32> {
    let least = probed.iter().map(|p| p.us_per_token).min()?;
    let near = |p: &&Probed| p.us_per_token.saturating_mul(100) <= least.saturating_mul(100 + WORTH_PCT);
    probed.iter().filter(near).map(|p| p.threads).min()
}

impl Trial<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        self.context.clear_kv_cache();
        let mut batch = LlamaBatch::new(1, 1);
        for at in 0..PASSES {
            batch.clear();
            batch.add(LlamaToken(0), at, &[0], true).map_err(|e| broken(&e))?;
            let watch = Stopwatch::start();
            self.context.decode(&mut batch).map_err(|e| broken(&e))?;
            let us = watch.elapsed().as_micros() as u64;
            // The first wakes threads up.
            if at > 0 {
                self.found.us_per_token = self.found.us_per_token.min(us);
            }
        }
        Ok(())
    }
}

fn broken(error: &impl std::fmt::Display) -> Failure {
    Failure::Compute { why: format!("threads could not be tried: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_threads_have_to_be_worth_it() {
        let best = |us: &[(u32, u64)]| {
            let probed = us.iter().map(|(threads, us)| Probed { threads: *threads, us_per_token: *us });
            super::best(&probed.collect::<Vec<_>>())
        };
        assert_eq!(best(&[(1, 4000), (2, 2100), (4, 2050), (6, 2600)]), Some(2));
        assert_eq!(best(&[(1, 2000), (2, 2300)]), Some(1));
        assert_eq!(best(&[]), None);
    }
}
