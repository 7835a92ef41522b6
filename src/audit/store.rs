//! The writing side.
//!
//! [`Store::append`] adds to an open transaction, [`Store::commit`] puts it on the disk: many frames can
//! share one sync, and an intent is committed before its first register write. The first write that
//! fails closes the database and latches; [`Store::reopen`] starts again from what is really there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::value::RawValue;

use super::chain::{Identity, record_digest};
use super::check::Checker;
use super::checkpoint_file::CheckpointFile;
use super::{
    Archived, AuditError, Checkpoint, Hash, Kind, Orphan, Problem, StoreId, What, database, key, log,
    time_text,
};
use crate::site::Audit;

/// The one writer of a log.
#[derive(Debug)]
pub struct Store {
    config: Audit,
    key: SigningKey,
    /// Locked for as long as the store lives.
    _lock: File,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(Box<Writer>),
    Latched { cause: String },
}

#[derive(Debug)]
struct Writer {
    db: Connection,
    identity: Identity,
    /// The newest record, appended or committed.
    tail: Tail,
    /// Seq of the last checkpoint.
    signed: u64,
    file: Option<CheckpointFile>,
    orphans: Vec<Orphan>,
}

#[derive(Clone, Debug)]
struct Tail {
    seq: u64,
    hash: Hash,
    time: String,
}

/// Where a record stands. Durable once [`Store::commit`] has returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    pub seq: u64,
    pub hash: Hash,
}

/// What is on the disk now.
#[derive(Debug)]
pub struct Committed {
    /// The newest durable record; 0 when there is none.
    pub seq: u64,
    /// Signed with this commit; to be published where this machine cannot change it.
    pub checkpoint: Option<Checkpoint>,
    /// The checkpoint file could not be written. The log itself is complete, and missing lines are
    /// written with the next checkpoint.
    pub file_error: Option<AuditError>,
}

impl Store {
    /// Opens the log for writing; makes it, and its key, on first use. The end of the log is verified
    /// from the last checkpoint on.
    ///
    /// Fails when another process writes it, the key is not the one that signed it, or its end does
    /// not verify.
    pub fn open(config: &Audit, now: Timestamp) -> Result<Self, AuditError> {
        let lock = lock(&config.path)?;
        let key = key::load(&config.key, !config.path.exists())?;
        let writer = Writer::open(config, &key, now)?;
        Ok(Self { config: config.clone(), key, _lock: lock, state: State::Open(Box::new(writer)) })
    }

    /// Leaves the latched state, if the log can be opened again and verifies. What was appended and not
    /// committed before is lost.
    pub fn reopen(&mut self, now: Timestamp) -> Result<(), AuditError> {
        self.state = State::Latched { cause: "it is being reopened".to_owned() };
        match Writer::open(&self.config, &self.key, now) {
            Ok(writer) => {
                self.state = State::Open(Box::new(writer));
                Ok(())
            }
            Err(e) => {
                self.state = State::Latched { cause: e.to_string() };
                Err(e)
            }
        }
    }

    /// Intents whose outcome was not recorded when the log was opened: the agent died in between, and the
    /// registers hold the old or the new values. Read them back, and record an `event` with
    /// `"intents": [SEQ, …]`.
    #[must_use]
    pub fn orphans(&self) -> &[Orphan] {
        match &self.state {
            State::Open(writer) => &writer.orphans,
            State::Latched { .. } => &[],
        }
    }

    /// The number the next record will get; `None` while latched.
    #[must_use]
    pub fn next_seq(&self) -> Option<u64> {
        match &self.state {
            State::Open(writer) => Some(writer.tail.seq + 1),
            State::Latched { .. } => None,
        }
    }

