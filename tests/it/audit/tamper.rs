//! Every way to change a log that we could think of is found, and named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use isotherm::audit::{Options, Report, What, read_checkpoints, verify};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::independent::{self, Trust};
use super::{assert_verifies, at, closed_log, config, records, verified};

const RECORDS: i64 = 40;
/// Where `closed_log` with 40 records gets its checkpoints.
const SIGNED: [i64; 5] = [8, 18, 28, 38, 40];
const COLUMNS: [&str; 5] = ["time", "kind", "previous", "hash", "body"];

#[derive(Clone, Debug)]
enum Mutation {
    Flip {
        seq: i64,
        column: &'static str,
        byte: usize,
        bit: u8,
    },
    Renumber {
        seq: i64,
        to: i64,
    },
    Delete {
        from: i64,
        to: i64,
    },
    Swap {
        a: i64,
        b: i64,
    },
    Truncate {
        from: i64,
    },
    CopyToEnd {
        seq: i64,
    },
    Forge,
    /// Other content, with the hash it needs, between untouched neighbours.
    Replace {
        seq: i64,
    },
    /// Other content, and all hashes made new from there to the end.
    Rewrite {
        from: i64,
    },
    FlipCheckpoint {
        seq: i64,
        column: &'static str,
        byte: usize,
        bit: u8,
    },
    FlipIdentity {
        name: &'static str,
        byte: usize,
        bit: u8,
    },
}

/// One log for all cases; each works on a copy.
fn base() -> &'static Path {
    static BASE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BASE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = closed_log(dir.path(), RECORDS as u64);
        (dir, path)
    });
    path
}

fn copy() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.db");
    fs::copy(base(), &path).unwrap();
    (dir, path)
}

