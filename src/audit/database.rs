//! The SQLite file: its schema, and how it is opened.

use std::fs::File;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::chain::{Identity, Row};
use super::{AuditError, Checkpoint, Hash, Signature};
use crate::hex;

/// `ISOA`, in SQLite's application id.
const APPLICATION: i32 = 0x4953_4f41;
/// Of the schema and of what is hashed.
pub(super) const VERSION: i32 = 1;

/// What the file holds. The triggers keep honest programs honest; the chain is what tells on others.
/// `record_follows` also stops `INSERT OR REPLACE`, and a second writer with an old end in mind.
const SCHEMA: [&str; 10] = [
    "CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE record (seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL, body TEXT NOT NULL) STRICT",
    "CREATE INDEX record_kind ON record (kind)",
    "CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, time TEXT NOT NULL, signature BLOB NOT NULL) STRICT",
    "CREATE TRIGGER record_follows BEFORE INSERT ON record WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM record) OR NEW.previous IS NOT coalesce((SELECT hash FROM record WHERE seq = NEW.seq - 1), NEW.previous) BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: a record follows the last one'); END",
    "CREATE TRIGGER record_stays BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    "CREATE TRIGGER record_is_final BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    "CREATE TRIGGER checkpoint_follows BEFORE INSERT ON checkpoint WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM checkpoint) BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: a checkpoint follows the last one'); END",
    "CREATE TRIGGER checkpoint_stays BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    "CREATE TRIGGER checkpoint_is_final BEFORE UPDATE ON checkpoint BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
];

/// Opens for writing, with every commit on the disk before it returns.
pub(super) fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(std::time::Duration::from_secs(1))?;
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "full")?;
    Ok(db)
}

/// Opens for reading: a live log, a closed one, or a copy in a folder where nothing can be written.
pub(super) fn open_reader(path: &Path) -> Result<Connection, AuditError> {
    let io = |source| AuditError::Io { path: path.to_owned(), doing: "read the audit log", source };
    let failed = |source| AuditError::Database { path: path.to_owned(), doing: "read the audit log", source };
    if File::open(path).and_then(|f| f.metadata()).map_err(io)?.is_dir() {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    let probe = db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    let no_place_for_shared_memory = probe.as_ref().is_err_and(|e| {
        matches!(e.sqlite_error_code(), Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly))
    });
    if !no_place_for_shared_memory {
        // Damage, which the probe may meet, is for the caller to report.
        return Ok(db);
    }
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if std::fs::metadata(wal).is_ok_and(|m| m.len() > 0) {
        return Err(io(std::io::Error::other(
            "its newest records are in the -wal file beside it, which takes a writable folder to read: copy both there",
        )));
    }
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push('%');
            uri.push_str(&hex::encode(&[*byte]));
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(failed)
}

/// Whether nothing was ever put into this file.
pub(super) fn is_new(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

pub(super) fn create(db: &mut Connection, identity: &Identity) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    for statement in SCHEMA {
        transaction.execute(statement, [])?;
    }
    for (name, value) in [
        ("store", identity.store.to_string()),
        ("created", identity.created.clone()),
        ("public_key", identity.public_key.to_string()),
    ] {
        transaction.execute("INSERT INTO meta VALUES (?1, ?2)", [name, &value])?;
    }
    transaction.commit()
}

/// `None` for a log of this version, else what the file is instead.
pub(super) fn not_a_log(db: &Connection) -> rusqlite::Result<Option<String>> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    Ok(if application != APPLICATION {
        Some(format!("its SQLite application id is {application:#x}, expected {APPLICATION:#x}"))
    } else if version != VERSION {
        Some(format!("it says version {version}"))
    } else {
        None
    })
}

/// The last record that has left the log for an archive, as the log's head says it; 0 when none has.
pub(super) fn archived(db: &Connection) -> rusqlite::Result<u64> {
    let value = db
        .query_row("SELECT value FROM meta WHERE name = 'archived'", [], |row| Ok(text(row.get_ref(0)?)))
        .optional()?;
    Ok(value.and_then(|v| v.parse().ok()).unwrap_or(0))
}

