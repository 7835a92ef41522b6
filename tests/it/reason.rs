//! The reasoner process, met as the guard meets it: with the real model, with peers that misbehave, and
//! with a real server of the OpenAI kind.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use isotherm::clock::Stopwatch;
use isotherm::reason::protocol::{self, MAX_MESSAGE, Reply};
use isotherm::reason::{
    CacheType, Completion, Facts, Failure, Launch, Load, Pace, Reasoner, Request, Sampler, Server,
};
use isotherm::units::Finite;
use jiff::SignedDuration;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

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
        eprintln!("SKIPPED: no model file; run scripts/model, or set ISOTHERM_MODEL");
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

#[tokio::test]
async fn a_reply_is_what_the_schema_says() {
    let Some(cores) = cores().await else { return };
    let (reasoner, facts) = started(&cores).await;
    assert_eq!((facts.sha256.len(), facts.threads, facts.context), (64, 2, 2048));
    assert_eq!(reasoner.facts().as_ref(), Some(&facts));

    for inlet in ["21.0 and steady", "26.1 and rising", "17.2 and falling"] {
        let completion = reasoner.ask(request(&format!("Inlet {inlet}."), decision())).await.unwrap();
        let reply: Value = serde_json::from_str(&completion.text).unwrap();
        assert_eq!(completion.text, serde_json::to_string(&reply).unwrap(), "no free whitespace");
        let names: Vec<&String> = reply.as_object().unwrap().keys().collect();
        assert_eq!(names, ["assessment", "evidence", "setpoints", "rationale"], "in the schema's order");
        let setpoints = &reply["setpoints"];
        assert!(is_multiple(&setpoints["chws_sp"], 6.0, 16.0, 0.5), "{setpoints}");
        assert!(is_multiple(&setpoints["crah_supply_sp"], 16.0, 24.0, 0.5), "{setpoints}");
        assert!(is_multiple(&setpoints["pump_speed"], 30.0, 100.0, 5.0), "{setpoints}");
        let evidence = reply["evidence"].as_array().unwrap();
        assert!((1..=2).contains(&evidence.len()));
        for item in evidence {
            assert!(["hall_inlet_max", "chws_temp", "it_load"].contains(&item["signal"].as_str().unwrap()));
            assert!(is_multiple(&item["value"], -50.0, 500.0, 0.1), "{item}");
        }
        assert!(reply["assessment"].as_str().unwrap().chars().count() <= 60);

        let bytes: usize = completion.tokens.iter().map(|t| usize::from(t.bytes)).sum();
        assert_eq!(bytes, completion.text.len(), "the tokens make up the text");
        assert!(completion.tokens.iter().all(|t| t.p > 0.0 && t.p <= 1.0));
        let forced = completion.tokens.iter().filter(|t| t.p >= 1.0).count();
        assert!(completion.forced_tokens > 20 && completion.forced_tokens as usize <= forced);
        println!(
            "{} prompt tokens ({} reused) in {:.0} ms; {} reply tokens ({} forced) in {:.0} ms: {}",
            completion.prompt_tokens,
            completion.reused_tokens,
            completion.prefill_ms,
            completion.tokens.len(),
            completion.forced_tokens,
            completion.decode_ms,
            completion.text
        );
    }
}

#[tokio::test]
async fn the_same_request_gives_the_same_tokens_warm_or_cold() {
    let Some(cores) = cores().await else { return };
    let (one, _) = started(&cores).await;
    let first = request("Inlet 24.9 and rising.", decision());
    let mut sampled = first.clone();
    sampled.sampler.temperature = Finite::constant(0.8);
    let tokens = |c: &Completion| (c.text.clone(), c.tokens.clone(), c.prompt_tokens);

    let cold = one.ask(first.clone()).await.unwrap();
    one.ask(request("Something else entirely: a pump has failed and the load is 300 kW.", decision()))
        .await
        .unwrap();
    let warm = one.ask(first.clone()).await.unwrap();
    assert_eq!(cold.reused_tokens, 0);
    assert!(warm.reused_tokens > 100, "{}", warm.reused_tokens);
    assert_eq!(tokens(&cold), tokens(&warm));

    let drawn = one.ask(sampled.clone()).await.unwrap();
    let (two, _) = started(&cores).await;
    assert_eq!(tokens(&drawn), tokens(&two.ask(sampled.clone()).await.unwrap()));
    assert_eq!(tokens(&cold), tokens(&two.ask(first).await.unwrap()));
    sampled.sampler.seed = 2;
    assert_ne!(tokens(&drawn), tokens(&two.ask(sampled).await.unwrap()), "another seed draws differently");
}

