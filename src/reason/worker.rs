//! The reasoner process: `isotherm reasoner`, started by the guard and talking to it over pipes.
//!
//! It is the part that may be lost. It asks the kernel to choose it when memory runs out, dies with the
//! guard, and keeps nothing that the guard would miss.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use rustix::process::{Resource, Rlimit, Signal};

use super::admission::{self, BATCH, Need};
use super::amx;
use super::lane::{Guard, Lane};
use super::local::{Engine, Setup};
use super::probe;
use super::protocol::{self, CacheType, Command, Facts, Load, ProtocolError, Reply};
use crate::clock::Stopwatch;
use crate::memory::protect;
use crate::model::inspect::{Attention, Inspection, inspect};

/// Threads beyond this only wait for each other on the models this is made for.
const MOST_THREADS: usize = 8;

/// Serves the guard on this process's standard input and output until the guard closes them.
pub fn run() -> Result<(), ProtocolError> {
    // The protocol takes standard output for itself; whatever else prints there goes to standard error.
    let answers = rustix::io::dup(rustix::stdio::stdout()).map_err(std::io::Error::from)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map_err(std::io::Error::from)?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // Fails when the program already has a subscriber, which then stays.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .with_ansi(false)
        .without_time()
        .try_init()
        .ok();
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());

    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    if let Err(error) = std::fs::write(protect::SCORE_FILE, protect::REASONER_SCORE.to_string()) {
        tracing::warn!("oom_score_adj stays as it is: {error}");
    }
    if let Err(error) = amx::refuse() {
        tracing::warn!(
            "a CPU with a matrix unit (AMX) may end this process, and the kernel cannot be asked to refuse it: {error}"
        );
    }
    // A core dump would hold the model.
    limit(Resource::Core, 0)?;
    serve(std::io::stdin(), File::from(answers))
}

/// Threads to come inherit the priority; there is no way back from it.
fn give_way() {
    if let Err(error) = rustix::process::nice(19) {
        tracing::warn!("the priority stays as it is: {error}");
    }
    if let Err(error) = std::fs::write(protect::SCORE_FILE, protect::CANDIDATE_SCORE.to_string()) {
        tracing::warn!("oom_score_adj stays as it is: {error}");
    }
}

fn limit(resource: Resource, most: u64) -> std::io::Result<()> {
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

fn serve(mut input: impl Read + Send + 'static, mut output: impl Write + Send) -> Result<(), ProtocolError> {
    let Some(Command::Load(load)) = protocol::read(&mut input)? else {
        return Ok(());
    };
    if load.background {
        give_way();
    }
    let watch = Stopwatch::start();
    let mut refuse = |why: String| protocol::write(&mut output, &Reply::Refused { why });
    let (facts, setup) = match admit(&load) {
        Ok(admitted) => admitted,
        Err(why) => return refuse(why),
    };
    let backend = match LlamaBackend::init() {
        Ok(backend) => backend,
        Err(error) => return refuse(error.to_string()),
    };
    let model = match LlamaModel::load_from_file(&backend, &load.path, &LlamaModelParams::default()) {
        Ok(model) => Arc::new(model),
        Err(error) => return refuse(format!("llama.cpp could not load {}: {error}", load.path.display())),
    };
    let facts = match count_threads(facts, &load, &backend, &model) {
        Ok(facts) => facts,
        Err(why) => return refuse(why),
    };
    let kept = load.kept.clone().map(|folder| (folder, made_with(&facts, setup)));
    let (made, engines) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut lanes = Vec::new();
        for lane in Lane::split(facts.threads, facts.sequences) {
            // A context stays in the thread that made it.
            let (begin, begun) = mpsc::channel::<Arc<Guard<_>>>();
            let (made, backend, model, kept) = (made.clone(), &backend, &model, kept.clone());
            let running = scope.spawn(move || {
                let engine = Engine::new(backend, model, lane, setup, kept);
                made.send(engine.as_ref().map(Engine::tokens).map_err(ToString::to_string)).ok();
                match (engine, begun.recv()) {
                    (Ok(mut engine), Ok(guard)) => guard.serve(&mut engine),
                    _ => Ok(()),
                }
            });
            lanes.push((begin, running));
        }
        drop(made);
        let tokens: Result<Vec<u32>, String> = engines.iter().take(lanes.len()).collect();
        let context = match tokens {
            Ok(tokens) => tokens.into_iter().min().unwrap_or(load.context),
            Err(error) => {
                let why = format!(
                    "no context of {} tokens for each of {} questions could be made ({error}); \
                     llama.cpp's log says why",
                    load.context, facts.sequences
                );
                return protocol::write(&mut output, &Reply::Refused { why });
            }
        };
        let load_ms = watch.millis() as u64;
        protocol::write(&mut output, &Reply::Loaded(Facts { context, load_ms, ..facts }))?;
        let guard = Arc::new(Guard::new(questions(input), output));
        for (begin, _) in &lanes {
            begin.send(Arc::clone(&guard)).ok();
        }
        let mut ended = lanes.into_iter().map(|(_, running)| running.join());
        let lost = || Err(std::io::Error::other("a lane ended in a panic").into());
        ended.try_for_each(|result| result.unwrap_or_else(|_| lost()))
    })
}

