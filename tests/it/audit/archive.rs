//! Records that leave the log, and the chain that goes on through them.

use std::path::{Path, PathBuf};

use isotherm::audit::{Archived, AuditError, Options, Report, Store, What, archive_closed, verify};
use jiff::{SignedDuration, Timestamp};

use super::tamper::raw;
use super::{assert_verifies, at, config, frame, records, verified};

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

/// Cutting off the beginning and saying that it is archived takes a record in the chain that says so.
#[test]
fn a_beginning_that_was_cut_off_is_not_taken_for_archived() {
    let dir = tempfile::tempdir().unwrap();
    let path = log(dir.path(), 40);
    raw(&path, |db| {
        db.execute_batch(
            "DELETE FROM record WHERE seq <= 24; DELETE FROM checkpoint WHERE seq < 24; INSERT INTO meta VALUES ('archived', '24')",
        )
        .unwrap();
    });
    let report = verified(&path);
    assert!(!report.ok);
    assert_eq!((report.problems[0].what, report.problems[0].seq), (What::Missing, Some(1)), "{report:#?}");
}
