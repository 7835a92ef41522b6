//! Decoding under a schema with llama.cpp, for one question or several at once.
//!
//! Two things make a reply fast: text the schema leaves no choice about is never asked for (it joins the
//! next batch), and what is still in the cache from earlier prompts is not computed again. Neither may
//! change a reply, so the batches a prompt is computed in depend on the prompt alone: floating-point sums
//! differ with the shape of a batch. The cache is therefore reused in whole batches, and the same request
//! gives the same tokens whether the cache was warm or cold (same build, machine and number of threads).
//!
//! Several questions share each pass over the weights: every step computes the next piece of each of them,
//! in one batch. What a question is beside changes the shape of that batch, so equal tokens are promised
//! only to a question that is answered alone.

mod job;
mod kept;
mod sample;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_sys_2::{LLAMA_FLASH_ATTN_TYPE_DISABLED as NO_FLASH, LLAMA_FLASH_ATTN_TYPE_ENABLED as FLASH};

use super::admission::BATCH;
use super::constraint::Grammars;
use super::lane::Lane;
use super::protocol::{CacheType, Pace};
use super::{Completion, Failure, Request};
use crate::clock::Stopwatch;
use job::{Job, Piece};
use kept::Kept;

/// How a context is made, the same in every lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// Tokens of each sequence.
    pub(super) context: u32,
    pub(super) cache: CacheType,
    pub(super) flash: bool,
    pub(super) pace: Pace,
}

/// Batches in a piece of a prompt's beginning.
const PREFIX_PIECE: usize = 4;

/// A question's number and what became of it.
pub(super) type Answer = (u64, Result<Completion, Failure>);

/// A model, and the sequences of its cache.
pub(super) struct Engine<'m> {
    model: &'m LlamaModel,
    context: LlamaContext<'m>,
    grammars: Grammars,
    batch: LlamaBatch<'static>,
    /// By number of the sequence.
    slots: Vec<Slot>,
    pace: Pace,
    kept: Option<Kept>,
}

/// One sequence: what is in its cache, and who uses it.
#[derive(Default)]
struct Slot {
    /// The batches whose keys and values are in the cache, in order.
    cached: Vec<Vec<LlamaToken>>,
    /// How many batches of the question are its beginning, which never changes for a site.
    prefix: usize,
    job: Option<Job>,
}

impl Slot {
    /// How many batches of `prompt` are in the cache.
    fn shared(&self, prompt: &[Vec<LlamaToken>]) -> usize {
        self.cached.iter().zip(prompt).take_while(|(old, new)| old == new).count()
    }
}

