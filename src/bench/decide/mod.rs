//! `isotherm bench decide`: how long a decision takes and how many are made in a second, against the plain
//! loop: the same model in the same run, the whole prompt each time, every token by a pass of its own, and
//! the schema's default whitespace. `docs/speed.md` says what the numbers mean.

mod questions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use tokio::task::JoinSet;

use super::control::metrics::percentile;
use super::control::{BenchError, cases};
use crate::clock::Stopwatch;
use crate::reason::{CacheType, Completion, Facts, Failure, Launch, Load, Pace, Reasoner, Request};

/// Loading, and the longest reply of a slow model.
const PATIENCE: Duration = Duration::from_mins(10);
/// The plain loop answers one question of so many: it is slow.
const PLAIN_OF: usize = 4;
/// Rounds over the numbers of decisions at once, so that a passing load on the machine hits all of them.
const ROUNDS: usize = 2;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "models/isotherm.gguf")]
    model: PathBuf,
    /// The scenario whose plant asks; see `bench control`.
    #[arg(long, default_value = "air-mild-training")]
    scenario: String,
    /// Decisions measured, and made at each number at once.
    #[arg(long, default_value_t = 32)]
    decisions: usize,
    /// Numbers of decisions made at once, by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16], value_parser = clap::value_parser!(u32).range(1..=64))]
    at_once: Vec<u32>,
    /// Tokens after which a reply is cut off, and timed as it is: an untrained model does not find an end.
    #[arg(long, default_value_t = 1000)]
    reply_tokens: u32,
    /// Number format of the cache: f16 or q8_0.
    #[arg(long, default_value = "f16", value_parser = cache)]
    cache: CacheType,
    /// Whether attention is computed the flash way; as the model's attention has it when absent.
    #[arg(long)]
    flash_attention: Option<bool>,
    /// Threads; as many as a measurement finds best when absent.
    #[arg(long, default_value_t = 0)]
    threads: u32,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// One decision alone, from the question to its answer.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub plain_p50_ms: f64,
    /// Of the two medians.
    pub speedup: f64,
    /// Means over the replies that ended; `null` where none did.
    pub prompt_tokens: f64,
    pub reused_tokens: f64,
    pub output_tokens: f64,
    pub forced_tokens: f64,
    pub plain_output_tokens: f64,
    pub prefill_ms: f64,
    pub decode_ms: f64,
    /// Prompt tokens computed, those reused not counted.
    pub prefill_tokens_per_s: f64,
    pub decode_tokens_per_s: f64,
    pub plain_prefill_tokens_per_s: f64,
    pub plain_decode_tokens_per_s: f64,
    /// By decisions at once.
    pub decisions_per_s: BTreeMap<u32, f64>,
    pub kv_bytes_per_token: u64,
    pub peak_mb: PeakMb,
    pub decisions: usize,
    /// Replies cut off; timed like the others.
    pub unfinished: usize,
    pub threads: u32,
    pub model_sha256: String,
    pub build: String,
}

/// Most resident memory of each process, mapped files included.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PeakMb {
    /// This process, which also simulates the plant.
    pub guard: f64,
    /// One decision at a time, as the service asks.
    pub reasoner: f64,
    /// The most decisions at once.
    pub reasoner_many: f64,
}

/// What one question cost.
struct Timed {
    ms: f64,
    result: Result<Completion, Failure>,
}

