//! What the store promises to the agent.

use std::fs;

use isotherm::audit::{AuditError, Checkpoint, Filter, Kind, Log, Options, Store, What, verify};
use isotherm::envelope::Rule;
use rusqlite::Connection;
use serde_json::json;

use super::{
    assert_verifies, at, closed_log, config, decision, frame, other, outcome, put, records, verified,
};

#[test]
fn records_come_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut store = Store::open(&config, at(0)).unwrap();
    let odd = ["{}", "null", r#"{"a" : 1.0, "a":2,"ü":"\u00fc","n":12345678901234567890123}"#, "[\n1\t]"];
    let appended: Vec<_> = odd
        .iter()
        .map(|body| store.append(at(7), Kind::Event, serde_json::from_str(body).unwrap()).unwrap())
        .collect();
    store.close().unwrap();

    let read = records(&config.path);
    for ((body, appended), record) in odd.iter().zip(&appended).zip(&read) {
        assert_eq!((record.body.as_str(), record.time, record.kind), (*body, at(7), Kind::Event));
        assert_eq!((record.seq, record.hash), (appended.seq, appended.hash));
    }
    assert_eq!(read[1].previous, read[0].hash);
    let report = assert_verifies(&config.path);
    assert_eq!((report.records, report.first, report.last, report.checkpoints), (4, Some(1), Some(4), 1));
    assert_eq!(report.unsigned, 0);
}

#[test]
fn an_empty_log_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let done = Store::open(&config, at(0)).unwrap().close().unwrap();
    assert_eq!((done.seq, done.checkpoint), (0, None));
    assert_eq!(assert_verifies(&config.path).records, 0);
}

#[test]
fn what_is_not_committed_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut store = Store::open(&config, at(0)).unwrap();
    put(&mut store, frame(1));
    assert_eq!(records(&config.path).len(), 0);
    assert_eq!(store.commit().unwrap().seq, 1);
    assert_eq!(records(&config.path).len(), 1);
    put(&mut store, frame(2));
    drop(store);
    assert_eq!(records(&config.path).len(), 1);
    // The chain goes on where it really ended.
    let mut store = Store::open(&config, at(1)).unwrap();
    assert_eq!(put(&mut store, frame(3)).seq, 2);
    store.close().unwrap();
    assert_verifies(&config.path);
}

#[test]
fn one_log_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = Store::open(&config, at(0)).unwrap();
    let refused = Store::open(&config, at(0)).unwrap_err();
    assert!(matches!(refused, AuditError::Busy { .. }));
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    first.close().unwrap();
    Store::open(&config, at(0)).unwrap();
}

#[test]
fn the_file_itself_refuses_to_forget() {
    let dir = tempfile::tempdir().unwrap();
    let db = Connection::open(closed_log(dir.path(), 20)).unwrap();
    for sql in [
        "UPDATE record SET body = '{}' WHERE seq = 3",
        "DELETE FROM record WHERE seq = 20",
        "INSERT OR REPLACE INTO record SELECT * FROM record WHERE seq = 3",
        "INSERT INTO record SELECT 22, time, kind, previous, hash, body FROM record WHERE seq = 20",
        // A second writer with an old end in mind.
        "INSERT INTO record SELECT 21, time, kind, previous, hash, body FROM record WHERE seq = 19",
        "UPDATE checkpoint SET time = ''",
        "DELETE FROM checkpoint",
        "INSERT OR REPLACE INTO checkpoint SELECT * FROM checkpoint",
    ] {
        let refused = db.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
}

#[test]
fn an_intent_without_outcome_is_an_orphan_until_something_says_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let start = || other(Kind::Start, &json!({"run": "r"}));
    let stop = || other(Kind::Stop, &json!({"why": "asked"}));
    let release = || other(Kind::Event, &json!({"event": "release", "action": [{"target": "enable"}]}));
    let orphans = |store: &Store| store.orphans().iter().map(|o| o.seq).collect::<Vec<_>>();

    let mut store = Store::open(&config, at(0)).unwrap();
    put(&mut store, start());
    let done = put(&mut store, decision(1)).seq;
    put(&mut store, outcome(done));
    // Neither of these was to be written.
    let shadow = decision(9).1.get().replace("\"write\"", "\"shadow\"");
    put(&mut store, (Kind::Decision, serde_json::value::RawValue::from_string(shadow).unwrap()));
    put(&mut store, other(Kind::Event, &json!({"event": "link_down", "action": []})));
    let open = [put(&mut store, decision(2)).seq, put(&mut store, release()).seq];
    store.commit().unwrap();
    drop(store);

    let mut store = Store::open(&config, at(1)).unwrap();
    assert_eq!(orphans(&store), open);
    assert_eq!(store.orphans()[0].action[0]["words"], json!([85]));
    put(&mut store, start());
    put(&mut store, other(Kind::Event, &json!({"event": "orphans", "intents": [open[0]]})));
    store.commit().unwrap();
    drop(store);

    let mut store = Store::open(&config, at(2)).unwrap();
    assert_eq!(orphans(&store), [open[1]]);
    put(&mut store, start());
    put(&mut store, outcome(open[1]));
    // A run releases, says that it stops, and then records what became of the release: or dies first.
    let last = put(&mut store, release()).seq;
    put(&mut store, stop());
    store.close().unwrap();

    let mut store = Store::open(&config, at(3)).unwrap();
    assert_eq!(orphans(&store), [last]);
    put(&mut store, outcome(last));
    put(&mut store, start());
    put(&mut store, stop());
    store.close().unwrap();
    assert!(orphans(&Store::open(&config, at(4)).unwrap()).is_empty());
}

