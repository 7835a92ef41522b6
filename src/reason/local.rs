//! Decoding under a schema with llama.cpp.
//!
//! Two things make a reply fast: text the schema leaves no choice about is never asked for (it joins the
//! next batch), and what is still in the cache from the last prompt is not computed again. Neither may
//! change a reply, so the batches a prompt is computed in depend on the prompt alone: floating-point sums
//! differ with the shape of a batch. The cache is therefore reused in whole batches, and the same request
//! gives the same tokens whether the cache was warm or cold (same build, machine and number of threads).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use toktrie::SimpleVob;

use super::admission::BATCH;
use super::constraint::Grammars;
use super::protocol::CacheType;
use super::{Chosen, Completion, Failure, Request, Sampler};
use crate::clock::Stopwatch;

/// A model, its cache, and what is in the cache.
pub(super) struct Engine<'m> {
    model: &'m LlamaModel,
    context: LlamaContext<'m>,
    grammars: Grammars,
    batch: LlamaBatch<'static>,
    /// The batches whose keys and values are in the cache, in order.
    cached: Vec<Vec<LlamaToken>>,
}

impl<'m> Engine<'m> {
    pub(super) fn new(
        backend: &LlamaBackend,
        model: &'m Arc<LlamaModel>,
        tokens: u32,
        threads: u32,
        cache: CacheType,
    ) -> Result<Self, Failure> {
        let kind = match cache {
            CacheType::F16 => KvCacheType::F16,
            CacheType::Q8_0 => KvCacheType::Q8_0,
        };
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(tokens))
            .with_n_batch(tokens)
            .with_n_ubatch(BATCH)
            .with_n_seq_max(1)
            .with_n_threads(threads as i32)
            .with_n_threads_batch(threads as i32)
            .with_type_k(kind)
            .with_type_v(kind);
        let context =
            model.new_context(backend, params).map_err(|e| Failure::Compute { why: e.to_string() })?;
        let batch = LlamaBatch::new(context.n_ctx() as usize, 1);
        Ok(Self { model, context, grammars: Grammars::new(model)?, batch, cached: Vec::new() })
    }

    /// Tokens of prompt and reply together.
    pub(super) fn tokens(&self) -> u32 {
        self.context.n_ctx()
    }

    pub(super) fn answer(&mut self, request: &Request) -> Result<Completion, Failure> {
        let watch = Stopwatch::start();
        let deadline = Deadline { watch, limit: request.deadline.unsigned_abs() };
        let mut grammar = self.grammars.matcher(&request.schema)?;
        let mut prompt = self.batches(request);
        let prompt_tokens = count(&prompt);
        let reply = request.sampler.max_tokens;
        if prompt_tokens == 0 {
            return Err(Failure::Compute { why: "the prompt is empty".to_owned() });
        }
        if prompt_tokens.saturating_add(reply) > self.tokens() {
            return Err(Failure::TooLong { tokens: prompt_tokens, reply, context: self.tokens() });
        }

        // The last batch waits for the forced beginning of the reply.
        let mut waiting = prompt.pop().unwrap_or_default();
        let reused_tokens = self.keep(&prompt)?;
        for batch in prompt.drain(self.cached.len()..) {
            deadline.check()?;
            self.compute(batch)?;
        }

        let mut written = Written::default();
        let mut dice = Dice(u64::from(request.sampler.seed));
        let mut prefill_ms = None;
        while !grammar.is_stopped() {
            let forced = grammar.compute_ff_tokens();
            grammar.consume_tokens(&forced).map_err(|e| broken(&e))?;
            for token in forced {
                self.write(&mut written, token, None);
                waiting.push(LlamaToken(token.cast_signed()));
            }
            if grammar.is_stopped() {
                break;
            }
            if written.tokens.len() as u64 >= u64::from(reply) {
                return Err(Failure::Unfinished { tokens: written.tokens.len() as u32 });
            }
            let allowed = grammar.compute_mask().map_err(|e| broken(&e))?;
            deadline.check()?;
            self.compute(std::mem::take(&mut waiting))?;
            prefill_ms.get_or_insert_with(|| watch.millis());
            let (token, p) = choose(self.context.get_logits(), &allowed, request.sampler, &mut dice)?;
            grammar.consume_token(token).map_err(|e| broken(&e))?;
            if self.grammars.tokens().eos_tokens().contains(&token) {
                break;
            }
            self.write(&mut written, token, Some(p));
            waiting.push(LlamaToken(token.cast_signed()));
        }
        if written.tokens.len() as u64 > u64::from(reply) {
            return Err(Failure::Unfinished { tokens: written.tokens.len() as u32 });
        }
        let total_ms = watch.millis();
        let prefill_ms = prefill_ms.unwrap_or(total_ms);
        Ok(Completion {
            text: String::from_utf8(written.bytes)
                .map_err(|e| Failure::Compute { why: format!("the reply is not UTF-8: {e}") })?,
            tokens: written.tokens,
            prompt_tokens,
            reused_tokens,
            forced_tokens: written.forced,
            prefill_ms,
            decode_ms: total_ms - prefill_ms,
        })
    }

    /// The prompt as tokens, in the batches it is computed in. Prefix and body become tokens apart, so that
    /// the prefix is always the same ones.
    fn batches(&self, request: &Request) -> Vec<Vec<LlamaToken>> {
        let vocab = self.model.vocab();
        let mut prefix = Vec::new();
        if vocab.should_add_bos() {
            prefix.push(vocab.bos());
        }
        prefix.extend(vocab.tokenize(request.prefix.as_bytes(), false, true));
        let body = vocab.tokenize(request.body.as_bytes(), false, true);
        let size = BATCH as usize;
        prefix.chunks(size).chain(body.chunks(size)).map(<[_]>::to_vec).collect()
    }

    /// Cuts the cache down to the batches it shares with `prompt`, and counts their tokens.
    fn keep(&mut self, prompt: &[Vec<LlamaToken>]) -> Result<u32, Failure> {
        let shared = self.cached.iter().zip(prompt).take_while(|(old, new)| old == new).count();
        self.cached.truncate(shared);
        let kept = count(&self.cached);
        let cut = self
            .context
            .clear_kv_cache_seq(Some(0), Some(kept), None)
            .map_err(|e| Failure::Compute { why: e.to_string() })?;
        if cut {
            return Ok(kept);
        }
        // Recurrent models cannot forget a part.
        self.forget();
        Ok(0)
    }

    fn forget(&mut self) {
        self.context.clear_kv_cache();
        self.cached.clear();
    }

    /// Runs the model over `tokens` behind what is cached; the logits are those of the last one.
    fn compute(&mut self, tokens: Vec<LlamaToken>) -> Result<(), Failure> {
        let start = count(&self.cached) as i32;
        self.batch.clear();
        let last = tokens.len().saturating_sub(1);
        let result = (start..)
            .zip(tokens.iter().enumerate())
            .try_for_each(|(at, (i, token))| self.batch.add(*token, at, &[0], i == last))
            .map_err(|e| e.to_string())
            .and_then(|()| self.context.decode(&mut self.batch).map_err(|e| e.to_string()));
        if let Err(why) = result {
            self.forget();
            return Err(Failure::Compute { why });
        }
        self.cached.push(tokens);
        Ok(())
    }

    /// Appends a token; one without a probability was forced.
    fn write(&self, written: &mut Written, token: u32, p: Option<f32>) {
        let bytes = self.grammars.tokens().token(token);
        written.bytes.extend_from_slice(bytes);
        written.forced += u32::from(p.is_none());
        written.tokens.push(Chosen {
            id: token.cast_signed(),
            bytes: bytes.len() as u16,
            p: p.unwrap_or(1.0),
        });
    }
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    tokens: Vec<Chosen>,
    forced: u32,
}

