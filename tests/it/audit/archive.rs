//! Records that leave the log, and the chain that goes on through them.

use std::path::{Path, PathBuf};

use isotherm::audit::{
    Archived, AuditError, Kind, Log, Options, Report, Store, What, archive, archive_closed, verify,
};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::tamper::raw;
use super::{assert_verifies, at, config, frame, independent, other, put, records, verified};

/// A record each 15 s, closed.
fn log(dir: &Path, records: u64) -> PathBuf {
    let config = config(dir);
    let mut store = once_free(|| Store::open(&config, at(0)));
    let first = store.next_seq().unwrap();
    for seq in first..first + records {
        let (kind, body) = frame(seq);
        store.append(at(i64::try_from(seq).unwrap()), kind, &body).unwrap();
        store.commit().unwrap();
    }
    store.close().unwrap();
    config.path
}

/// Children that other tests start hold this process's locks until they are programs of their own.
fn once_free<T>(act: impl Fn() -> Result<T, AuditError>) -> T {
    for _ in 0..200 {
        match act() {
            Err(AuditError::Busy { .. }) => std::thread::sleep(std::time::Duration::from_millis(20)),
            done => return done.unwrap(),
        }
    }
    panic!("the log stays locked");
}

fn archived(dir: &Path, out: &Path, before: Timestamp) -> Option<Archived> {
    once_free(|| archive_closed(&config(dir), out, before, now()))
}

fn now() -> Timestamp {
    at(0) + SignedDuration::from_hours(24 * 200)
}

/// The event that says where records are, as far as a log needs it.
fn event(archived: &Archived) -> Value {
    json!({ "event": "archived", "archived": archived })
}

/// What `Store::forget` does to the file, without the signature before it.
fn forget(db: &Connection, to: u64) {
    db.execute_batch(&format!(
        "DELETE FROM record WHERE seq <= {to}; DELETE FROM checkpoint WHERE seq < {to};
         INSERT INTO meta VALUES ('archived', '{to}')"
    ))
    .unwrap();
}

fn with_archive(path: &Path, dir: &Path) -> Report {
    verify(path, &Options { archive: Some(dir.to_owned()), ..Options::default() }).unwrap()
}

#[test]
fn old_records_leave_and_the_chain_goes_on_through_them() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (log(dir.path(), 40), dir.path().join("archive"));
    let before = records(&path);
    // Checkpoints sign every eighth record: the newest of before record 30 is the 24th.
    let moved = archived(dir.path(), &out, at(30)).unwrap();
    assert_eq!((moved.from, moved.to), (1, 24));
    let left = assert_verifies(&path);
    assert_eq!(
        (left.first, left.archived, left.records),
        (Some(25), Some(24), 17),
        "and the record that says so"
    );
    let whole = with_archive(&path, &out);
    assert!(whole.ok, "{:#?}", whole.problems);
    assert_eq!((whole.first, whole.records, whole.archived), (Some(1), 41, None));
    assert_eq!(records(&path)[..16], before[24..], "what stays is as it was");

    // The log is written on, and archived again; nothing is old enough a third time.
    log(dir.path(), 40);
    let moved = archived(dir.path(), &out, at(60)).unwrap();
    assert_eq!(moved.from, 25);
    assert!(archived(dir.path(), &out, at(20)).is_none());
    let whole = with_archive(&path, &out);
    assert!(whole.ok, "{:#?}", whole.problems);
    assert_eq!(whole.first, Some(1));
    assert_eq!(whole.records, 82);
}

#[test]
fn what_was_done_to_an_archive_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (log(dir.path(), 40), dir.path().join("archive"));
    let moved = archived(dir.path(), &out, at(30)).unwrap();
    let file = out.join(&moved.file);
    let good = std::fs::read(&file).unwrap();

    let mut missed = 0;
    for place in (4..good.len() - 8).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        std::fs::write(&file, bad).unwrap();
        let found = verify(&path, &Options { archive: Some(out.clone()), ..Options::default() });
        missed += u32::from(found.is_ok_and(|report| report.ok));
    }
    assert_eq!(missed, 0, "of 40 changes so many were not found");

    std::fs::remove_file(&file).unwrap();
    let gone = with_archive(&path, &out);
    assert!(!gone.ok && gone.problems.iter().any(|p| p.what == What::Missing), "{gone:#?}");
}