pub async fn run(args: &Args) -> Result<Report, BenchError> {
    let case = cases::select(&[], std::slice::from_ref(&args.scenario))?;
    let Some(case) = case.first() else { return Err(BenchError::Usage("no such scenario".to_owned())) };
    let most = args.at_once.iter().copied().max().unwrap_or(1);
    if args.decisions < most as usize {
        return Err(BenchError::Usage(format!("--decisions: expected at least {most}, as --at-once asks")));
    }
    let (site, mut requests) = questions::of(case, &args.model, args.decisions)?;
    for request in &mut requests {
        request.deadline = SignedDuration::try_from(PATIENCE).unwrap_or(request.deadline);
        request.sampler.max_tokens = args.reply_tokens;
    }
    let load = Load {
        path: args.model.clone(),
        sha256: None,
        context: site.model.context,
        threads: args.threads,
        memory_limit_mb: None,
        cache: args.cache,
        flash_attention: args.flash_attention,
        sequences: 1,
        pace: Pace::Fast,
        kept: None,
        background: false,
    };

    eprintln!("{} decisions one at a time, every fourth also plainly", args.decisions);
    let fast = start(&load).await?;
    let plain = start(&Load { pace: Pace::Plain, ..load.clone() }).await?;
    let (mut alone, mut plainly) = (Vec::new(), Vec::new());
    for (i, request) in requests.iter().enumerate() {
        alone.push(timed(&fast.reasoner, request).await?);
        // In turn, so that other load on the machine hits both.
        if i % PLAIN_OF == 0 {
            plainly.push(timed(&plain.reasoner, request).await?);
        }
    }
    let reasoner_mb = peak_mb(fast.facts.pid);
    drop(plain.reasoner);

    let many = start(&Load { sequences: most, ..load }).await?;
    let (one, many_at_once) = (Arc::new(fast.reasoner), Arc::new(many.reasoner));
    let requests = Arc::new(requests);
    // The prompts' common beginning is in the cache, as it is in a service that runs.
    decide(&many_at_once, &requests, 1, 1).await?;
    let mut seconds = BTreeMap::<u32, f64>::new();
    for _ in 0..ROUNDS {
        for at_once in args.at_once.iter().copied() {
            eprintln!("{} decisions, {at_once} at a time", args.decisions);
            // One at a time has all threads for itself.
            let reasoner = if at_once == 1 { &one } else { &many_at_once };
            let watch = Stopwatch::start();
            decide(reasoner, &requests, at_once, args.decisions).await?;
            *seconds.entry(at_once).or_default() += watch.elapsed().as_secs_f64();
        }
    }
    let made = (ROUNDS * args.decisions) as f64;

    let (p50_ms, p99_ms) = (ms(&alone, 0.5), ms(&alone, 0.99));
    let plain_p50_ms = ms(&plainly, 0.5);
    let facts = fast.facts;
    Ok(Report {
        p50_ms,
        p99_ms,
        plain_p50_ms,
        speedup: plain_p50_ms / p50_ms,
        prompt_tokens: mean(&alone, |c| f64::from(c.prompt_tokens)),
        reused_tokens: mean(&alone, |c| f64::from(c.reused_tokens)),
        output_tokens: mean(&alone, |c| c.tokens.len() as f64),
        forced_tokens: mean(&alone, |c| f64::from(c.forced_tokens)),
        prefill_ms: mean(&alone, |c| c.prefill_ms),
        decode_ms: mean(&alone, |c| c.decode_ms),
        plain_output_tokens: mean(&plainly, |c| c.tokens.len() as f64),
        prefill_tokens_per_s: 1e3 * mean(&alone, |c| f64::from(c.prompt_tokens - c.reused_tokens))
            / mean(&alone, |c| c.prefill_ms),
        decode_tokens_per_s: 1e3 * mean(&alone, |c| c.tokens.len() as f64) / mean(&alone, |c| c.decode_ms),
        plain_prefill_tokens_per_s: 1e3 * mean(&plainly, |c| f64::from(c.prompt_tokens))
            / mean(&plainly, |c| c.prefill_ms),
        plain_decode_tokens_per_s: 1e3 * mean(&plainly, |c| c.tokens.len() as f64)
            / mean(&plainly, |c| c.decode_ms),
        decisions_per_s: seconds.into_iter().map(|(n, s)| (n, made / s)).collect(),
        kv_bytes_per_token: facts.kv_bytes / u64::from(facts.context.max(1)),
        peak_mb: PeakMb {
            guard: peak_mb(std::process::id()),
            reasoner: reasoner_mb,
            reasoner_many: peak_mb(many.facts.pid),
        },
        decisions: alone.len(),
        unfinished: alone.iter().filter(|t| t.result.is_err()).count(),
        threads: facts.threads,
        model_sha256: facts.sha256,
        build: facts.build,
    })
}

fn cache(text: &str) -> Result<CacheType, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected f16 or q8_0".to_owned())
}

struct Started {
    reasoner: Reasoner,
    facts: Facts,
}

async fn start(load: &Load) -> Result<Started, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::Io)?;
    let reasoner =
        Reasoner::start(Launch { program, load: load.clone(), group: None }).map_err(BenchError::Io)?;
    let facts = reasoner.ready(PATIENCE).await.map_err(BenchError::Model)?;
    Ok(Started { reasoner, facts })
}

async fn timed(reasoner: &Reasoner, request: &Request) -> Result<Timed, BenchError> {
    let watch = Stopwatch::start();
    let result = reasoner.ask(request.clone()).await;
    match &result {
        Ok(_) | Err(Failure::Unfinished { .. }) => Ok(Timed { ms: watch.millis(), result }),
        Err(failure) => Err(BenchError::Model(failure.clone())),
    }
}

/// Makes the first `count` decisions, so many at once.
async fn decide(
    reasoner: &Arc<Reasoner>,
    requests: &Arc<Vec<Request>>,
    at_once: u32,
    count: usize,
) -> Result<(), BenchError> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (reasoner, requests, next) = (Arc::clone(reasoner), Arc::clone(requests), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                match requests.get(index) {
                    Some(request) if index < count => timed(&reasoner, request).await?,
                    _ => return Ok(()),
                };
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap_or(Err(BenchError::Panic))?;
    }
    Ok(())
}

fn ms(timed: &[Timed], share: f64) -> f64 {
    let mut sorted: Vec<f64> = timed.iter().map(|t| t.ms).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    percentile(&sorted, share)
}

/// Over the replies that ended.
fn mean(timed: &[Timed], of: impl Fn(&Completion) -> f64) -> f64 {
    let values: Vec<f64> = timed.iter().filter_map(|t| t.result.as_ref().ok()).map(of).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// The kernel's high-water mark; 0 where it is not told.
fn peak_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kb = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kb.unwrap_or_default() * 1024.0 / 1e6
}