/// Takes records up to `to` out, and the checkpoints before it. The one place that deletes: the triggers
/// that forbid it are away for the length of one transaction.
pub(super) fn forget(db: &mut Connection, to: u64) -> rusqlite::Result<()> {
    let to = i64::try_from(to).unwrap_or(i64::MAX);
    let transaction = db.transaction()?;
    let forbids = |sql: &&&str| sql.contains("BEFORE DELETE");
    transaction.execute_batch("DROP TRIGGER record_stays; DROP TRIGGER checkpoint_stays")?;
    transaction.execute("DELETE FROM record WHERE seq <= ?1", [to])?;
    transaction.execute("DELETE FROM checkpoint WHERE seq < ?1", [to])?;
    transaction.execute("INSERT OR REPLACE INTO meta VALUES ('archived', ?1)", [to.to_string()])?;
    for statement in SCHEMA.iter().filter(forbids) {
        transaction.execute(statement, [])?;
    }
    transaction.commit()
}

/// Where the schema in the file differs from the one it was made with.
pub(super) fn schema_changes(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    let found = statement
        .query_map([], |row| Ok((text(row.get_ref(0)?), text(row.get_ref(1)?))))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let missing =
        SCHEMA.iter().filter(|sql| !found.iter().any(|(_, f)| f == *sql)).map(|sql| format!("lacks: {sql}"));
    let foreign = found
        .iter()
        .filter(|(_, sql)| !SCHEMA.contains(&sql.as_str()))
        .map(|(name, sql)| format!("has a foreign entry {name:?}: {sql}"));
    Ok(missing.chain(foreign).collect())
}

/// Who the log says it is; `Ok(Err)` when that is not readable.
pub(super) fn identity(db: &Connection) -> rusqlite::Result<Result<Identity, String>> {
    let value = |name: &'static str| {
        db.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| Ok(text(row.get_ref(0)?)))
            .optional()
    };
    let (store, created, key) = (value("store")?, value("created")?, value("public_key")?);
    let (Some(store), Some(created), Some(key)) = (store, created, key) else {
        return Ok(Err("expected the entries store, created and public_key in table meta".to_owned()));
    };
    Ok(match (store.parse(), key.parse()) {
        (Ok(store), Ok(public_key)) => Ok(Identity { store, created, public_key }),
        (Err(e), _) => Err(format!("store: {e}")),
        (_, Err(e)) => Err(format!("public_key: {e}")),
    })
}

/// The signed checkpoints from `from` on; `Err` for those that are not readable, with their seq.
pub(super) fn checkpoints(
    db: &Connection,
    identity: &Identity,
    from: u64,
) -> rusqlite::Result<Vec<Result<Checkpoint, i64>>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, hash, time, signature FROM checkpoint WHERE seq >= ?1 OR seq < 0 ORDER BY seq",
    )?;
    let rows = statement.query_map([i64::try_from(from).unwrap_or(i64::MAX)], |row| {
        let seq: i64 = row.get(0)?;
        let (hash, signature) = (bytes(row.get_ref(1)?), bytes(row.get_ref(3)?));
        let (Ok(number), Ok(hash), Ok(signature)) =
            (u64::try_from(seq), hash.try_into(), signature.try_into())
        else {
            return Ok(Err(seq));
        };
        Ok(Ok(Checkpoint {
            store: identity.store,
            seq: number,
            hash: Hash::new(hash),
            time: text(row.get_ref(2)?),
            signature: Signature::new(signature),
        }))
    })?;
    rows.collect()
}

/// The columns of a [`Row`], in the order that [`row`] takes them.
pub(super) const COLUMNS: &str = "seq, time, kind, previous, hash, body";

pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        seq: row.get(0)?,
        time: bytes(row.get_ref(1)?),
        kind: bytes(row.get_ref(2)?),
        previous: bytes(row.get_ref(3)?),
        hash: bytes(row.get_ref(4)?),
        body: bytes(row.get_ref(5)?),
    })
}

/// Whatever a column holds, as bytes: damage may have changed its type, and text its encoding.
fn bytes(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::Null => Vec::new(),
        ValueRef::Integer(i) => i.to_string().into_bytes(),
        ValueRef::Real(r) => r.to_string().into_bytes(),
        ValueRef::Text(b) | ValueRef::Blob(b) => b.to_vec(),
    }
}

fn text(value: ValueRef<'_>) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}
