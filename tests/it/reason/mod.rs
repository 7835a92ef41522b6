//! The reasoner process, met as the guard meets it: with the real model, with peers that misbehave, and
//! with a real server of the OpenAI kind.

mod answers;
mod failures;
mod fake;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use isotherm::clock::Stopwatch;
use isotherm::reason::{
    CacheType, Completion, Facts, Failure, Launch, Load, Pace, Reasoner, Request, Sampler,
};
use isotherm::units::Finite;
use jiff::SignedDuration;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::peers::skip;

/// Loading, on a machine busy with other things.
const LOADING: Duration = Duration::from_mins(2);

/// The machine's cores are the model's while a test has this: two models at once wait for each other's
/// threads more than they compute.
struct Cores {
    model: PathBuf,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

async fn cores() -> Option<Cores> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let model = model()?;
    Some(Cores { model, _turn: TURN.lock().await })
}

/// `ISOTHERM_MODEL`, or what the shipped model was made from: a llama, larger and slower than what it became.
fn model() -> Option<PathBuf> {
    let named = std::env::var_os("ISOTHERM_MODEL").map(PathBuf::from);
    let found = named.unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/smollm2-135m-instruct-q8_0.gguf")
    });
    if !found.exists() {
        skip("reason", "no model file; run scripts/model, or set ISOTHERM_MODEL");
        return None;
    }
    Some(found)
}

fn launch(cores: &Cores) -> Launch {
    Launch { program: env!("CARGO_BIN_EXE_isotherm").into(), load: load(cores.model.clone()), group: None }
}

fn load(path: PathBuf) -> Load {
    Load {
        path,
        sha256: None,
        context: 2048,
        threads: 2,
        memory_limit_mb: None,
        cache: CacheType::F16,
        flash_attention: None,
        sequences: 1,
        pace: Pace::Fast,
        kept: None,
        background: false,
    }
}

async fn started_for(cores: &Cores, threads: u32, sequences: u32) -> (Arc<Reasoner>, Facts) {
    let mut launch = launch(cores);
    launch.load.threads = threads;
    launch.load.sequences = sequences;
    let reasoner = Reasoner::start(launch).unwrap();
    let facts = reasoner.ready(LOADING).await.unwrap();
    (Arc::new(reasoner), facts)
}

/// Asks all of them at the same time; the answers in their order.
async fn ask_all(reasoner: &Arc<Reasoner>, requests: Vec<Request>) -> Vec<Result<Completion, Failure>> {
    let asked: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let reasoner = Arc::clone(reasoner);
            tokio::spawn(async move { reasoner.ask(request).await })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    answers
}

async fn started(cores: &Cores) -> (Reasoner, Facts) {
    let reasoner = Reasoner::start(launch(cores)).unwrap();
    let facts = reasoner.ready(LOADING).await.unwrap();
    (reasoner, facts)
}

fn request(body: &str, schema: Value) -> Request {
    let line = "You keep a data hall between 18 and 27 degC. Lower setpoints cost energy. ";
    Request {
        prefix: line.repeat(12),
        body: format!("{body}\nReply: "),
        schema,
        account: None,
        sampler: Sampler { max_tokens: 200, temperature: Finite::ZERO, seed: 1 },
        deadline: SignedDuration::from_secs(60),
    }
}

/// A reply of about `tokens` tokens, whatever the model.
fn long(tokens: u32) -> Request {
    let schema = object(&json!({ "text": { "type": "string", "minLength": 8 * tokens } }));
    let mut request = request("Tell a story.", schema);
    request.sampler.max_tokens = tokens;
    request
}

fn object(properties: &Value) -> Value {
    let names: Vec<&String> = properties.as_object().unwrap().keys().collect();
    json!({ "type": "object", "required": names, "additionalProperties": false, "properties": properties })
}

/// As a site's decisions look.
fn decision() -> Value {
    let evidence = object(&json!({
        "signal": { "enum": ["hall_inlet_max", "chws_temp", "it_load"] },
        "value": { "type": "number", "minimum": -50, "maximum": 500, "multipleOf": 0.1 },
        "trend": { "enum": ["rising", "falling", "steady"] },
    }));
    object(&json!({
        "assessment": { "type": "string", "maxLength": 60 },
        "evidence": { "type": "array", "items": evidence, "minItems": 1, "maxItems": 2 },
        "setpoints": object(&json!({
            "chws_sp": { "type": "number", "minimum": 6, "maximum": 16, "multipleOf": 0.5 },
            "crah_supply_sp": { "type": "number", "minimum": 16, "maximum": 24, "multipleOf": 0.5 },
            "pump_speed": { "type": "integer", "minimum": 30, "maximum": 100, "multipleOf": 5 },
        })),
        "rationale": { "type": "string", "maxLength": 80 },
    }))
}

fn is_multiple(value: &Value, low: f64, high: f64, step: f64) -> bool {
    let value = value.as_f64().unwrap();
    let steps = value / step;
    (low..=high).contains(&value) && (steps - steps.round()).abs() < 1e-9
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// Waits for a condition that no event announces.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !condition() {
        assert!(watch.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn gone(pid: u32) {
    let path = format!("/proc/{pid}/stat");
    // A process nobody collects stays as a zombie.
    until("the process is gone", || {
        std::fs::read_to_string(&path).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}

/// Waits until the process is computing, by the processor time it has used.
async fn busy(pid: u32) {
    let path = format!("/proc/{pid}/stat");
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(&path).unwrap();
        // The name before the last parenthesis may hold anything; user time is the 12th field after it.
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(11).unwrap().parse().unwrap()
    };
    let before = ticks();
    until("the process is computing", || ticks() >= before + 20).await;
}