#[tokio::test]
async fn a_kept_beginning_gives_the_same_tokens_and_a_damaged_one_is_made_anew() {
    let Some(cores) = cores().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let question = request("Inlet 24.9 and rising.", decision());
    let files = || {
        let mut all: Vec<PathBuf> = std::fs::read_dir(&kept).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort_unstable();
        all
    };
    let asked = async |kept: &Path, question: &Request| {
        let mut launch = launch(&cores);
        launch.load.kept = Some(kept.to_owned());
        let reasoner = Reasoner::start(launch).unwrap();
        reasoner.ready(LOADING).await.unwrap();
        reasoner.ask(question.clone()).await.unwrap()
    };
    let tokens = |c: &Completion| (c.text.clone(), c.tokens.clone());

    let computed = asked(&kept, &question).await;
    assert_eq!(computed.reused_tokens, 0);
    let written = files();
    assert_eq!(written.len(), 1, "{written:?}");
    let read = asked(&kept, &question).await;
    assert!(read.reused_tokens > 100, "{}", read.reused_tokens);
    assert_eq!(tokens(&computed), tokens(&read));

    let damages: [fn(&mut Vec<u8>); 3] = [|bytes| bytes[99] ^= 1, |bytes| bytes.truncate(1000), Vec::clear];
    for damage in damages {
        let mut bytes = std::fs::read(&written[0]).unwrap();
        damage(&mut bytes);
        std::fs::write(&written[0], bytes).unwrap();
        let anew = asked(&kept, &question).await;
        assert_eq!((anew.reused_tokens, tokens(&anew)), (0, tokens(&computed)));
        assert_eq!(files(), written, "as it was");
        assert!(std::fs::metadata(&written[0]).unwrap().len() > 100_000);
    }

    // A folder that cannot be one costs nothing but the time.
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    assert_eq!(tokens(&asked(&blocked, &question).await), tokens(&computed));

    for i in 0..6 {
        let mut other = question.clone();
        other.prefix += &i.to_string();
        asked(&kept, &other).await;
    }
    assert_eq!(files().len(), 4, "bounded");
}

#[tokio::test]
async fn threads_are_measured_where_none_are_given() {
    let Some(cores) = cores().await else { return };
    let (_, given) = started(&cores).await;
    assert_eq!((given.threads, given.probed.len()), (2, 0));
    let most = std::thread::available_parallelism().unwrap().get();
    if most == 1 {
        return;
    }
    let (_, facts) = started_for(&cores, 0, 1).await;
    let tried: Vec<u32> = facts.probed.iter().map(|p| p.threads).collect();
    assert!(tried.starts_with(&[1]) && tried.contains(&facts.threads), "{facts:?}");
    let least = facts.probed.iter().map(|p| p.us_per_token).min().unwrap();
    let chosen = facts.probed.iter().find(|p| p.threads == facts.threads).unwrap();
    assert!(chosen.us_per_token * 100 <= least * 105, "{facts:?}");
    let (_, many) = started_for(&cores, 0, 2).await;
    assert!(many.probed.is_empty() && many.threads as usize == most.min(8), "{many:?}");
}

#[tokio::test]
async fn several_questions_at_once_get_each_its_own_answer() {
    let Some(cores) = cores().await else { return };
    let (reasoner, facts) = started_for(&cores, 1, 3).await;
    assert_eq!((facts.sequences, facts.context), (3, 2048), "each has the whole context");
    // In one lane. Replies of very different lengths, more of them than fit at once.
    let mut requests: Vec<Request> = (0..7)
        .map(|i| {
            let words = json!({ "type": "string", "maxLength": 1 + 9 * i });
            request(&format!("Question {i}."), object(&json!({ "number": { "enum": [i] }, "words": words })))
        })
        .collect();
    requests[2].deadline = SignedDuration::from_millis(1);
    requests[3].body = "word ".repeat(2500);
    requests[4].sampler.max_tokens = 3;
    requests[5].schema = json!("no schema at all");
    let answers = ask_all(&reasoner, requests).await;
    for i in [0, 1, 6] {
        let completion = answers[i].as_ref().unwrap();
        let reply: Value = serde_json::from_str(&completion.text).unwrap();
        assert_eq!(reply["number"], i, "{reply}");
        let bytes: usize = completion.tokens.iter().map(|t| usize::from(t.bytes)).sum();
        assert_eq!(bytes, completion.text.len());
    }
    assert_eq!(answers[2], Err(Failure::Late { deadline_ms: 1 }));
    assert!(matches!(answers[3], Err(Failure::TooLong { context: 2048, .. })), "{:?}", answers[3]);
    assert!(matches!(answers[4], Err(Failure::Unfinished { .. })), "{:?}", answers[4]);
    assert!(matches!(answers[5], Err(Failure::Schema { .. })), "{:?}", answers[5]);
    let reused = answers[1].as_ref().unwrap().reused_tokens;
    assert!(reused > 100, "the prefix is computed once and copied: {reused}");
    assert_eq!(reasoner.facts().unwrap().pid, facts.pid);
}

