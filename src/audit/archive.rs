//! Records that leave the log: compressed Parquet, with a proof beside it, and only once the file has been
//! read back and its chain has been followed to a signed checkpoint.
//!
//! `records-FROM-TO.parquet` holds whole records; `records-FROM-TO.json` the log's identity, the hash that the
//! first of them follows, the checkpoint that signs the last, and the file's SHA-256. The log keeps that
//! checkpoint, and an `archived` event that names it: so records are either in the log, or said by the chain
//! itself to be elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain::Row;
use super::check::Checker;
use super::{Archived, AuditError, Checkpoint, Hash, Identity, Kind, Log, Record, Store, parquet};
use crate::control::Body;
use crate::control::record::EventRecord;
use crate::hex;
use crate::site::Audit;

/// What stands beside an archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Proof {
    pub(super) identity: Identity,
    pub(super) archived: Archived,
    /// The hash that the first record follows.
    pub(super) previous: Hash,
    /// Signs the last record.
    pub(super) checkpoint: Checkpoint,
}

/// Writes the records up to the newest checkpoint of before `before` into `dir`, and verifies what was
/// written. `None`: there are none. The log stays as it is; [`Store::forget`] takes them out.
pub fn archive(path: &Path, dir: &Path, before: Timestamp) -> Result<Option<Archived>, AuditError> {
    let log = Log::open(path)?;
    let _snapshot = log.snapshot()?;
    let identity = log.identity()?;
    let Some(first) = log.records(0).next().transpose()? else { return Ok(None) };
    let before = super::time_text(before);
    // Up to the first that is not old: one with an old time behind it was signed by a clock that was wrong.
    let old = log.checkpoints()?.into_iter().take_while(|c| c.time < before);
    let signed = old.filter(|c| c.seq >= first.seq && c.is_signed_by(identity.public_key));
    let Some(checkpoint) = signed.last() else { return Ok(None) };
    fs::create_dir_all(dir).map_err(io(dir, "make the archive's folder"))?;
    let stem = format!("records-{:09}-{:09}", first.seq, checkpoint.seq);
    let (file, partial) = (dir.join(format!("{stem}.parquet")), dir.join(format!("{stem}.parquet.partial")));
    let out = File::create(&partial).map_err(io(&partial, "write the archive"))?;
    let synced = out.try_clone().map_err(io(&partial, "write the archive"))?;
    let records =
        log.records(first.seq - 1).take_while(|r| r.as_ref().map_or(true, |r| r.seq <= checkpoint.seq));
    let written = parquet::write(&partial, out, records)
        .and_then(|_| synced.sync_all().map_err(io(&partial, "write the archive")))
        .and_then(|()| fs::rename(&partial, &file).map_err(io(&file, "write the archive")));
    if written.is_err() {
        // On a full disk the half of it would keep the log from going on.
        fs::remove_file(&partial).ok();
    }
    written?;
    let archived = Archived {
        from: first.seq,
        to: checkpoint.seq,
        hash: checkpoint.hash,
        file: format!("{stem}.parquet"),
        sha256: crate::model::sha256(&file).map_err(io(&file, "read the archive"))?,
    };
    let proof = Proof { identity, archived, previous: first.previous, checkpoint };
    check(dir, &proof)?;
    let path = dir.join(format!("{stem}.json"));
    let json = serde_json::to_string_pretty(&proof).unwrap_or_default();
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map_err(io(&path, "write the proof"))?;
    out.write_all(format!("{json}\n").as_bytes())
        .and_then(|()| out.sync_all())
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(io(&path, "write the proof"))?;
    Ok(Some(proof.archived))
}

/// Follows the chain through the file from the hash it begins with to the checkpoint.
fn check(dir: &Path, proof: &Proof) -> Result<(), AuditError> {
    let path = dir.join(&proof.archived.file);
    let before = i64::try_from(proof.archived.from - 1).unwrap_or(i64::MAX);
    let mut checker = Checker::after(&proof.identity, None, before, proof.previous);
    checker.checkpoints([Ok(proof.checkpoint.clone())]);
    for record in parquet::read(&path)? {
        checker.row(Row::from(&record?));
    }
    match checker.finish(|_, _| None).problems.into_iter().next() {
        Some(first) => Err(AuditError::Broken { path, first: Box::new(first) }),
        None => Ok(()),
    }
}

/// So many days ago; where the calendar does not go back that far, where it begins.
#[must_use]
pub fn days_before(now: Timestamp, days: u32) -> Timestamp {
    now.checked_sub(jiff::SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN)
}

/// Moves old records of a log that nobody writes into `dir`.
pub fn archive_closed(
    config: &Audit,
    dir: &Path,
    before: Timestamp,
    now: Timestamp,
) -> Result<Option<Archived>, AuditError> {
    let mut store = Store::open(config, now)?;
    let archived = archive(&config.path, dir, before)?;
    if let Some(archived) = &archived {
        let body = Body::Event(EventRecord::of_archived(archived.clone()));
        store.append(now, Kind::Event, &body.to_json())?;
        store.forget(archived)?;
    }
    store.close()?;
    Ok(archived)
}

/// The proofs in a folder of records up to `to`, in order. Some later one may be there, of records that have not
/// left the log.
pub(super) fn proofs(dir: &Path, to: u64) -> Result<Vec<Proof>, AuditError> {
    let mut proofs = Vec::new();
    for entry in fs::read_dir(dir).map_err(io(dir, "read the archive"))? {
        let path = entry.map_err(io(dir, "read the archive"))?.path();
        if path.extension().is_some_and(|e| e == "json") {
            let text = fs::read_to_string(&path).map_err(io(&path, "read the archive"))?;
            let proof = serde_json::from_str::<Proof>(&text).map_err(|e| AuditError::NotACheckpoint {
                path: path.clone(),
                line: e.line(),
                why: e.to_string(),
            })?;
            proofs.push(proof);
        }
    }
    if proofs.is_empty() {
        let expected = "archived records: expected records-FROM-TO.json and .parquet";
        return Err(AuditError::Lacks { path: dir.to_owned(), expected });
    }
    proofs.retain(|p| p.archived.to <= to);
    // A run that ended between archiving and forgetting archives the same records again, and more.
    proofs.sort_by_key(|p| (p.archived.from, std::cmp::Reverse(p.archived.to)));
    let mut last = 0;
    proofs.retain(|p| {
        let new = p.archived.from > last;
        last = if new { p.archived.to } else { last };
        new
    });
    Ok(proofs)
}

/// The records of an archive, in order.
pub(super) fn records(
    dir: &Path,
    proof: &Proof,
) -> Result<impl Iterator<Item = Result<Record, AuditError>> + use<>, AuditError> {
    // A name from the proof alone: nothing outside of the folder.
    let name = Path::new(&proof.archived.file).file_name().map_or_else(PathBuf::new, PathBuf::from);
    let path = dir.join(name);
    let sha256 = hex::sha256(&fs::read(&path).map_err(io(&path, "read the archive"))?);
    if sha256 != proof.archived.sha256 {
        let why = format!("expected SHA-256 {}, got {sha256}", proof.archived.sha256);
        return Err(AuditError::Archive { path, why });
    }
    parquet::read(&path)
}

fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io { path, doing, source }
}