struct Deadline {
    watch: Stopwatch,
    limit: Duration,
}

impl Deadline {
    fn check(&self) -> Result<(), Failure> {
        if self.watch.elapsed() < self.limit {
            return Ok(());
        }
        Err(Failure::Late { deadline_ms: u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX) })
    }
}

fn count(batches: &[Vec<LlamaToken>]) -> u32 {
    batches.iter().map(|b| b.len() as u32).sum()
}

fn broken(error: &impl std::fmt::Display) -> Failure {
    Failure::Compute { why: format!("the grammar failed: {error}") }
}

/// Chooses among the allowed tokens, and gives the choice's probability among them at temperature 1.
fn choose(
    logits: &[f32],
    allowed: &SimpleVob,
    sampler: Sampler,
    dice: &mut Dice,
) -> Result<(u32, f32), Failure> {
    let candidates: Vec<(u32, f64)> = allowed
        .iter()
        .filter_map(|token| Some((token, f64::from(*logits.get(token as usize)?))))
        .filter(|(_, logit)| logit.is_finite())
        .collect();
    // The first of equals, so that a tie is no matter of chance.
    let best = candidates.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
    let Some((best, top)) = best else {
        return Err(Failure::Compute { why: "no allowed token has a finite logit".to_owned() });
    };
    let weight = |logit: f64| (logit - top).exp();
    let total: f64 = candidates.iter().map(|(_, logit)| weight(*logit)).sum();
    let temperature = sampler.temperature.get();
    let token = if temperature > 0.0 {
        let weight = |logit: f64| ((logit - top) / temperature).exp();
        let mut left = dice.roll() * candidates.iter().map(|(_, logit)| weight(*logit)).sum::<f64>();
        let drawn = candidates.iter().find(|(_, logit)| {
            left -= weight(*logit);
            left < 0.0
        });
        drawn.map_or(best, |(token, _)| *token)
    } else {
        best
    };
    let logit = candidates.iter().find(|(t, _)| *t == token).map_or(top, |(_, logit)| *logit);
    Ok((token, (weight(logit) / total) as f32))
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same seed gives the same draws on every machine.
struct Dice(u64);

impl Dice {
    /// Uniform in [0, 1).
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Finite;

    fn sampler(temperature: f64) -> Sampler {
        Sampler { max_tokens: 1, temperature: Finite::constant(temperature), seed: 1 }
    }

    fn allowed(tokens: &[u32]) -> SimpleVob {
        let mut mask = SimpleVob::alloc(8);
        for token in tokens {
            mask.allow_token(*token);
        }
        mask
    }

    #[test]
    fn greedy_takes_the_best_allowed_token_and_measures_it_among_the_allowed() {
        let logits = [9.0, 1.0, 1.0 + 3f32.ln(), f32::NAN];
        let (token, p) = choose(&logits, &allowed(&[1, 2, 3, 7]), sampler(0.0), &mut Dice(1)).unwrap();
        assert_eq!(token, 2);
        assert!((p - 0.75).abs() < 1e-6, "{p}");
    }

    #[test]
    fn a_tie_goes_to_the_lower_token() {
        let (token, p) = choose(&[2.0; 8], &allowed(&[5, 3]), sampler(0.0), &mut Dice(1)).unwrap();
        assert_eq!(token, 3);
        assert!((p - 0.5).abs() < 1e-6);
    }

    #[test]
    fn nothing_finite_is_an_error() {
        assert!(choose(&[f32::NAN; 4], &allowed(&[0, 1]), sampler(0.0), &mut Dice(1)).is_err());
        assert!(choose(&[1.0; 4], &allowed(&[]), sampler(0.0), &mut Dice(1)).is_err());
    }

    #[test]
    fn sampling_follows_the_probabilities_and_the_seed() {
        let logits = [0.0, 3f32.ln()];
        let draw = |dice: &mut Dice| choose(&logits, &allowed(&[0, 1]), sampler(1.0), dice).unwrap();
        let mut dice = Dice(7);
        let ones = (0..4000).filter(|_| draw(&mut dice).0 == 1).count();
        // 3000 expected, standard deviation 27.
        assert!((2850..3150).contains(&ones), "{ones}");
        assert_eq!(draw(&mut Dice(3)), draw(&mut Dice(3)));
    }
}