#[tokio::test]
async fn a_copied_prefix_is_as_good_as_a_computed_one() {
    let Some(cores) = cores().await else { return };
    let (reasoner, _) = started_for(&cores, 1, 2).await;
    let question = request("Inlet 24.9 and rising.", decision());
    let cold = reasoner.ask(question.clone()).await.unwrap();
    assert_eq!(cold.reused_tokens, 0);
    // Fills the first sequence, so that the question after it goes to the second, with a copy.
    let mut other = long(300);
    other.prefix = question.prefix.clone();
    let busy = {
        let reasoner = Arc::clone(&reasoner);
        tokio::spawn(async move { reasoner.ask(other).await })
    };
    let copied = loop {
        let copied = reasoner.ask(question.clone()).await.unwrap();
        if busy.is_finished() || copied.reused_tokens > 0 {
            break copied;
        }
    };
    assert!(copied.reused_tokens > 100);
    // Sums are taken in another order beside another question, so what is compared is the first choice.
    assert_eq!(copied.prompt_tokens, cold.prompt_tokens);
    let first = |c: &Completion| c.tokens.iter().find(|t| t.p < 1.0).map(|t| (t.id, t.p));
    let ((a, p), (b, q)) = (first(&cold).unwrap(), first(&copied).unwrap());
    assert!(a == b && (p - q).abs() < 0.05, "{a} {p}, {b} {q}");
    busy.await.unwrap().ok();
}

#[tokio::test]
async fn a_latent_model_answers_with_either_cache_and_either_attention() {
    let Some(cores) = cores().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let latent = folder.path().join("latent.gguf");
    let options = ["--rank", "96", "--rope-dims", "32", "--weights-only"];
    let made = Command::new(env!("CARGO_BIN_EXE_isotherm"))
        .args(["model", "compress"])
        .args([&cores.model, &latent])
        .args(options)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut firsts = Vec::new();
    let mut bytes = Vec::new();
    for (cache, flash_attention) in
        [(CacheType::F16, None), (CacheType::F16, Some(true)), (CacheType::Q8_0, None)]
    {
        let mut launch = launch(&cores);
        launch.load = Load { path: latent.clone(), cache, flash_attention, ..launch.load };
        let reasoner = Reasoner::start(launch).unwrap();
        bytes.push(reasoner.ready(LOADING).await.unwrap().kv_bytes);
        let words = json!({ "type": "string", "minLength": 2, "maxLength": 8 });
        let completion = reasoner.ask(request("Inlet 22.", object(&json!({ "w": words })))).await.unwrap();
        let reply: Value = serde_json::from_str(&completion.text).unwrap();
        assert!(reply["w"].as_str().unwrap().chars().count() <= 8, "{reply}");
        firsts.push(completion.tokens.iter().find(|t| t.p < 1.0).unwrap().p);
    }
    assert_eq!(bytes[2] * 64, bytes[0] * 34, "q8_0 takes 34 bytes for 32 numbers");
    // The same model, computed in three ways.
    assert!(firsts.iter().all(|p| (p - firsts[0]).abs() < 0.1), "{firsts:?}");
}

