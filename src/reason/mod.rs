//! The model behind one door: a prompt and a schema go in, constrained text with measured probabilities
//! comes out, or a failure that says what went wrong. Nothing here is trusted further down the path.

pub mod admission;
pub mod child;
pub mod openai;
pub mod protocol;

#[cfg(feature = "llama")]
mod amx;
#[cfg(feature = "llama")]
mod constraint;
#[cfg(feature = "llama")]
mod lane;
#[cfg(feature = "llama")]
mod local;
#[cfg(feature = "llama")]
mod probe;
#[cfg(feature = "llama")]
pub mod worker;

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::decision::Account;
use crate::memory::group::ReasonerGroup;
use crate::site;
use crate::units::Finite;
pub use child::{Launch, Order, Reasoner};
pub use openai::Server;
pub use protocol::{CacheType, Facts, Load, Pace};

/// Where completions come from.
#[derive(Debug)]
pub enum Backend {
    Local(Reasoner),
    Server(Server),
    /// No model: every question fails, and the fallback decides.
    None,
}

/// How one of several processes runs.
struct Way {
    sequences: u32,
    kept: Option<PathBuf>,
    background: bool,
}

impl Default for Way {
    fn default() -> Self {
        Self { sequences: 1, kept: None, background: false }
    }
}

/// The `[model]` section cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("[model] {field} is missing: the {backend} backend needs {meaning}")]
    Missing { field: &'static str, backend: &'static str, meaning: &'static str },
    #[error("[model] api_key_env: the environment variable {0} is not set")]
    Key(String),
    #[error("[model] url: {0}")]
    Url(Failure),
    #[error("the reasoner cannot be started: {0}")]
    Io(#[from] std::io::Error),
}

impl Backend {
    /// Starts what the site's `[model]` asks for. `program` is run as `program reasoner` for a local model:
    /// this very program, outside tests.
    pub fn start(model: &site::Model, program: PathBuf) -> Result<Self, StartError> {
        Self::launch(model, program, None, Way::default())
    }

    /// The same in a control group of its own; it has the limit then, so none is set on the address space. In
    /// the folder `kept` it finds after a restart what it had computed.
    pub fn start_in(
        model: &site::Model,
        program: PathBuf,
        group: Option<ReasonerGroup>,
        kept: PathBuf,
    ) -> Result<Self, StartError> {
        Self::launch(model, program, group, Way { kept: Some(kept), ..Way::default() })
    }

    /// Without a group, for up to `sequences` questions at once. What one of them is beside changes the order
    /// of floating-point sums, so equal questions no longer have to get equal tokens.
    pub fn start_many(model: &site::Model, program: PathBuf, sequences: u32) -> Result<Self, StartError> {
        Self::launch(model, program, None, Way { sequences, ..Way::default() })
    }

    /// Beside another one that must not notice: at low priority, and the first that the kernel is to kill.
    pub fn start_beside(
        model: &site::Model,
        program: PathBuf,
        group: Option<ReasonerGroup>,
    ) -> Result<Self, StartError> {
        Self::launch(model, program, group, Way { background: true, ..Way::default() })
    }

    fn launch(
        model: &site::Model,
        program: PathBuf,
        group: Option<ReasonerGroup>,
        way: Way,
    ) -> Result<Self, StartError> {
        let Way { sequences, kept, background } = way;
        let missing = |field, backend, meaning| StartError::Missing { field, backend, meaning };
        match model.backend {
            site::Backend::None => Ok(Self::None),
            site::Backend::Local => {
                let path = model.path.clone();
                let load = Load {
                    path: path.ok_or_else(|| missing("path", "local", "a GGUF file"))?,
                    sha256: model.sha256.clone(),
                    context: model.context,
                    threads: model.threads,
                    memory_limit_mb: if group.is_some() { None } else { model.memory_limit_mb },
                    cache: model.cache,
                    flash_attention: model.flash_attention,
                    sequences,
                    pace: Pace::Fast,
                    kept,
                    background,
                };
                Ok(Self::Local(Reasoner::start(Launch { program, load, group })?))
            }
            site::Backend::Openai => {
                let url = model.url.as_ref();
                let url = url.ok_or_else(|| missing("url", "openai", "a server's address up to /v1"))?;
                let name = model.name.as_ref();
                let name = name.ok_or_else(|| missing("name", "openai", "a model the server knows"))?;
                let key = match &model.api_key_env {
                    Some(variable) => {
                        Some(std::env::var(variable).map_err(|_| StartError::Key(variable.clone()))?)
                    }
                    None => None,
                };
                Ok(Self::Server(Server::new(url, name, key).map_err(StartError::Url)?))
            }
        }
    }

    /// Asks once, within the request's deadline.
    pub async fn ask(&self, request: Request) -> Result<Completion, Failure> {
        match self {
            Self::Local(reasoner) => reasoner.ask(request).await,
            Self::Server(server) => server.ask(&request).await,
            Self::None => Err(Failure::NotRunning { why: "the site runs without a model".to_owned() }),
        }
    }

    /// Waits until questions can be answered; a server or no model is ready at once.
    pub async fn ready(&self, limit: std::time::Duration) -> Result<(), Failure> {
        match self {
            Self::Local(reasoner) => reasoner.ready(limit).await.map(|_| ()),
            Self::Server(_) | Self::None => Ok(()),
        }
    }

    /// Where a local model's process is told what to be; `None` where there is none.
    pub fn orders(&self) -> Option<watch::Sender<Order>> {
        match self {
            Self::Local(reasoner) => Some(reasoner.orders()),
            Self::Server(_) | Self::None => None,
        }
    }

    /// What is loaded now, where that is known.
    pub fn facts(&self) -> Option<Facts> {
        match self {
            Self::Local(reasoner) => reasoner.facts(),
            Self::Server(_) | Self::None => None,
        }
    }
}

/// The llama.cpp in this program, and the instruction sets it was built for.
#[cfg(feature = "llama")]
pub fn build_info() -> String {
    use crate::model::ffi;
    format!("llama.cpp {} (ggml {}): {}", ffi::version(), ffi::commit(), ffi::system_info().trim())
}

#[cfg(not(feature = "llama"))]
pub fn build_info() -> String {
    "built without llama.cpp".to_owned()
}

/// Instruction sets this CPU has and the llama.cpp in this program does not use: built for another
/// machine, it is several times slower.
#[cfg(feature = "llama")]
pub fn unused_cpu_features() -> Vec<&'static str> {
    let built = crate::model::ffi::system_info();
    #[cfg(not(target_arch = "x86_64"))]
    let here: [(&str, bool); 0] = [];
    #[cfg(target_arch = "x86_64")]
    let here = [
        ("AVX", is_x86_feature_detected!("avx")),
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("F16C", is_x86_feature_detected!("f16c")),
        ("AVX512", is_x86_feature_detected!("avx512f")),
        ("AVX512_VNNI", is_x86_feature_detected!("avx512vnni")),
    ];
    let unused = |name: &str| !built.contains(&format!(" {name} = 1 "));
    here.into_iter().filter(|(name, has)| *has && unused(name)).map(|(name, _)| name).collect()
}

