//! Processes that die, stop, outgrow their memory or talk nonsense.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use isotherm::clock::Stopwatch;
use isotherm::reason::{Failure, Launch, Reasoner};
use jiff::SignedDuration;
use rustix::process::Signal;

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

#[tokio::test]
async fn a_missing_program_is_not_running() {
    let launch = Launch { program: "/no/such/program".into(), load: load("fake.gguf".into()), group: None };
    let reasoner = Reasoner::start(launch).unwrap();
    let answer = reasoner.ready(Duration::from_millis(500)).await.unwrap_err().to_string();
    assert!(answer.contains("/no/such/program"), "{answer}");
    assert!(matches!(reasoner.ask(request("", decision())).await, Err(Failure::NotRunning { .. })));
}
