//! How the agent itself is set up: controller, model and its memory, fallback, audit log.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::rl::Network;
use crate::units::Finite;

/// What decides. Whichever it is, the guard, the records and the writes are the same.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Law {
    /// The language model of `[model]`, with the fallback behind it.
    #[default]
    Llm,
    /// Constant setpoints: those the plant had when it was first seen.
    Fixed,
    /// Trim and respond, as in `[fallback]`.
    Trim,
    /// A cascade of PID loops on the worst temperature margin.
    Pid,
    /// Receding-horizon optimization on the twin.
    Mpc,
    /// A policy learned offline, as in `[rl]`.
    Rl,
}

impl Law {
    pub const ALL: [Self; 6] = [Self::Llm, Self::Fixed, Self::Trim, Self::Pid, Self::Mpc, Self::Rl];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Fixed => "fixed",
            Self::Trim => "trim",
            Self::Pid => "pid",
            Self::Mpc => "mpc",
            Self::Rl => "rl",
        }
    }
}

/// The learned policy, where `controller` is `rl`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rl {
    /// File of the policy, trained on this site's own log; when absent, the one for the demo plant of this
    /// kind.
    pub policy: Option<PathBuf>,
    /// What was in that file: the record of a run holds all that its replay needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub network: Option<Network>,
}

/// The language model, where `controller` is `llm`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    pub backend: Backend,
    /// GGUF file of the local backend.
    pub path: Option<PathBuf>,
    /// Refuse any other file: lower-case hex.
    pub sha256: Option<String>,
    /// Server of the `openai` backend, up to and including `/v1`.
    pub url: Option<String>,
    /// Model name the server knows.
    pub name: Option<String>,
    /// Environment variable that holds the server's key.
    pub api_key_env: Option<String>,
    pub context: u32,
    pub max_tokens: u32,
    /// How often at most a reply in which a claim does not hold has its reasons written anew; the setpoints in
    /// it stay.
    pub rewrites: u32,
    /// 0: as many, of all cores and at most 8, as a measurement at start finds best.
    pub threads: u32,
    /// Number format of the model's cache.
    pub cache: CacheType,
    /// When absent, on for every model but one with latent attention and an f16 cache: `docs/speed.md`.
    pub flash_attention: Option<bool>,
    /// 0 is greedy.
    pub temperature: Finite,
    pub seed: u32,
    /// A reply later than this is not used.
    #[schemars(with = "String")]
    pub deadline: SignedDuration,
    /// Address-space limit of the reasoner process, MB.
    pub memory_limit_mb: Option<u64>,
    /// Prompt folder; the built-in prompts when absent.
    pub prompts: Option<PathBuf>,
    /// Tokens the rendered history may take.
    pub history_tokens: u32,
    /// Folder for the computed beginning of the prompt; beside the audit log when absent.
    pub kept: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// llama.cpp in a child process.
    #[default]
    Local,
    /// An OpenAI-compatible server with JSON-schema output.
    Openai,
    /// No model: the fallback decides.
    None,
}

/// Number format of the model's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CacheType {
    #[default]
    F16,
    /// Half the size.
    #[value(name = "q8_0")]
    Q8_0,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            path: None,
            sha256: None,
            url: None,
            name: None,
            api_key_env: None,
            context: 2048,
            max_tokens: 400,
            rewrites: 2,
            threads: 0,
            cache: CacheType::default(),
            flash_attention: None,
            temperature: Finite::ZERO,
            seed: 1,
            deadline: SignedDuration::from_secs(20),
            memory_limit_mb: None,
            prompts: None,
            history_tokens: 90,
            kept: None,
        }
    }
}

/// When the local model has to give way, and when it may come back; `docs/memory.md`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// How often the kernel is asked.
    #[schemars(with = "String")]
    pub sample: SignedDuration,
    /// From here on prompts show less of the past.
    pub short: Shortage,
    /// From here on the model runs with a small context.
    pub small: Shortage,
    /// From here on it does not run, and the fallback decides.
    pub parked: Shortage,
    /// Tokens the rendered history may take when memory is short.
    pub short_history_tokens: u32,
    /// Tokens of prompt and reply together in a small context.
    pub small_context: u32,
    /// For a step back up every threshold must be cleared by this much of itself, percent …
    pub margin_pct: Finite,
    /// … for this long. After a relapse, twice as long.
    #[schemars(with = "String")]
    pub hold: SignedDuration,
}

