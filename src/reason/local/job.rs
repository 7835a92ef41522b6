//! One question on its way to an answer, whatever else the engine computes beside it.

use std::collections::VecDeque;
use std::time::Duration;

use llama_cpp_2::token::LlamaToken;
use llguidance::Matcher;
use toktrie::{SimpleVob, TokTrie};

use super::sample::{Dice, choose};
use super::{Grammars, Pace, count};
use crate::clock::Stopwatch;
use crate::decision::Account;
use crate::reason::{Chosen, Completion, Failure, Request, Sampler};

pub(super) struct Job {
    pub(super) id: u64,
    grammar: Matcher,
    /// Until the rationale is begun.
    account: Option<Account>,
    sampler: Sampler,
    dice: Dice,
    pace: Pace,
    watch: Stopwatch,
    limit: Duration,
    /// Batches of the prompt that are not computed yet, but the last.
    prompt: VecDeque<Vec<LlamaToken>>,
    /// What comes behind them: the prompt's last batch and the forced beginning of the reply, then the token
    /// chosen last and what the schema forces behind it.
    waiting: Vec<LlamaToken>,
    /// What the schema allows behind `waiting`.
    allowed: SimpleVob,
    written: Written,
    prompt_tokens: u32,
    reused_tokens: u32,
    prefill_ms: Option<f64>,
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    tokens: Vec<Chosen>,
    forced: u32,
}

/// What is to be computed next.
pub(super) struct Piece {
    pub(super) tokens: Vec<LlamaToken>,
    /// A token is to be chosen behind it.
    pub(super) ends: bool,
}

impl Job {
    pub(super) fn new(
        id: u64,
        request: &Request,
        grammar: Matcher,
        prompt: Vec<Vec<LlamaToken>>,
        pace: Pace,
        watch: Stopwatch,
    ) -> Self {
        Self {
            id,
            grammar,
            account: request.account.clone().filter(|_| pace == Pace::Fast),
            sampler: request.sampler,
            dice: Dice(u64::from(request.sampler.seed)),
            pace,
            watch,
            limit: request.deadline.unsigned_abs(),
            prompt_tokens: count(&prompt),
            prompt: prompt.into(),
            waiting: Vec::new(),
            allowed: SimpleVob::new(),
            written: Written::default(),
            reused_tokens: 0,
            prefill_ms: None,
        }
    }

    /// Takes the batches away that are in the cache already, and begins the reply. The prompt's last batch
    /// waits for the forced beginning, so it is never one of them.
    pub(super) fn begin(&mut self, cached: usize, grammars: &Grammars) -> Result<bool, Failure> {
        self.waiting = self.prompt.pop_back().unwrap_or_default();
        self.reused_tokens = self.prompt.drain(..cached).map(|b| b.len() as u32).sum();
        self.advance(grammars)
    }

    pub(super) fn next(&mut self) -> Piece {
        match self.prompt.pop_front() {
            Some(tokens) => Piece { tokens, ends: false },
            None => Piece { tokens: std::mem::take(&mut self.waiting), ends: true },
        }
    }

    /// Chooses the next token; `true`: the reply is complete.
    pub(super) fn choose(&mut self, logits: &[f32], grammars: &Grammars) -> Result<bool, Failure> {
        let tokens = grammars.tokens();
        self.prefill_ms.get_or_insert_with(|| self.watch.millis());
        let (token, p) = choose(logits, &self.allowed, self.sampler, &mut self.dice)?;
        self.grammar.consume_token(token).map_err(|e| broken(&e))?;
        if tokens.eos_tokens().contains(&token) {
            return Ok(true);
        }
        self.write(tokens, token, Some(p));
        self.waiting.push(LlamaToken(token.cast_signed()));
        self.advance(grammars)
    }

    /// Appends what is forced and finds out what is allowed then; `true`: nothing.
    fn advance(&mut self, grammars: &Grammars) -> Result<bool, Failure> {
        let mut ended = self.force(grammars.tokens())?;
        if let Some(rest) = self.account.as_ref().and_then(|a| a.rest(&self.written.bytes)) {
            self.account = None;
            self.grammar = grammars.regex(&rest)?;
            ended = self.force(grammars.tokens())?;
        }
        if ended {
            return Ok(true);
        }
        if self.written() >= self.sampler.max_tokens {
            return Err(Failure::Unfinished { tokens: self.written() });
        }
        self.allowed = self.grammar.compute_mask().map_err(|e| broken(&e))?;
        Ok(false)
    }

    /// Appends what the grammar leaves no choice about; `true`: nothing can follow.
    fn force(&mut self, tokens: &TokTrie) -> Result<bool, Failure> {
        if self.pace == Pace::Fast && !self.grammar.is_stopped() {
            let forced = self.grammar.compute_ff_tokens();
            self.grammar.consume_tokens(&forced).map_err(|e| broken(&e))?;
            for token in forced {
                self.write(tokens, token, None);
                self.waiting.push(LlamaToken(token.cast_signed()));
            }
        }
        Ok(self.grammar.is_stopped())
    }

    pub(super) fn check_deadline(&self) -> Result<(), Failure> {
        if self.watch.elapsed() < self.limit {
            return Ok(());
        }
        Err(Failure::late(self.limit))
    }

    pub(super) fn finish(self) -> Result<Completion, Failure> {
        if self.written() > self.sampler.max_tokens {
            return Err(Failure::Unfinished { tokens: self.written() });
        }
        let total_ms = self.watch.millis();
        let prefill_ms = self.prefill_ms.unwrap_or(total_ms);
        Ok(Completion {
            text: String::from_utf8(self.written.bytes)
                .map_err(|e| Failure::Compute { why: format!("the reply is not UTF-8: {e}") })?,
            tokens: self.written.tokens,
            prompt_tokens: self.prompt_tokens,
            reused_tokens: self.reused_tokens,
            forced_tokens: self.written.forced,
            prefill_ms,
            decode_ms: total_ms - prefill_ms,
        })
    }

    fn written(&self) -> u32 {
        self.written.tokens.len() as u32
    }

    /// Appends a token; one without a probability was forced.
    fn write(&mut self, tokens: &TokTrie, token: u32, p: Option<f32>) {
        let bytes = tokens.token(token);
        self.written.bytes.extend_from_slice(bytes);
        self.written.forced += u32::from(p.is_none());
        self.written.tokens.push(Chosen {
            id: token.cast_signed(),
            bytes: bytes.len() as u16,
            p: p.unwrap_or(1.0),
        });
    }
}

fn broken(error: &impl std::fmt::Display) -> Failure {
    Failure::Compute { why: format!("the grammar failed: {error}") }
}