    /// What this log is; `None` while latched.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match &self.state {
            State::Open(writer) => Some(&writer.identity),
            State::Latched { .. } => None,
        }
    }

    /// Adds a record. It is not durable, and nobody else can see it, before [`Store::commit`].
    pub fn append(&mut self, time: Timestamp, kind: Kind, body: &RawValue) -> Result<Appended, AuditError> {
        self.with(|writer, _, _| writer.append(time, kind, body))
    }

    /// Returns when all that was appended is on the disk.
    pub fn commit(&mut self) -> Result<Committed, AuditError> {
        self.with(Writer::commit)
    }

    /// Takes records out that are in an archive, which the log must say already: in an `archived` event after
    /// them. It is signed first, since an unsigned one counts for nothing.
    pub fn forget(&mut self, archived: &Archived) -> Result<Committed, AuditError> {
        let to = archived.to;
        self.with(|writer, _, key| {
            let committed = writer.commit(1, key)?;
            // The record of the newest checkpoint stays: the end of the log is verified from there on.
            if to < writer.signed {
                database::forget(&mut writer.db, to)?;
            }
            Ok(committed)
        })
    }

    /// Commits, signs the last record and closes. A log that is dropped instead loses what was not
    /// committed.
    pub fn close(mut self) -> Result<Committed, AuditError> {
        self.with(|writer, _, key| writer.commit(1, key))
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Writer, u64, &SigningKey) -> rusqlite::Result<T>,
    ) -> Result<T, AuditError> {
        let path = || self.config.path.clone();
        match &mut self.state {
            State::Latched { cause } => Err(AuditError::Latched { path: path(), cause: cause.clone() }),
            State::Open(writer) => {
                act(writer, u64::from(self.config.checkpoint_every.max(1)), &self.key).map_err(|source| {
                    let error = AuditError::Database { path: path(), doing: "write a record", source };
                    // Closing rolls back.
                    self.state = State::Latched { cause: error.to_string() };
                    error
                })
            }
        }
    }
}

impl Writer {
    fn open(config: &Audit, key: &SigningKey, now: Timestamp) -> Result<Self, AuditError> {
        let path = &config.path;
        let failed =
            |source| AuditError::Database { path: path.clone(), doing: "open the audit log", source };
        let mut db = database::open_writer(path).map_err(failed)?;
        if database::is_new(&db).map_err(failed)? {
            let identity = new_identity(path, key, now)?;
            database::create(&mut db, &identity).map_err(failed)?;
        }
        if let Some(found) = database::not_a_log(&db).map_err(failed)? {
            return Err(AuditError::NotALog { path: path.clone(), found });
        }
        let identity = database::identity(&db)
            .map_err(failed)?
            .map_err(|found| AuditError::NotALog { path: path.clone(), found })?;
        if identity.public_key != key::public(key) {
            return Err(AuditError::Key {
                path: config.key.clone(),
                why: format!(
                    "is not the one that signed {}: restore that one, or move the log away to start a new one",
                    path.display()
                ),
            });
        }
        let file = config.checkpoint_file.clone().map(CheckpointFile::new);
        // A file that cannot be read now says so with the next checkpoint.
        let elsewhere = file.as_ref().and_then(|f| f.newest(&identity).ok()).flatten();
        let signed = verified_tail(&db, &identity, elsewhere, path)?;
        let tail = tail(&db, &identity).map_err(failed)?;
        let orphans = log::orphans(&db, path)?;
        Ok(Self { db, identity, tail, signed, file, orphans })
    }

    fn append(&mut self, time: Timestamp, kind: Kind, body: &RawValue) -> rusqlite::Result<Appended> {
        if self.db.is_autocommit() {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
        }
        let seq = self.tail.seq + 1;
        let (time, kind, body) = (time_text(time), kind.as_str(), body.get());
        let previous = self.tail.hash.as_bytes();
        let hash = record_digest(previous, seq as i64, time.as_bytes(), kind.as_bytes(), body.as_bytes());
        self.db
            .prepare_cached(
                "INSERT INTO record (seq, time, kind, previous, hash, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((seq as i64, &time, kind, previous, hash.as_bytes(), body))?;
        self.tail = Tail { seq, hash, time };
        Ok(Appended { seq, hash })
    }

    fn commit(&mut self, every: u64, key: &SigningKey) -> rusqlite::Result<Committed> {
        let mut checkpoint = None;
        if self.tail.seq >= self.signed + every {
            let Tail { seq, hash, time } = self.tail.clone();
            let signed = Checkpoint::sign(self.identity.store, seq, hash, time, key);
            self.db
                .prepare_cached(
                    "INSERT INTO checkpoint (seq, hash, time, signature) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((seq as i64, hash.as_bytes(), &signed.time, signed.signature.as_bytes()))?;
            self.signed = seq;
            checkpoint = Some(signed);
        }
        if !self.db.is_autocommit() {
            self.db.execute_batch("COMMIT")?;
        }
        let file_error = match &mut self.file {
            Some(file) if checkpoint.is_some() => file.catch_up(&self.db, &self.identity).err(),
            Some(_) | None => None,
        };
        Ok(Committed { seq: self.tail.seq, checkpoint, file_error })
    }
}

fn new_identity(path: &Path, key: &SigningKey, now: Timestamp) -> Result<Identity, AuditError> {
    let mut store = [0; 16];
    getrandom::fill(&mut store).map_err(|e| AuditError::Io {
        path: path.to_owned(),
        doing: "draw a store id",
        source: e.into(),
    })?;
    Ok(Identity { store: StoreId::new(store), created: time_text(now), public_key: key::public(key) })
}

/// The lock is on a file of its own: closing any handle of the database would drop SQLite's locks.
fn lock(path: &Path) -> Result<File, AuditError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let io = |source| AuditError::Io { path: name.clone(), doing: "lock the audit log", source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(e)) => return Err(io(e)),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(io)?;
            let pid = pid.trim();
            let holder = if pid.is_empty() { "another process".to_owned() } else { format!("process {pid}") };
            return Err(AuditError::Busy { path: path.to_owned(), holder });
        }
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
    Ok(file)
}