/// Reads what the guard sends, beside the computation. The thread ends with the process.
fn questions(mut input: impl Read + Send + 'static) -> Receiver<Result<Command, ProtocolError>> {
    let (sender, questions) = mpsc::channel();
    std::thread::spawn(move || {
        while let Some(command) = protocol::read(&mut input).transpose() {
            let broken = command.is_err();
            if sender.send(command).is_err() || broken {
                return;
            }
        }
    });
    questions
}

/// Checks the file and the memory it would take, and sets the limit the guard asked for.
fn admit(load: &Load) -> Result<(Facts, Setup), String> {
    let model = inspect(&load.path).map_err(|e| e.to_string())?;
    check_hash(&load.path, &model, load.sha256.as_deref())?;
    let sequences = load.sequences.max(1);
    let mut need = Need::of(&model, load.context, load.cache);
    need.cache = need.cache.saturating_mul(u64::from(sequences));
    let mut limits = admission::limits();
    if let Some(mb) = load.memory_limit_mb {
        let bytes = mb.saturating_mul(1_000_000);
        limits.push(("memory_limit_mb", bytes));
        limit(Resource::As, bytes).map_err(|e| format!("memory_limit_mb = {mb} cannot be set: {e}"))?;
    }
    need.check(&limits).map_err(|e| e.to_string())?;
    // The values of latent attention are a part of its keys, and flash attention reads them again for every
    // head: `docs/speed.md`. It is what a quantized cache needs all the same.
    let latent = model.attention == Attention::Mla && load.cache == CacheType::F16;
    let flash = load.flash_attention.unwrap_or(!latent);
    let setup = Setup { context: load.context, cache: load.cache, flash, pace: load.pace };
    let facts = Facts {
        sha256: model.sha256,
        architecture: model.architecture,
        quantization: model.quantization,
        parameters: model.parameters,
        file_bytes: model.file_bytes,
        context: load.context,
        kv_bytes: need.cache,
        sequences,
        threads: load.threads,
        probed: Vec::new(),
        build: super::build_info(),
        load_ms: 0,
        pid: std::process::id(),
    };
    Ok((facts, setup))
}

/// Settles the number of threads where none is given. Several questions at once have a thread each first, and
/// leave nothing to measure.
fn count_threads(
    facts: Facts,
    load: &Load,
    backend: &LlamaBackend,
    model: &LlamaModel,
) -> Result<Facts, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS) as u32;
    if load.threads > 0 {
        return Ok(facts);
    }
    if cores == 1 || facts.sequences > 1 {
        return Ok(Facts { threads: cores, ..facts });
    }
    // In a thread that ends: OpenMP keeps the helpers of each thread that ever asked for some, and once there are more
    // of them than cores none of them spins any more.
    let probed = std::thread::scope(|scope| {
        let measured = scope.spawn(|| probe::measure(backend, model, cores)).join();
        measured.map_err(|_| "the measurement of threads broke".to_owned())?.map_err(|e| e.to_string())
    })?;
    Ok(Facts { threads: probe::best(&probed).unwrap_or(cores), probed, ..facts })
}

/// What computed keys and values depend on beside their tokens.
fn made_with(facts: &Facts, setup: Setup) -> String {
    format!("{} {} {setup:?} {BATCH} at once {} threads", facts.sha256, facts.build, facts.threads)
}

fn check_hash(path: &Path, model: &Inspection, expected: Option<&str>) -> Result<(), String> {
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(&model.sha256) => Err(format!(
            "model file {} is not the one the site allows: expected SHA-256 {expected}, found {}",
            path.display(),
            model.sha256
        )),
        _ => Ok(()),
    }
}
