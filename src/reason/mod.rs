//! The model behind one door: a prompt and a schema go in, constrained text with measured probabilities
//! comes out, or a failure that says what went wrong. Nothing here is trusted further down the path.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::units::Finite;

/// One question to the model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The part of the prompt that never changes for a site and template, so that its cache is kept.
    pub prefix: String,
    /// The part that changes from decision to decision.
    pub body: String,
    /// JSON Schema of the reply. Whitespace is fixed: none outside strings.
    pub schema: serde_json::Value,
    pub sampler: Sampler,
    pub deadline: SignedDuration,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sampler {
    pub max_tokens: u32,
    /// 0 is greedy.
    pub temperature: Finite,
    pub seed: u32,
}

/// What the model answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Completion {
    pub text: String,
    /// Empty when the backend does not report them.
    pub tokens: Vec<Chosen>,
    pub prompt_tokens: u32,
    /// Prompt tokens whose cache was still valid.
    pub reused_tokens: u32,
    /// Tokens the schema left no choice about.
    pub forced_tokens: u32,
    pub prefill_ms: f64,
    pub decode_ms: f64,
}

/// One token of a completion.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Chosen {
    pub id: i32,
    /// Bytes of the text it makes.
    pub bytes: u16,
    /// Its probability among the tokens the schema allowed; 1 when forced.
    pub p: f32,
}

/// Why there is no completion.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum Failure {
    #[error("the model did not answer within {deadline_ms} ms")]
    Late { deadline_ms: u64 },
    #[error("the reasoner process ended ({how}); it is started again")]
    Died { how: String },
    #[error("the reasoner is not running: {why}")]
    NotRunning { why: String },
    #[error("the reasoner broke the protocol: {what}")]
    Garbled { what: String },
    #[error("the prompt takes {tokens} tokens and the reply up to {reply}; the context holds {context}")]
    TooLong { tokens: u32, reply: u32, context: u32 },
    #[error("the schema was not accepted: {why}")]
    Schema { why: String },
    #[error("the model stopped before the reply was complete, after {tokens} tokens")]
    Unfinished { tokens: u32 },
    #[error("model server {url}: {why}")]
    Server { url: String, why: String },
    #[error("model computation failed: {why}")]
    Compute { why: String },
}
