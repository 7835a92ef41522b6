//! What the real model answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use isotherm::reason::{CacheType, Completion, Failure, Load, Reasoner, Request};
use isotherm::units::Finite;
use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    LOADING, ask_all, busy, cores, decision, is_multiple, launch, long, object, request, signal, started,
    started_for,
};

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
async fn a_rationale_begins_with_what_the_setpoints_do() {
    let Some(cores) = cores().await else { return };
    let (reasoner, _) = started(&cores).await;
    let mut schema = decision();
    for (name, value) in [("chws_sp", json!(8.5)), ("crah_supply_sp", json!(20)), ("pump_speed", json!(60))] {
        schema["properties"]["setpoints"]["properties"][name] = json!({ "enum": [value] });
    }
    let account = json!({
        "chws_sp": { "value": 9, "decimals": 1 },
        "crah_supply_sp": { "value": 20, "decimals": 1 },
        "pump_speed": { "value": 50, "decimals": 0 },
    });
    let mut asked = request("Inlet 24.0 and falling.", schema);
    asked.account = Some(serde_json::from_value(account).unwrap());
    asked.sampler.max_tokens = 400;
    let completion = reasoner.ask(asked).await.unwrap();
    let reply: Value = serde_json::from_str(&completion.text).unwrap();
    let (done, why) = reply["rationale"].as_str().unwrap().split_once(". ").unwrap();
    assert_eq!(done, "Lower chws_sp to 8.5, raise pump_speed to 60");
    assert!(!why.is_empty(), "{}", completion.text);
    let bytes: usize = completion.tokens.iter().map(|t| usize::from(t.bytes)).sum();
    assert_eq!(bytes, completion.text.len(), "the tokens make up the text");
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
