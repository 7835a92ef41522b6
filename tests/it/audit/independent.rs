//! The format read by somebody else: a second verifier written from `docs/audit.md`, and the program
//! in that document itself.

use std::path::Path;
use std::process::Command;

use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};

use super::closed_log;
use crate::peers::python_with;

/// A record as it is stored.
pub(super) struct Row {
    seq: i64,
    time: Vec<u8>,
    kind: Vec<u8>,
    pub(super) previous: Vec<u8>,
    pub(super) hash: Vec<u8>,
    body: Vec<u8>,
}

impl Row {
    pub(super) fn digest(&self) -> [u8; 32] {
        let fields = [&self.previous, &self.seq.to_be_bytes().to_vec(), &self.time, &self.kind, &self.body];
        hash(b"isotherm-audit-v1\0", &fields.map(Vec::as_slice))
    }
}

fn message(domain: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().fold(domain.to_vec(), |mut out, field| {
        out.extend((field.len() as u64).to_be_bytes());
        out.extend(*field);
        out
    })
}

fn hash(domain: &[u8], fields: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(message(domain, fields)).into()
}

pub(super) fn row(db: &Connection, seq: i64) -> Row {
    rows(db).into_iter().find(|row| row.seq == seq).unwrap()
}

fn rows(db: &Connection) -> Vec<Row> {
    let mut all = db
        .prepare(
            "SELECT seq, CAST(time AS BLOB), CAST(kind AS BLOB), previous, hash, CAST(body AS BLOB)
             FROM record ORDER BY seq",
        )
        .unwrap();
    let rows = all.query_map([], |r| {
        Ok(Row {
            seq: r.get(0)?,
            time: r.get(1)?,
            kind: r.get(2)?,
            previous: r.get(3)?,
            hash: r.get(4)?,
            body: r.get(5)?,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Which checks to leave out.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Trust {
    /// Take each record's hash as it is.
    pub(super) content: bool,
    /// Take any kind.
    pub(super) kind: bool,
    /// Take each record without looking at the one before.
    pub(super) links: bool,
    pub(super) checkpoints: bool,
}

/// Whether a log holds, as `docs/audit.md` says to check it.
pub(super) fn holds(path: &Path, trust: Trust) -> bool {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let meta = |name: &str| -> Vec<u8> {
        db.query_row("SELECT CAST(value AS BLOB) FROM meta WHERE name = ?1", [name], |r| r.get(0)).unwrap()
    };
    let (Some(store), Some(key)) = (unhex(&meta("store")), unhex(&meta("public_key"))) else { return false };
    let mut last = hash(b"isotherm-genesis-v1\0", &[&store, &meta("created"), &key]).to_vec();
    let rows = rows(&db);
    for (expected, row) in (1..).zip(&rows) {
        let mut known = row.digest();
        if trust.kind {
            // As if the kind were not in the hash: any of the seven will do.
            for kind in ["start", "frame", "decision", "outcome", "operator", "event", "stop"] {
                let fields =
                    [&row.previous, &row.seq.to_be_bytes().to_vec(), &row.time, &kind.into(), &row.body];
                let digest = hash(b"isotherm-audit-v1\0", &fields.map(Vec::as_slice));
                if digest == *row.hash {
                    known = digest;
                }
            }
        }
        let holds = row.seq == expected
            && (trust.links || row.previous == last)
            && (trust.content || known == *row.hash);
        if !holds {
            return false;
        }
        last.clone_from(&row.hash);
    }
    trust.checkpoints || signatures_hold(&db, &store, &key, &rows)
}

fn signatures_hold(db: &Connection, store: &[u8], key: &[u8], rows: &[Row]) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::try_from(key) else { return false };
    let mut all = db.prepare("SELECT seq, hash, CAST(time AS BLOB), signature FROM checkpoint").unwrap();
    let mut all = all.query([]).unwrap();
    while let Some(row) = all.next().unwrap() {
        let seq: i64 = row.get(0).unwrap();
        let (hash, time): (Vec<u8>, Vec<u8>) = (row.get(1).unwrap(), row.get(2).unwrap());
        let signature: Vec<u8> = row.get(3).unwrap();
        let signed = message(b"isotherm-checkpoint-v1\0", &[store, &seq.to_be_bytes(), &hash, &time]);
        let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        if key.verify_strict(&signed, &signature).is_err()
            || !rows.iter().any(|row| row.seq == seq && row.hash == hash)
        {
            return false;
        }
    }
    true
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|t| t.is_ascii())?;
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()).collect()
}

/// The program in the document finds a good log good and a changed one changed.
#[test]
fn the_documented_program_verifies_a_log() {
    let document = include_str!("../../../docs/audit.md");
    let program = document.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = closed_log(dir.path(), 40);
    let test = "the_documented_program_verifies_a_log";
    let Some(python) = python_with(test, "cryptography") else { return };
    let run = || Command::new(&python).arg("-c").arg(program).arg(&path).output().unwrap();
    let good = run();
    let text = String::from_utf8_lossy(&good.stdout);
    assert!(good.status.success(), "{text}{}", String::from_utf8_lossy(&good.stderr));
    assert!(text.contains("40 records hold"), "{text}");
    assert!(text.contains("5 signatures hold"), "{text}");
    super::tamper::raw(&path, |db| {
        db.execute("UPDATE checkpoint SET signature = zeroblob(64) WHERE seq = 8", []).unwrap();
    });
    let forged = run();
    assert!(!forged.status.success(), "{}", String::from_utf8_lossy(&forged.stdout));

    let dir = tempfile::tempdir().unwrap();
    let path = closed_log(dir.path(), 40);
    super::tamper::raw(&path, |db| {
        db.execute("UPDATE record SET body = replace(body, '7.1', '7.2') WHERE seq = 6", []).unwrap();
    });
    let changed = Command::new(&python).arg("-c").arg(program).arg(&path).output().unwrap();
    let text = String::from_utf8_lossy(&changed.stderr);
    assert!(!changed.status.success() && text.contains("record 6"), "{text}");
}