/// Changes a log behind its back: the triggers are out of the way meanwhile, and back afterwards.
pub(super) fn raw(path: &Path, change: impl FnOnce(&Connection)) {
    let db = Connection::open(path).unwrap();
    let mut find = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
    let triggers: Vec<(String, String)> =
        find.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    drop(find);
    assert_eq!(triggers.len(), 6);
    for (name, _) in &triggers {
        db.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    change(&db);
    for (_, sql) in &triggers {
        db.execute_batch(sql).unwrap();
    }
}

fn flip(db: &Connection, table: &str, key: (&str, &str), column: &str, byte: usize, bit: u8) {
    let place = format!("FROM {table} WHERE {} = '{}'", key.0, key.1);
    let mut value: Vec<u8> =
        db.query_row(&format!("SELECT CAST({column} AS BLOB) {place}"), [], |row| row.get(0)).unwrap();
    let i = byte % value.len();
    value[i] ^= 1 << bit;
    let blob = matches!(column, "previous" | "hash" | "signature");
    let new = if blob { "?1" } else { "CAST(?1 AS TEXT)" };
    let sql = format!("UPDATE {table} SET {column} = {new} WHERE {} = '{}'", key.0, key.1);
    assert_eq!(db.execute(&sql, [value]).unwrap(), 1);
}

fn apply(db: &Connection, mutation: &Mutation) {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| assert!(db.execute(sql, params).unwrap() > 0);
    match *mutation {
        Mutation::Flip { seq, column, byte, bit } => {
            flip(db, "record", ("seq", &seq.to_string()), column, byte, bit);
        }
        Mutation::Renumber { seq, to } => run("UPDATE record SET seq = ?2 WHERE seq = ?1", params![seq, to]),
        Mutation::Delete { from, to } => {
            run("DELETE FROM record WHERE seq BETWEEN ?1 AND ?2", params![from, to]);
        }
        Mutation::Swap { a, b } => {
            for (from, to) in [(a, -1), (b, a), (-1, b)] {
                run("UPDATE record SET seq = ?2 WHERE seq = ?1", params![from, to]);
            }
        }
        Mutation::Truncate { from } => run("DELETE FROM record WHERE seq >= ?1", params![from]),
        Mutation::CopyToEnd { seq } => {
            run(
                "INSERT INTO record SELECT ?2, time, kind, previous, hash, body FROM record WHERE seq = ?1",
                params![seq, RECORDS + 1],
            );
        }
        Mutation::Forge => {
            run(
                "INSERT INTO record SELECT seq + 1, time, kind, hash, randomblob(32), '{}' FROM record WHERE seq = ?1",
                params![RECORDS],
            );
        }
        Mutation::Replace { seq } => rewrite(db, seq, seq),
        Mutation::Rewrite { from } => rewrite(db, from, RECORDS),
        Mutation::FlipCheckpoint { seq, column, byte, bit } => {
            flip(db, "checkpoint", ("seq", &seq.to_string()), column, byte, bit);
        }
        Mutation::FlipIdentity { name, byte, bit } => {
            flip(db, "meta", ("name", name), "value", byte, bit);
        }
    }
}

fn rewrite(db: &Connection, from: i64, to: i64) {
    db.execute("UPDATE record SET body = '{\"forged\":1}' WHERE seq = ?1", [from]).unwrap();
    for seq in from..=to {
        let mut row = independent::row(db, seq);
        if seq > from {
            row.previous = independent::row(db, seq - 1).hash;
        }
        db.execute(
            "UPDATE record SET previous = ?2, hash = ?3 WHERE seq = ?1",
            params![seq, row.previous, row.digest().as_slice()],
        )
        .unwrap();
    }
}

/// Whether the report says what was done, and where.
fn is_named(report: &Report, mutation: &Mutation) -> bool {
    let has = |what, seq| report.problems.iter().any(|p| p.what == what && p.seq == Some(seq));
    let only = |what, seq| report.problem_count == 1 && has(what, seq);
    match *mutation {
        Mutation::Flip { seq, .. } => only(What::Altered, seq),
        Mutation::Renumber { seq, to } => {
            // The last one leaves no gap, but the checkpoint at the end misses it.
            has(What::Reordered, to) && (has(What::Missing, seq) || has(What::Truncated, seq))
        }
        Mutation::Delete { from, to } if to < RECORDS => only(What::Missing, from),
        Mutation::Delete { from, .. } | Mutation::Truncate { from } => only(What::Truncated, from),
        Mutation::Swap { a, b } => {
            has(What::Reordered, a) && has(What::Reordered, b) && report.problem_count == 2
        }
        Mutation::CopyToEnd { .. } => only(What::Duplicate, RECORDS + 1),
        Mutation::Forge => only(What::Altered, RECORDS + 1),
        Mutation::Replace { seq } => {
            (has(What::Replaced, seq) || seq == RECORDS)
                && (has(What::Rewritten, seq) == SIGNED.contains(&seq))
        }
        Mutation::Rewrite { from } => SIGNED.iter().all(|s| has(What::Rewritten, *s) == (*s >= from)),
        Mutation::FlipCheckpoint { seq, .. } => only(What::Checkpoint, seq),
        // The identity is in the first record's hash.
        Mutation::FlipIdentity { .. } => has(What::Replaced, 1) || report.problems[0].what == What::Identity,
    }
}

fn mutated(mutation: &Mutation) -> (TempDir, PathBuf) {
    let (dir, path) = copy();
    raw(&path, |db| apply(db, mutation));
    (dir, path)
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let seq = 1..=RECORDS;
    let flip = (proptest::sample::select(&COLUMNS[..]), any::<usize>(), 0..8u8);
    let signed = proptest::sample::select(&SIGNED[..]);
    let column = proptest::sample::select(&["hash", "time", "signature"][..]);
    let name = proptest::sample::select(&["store", "created", "public_key"][..]);
    let pair = (1..RECORDS, 1..RECORDS).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        8 => (seq.clone(), flip).prop_map(|(seq, (column, byte, bit))| Mutation::Flip { seq, column, byte, bit }),
        1 => (seq.clone(), prop_oneof![-99..=0i64, RECORDS + 1..=i64::MAX])
            .prop_map(|(seq, to)| Mutation::Renumber { seq, to }),
        1 => pair.clone().prop_map(|(from, to)| Mutation::Delete { from, to }),
        1 => pair.prop_map(|(a, b)| Mutation::Swap { a, b: b + 1 }),
        1 => seq.clone().prop_map(|from| Mutation::Truncate { from }),
        1 => seq.clone().prop_map(|seq| Mutation::CopyToEnd { seq }),
        1 => Just(Mutation::Forge),
        1 => seq.clone().prop_map(|seq| Mutation::Replace { seq }),
        1 => seq.prop_map(|from| Mutation::Rewrite { from }),
        1 => (signed, column, any::<usize>(), 0..8u8)
            .prop_map(|(seq, column, byte, bit)| Mutation::FlipCheckpoint { seq, column, byte, bit }),
        1 => (name, any::<usize>(), 0..8u8)
            .prop_map(|(name, byte, bit)| Mutation::FlipIdentity { name, byte, bit }),
    ]
}

