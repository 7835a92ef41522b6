//! Kill -9 at any moment leaves a log that verifies and has every record that was said to be durable.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use isotherm::audit::{Kind, Store};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::{assert_verifies, at, config, decision, frame, other, outcome, put, records};

const CHILD: &str = "ISOTHERM_TEST_AUDIT_CHILD";

#[test]
fn twenty_kills_lose_nothing() {
    kill_again_and_again(20);
}

#[test]
#[ignore = "takes a minute: cargo test --test it two_hundred_kills -- --ignored"]
fn two_hundred_kills_lose_nothing() {
    kill_again_and_again(200);
}

/// When to kill: after so many acknowledged commits, and so many microseconds more.
fn moments(count: usize) -> Vec<(usize, u64)> {
    let config = Config { rng_seed: RngSeed::Fixed(9), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let moment = (0..30usize, 0..3000u64);
    (0..count).map(|_| moment.new_tree(&mut runner).unwrap().current()).collect()
}

fn kill_again_and_again(times: usize) {
    let mut dir = tempfile::tempdir().unwrap();
    let mut durable = 0;
    for (round, (acknowledged, more)) in moments(times).into_iter().enumerate() {
        // A new log now and then: being made is a moment to be killed at, too.
        if round % 5 == 4 {
            dir = tempfile::tempdir().unwrap();
            durable = 0;
        }
        durable = run_and_kill(dir.path(), acknowledged, Duration::from_micros(more)).max(durable);
        if durable == 0 {
            // Killed before the first commit; there may be no log at all yet, and one must open.
            drop(Store::open(&config(dir.path()), at(0)).unwrap());
        }
        let report = assert_verifies(&dir.path().join("audit.db"));
        assert!(report.records >= durable, "round {round}: {} of {durable} records", report.records);
        check_orphans(dir.path());
    }
}

/// The last seq that the child said was durable.
fn run_and_kill(dir: &Path, acknowledged: usize, more: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "audit::crash::child"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said =
        lines.by_ref().filter_map(|l| l.strip_prefix("durable ").map(|s| s.parse::<u64>().unwrap()));
    let mut last = 0;
    for seq in said.by_ref().take(acknowledged) {
        last = seq;
    }
    // The moment is to be anywhere in an append, a commit or a checkpoint, so there is nothing to await.
    std::thread::sleep(more);
    child.kill().unwrap();
    // It may have said more before it died.
    last = said.last().unwrap_or(last);
    assert!(!child.wait().unwrap().success(), "the child ended on its own");
    last
}

/// The orphans are exactly the decisions that nothing after them settles.
fn check_orphans(dir: &Path) {
    let mut open = BTreeSet::new();
    for record in records(&dir.join("audit.db")) {
        let body: Value = serde_json::from_str(&record.body).unwrap();
        match record.kind {
            Kind::Decision => assert!(open.insert(record.seq)),
            Kind::Outcome => assert!(open.remove(&body["intent"].as_u64().unwrap())),
            Kind::Event => {
                for seq in body["intents"].as_array().unwrap() {
                    assert!(open.remove(&seq.as_u64().unwrap()));
                }
            }
            Kind::Start | Kind::Frame | Kind::Candidate | Kind::Operator | Kind::Stop => {}
        }
    }
    let store = Store::open(&config(dir), at(0)).unwrap();
    assert_eq!(store.orphans().iter().map(|o| o.seq).collect::<BTreeSet<_>>(), open);
    assert!(open.len() <= 1, "one decision is under way at a time: {open:?}");
}

/// The process that is killed: frames, an intent, its outcome, for ever.
#[test]
#[ignore = "run by the tests above, in a process of its own"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        eprintln!("SKIPPED: this is not a test by itself");
        return;
    };
    let mut store = Store::open(&config(Path::new(&dir)), at(0)).unwrap();
    let orphans: Vec<u64> = store.orphans().iter().map(|o| o.seq).collect();
    if !orphans.is_empty() {
        put(&mut store, other(Kind::Event, &json!({"event": "orphans", "intents": orphans})));
    }
    for step in 0.. {
        for more in 0..step % 4 {
            put(&mut store, frame(step + more));
        }
        let intent = put(&mut store, decision(step)).seq;
        say(store.commit().unwrap().seq);
        put(&mut store, outcome(intent));
        if step % 2 == 0 {
            say(store.commit().unwrap().seq);
        }
    }
}

fn say(seq: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "durable {seq}").and_then(|()| out.flush()).unwrap();
}