/// No llama.cpp, so nothing of it is unused.
#[cfg(not(feature = "llama"))]
pub fn unused_cpu_features() -> Vec<&'static str> {
    Vec::new()
}

impl Failure {
    pub(crate) fn late(deadline: Duration) -> Self {
        Self::Late { deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Nobody was there to answer, rather than that the answer is of no use.
    #[must_use]
    pub fn is_of_the_process(&self) -> bool {
        match self {
            Self::Died { .. } | Self::NotRunning { .. } | Self::Garbled { .. } | Self::Server { .. } => true,
            Self::Late { .. }
            | Self::TooLong { .. }
            | Self::Schema { .. }
            | Self::Unfinished { .. }
            | Self::Compute { .. } => false,
        }
    }
}

/// One question to the model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The part of the prompt that never changes for a site and template, so that its cache is kept.
    pub prefix: String,
    /// The part that changes from decision to decision.
    pub body: String,
    /// JSON Schema of the reply. Whitespace is fixed: none outside strings.
    pub schema: serde_json::Value,
    /// Holds a rationale to what the reply's own setpoints do, which no schema can. A server knows nothing of it.
    #[serde(default)]
    pub account: Option<Account>,
    pub sampler: Sampler,
    pub deadline: SignedDuration,
}

/// Warm enough to say it in another way, cool enough to stay on the subject.
const VARIED: Finite = Finite::constant(0.7);

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sampler {
    pub max_tokens: u32,
    /// 0 is greedy.
    pub temperature: Finite,
    pub seed: u32,
}

impl Sampler {
    /// What a site asks for.
    #[must_use]
    pub fn of(model: &site::Model) -> Self {
        Self { max_tokens: model.max_tokens, temperature: model.temperature, seed: model.seed }
    }

    /// For other words than those of as many replies before.
    #[must_use]
    pub fn varied(self, attempt: u32) -> Self {
        if attempt == 0 {
            return self;
        }
        Self { temperature: self.temperature.max(VARIED), seed: self.seed.wrapping_add(attempt), ..self }
    }
}

/// What the model answered.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Chosen {
    pub id: i32,
    /// Bytes of the text it makes.
    pub bytes: u16,
    /// Its probability among the tokens the schema allowed; 1 when forced.
    pub p: f32,
}

/// Why there is no completion.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize, JsonSchema)]
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