impl<'m> Engine<'m> {
    pub(super) fn new(
        backend: &LlamaBackend,
        model: &'m Arc<LlamaModel>,
        lane: Lane,
        setup: Setup,
        kept: Option<(PathBuf, String)>,
    ) -> Result<Self, Failure> {
        let kind = match setup.cache {
            CacheType::F16 => KvCacheType::F16,
            CacheType::Q8_0 => KvCacheType::Q8_0,
        };
        let tokens = setup.context.saturating_mul(lane.sequences);
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(tokens))
            .with_n_batch(tokens)
            .with_n_ubatch(BATCH)
            .with_n_seq_max(lane.sequences)
            .with_n_threads(lane.threads as i32)
            .with_n_threads_batch(lane.threads as i32)
            .with_type_k(kind)
            .with_type_v(kind)
            .with_flash_attention_policy(if setup.flash { FLASH } else { NO_FLASH });
        let context =
            model.new_context(backend, params).map_err(|e| Failure::Compute { why: e.to_string() })?;
        let batch = LlamaBatch::new(context.n_ctx() as usize, 1);
        let slots = (0..lane.sequences).map(|_| Slot::default()).collect();
        let pace = setup.pace;
        let kept = kept.map(|(folder, made_with)| Kept::new(folder, made_with));
        Ok(Self { model, context, grammars: Grammars::new(model, pace)?, batch, slots, pace, kept })
    }

    /// Tokens of prompt and reply together.
    pub(super) fn tokens(&self) -> u32 {
        self.context.n_ctx() / self.slots.len() as u32
    }

    /// Whether one more question can be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.slots.iter().any(|s| s.job.is_none())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.slots.iter().all(|s| s.job.is_none())
    }

    /// Takes a question in, where there is room. `Some`: its answer needs no computation.
    pub(super) fn take(&mut self, id: u64, request: &Request) -> Option<Answer> {
        match self.admit(id, request) {
            Ok(None) => None,
            Ok(Some(job)) => Some((id, job.finish())),
            Err(failure) => Some((id, Err(failure))),
        }
    }

    fn admit(&mut self, id: u64, request: &Request) -> Result<Option<Job>, Failure> {
        let watch = Stopwatch::start();
        let grammar = self.grammars.matcher(&request.schema)?;
        let (prompt, prefix) = self.batches(request);
        let (tokens, reply) = (count(&prompt), request.sampler.max_tokens);
        let Some((_, reusable)) = prompt.split_last() else {
            return Err(Failure::Compute { why: "the prompt is empty".to_owned() });
        };
        if tokens.saturating_add(reply) > self.tokens() {
            return Err(Failure::TooLong { tokens, reply, context: self.tokens() });
        }
        let (at, mut shared) = self.place(if self.pace == Pace::Plain { &[] } else { reusable })?;
        if shared < prefix && self.recall(at, reusable.get(..prefix).unwrap_or_default()) {
            shared = prefix;
        }
        let mut job = Job::new(id, request, grammar, prompt, self.pace, watch);
        if job.begin(shared, &self.grammars)? {
            return Ok(Some(job));
        }
        if let Some(slot) = self.slots.get_mut(at) {
            slot.job = Some(job);
            slot.prefix = prefix;
        }
        Ok(None)
    }

    /// Computes the next piece of every question that is under way; what is answered then.
    pub(super) fn step(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut chosen_behind = Vec::new();
        self.batch.clear();
        let mut added = Ok(());
        for (seq, slot) in (0i32..).zip(&mut self.slots) {
            if let Some(late) = slot.job.as_ref().and_then(|job| job.check_deadline().err())
                && let Some(job) = slot.job.take()
            {
                answers.push((job.id, Err(late)));
            }
            let Some(job) = &mut slot.job else { continue };
            let start = count(&slot.cached) as i32;
            let Piece { tokens, ends } = job.next();
            let last = tokens.len().saturating_sub(1);
            for (at, (i, token)) in (start..).zip(tokens.iter().enumerate()) {
                added = added.and_then(|()| self.batch.add(*token, at, &[seq], ends && i == last));
            }
            if ends {
                chosen_behind.push((seq, self.batch.n_tokens() - 1));
            }
            slot.cached.push(tokens);
        }
        if self.batch.n_tokens() == 0 {
            return answers;
        }
        let computed = added
            .map_err(|e| e.to_string())
            .and_then(|()| self.context.decode(&mut self.batch).map_err(|e| e.to_string()));
        if let Err(why) = computed {
            let lost = self.slots.iter_mut().filter_map(|s| s.job.take());
            answers.extend(lost.map(|job| (job.id, Err(Failure::Compute { why: why.clone() }))));
            self.forget();
            return answers;
        }
        self.keep_beginning();
        for (seq, row) in chosen_behind {
            let Some(slot) = self.slots.get_mut(seq as usize) else { continue };
            let Some(job) = &mut slot.job else { continue };
            let done = job.choose(self.context.get_logits_ith(row), &self.grammars);
            if done == Ok(false) {
                continue;
            }
            if let Some(job) = slot.job.take() {
                answers.push((job.id, done.and_then(|_| job.finish())));
            }
        }
        answers
    }

    /// Fills a sequence with the beginning of a prompt from a file, where it has been kept in one.
    fn recall(&mut self, at: usize, prefix: &[Vec<LlamaToken>]) -> bool {
        let (Some(kept), Some(slot)) = (&mut self.kept, self.slots.get_mut(at)) else { return false };
        if prefix.is_empty() || !kept.recall(&mut self.context, at as i32, &prefix.concat()) {
            return false;
        }
        slot.cached = prefix.to_vec();
        true
    }

    /// Writes the beginning of a prompt down when it has just been computed.
    fn keep_beginning(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        for (seq, slot) in (0i32..).zip(&self.slots) {
            if slot.job.is_some() && slot.prefix > 0 && slot.cached.len() == slot.prefix {
                kept.keep(&self.context, seq, &slot.cached.concat());
            }
        }
    }

    /// The prompt as tokens, in the batches it is computed in, and how many of them are the prefix. Prefix and body become tokens apart, so that
    /// the prefix is always the same ones.
    fn batches(&self, request: &Request) -> (Vec<Vec<LlamaToken>>, usize) {
        let vocab = self.model.vocab();
        let mut prefix = Vec::new();
        if vocab.should_add_bos() {
            prefix.push(vocab.bos());
        }
        prefix.extend(vocab.tokenize(request.prefix.as_bytes(), false, true));
        let body = vocab.tokenize(request.body.as_bytes(), false, true);
        let size = BATCH as usize;
        // The beginning is the same for all: in few pieces, so that a question that comes beside another finds it whole.
        let (prefix, body) = (prefix.chunks(PREFIX_PIECE * size), body.chunks(size));
        let count = prefix.len();
        (prefix.chain(body).map(<[_]>::to_vec).collect(), count)
    }

    /// A free sequence whose cache holds as much of `prompt` as any does, and nothing else; and how many
    /// batches that is.
    fn place(&mut self, prompt: &[Vec<LlamaToken>]) -> Result<(usize, usize), Failure> {
        // The first of equals; and among useless caches the emptiest, so that the others are kept.
        let best = |slots: &[Slot], usable: fn(&Slot) -> bool| {
            let usable = slots.iter().enumerate().filter(|(_, s)| usable(s));
            let rated = usable.map(|(at, s)| (s.shared(prompt), std::cmp::Reverse(s.cached.len()), at));
            rated.max_by_key(|(shared, spare, at)| (*shared, *spare, std::cmp::Reverse(*at)))
        };
        let free = best(&self.slots, |s| s.job.is_none());
        let Some((own, _, at)) = free else {
            return Err(Failure::Compute { why: "every sequence is in use".to_owned() });
        };
        if let Some((shared, _, from)) = best(&self.slots, |_| true).filter(|(shared, ..)| *shared > own) {
            self.keep(at, &[])?;
            self.context
                .copy_kv_cache_seq(from as i32, at as i32, None, None)
                .map_err(|e| Failure::Compute { why: e.to_string() })?;
            let copied = prompt.get(..shared).unwrap_or_default().to_vec();
            if let Some(slot) = self.slots.get_mut(at) {
                slot.cached = copied;
            }
        }
        self.keep(at, prompt)
    }

    /// Cuts a sequence's cache down to the batches it shares with `prompt`.
    fn keep(&mut self, at: usize, prompt: &[Vec<LlamaToken>]) -> Result<(usize, usize), Failure> {
        let Some(slot) = self.slots.get_mut(at) else { return Ok((at, 0)) };
        let shared = slot.shared(prompt);
        slot.cached.truncate(shared);
        let cut = self
            .context
            .clear_kv_cache_seq(Some(at as u32), Some(count(&slot.cached)), None)
            .map_err(|e| Failure::Compute { why: e.to_string() })?;
        if cut {
            return Ok((at, shared));
        }
        // Recurrent models cannot forget a part; a whole sequence they can.
        slot.cached.clear();
        self.context
            .clear_kv_cache_seq(Some(at as u32), None, None)
            .map_err(|e| Failure::Compute { why: e.to_string() })?;
        Ok((at, 0))
    }

    fn forget(&mut self) {
        self.context.clear_kv_cache();
        self.slots.iter_mut().for_each(|s| s.cached.clear());
    }
}

fn count(batches: &[Vec<LlamaToken>]) -> u32 {
    batches.iter().map(|b| b.len() as u32).sum()
}