fn tail(db: &Connection, identity: &Identity) -> rusqlite::Result<Tail> {
    let tail = db
        .query_row("SELECT seq, hash, time FROM record ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok(Tail { seq: row.get::<_, i64>(0)? as u64, hash: Hash::new(row.get(1)?), time: row.get(2)? })
        })
        .optional()?;
    Ok(tail.unwrap_or_else(|| Tail { seq: 0, hash: identity.genesis(), time: identity.created.clone() }))
}

/// Follows the chain from the last checkpoint to the end, which must reach the newest checkpoint that
/// was kept elsewhere; the seq of the last checkpoint in the log.
fn verified_tail(
    db: &Connection,
    identity: &Identity,
    elsewhere: Option<Checkpoint>,
    path: &Path,
) -> Result<u64, AuditError> {
    let failed =
        |source| AuditError::Database { path: path.to_owned(), doing: "verify the end of the log", source };
    let newest: i64 =
        db.query_row("SELECT coalesce(max(seq), 0) FROM checkpoint", [], |row| row.get(0)).map_err(failed)?;
    let signed = u64::try_from(newest).unwrap_or(0);
    let checkpoints = database::checkpoints(db, identity, signed).map_err(failed)?;
    let archived = database::archived(db).map_err(failed)?;
    let gone = checkpoints.iter().flatten().find(|c| c.seq == signed && c.seq == archived).map(|c| c.hash);
    let mut checker = match gone {
        // Its record is in an archive: the next one follows its hash.
        Some(hash) => Checker::after(identity, None, newest, hash),
        None if newest == 0 => Checker::whole(identity, None),
        None => Checker::tail(identity, newest),
    };
    checker.checkpoints(checkpoints);
    checker.against(elsewhere);
    let sql = format!("SELECT {} FROM record WHERE seq >= ?1 ORDER BY seq", database::COLUMNS);
    let mut statement = db.prepare(&sql).map_err(failed)?;
    let mut is_empty = true;
    for row in statement.query_map([newest], database::row).map_err(failed)? {
        checker.row(row.map_err(failed)?);
        is_empty = false;
    }
    if gone.is_some() && is_empty {
        checker.problem(Problem {
            what: What::Missing,
            seq: Some(newest + 1),
            expected: format!("an event that says where the records up to {newest} are"),
            found: "no record at all".to_owned(),
            message: "the log is empty".to_owned(),
        });
    }
    match checker.finish(|_, _| None).problems.into_iter().next() {
        Some(first) => Err(AuditError::Broken { path: path.to_owned(), first: Box::new(first) }),
        None => Ok(signed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite's own limit stands in for a full disk.
    #[test]
    fn the_first_failed_write_latches_until_reopened() {
        let dir = tempfile::tempdir().unwrap();
        let config = Audit { path: dir.path().join("db"), key: dir.path().join("key"), ..Audit::default() };
        let mut store = Store::open(&config, Timestamp::UNIX_EPOCH).unwrap();
        let body = serde_json::value::to_raw_value(&"x".repeat(3000)).unwrap();
        let append = |store: &mut Store| store.append(Timestamp::UNIX_EPOCH, Kind::Frame, &body);
        append(&mut store).unwrap();
        store.commit().unwrap();
        let State::Open(writer) = &store.state else { panic!("{:?}", store.state) };
        writer.db.pragma_update(None, "max_page_count", 20).unwrap();

        let first = (0..100).find_map(|_| append(&mut store).err()).unwrap();
        assert!(matches!(first, AuditError::Database { .. }), "{first}");
        let second = append(&mut store).unwrap_err();
        assert!(matches!(&second, AuditError::Latched { cause, .. } if cause.contains("full")), "{second}");
        assert!(matches!(store.commit(), Err(AuditError::Latched { .. })));
        assert!(store.orphans().is_empty() && store.identity().is_none());

        store.reopen(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(append(&mut store).unwrap().seq, 2, "what was not committed is gone");
        store.close().unwrap();
    }
}