#[tokio::test]
async fn all_that_were_asked_learn_of_a_death() {
    let Some(cores) = cores().await else { return };
    let (reasoner, facts) = started_for(&cores, 2, 2).await;
    let death = async {
        busy(facts.pid).await;
        signal(facts.pid, Signal::KILL);
    };
    let (answers, ()) = tokio::join!(ask_all(&reasoner, vec![long(1500), long(1400)]), death);
    for answer in answers {
        assert!(matches!(&answer, Err(Failure::Died { how }) if how.contains("signal: 9")), "{answer:?}");
    }
    reasoner.ready(LOADING).await.unwrap();
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let then = "head -c 4 >/dev/null; sleep 1; cat two one; exec sleep 100";
    let mut fake = Fake::new(then, &[("one", answer(1, "one")), ("two", answer(2, "two"))]);
    fake.launch.load.sequences = 2;
    let reasoner = Arc::new(fake.started().await);
    let answers = ask_all(&reasoner, vec![request("", decision()), request("", decision())]).await;
    let texts: Vec<String> = answers.into_iter().map(|a| a.unwrap().text).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test]
async fn a_thousand_short_replies_end_cleanly() {
    let Some(cores) = cores().await else { return };
    let (reasoner, facts) = started(&cores).await;
    let schemas = [
        object(&json!({ "ok": { "enum": ["yes", "no"] } })),
        object(&json!({ "n": { "type": "integer", "minimum": 0, "maximum": 9 } })),
        object(&json!({ "s": { "type": "string", "maxLength": 2 } })),
        json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 0, "maxItems": 2 }),
        json!({ "type": "integer", "minimum": 0, "maximum": 99 }),
    ];
    for i in 0..1000 {
        // Runs of one schema, as a site has, with changes between them.
        let schema = &schemas[i / 20 % schemas.len()];
        let mut request = request(&format!("{i}"), schema.clone());
        request.prefix = "Answer.\n".to_owned();
        request.sampler.max_tokens = 16;
        let completion = reasoner.ask(request).await.unwrap();
        let reply: Result<Value, _> = serde_json::from_str(&completion.text);
        assert!(reply.is_ok(), "reply {i}: {:?}", completion.text);
    }
    assert_eq!(reasoner.facts().unwrap().pid, facts.pid, "it never had to be started again");
}

#[tokio::test]
async fn what_does_not_fit_is_told_apart() {
    let Some(cores) = cores().await else { return };
    let (reasoner, _) = started(&cores).await;

    let mut wordy = request(&"word ".repeat(2500), decision());
    assert!(matches!(
        reasoner.ask(wordy.clone()).await,
        Err(Failure::TooLong { tokens, context: 2048, .. }) if tokens > 2048
    ));
    wordy.body = "Inlet 22.".to_owned();
    wordy.sampler.max_tokens = 9;
    assert_eq!(reasoner.ask(wordy.clone()).await, Err(Failure::Unfinished { tokens: 9 }));
    wordy.sampler.max_tokens = 200;
    wordy.schema = json!({ "type": "object", "properties": { "a": { "type": "no such type" } } });
    assert!(matches!(reasoner.ask(wordy.clone()).await, Err(Failure::Schema { .. })));
    wordy.schema = json!("no schema at all");
    assert!(matches!(reasoner.ask(wordy.clone()).await, Err(Failure::Schema { .. })));
    wordy.schema = decision();
    wordy.sampler.max_tokens = 400;
    reasoner.ask(wordy).await.unwrap();
}

#[tokio::test]
async fn killed_in_the_middle_of_an_answer() {
    let Some(cores) = cores().await else { return };
    let (reasoner, facts) = started(&cores).await;
    let busy = async {
        busy(facts.pid).await;
        signal(facts.pid, Signal::KILL);
    };
    let (answer, ()) = tokio::join!(reasoner.ask(long(1500)), busy);
    assert!(matches!(&answer, Err(Failure::Died { how }) if how.contains("signal: 9")), "{answer:?}");
    let now = reasoner.ask(request("Inlet 22.", decision())).await;
    assert!(matches!(now, Err(Failure::NotRunning { .. })), "while it starts again: {now:?}");

    let again = reasoner.ready(LOADING).await.unwrap();
    assert_ne!(again.pid, facts.pid);
    assert_eq!(again.sha256, facts.sha256);
    reasoner.ask(request("Inlet 22.", decision())).await.unwrap();
}