#[test]
fn a_log_changed_at_its_end_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed_log(dir.path(), 20);
    super::tamper::raw(&path, |db| {
        db.execute("UPDATE record SET body = '{}' WHERE seq = 20", []).unwrap();
    });
    let refused = Store::open(&config(dir.path()), at(0)).unwrap_err();
    assert!(matches!(&refused, AuditError::Broken { first, .. } if first.seq == Some(20)), "{refused}");
    assert!(refused.to_string().contains("evidence"), "{refused}");
}

#[test]
fn a_log_is_only_continued_with_its_own_key() {
    let dir = tempfile::tempdir().unwrap();
    closed_log(dir.path(), 3);
    let config = config(dir.path());
    fs::remove_file(&config.key).unwrap();
    let refused = Store::open(&config, at(0)).unwrap_err().to_string();
    assert!(refused.contains("restore the key"), "{refused}");
    assert!(!config.key.exists());

    let elsewhere = tempfile::tempdir().unwrap();
    closed_log(elsewhere.path(), 1);
    fs::copy(elsewhere.path().join("audit.key"), &config.key).unwrap();
    let refused = Store::open(&config, at(0)).unwrap_err().to_string();
    assert!(refused.contains("is not the one that signed"), "{refused}");
}

#[test]
fn other_files_are_told_from_logs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.db");
    assert!(matches!(verify(&path, &Options::default()), Err(AuditError::Io { .. })));
    fs::write(
        &path,
        "certainly not SQLite; but long enough to have a header, which is a hundred bytes of it",
    )
    .unwrap();
    assert_eq!(verified(&path).problems[0].what, What::Database);
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(verified(&path).problems[0].what, What::Identity);
    assert!(matches!(Log::open(&path), Err(AuditError::NotALog { .. })));
    drop(Store::open(&config(dir.path()), at(0)).unwrap_err());
}

#[test]
fn checkpoints_are_signed_returned_and_kept_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let file = dir.path().join("checkpoints.jsonl");
    config.checkpoint_file = Some(file.clone());
    let lines = || -> Vec<Checkpoint> {
        fs::read_to_string(&file).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let mut store = Store::open(&config, at(0)).unwrap();
    let key = store.identity().unwrap().public_key;
    let mut returned = Vec::new();
    for step in 1..=20 {
        put(&mut store, frame(step));
        let done = store.commit().unwrap();
        assert!(done.file_error.is_none());
        returned.extend(done.checkpoint);
    }
    assert_eq!(returned.iter().map(|c| c.seq).collect::<Vec<_>>(), [8, 16]);
    assert!(returned.iter().all(|c| c.is_signed_by(key)));
    assert_eq!(lines(), returned);

    // A torn line, as a full disk leaves it, is replaced; a lost file is written again in full.
    fs::write(&file, fs::read(&file).unwrap().split_last_chunk::<30>().unwrap().0).unwrap();
    drop(store);
    let mut store = Store::open(&config, at(1)).unwrap();
    put(&mut store, frame(21));
    returned.extend(store.close().unwrap().checkpoint);
    // Record 21 is new, 17 to 20 had no checkpoint.
    assert_eq!(returned.last().unwrap().seq, 21);
    assert_eq!(lines(), returned);
    fs::remove_file(&file).unwrap();
    let mut store = Store::open(&config, at(2)).unwrap();
    put(&mut store, frame(22));
    returned.extend(store.close().unwrap().checkpoint);
    assert_eq!(lines(), returned);
    assert_verifies(&config.path);
}