/// One of each, for the tests that look at the kinds of change and not at the places.
fn one_of_each() -> Vec<Mutation> {
    let flip = |column| Mutation::Flip { seq: 11, column, byte: 2, bit: 0 };
    let mut all: Vec<_> = COLUMNS.into_iter().map(flip).collect();
    all.extend([
        Mutation::Renumber { seq: 9, to: 77 },
        Mutation::Delete { from: 5, to: 5 },
        Mutation::Delete { from: 1, to: 7 },
        Mutation::Swap { a: 6, b: 7 },
        Mutation::Swap { a: 3, b: 40 },
        Mutation::Truncate { from: 39 },
        Mutation::Truncate { from: 1 },
        Mutation::CopyToEnd { seq: 12 },
        Mutation::Forge,
        Mutation::Replace { seq: 17 },
        Mutation::Replace { seq: 39 },
        Mutation::Replace { seq: 40 },
        Mutation::Rewrite { from: 20 },
        Mutation::Rewrite { from: 1 },
        Mutation::FlipCheckpoint { seq: 28, column: "hash", byte: 0, bit: 7 },
        Mutation::FlipIdentity { name: "created", byte: 3, bit: 0 },
        Mutation::FlipIdentity { name: "public_key", byte: 3, bit: 0 },
        Mutation::FlipIdentity { name: "store", byte: 3, bit: 0 },
    ]);
    all
}

#[test]
fn one_change_of_each_kind_is_found_and_named() {
    assert_verifies(base());
    for mutation in one_of_each() {
        let (_dir, path) = mutated(&mutation);
        let report = verified(&path);
        assert!(!report.ok && is_named(&report, &mutation), "{mutation:?}: {:#?}", report.problems);
    }
}