#[tokio::test]
async fn stopped_in_the_middle_of_an_answer() {
    let Some(cores) = cores().await else { return };
    let (reasoner, facts) = started(&cores).await;
    let mut question = long(1500);
    question.deadline = SignedDuration::from_secs(2);
    let watch = Stopwatch::start();
    let stop = async {
        busy(facts.pid).await;
        signal(facts.pid, Signal::STOP);
    };
    let (answer, ()) = tokio::join!(reasoner.ask(question), stop);
    assert_eq!(answer, Err(Failure::Late { deadline_ms: 2000 }));
    let took = watch.elapsed();
    assert!(took < Duration::from_millis(2500), "{took:?}");
    gone(facts.pid).await;
    assert_ne!(reasoner.ready(LOADING).await.unwrap().pid, facts.pid);
    reasoner.ask(request("Inlet 22.", decision())).await.unwrap();
}

#[tokio::test]
async fn a_late_answer_costs_only_itself() {
    let Some(cores) = cores().await else { return };
    let (reasoner, facts) = started(&cores).await;
    let mut question = long(1500);
    question.deadline = SignedDuration::from_millis(300);
    assert!(matches!(reasoner.ask(question).await, Err(Failure::Late { deadline_ms: 300 })));
    let answer = reasoner.ask(request("Inlet 22.", decision())).await.unwrap();
    assert!(answer.text.starts_with("{\"assessment\":"));
    assert_eq!(reasoner.facts().unwrap().pid, facts.pid, "it noticed the deadline itself");
}

#[tokio::test]
async fn another_file_than_allowed_is_refused() {
    let Some(cores) = cores().await else { return };
    let found = isotherm::model::sha256(&cores.model).unwrap();
    let mut launch = launch(&cores);
    launch.load.sha256 = Some("0".repeat(64));
    let reasoner = Reasoner::start(launch).unwrap();
    let Err(Failure::NotRunning { why }) = reasoner.ready(LOADING).await else {
        panic!("a wrong file was loaded");
    };
    assert!(why.contains(&"0".repeat(64)) && why.contains(&found), "{why}");
    assert!(matches!(reasoner.ask(request("", decision())).await, Err(Failure::NotRunning { .. })));
}

