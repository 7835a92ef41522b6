//! Processes that die, stop, outgrow their memory or talk nonsense.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use isotherm::clock::Stopwatch;
use isotherm::reason::protocol::{MAX_MESSAGE, Reply};
use isotherm::reason::{Completion, Failure, Launch, Reasoner, protocol};
use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::json;

use super::{LOADING, busy, cores, decision, gone, launch, load, long, request, signal, started, until};

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