/// All places, where the properties below draw some.
#[test]
#[ignore = "takes minutes: cargo test --test it changes_at_every_place -- --ignored"]
fn changes_at_every_place_are_found_and_named() {
    let seqs = || 1..=RECORDS;
    let pairs = || seqs().flat_map(move |a| (a..=RECORDS).map(move |b| (a, b)));
    let mut all: Vec<_> = pairs().map(|(from, to)| Mutation::Delete { from, to }).collect();
    all.extend(pairs().filter(|(a, b)| a != b).map(|(a, b)| Mutation::Swap { a, b }));
    for seq in seqs() {
        all.extend([-7, 0, RECORDS + 1, 77, i64::MAX].map(|to| Mutation::Renumber { seq, to }));
        all.extend(COLUMNS.map(|column| Mutation::Flip { seq, column, byte: 3, bit: 1 }));
        all.extend([
            Mutation::Truncate { from: seq },
            Mutation::CopyToEnd { seq },
            Mutation::Replace { seq },
            Mutation::Rewrite { from: seq },
        ]);
    }
    for mutation in all {
        let (_dir, path) = mutated(&mutation);
        let report = verified(&path);
        assert!(!report.ok && is_named(&report, &mutation), "{mutation:?}: {:#?}", report.problems);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_single_change_is_found_and_named(mutation in mutation()) {
        let (_dir, path) = mutated(&mutation);
        let report = verified(&path);
        prop_assert!(!report.ok);
        prop_assert!(is_named(&report, &mutation), "{:?}: {:#?}", mutation, report.problems);
    }

    /// SQLite's own pages may be hit too. Whatever happens, it is a report or an error; and a log that
    /// verifies still says what it said.
    #[test]
    fn any_damage_to_the_file_is_survived(place in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (_dir, path) = copy();
        let mut bytes = fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        if verify(&path, &Options::default()).is_ok_and(|report| report.ok) {
            prop_assert_eq!(records(&path), records(base()));
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_survived(end in any::<prop::sample::Index>()) {
        let (_dir, path) = copy();
        let bytes = fs::read(&path).unwrap();
        let end = end.index(bytes.len());
        fs::write(&path, &bytes[..end]).unwrap();
        prop_assert!(!verified(&path).ok);
    }
}

/// These tests can fail: a verifier that leaves out any one check lets some of the changes pass.
#[test]
fn a_verifier_that_checks_less_is_found_out() {
    let copies: Vec<_> = one_of_each().into_iter().map(|m| (mutated(&m), m)).collect();
    let passes = |trust: Trust| -> Vec<&Mutation> {
        assert!(independent::holds(base(), trust));
        copies.iter().filter(|((_, path), _)| independent::holds(path, trust)).map(|(_, m)| m).collect()
    };
    let nothing = Trust::default();
    assert!(passes(nothing).is_empty(), "{:?}", passes(nothing));
    for (trust, example) in [
        (Trust { content: true, ..nothing }, "Flip { seq: 11, column: \"body\""),
        (Trust { kind: true, ..nothing }, "Flip { seq: 11, column: \"kind\""),
        (Trust { links: true, ..nothing }, "Replace { seq: 17 }"),
        (Trust { checkpoints: true, ..nothing }, "Truncate { from: 39 }"),
        (Trust { checkpoints: true, ..nothing }, "Rewrite { from: 20 }"),
    ] {
        let passed = passes(trust);
        assert!(
            passed.iter().any(|m| format!("{m:?}").starts_with(example)),
            "{trust:?} lets pass: {passed:?}"
        );
    }
}

/// What only a checkpoint kept elsewhere can tell: the end and its checkpoints are both gone.
#[test]
fn a_checkpoint_kept_elsewhere_shows_what_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let file = dir.path().join("elsewhere.jsonl");
    config.checkpoint_file = Some(file.clone());
    let mut store = isotherm::audit::Store::open(&config, at(0)).unwrap();
    for step in 1..=30 {
        super::put(&mut store, super::frame(step));
        store.commit().unwrap();
    }
    store.close().unwrap();
    let options = Options { against: read_checkpoints(&file).unwrap(), ..Options::default() };
    assert_eq!(options.against.len(), 4);
    let report = verify(&config.path, &options).unwrap();
    assert!(report.ok, "{:?}", report.problems);

    raw(&config.path, |db| {
        db.execute_batch("DELETE FROM record WHERE seq > 20; DELETE FROM checkpoint WHERE seq > 20").unwrap();
    });
    assert_verifies(&config.path);
    let report = verify(&config.path, &options).unwrap();
    assert_eq!((report.problems[0].what, report.problems[0].seq), (What::Truncated, Some(21)));
    assert!(report.problems[0].expected.contains("record 30"), "{}", report.problems[0]);

    // A checkpoint of another log, and one that nobody signed.
    let other = tempfile::tempdir().unwrap();
    let other = verify(&closed_log(other.path(), 30), &options).unwrap();
    assert_eq!((other.problem_count, other.problems[0].what), (4, What::Checkpoint));
    let mut forged = options.clone();
    forged.against[0].seq += 1;
    assert!(verify(&config.path, &forged).unwrap().problems.iter().any(|p| p.what == What::Checkpoint));
}

/// A log that was replaced as a whole brings its own key; only the key kept elsewhere tells.
#[test]
fn a_key_kept_elsewhere_shows_a_log_made_anew() {
    let mine = verified(base()).public_key;
    let dir = tempfile::tempdir().unwrap();
    let path = closed_log(dir.path(), 20);
    assert_verifies(&path);
    let options = Options { public_key: mine, ..Options::default() };
    assert!(verify(base(), &options).unwrap().ok);
    let report = verify(&path, &options).unwrap();
    assert!(report.key_given && !report.ok);
    assert!(report.problems.iter().any(|p| p.what == What::Identity), "{:#?}", report.problems);
}

/// The one thing a chain cannot tell is said: a record after the last checkpoint, with the hash it
/// needs, may be anybody's.
#[test]
fn records_that_no_checkpoint_covers_are_counted() {
    let (_dir, path) = copy();
    raw(&path, |db| {
        apply(db, &Mutation::Forge);
        let row = independent::row(db, RECORDS + 1);
        db.execute(
            "UPDATE record SET hash = ?1 WHERE seq = ?2",
            params![row.digest().as_slice(), RECORDS + 1],
        )
        .unwrap();
    });
    assert_eq!(assert_verifies(&path).unsigned, 1);
}

#[test]
fn dropped_triggers_are_found() {
    let (_dir, path) = copy();
    Connection::open(&path).unwrap().execute_batch("DROP TRIGGER record_stays").unwrap();
    let report = verified(&path);
    assert_eq!((report.problem_count, report.problems[0].what), (1, What::Database));
    assert!(report.problems[0].found.contains("record_stays"));
}