#[test]
fn a_checkpoint_file_that_cannot_be_written_is_reported_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.checkpoint_file = Some(dir.path().join("no-such-mount/checkpoints.jsonl"));
    let mut store = Store::open(&config, at(0)).unwrap();
    for step in 1..=8 {
        put(&mut store, frame(step));
    }
    let done = store.commit().unwrap();
    assert!(done.checkpoint.is_some());
    assert!(done.file_error.unwrap().to_string().contains("no-such-mount"));
    // The mount comes back: the missing line is written with the next one.
    fs::create_dir(dir.path().join("no-such-mount")).unwrap();
    put(&mut store, frame(9));
    assert!(store.close().unwrap().file_error.is_none());
    let text = fs::read_to_string(config.checkpoint_file.unwrap()).unwrap();
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn an_old_copy_put_back_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.checkpoint_file = Some(dir.path().join("checkpoints.jsonl"));
    let mut store = Store::open(&config, at(0)).unwrap();
    put(&mut store, frame(1));
    store.close().unwrap();
    let old = dir.path().join("old.db");
    fs::copy(&config.path, &old).unwrap();
    let mut store = Store::open(&config, at(1)).unwrap();
    put(&mut store, frame(2));
    store.close().unwrap();
    fs::copy(&old, &config.path).unwrap();

    let refused = Store::open(&config, at(2)).unwrap_err();
    assert!(
        matches!(&refused, AuditError::Broken { first, .. } if first.what == What::Truncated),
        "{refused}"
    );
}

#[test]
fn lists_are_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed_log(dir.path(), 40);
    let log = Log::open(&path).unwrap();
    let all = Filter { kind: None, since: None, until: None, rule: None, limit: 1000 };
    let seqs = |filter: Filter| log.list(&filter).unwrap().iter().map(|l| l.seq).collect::<Vec<_>>();
    assert_eq!(seqs(all), (1..=40).collect::<Vec<_>>());
    assert_eq!(seqs(Filter { limit: 3, ..all }), [38, 39, 40]);
    let decisions: Vec<u64> = (1..=40).filter(|s| s % 5 == 3).collect();
    assert_eq!(seqs(Filter { kind: Some(Kind::Decision), ..all }), decisions);
    assert_eq!(seqs(Filter { rule: Some(Rule::RateLimit), limit: 2, ..all }), [33, 38]);
    assert!(seqs(Filter { rule: Some(Rule::Dwell), ..all }).is_empty());
    assert!(seqs(Filter { rule: Some(Rule::RateLimit), kind: Some(Kind::Frame), ..all }).is_empty());

    let times: Vec<_> = records(&path).iter().map(|r| (r.seq, r.time)).collect();
    let (since, until) = (times[1].1, times[2].1);
    let expected: Vec<u64> =
        times.iter().filter(|(_, t)| (since..=until).contains(t)).map(|(s, _)| *s).collect();
    assert!(!expected.is_empty() && expected.len() < 40);
    assert_eq!(seqs(Filter { since: Some(since), until: Some(until), ..all }), expected);
}

#[test]
fn a_decision_is_shown_with_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut store = Store::open(&config, at(0)).unwrap();
    let first = put(&mut store, decision(1)).seq;
    let second = put(&mut store, decision(2)).seq;
    put(&mut store, outcome(second));
    let own = put(&mut store, outcome(first)).seq;
    let event = put(&mut store, other(Kind::Event, &json!({"event": "orphans", "intents": [first]}))).seq;
    store.close().unwrap();
    let log = Log::open(&config.path).unwrap();
    let shown = log.show(first).unwrap();
    assert_eq!(shown.record.seq, first);
    assert_eq!(shown.outcomes.iter().map(|r| r.seq).collect::<Vec<_>>(), [own, event]);
    assert_eq!(serde_json::to_value(&shown).unwrap()["record"]["body"]["id"], 1);
    let missing = log.show(99).unwrap_err().to_string();
    assert!(missing.contains("no record 99"), "{missing}");
}