/// Cutting off the beginning and saying that it is archived takes a record in the chain that says so, and a
/// signature for that record.
#[test]
fn a_beginning_that_was_cut_off_is_not_taken_for_archived() {
    for with_event in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = log(dir.path(), 40);
        let hash = records(&path)[23].hash;
        raw(&path, |db| {
            if with_event {
                let said = json!({ "event": "archived", "archived": { "to": 24, "hash": hash } });
                db.execute(
                    "INSERT INTO record SELECT 41, time, 'event', hash, hash, ?1 FROM record WHERE seq = 40",
                    [said.to_string()],
                )
                .unwrap();
                let digest = independent::row(db, 41).digest();
                db.execute("UPDATE record SET hash = ?1 WHERE seq = 41", params![digest.as_slice()]).unwrap();
            }
            forget(db, 24);
        });
        let report = verified(&path);
        assert!(!report.ok);
        assert_eq!(
            (report.problems[0].what, report.problems[0].seq),
            (What::Missing, Some(1)),
            "{report:#?}"
        );
    }
}

#[test]
fn checkpoints_of_archived_records_are_not_said_to_be_compared() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (log(dir.path(), 40), dir.path().join("archive"));
    let against = Log::open(&path).unwrap().checkpoints().unwrap();
    archived(dir.path(), &out, at(30)).unwrap();
    let mut options = Options { against, ..Options::default() };
    let report = verify(&path, &options).unwrap();
    assert!(report.ok, "{:#?}", report.problems);
    assert_eq!((report.compared, report.not_compared), (3, 2), "8 and 16 are before record 24");
    options.archive = Some(out);
    let report = verify(&path, &options).unwrap();
    assert_eq!((report.ok, report.compared, report.not_compared), (true, 5, 0));
}

/// The newest checkpoint may be the one that is archived to, and a kill may come before the next.
#[test]
fn a_log_that_was_archived_to_its_newest_checkpoint_opens_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (log(dir.path(), 40), dir.path().join("archive"));
    let open = || once_free(|| Store::open(&config(dir.path()), at(0)));
    let mut store = open();
    let moved = archive(&path, &out, at(100)).unwrap().unwrap();
    assert_eq!(moved.to, 40);
    put(&mut store, other(Kind::Event, &event(&moved)));
    store.commit().unwrap();
    let signed = store.forget(&moved).unwrap().checkpoint.unwrap();
    assert_eq!(signed.seq, 41, "the event that says so is signed");
    drop(store);
    let left = assert_verifies(&path);
    assert_eq!((left.first, left.archived), (Some(41), Some(40)));
    assert_eq!(open().next_seq(), Some(42));
}

/// As versions before did it.
#[test]
fn a_log_whose_newest_checkpoint_is_archived_goes_on_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (log(dir.path(), 40), dir.path().join("archive"));
    let open = || Store::open(&config(dir.path()), at(0));
    let mut store = once_free(open);
    let moved = archive(&path, &out, at(100)).unwrap().unwrap();
    put(&mut store, other(Kind::Event, &event(&moved)));
    store.commit().unwrap();
    drop(store);
    raw(&path, |db| forget(db, 40));
    let store = once_free(open);
    assert_eq!(store.next_seq(), Some(42));
    store.close().unwrap();
    assert_verifies(&path);

    raw(&path, |db| {
        db.execute_batch("DELETE FROM record; DELETE FROM checkpoint WHERE seq > 40").unwrap();
    });
    let found = loop {
        match open() {
            Err(AuditError::Busy { .. }) => std::thread::yield_now(),
            found => break found,
        }
    };
    assert!(matches!(found, Err(AuditError::Broken { .. })), "a log that says nothing is no log: {found:?}");
}

/// A kill between archiving and forgetting leaves records in both.
#[test]
fn records_that_were_archived_and_are_still_in_the_log_are_no_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (log(dir.path(), 40), dir.path().join("archive"));
    archive(&path, &out, at(30)).unwrap().unwrap();
    let whole = with_archive(&path, &out);
    assert!(whole.ok, "{:#?}", whole.problems);
    assert_eq!((whole.first, whole.records), (Some(1), 40));

    // The next run takes out fewer, and then again does not get to forgetting.
    assert_eq!(archived(dir.path(), &out, at(20)).unwrap().to, 16);
    archive(&path, &out, at(30)).unwrap().unwrap();
    let whole = with_archive(&path, &out);
    assert!(whole.ok, "{:#?}", whole.problems);
    assert_eq!((whole.first, whole.records), (Some(1), 41));
}