#[tokio::test]
async fn a_model_that_outgrows_its_limit_fails_cleanly() {
    let Some(cores) = cores().await else { return };
    let weights = cores.model.metadata().unwrap().len() / 1_000_000;
    let limited = |mb: u64| {
        let mut launch = launch(&cores);
        launch.load.memory_limit_mb = Some(mb);
        Reasoner::start(launch).unwrap()
    };
    let told = limited(weights / 2).ready(LOADING).await.unwrap_err().to_string();
    assert!(told.contains("memory_limit_mb allows") && told.contains("weights"), "{told}");

    // Enough for the model alone, so that it is not refused beforehand, but the program needs room too.
    let need: u64 = told.split_once("about ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    let reasoner = limited(need + 1);
    let watch = Stopwatch::start();
    loop {
        match reasoner.ask(request("Inlet 22.", decision())).await {
            Err(Failure::NotRunning { why }) if !why.contains("still loading") => break,
            Err(Failure::NotRunning { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => panic!("{other:?}"),
        }
        assert!(watch.elapsed() < LOADING);
    }
}

#[tokio::test]
async fn the_process_ends_with_its_handle() {
    let Some(cores) = cores().await else { return };
    let (reasoner, facts) = started(&cores).await;
    drop(reasoner);
    gone(facts.pid).await;
}

#[tokio::test]
async fn the_process_does_not_outlive_a_killed_guard() {
    // The pipe stays open, so only the parent's death can end it.
    let program = env!("CARGO_BIN_EXE_isotherm");
    let mut guard = Command::new("sh")
        .args(["-c", "exec 3<&0; \"$0\" reasoner <&3 & echo $!; wait", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(guard.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    // Set after the wish to die with the parent.
    let path = format!("/proc/{pid}/oom_score_adj");
    until("the process has set itself up", || {
        std::fs::read_to_string(&path).is_ok_and(|s| s.trim() == "900")
    })
    .await;
    guard.kill().unwrap();
    gone(pid).await;
    guard.wait().unwrap();
}

/// A script in place of the reasoner: it takes the order to load and says that it has loaded.
struct Fake {
    _folder: tempfile::TempDir,
    launch: Launch,
}

impl Fake {
    /// `then` runs after loading; it finds `files` in its folder.
    fn new(then: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let load = load("fake.gguf".into());
        let order = protocol::encode(&protocol::Command::Load(load.clone())).unwrap();
        let facts = json!({
            "sha256": "", "architecture": "fake", "quantization": "", "parameters": 0, "file_bytes": 0,
            "context": 0, "kv_bytes": 0, "threads": 0, "build": "", "load_ms": 0, "pid": 0,
        });
        let loaded = Reply::Loaded(serde_json::from_value(facts).unwrap());
        std::fs::write(folder.path().join("loaded"), protocol::encode(&loaded).unwrap()).unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let script = format!(
            "#!/bin/sh\ncd '{}'\nhead -c {} >/dev/null\ncat loaded\n{then}\n",
            folder.path().display(),
            order.len()
        );
        let program = folder.path().join("fake");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Self { _folder: folder, launch: Launch { program, load, group: None } }
    }

    async fn started(&self) -> Reasoner {
        let reasoner = Reasoner::start(self.launch.clone()).unwrap();
        reasoner.ready(LOADING).await.unwrap();
        reasoner
    }
}

fn answer(id: u64, text: &str) -> Vec<u8> {
    let completion = Completion { text: text.to_owned(), ..Completion::default() };
    protocol::encode(&Reply::Answer { id, result: Ok(completion) }).unwrap()
}

#[tokio::test]
async fn garbage_from_the_process_is_called_that() {
    let huge = u32::try_from(MAX_MESSAGE + 1).unwrap().to_be_bytes().to_vec();
    for garbage in [
        b"Segmentation fault, or so\n".to_vec(),
        huge,
        [&9u32.to_be_bytes()[..], b"{not json"].concat(),
        answer(17, "to a question nobody asked"),
        protocol::encode(&Reply::Refused { why: "too late for that".into() }).unwrap(),
    ] {
        // Takes the length of the question, so that it is asked first.
        let fake = Fake::new("head -c 4 >/dev/null; cat garbage; exec sleep 100", &[("garbage", garbage)]);
        let reasoner = fake.started().await;
        let answer = reasoner.ask(request("", decision())).await;
        assert!(matches!(answer, Err(Failure::Garbled { .. })), "{answer:?}");
        reasoner.ready(LOADING).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_comes_late_is_not_taken_for_the_next() {
    let then = "head -c 4 >/dev/null; sleep 1; cat one two; exec sleep 100";
    let fake = Fake::new(then, &[("one", answer(1, "one")), ("two", answer(2, "two"))]);
    let reasoner = fake.started().await;
    let mut first = request("", decision());
    first.deadline = SignedDuration::from_millis(100);
    assert_eq!(reasoner.ask(first).await, Err(Failure::Late { deadline_ms: 100 }));
    assert_eq!(reasoner.ask(request("", decision())).await.unwrap().text, "two");
}

#[tokio::test]
async fn last_words_are_passed_on() {
    let fake = Fake::new("head -c 4 >/dev/null; echo 'GGML_ASSERT(x > 0) failed' >&2; kill -ABRT $$", &[]);
    let reasoner = fake.started().await;
    let answer = reasoner.ask(request("", decision())).await;
    let Err(Failure::Died { how }) = answer else { panic!("{answer:?}") };
    assert!(how.contains("signal: 6") && how.contains("GGML_ASSERT(x > 0) failed"), "{how}");
}

#[tokio::test]
async fn a_missing_program_is_not_running() {
    let launch = Launch { program: "/no/such/program".into(), load: load("fake.gguf".into()), group: None };
    let reasoner = Reasoner::start(launch).unwrap();
    let answer = reasoner.ready(Duration::from_millis(500)).await.unwrap_err().to_string();
    assert!(answer.contains("/no/such/program"), "{answer}");
    assert!(matches!(reasoner.ask(request("", decision())).await, Err(Failure::NotRunning { .. })));
}

/// A server of the OpenAI kind: llama.cpp's own, from the PyPI package `xllamacpp`.
struct PythonServer {
    child: Child,
    url: String,
}

impl PythonServer {
    fn start(model: &Path) -> Option<Self> {
        let python = std::env::var_os("ISOTHERM_TEST_PYTHON").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/python"),
            PathBuf::from,
        );
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/openai_server.py");
        let has = |code: &str| Command::new(&python).args(["-c", code]).status().is_ok_and(|s| s.success());
        if !has("import xllamacpp") {
            eprintln!("SKIPPED: {} with the package xllamacpp, or ISOTHERM_TEST_PYTHON", python.display());
            return None;
        }
        let mut child = Command::new(&python)
            .arg(script)
            .arg(model)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Some(Self { child, url: format!("{}/v1", address.trim()) })
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_real_server_answers_within_the_schema() {
    let Some(cores) = cores().await else { return };
    let Some(peer) = PythonServer::start(&cores.model) else { return };
    let server = Server::new(&peer.url, "default", None).unwrap();
    let schema = object(&json!({
        "assessment": { "type": "string", "maxLength": 40 },
        "setpoints": object(&json!({ "pump_speed": { "type": "integer", "minimum": 30, "maximum": 100 } })),
    }));
    let first = server.ask(&request("Inlet 26.1 and rising.", schema.clone())).await.unwrap();
    let reply: Value = serde_json::from_str(&first.text).unwrap();
    assert!(is_multiple(&reply["setpoints"]["pump_speed"], 30.0, 100.0, 1.0), "{reply}");
    assert!(first.prompt_tokens > 100, "{first:?}");
    assert!(!first.tokens.is_empty(), "it reports log-probabilities");
    let bytes: usize = first.tokens.iter().map(|t| usize::from(t.bytes)).sum();
    assert_eq!(bytes, first.text.len());

    let mut hurried = request("Inlet 26.1 and rising.", schema.clone());
    hurried.deadline = SignedDuration::from_millis(1);
    assert_eq!(server.ask(&hurried).await, Err(Failure::Late { deadline_ms: 1 }));
    let mut short = request("Inlet 26.1 and rising.", schema);
    short.sampler.max_tokens = 5;
    assert_eq!(server.ask(&short).await, Err(Failure::Unfinished { tokens: 5 }));
}

/// Answers every request with `replies` in turn, and keeps what was asked.
async fn canned(replies: Vec<(u16, String)>) -> (String, std::sync::Arc<std::sync::Mutex<Vec<Value>>>) {
    use axum::Json;
    use axum::http::StatusCode;
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = asked.clone();
    let app = axum::Router::new().route(
        "/v1/chat/completions",
        axum::routing::post(async move |Json(question): Json<Value>| {
            let mut seen = seen.lock().unwrap();
            let (status, reply) = replies[seen.len().min(replies.len() - 1)].clone();
            seen.push(question);
            (StatusCode::from_u16(status).unwrap(), reply)
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

fn chat(content: &Value, finish: &str) -> String {
    json!({ "choices": [{ "message": { "content": content }, "finish_reason": finish }] }).to_string()
}

#[tokio::test]
async fn a_server_that_fails_says_how() {
    for (status, reply, expected) in [
        (401, "no key".to_owned(), "check api_key_env"),
        (404, "no such model".to_owned(), "check url and name"),
        (503, "loading".to_owned(), "503"),
        (200, "<html>a proxy's login page".to_owned(), "expected a chat completion"),
        (200, json!({ "choices": [] }).to_string(), "without any choice"),
        (200, chat(&Value::Null, "stop"), "without content"),
        (200, chat(&json!("{}"), "content_filter"), "content_filter"),
    ] {
        let (url, _) = canned(vec![(status, reply)]).await;
        let answer = Server::new(&url, "m", None).unwrap().ask(&request("", decision())).await;
        let Err(Failure::Server { why, .. }) = answer else { panic!("{answer:?}") };
        assert!(why.contains(expected), "{why:?} for {status}");
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let answer =
        Server::new(&format!("http://{closed}/v1"), "m", None).unwrap().ask(&request("", decision())).await;
    let Err(Failure::Server { why, .. }) = answer else { panic!("{answer:?}") };
    assert!(why.contains("refused"), "{why}");
    assert!(matches!(Server::new("not a url", "m", None), Err(Failure::Server { .. })));
}

#[tokio::test]
async fn log_probabilities_are_given_up_where_they_are_not_known() {
    let refusal = json!({ "error": { "message": "unknown parameter: logprobs" } }).to_string();
    let reply = chat(&json!("{}"), "stop");
    let (url, asked) = canned(vec![(400, refusal), (200, reply)]).await;
    let server = Server::new(&url, "m", None).unwrap();
    for _ in 0..2 {
        let answer = server.ask(&request("", decision())).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.tokens.len()), ("{}", 0));
    }
    let asked = asked.lock().unwrap();
    let with: Vec<bool> = asked.iter().map(|q| q.get("logprobs").is_some()).collect();
    assert_eq!(with, [true, false, false]);
    assert_eq!(asked[0]["response_format"]["json_schema"]["schema"], decision());
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