/// Where a rung of the memory ladder begins. Any one is enough.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shortage {
    /// Less than this is available (`MemAvailable`), MB.
    pub available_mb: u64,
    /// Some task waited for memory for this share of the last ten seconds (`memory.pressure`), percent.
    pub pressure_pct: Finite,
    /// So much of the control group's limit is in use, percent.
    pub group_pct: Finite,
}

impl Shortage {
    const fn new(available_mb: u64, pressure_pct: f64, group_pct: f64) -> Self {
        let (pressure_pct, group_pct) = (Finite::constant(pressure_pct), Finite::constant(group_pct));
        Self { available_mb, pressure_pct, group_pct }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            sample: SignedDuration::from_secs(5),
            short: Shortage::new(400, 10.0, 85.0),
            small: Shortage::new(250, 25.0, 92.0),
            parked: Shortage::new(120, 50.0, 97.0),
            short_history_tokens: 45,
            small_context: 1280,
            margin_pct: Finite::constant(20.0),
            hold: SignedDuration::from_mins(1),
        }
    }
}

/// How closely the site is watched by how restless it is; `docs/resolution.md`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resolution {
    /// Decide at once when something changes, and rarely when nothing does. Off: every `cadence`.
    pub adaptive: bool,
    /// When something changes, a decision is not made sooner than this after the last.
    #[schemars(with = "String")]
    pub fastest: SignedDuration,
    /// When all is calm, the longest time between two decisions.
    #[schemars(with = "String")]
    pub slowest: SignedDuration,
    /// A site is calm after nothing has changed for this long.
    #[schemars(with = "String")]
    pub settle: SignedDuration,
    /// How often a frame is taken until then, where the clock is the wall's; as always when absent.
    #[schemars(with = "Option<String>")]
    pub sample: Option<SignedDuration>,
}

impl Default for Resolution {
    fn default() -> Self {
        Self {
            adaptive: false,
            fastest: SignedDuration::from_mins(1),
            slowest: SignedDuration::from_mins(30),
            settle: SignedDuration::from_mins(15),
            sample: None,
        }
    }
}

/// Trim and respond after Guideline 36-2021's chilled-water plant reset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// The reset starts moving after this.
    #[schemars(with = "String")]
    pub delay: SignedDuration,
    #[schemars(with = "String")]
    pub step: SignedDuration,
    pub ignored_requests: u32,
    /// Percent of the reset a step without requests takes away.
    pub trim: Finite,
    /// Percent a request adds.
    pub respond: Finite,
    /// Percent a step may add at most.
    pub respond_max: Finite,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            delay: SignedDuration::from_mins(15),
            step: SignedDuration::from_mins(5),
            ignored_requests: 2,
            trim: Finite::constant(2.0),
            respond: Finite::constant(3.0),
            respond_max: Finite::constant(7.0),
        }
    }
}

/// What is told to those who run the services of a site; `docs/operations.md`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`:
    /// each decision becomes a trace. Nothing is sent when absent.
    pub otlp: Option<String>,
    /// Address of its own for `/metrics`, `/healthz` and `/readyz`, such as `0.0.0.0:9455`, with the console or without:
    /// plain HTTP, nothing else, and no login. When absent, they are the console's alone.
    pub listen: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    pub path: PathBuf,
    /// Ed25519 key that signs checkpoints; made on first use, readable by its owner alone.
    pub key: PathBuf,
    /// A signed checkpoint after this many records.
    pub checkpoint_every: u32,
    /// Checkpoints are also appended here, which should be another disk or machine.
    pub checkpoint_file: Option<PathBuf>,
    /// Folder for records that have left the log, as compressed Parquet with a proof beside each file.
    pub archive: Option<PathBuf>,
    /// Records older than this are moved there, once a day. Everything stays in the log when absent.
    pub keep_days: Option<u32>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            path: PathBuf::from("isotherm-audit.db"),
            key: PathBuf::from("isotherm-audit.key"),
            checkpoint_every: 256,
            checkpoint_file: None,
            archive: None,
            keep_days: None,
        }
    }
}
