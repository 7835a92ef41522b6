//! Feeds a log, or an export of one, to the checker.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::chain::Row;
use super::check::Checker;
use super::export::{CHECKPOINTS, IDENTITY, Line, RECORDS};
use super::{AuditError, Checkpoint, Identity, Problem, PublicKey, Report, What, database};

/// What is known about a log from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Checkpoints that were kept outside the machine: they show what was cut off or rewritten since.
    pub against: Vec<Checkpoint>,
    /// The key to verify with, instead of the one that the log says is its own.
    pub public_key: Option<PublicKey>,
    /// The folder with the records that have left the log: their chain is followed too.
    pub archive: Option<PathBuf>,
}

/// Walks a whole log and names everything that is not as it was written. `path` is the log, live,
/// closed or copied, or the folder of an export with `records.jsonl`.
///
/// What is wrong with the log is in the report; an error means that there was nothing to look at.
pub fn verify(path: &Path, options: &Options) -> Result<Report, AuditError> {
    if path.is_dir() {
        return verify_export(path, options);
    }
    let db = database::open_reader(path)?;
    // One read transaction: a live log goes on growing meanwhile.
    let snapshot = db.unchecked_transaction().map_err(Halt::Damaged);
    match snapshot.and_then(|snapshot| verify_database(&snapshot, options)) {
        Ok(report) => Ok(report),
        Err(Halt::Damaged(error)) => Ok(Report::unreadable(damaged(None, &error.to_string()))),
        Err(Halt::NotALog(problem)) => Ok(Report::unreadable(problem)),
        Err(Halt::Failed(error)) => Err(error),
    }
}

fn damaged(seq: Option<i64>, found: &str) -> Problem {
    Problem {
        what: What::Database,
        seq,
        expected: "a sound SQLite file".to_owned(),
        found: found.to_owned(),
        message: "the file is damaged".to_owned(),
    }
}

/// The checkpoints and rows of the archive that is to be looked at, of records up to `to`: what was archived
/// and not taken out is in the log too.
type Archive = (Vec<Checkpoint>, Box<dyn Iterator<Item = Result<Row, AuditError>>>);

#[cfg(feature = "parquet")]
fn archive_rows(options: &Options, to: u64) -> Result<Option<Archive>, AuditError> {
    use super::archive::{proofs, records};
    let Some(dir) = options.archive.clone() else { return Ok(None) };
    let proofs = proofs(&dir, to)?;
    let checkpoints = proofs.iter().map(|p| p.checkpoint.clone()).collect();
    let rows = proofs.into_iter().flat_map(move |proof| match records(&dir, &proof) {
        Ok(records) => {
            let rows = records.map(|r| r.map(|r| Row::from(&r)));
            Box::new(rows) as Box<dyn Iterator<Item = Result<Row, AuditError>>>
        }
        Err(e) => Box::new(std::iter::once(Err(e))),
    });
    Ok(Some((checkpoints, Box::new(rows))))
}

#[cfg(not(feature = "parquet"))]
fn archive_rows(options: &Options, _to: u64) -> Result<Option<Archive>, AuditError> {
    match &options.archive {
        None => Ok(None),
        Some(path) => {
            let why = "this program was built without Parquet".to_owned();
            Err(AuditError::Parquet { path: path.clone(), why })
        }
    }
}

/// Where the log begins: after nothing, or after what it says itself is archived.
fn beginning(
    db: &Connection,
    identity: &Identity,
    options: &Options,
    archived: u64,
    followed: bool,
) -> rusqlite::Result<Checker> {
    if archived == 0 || followed {
        return Ok(Checker::whole(identity, options.public_key));
    }
    let key = options.public_key.unwrap_or(identity.public_key);
    let mut signed = database::checkpoints(db, identity, archived)?;
    signed.retain(|c| c.as_ref().is_ok_and(|c| c.is_signed_by(key)));
    let mut signed = signed.into_iter().flatten();
    let first = signed.next().filter(|c| c.seq == archived);
    let newest = signed.last().map_or(0, |c| c.seq);
    let Some(first) = first.filter(|c| says_archived(db, c, newest).unwrap_or(false)) else {
        // Whoever cut the beginning off and says it is archived has no record of it in the chain.
        return Ok(Checker::whole(identity, options.public_key));
    };
    let mut checker = Checker::after(identity, options.public_key, archived as i64, first.hash);
    checker.note_archived(archived);
    Ok(checker)
}

/// Whether the chain itself has it that everything up to this checkpoint was archived. Whoever can write the
/// file can write an event: only those up to the newest signed record count.
fn says_archived(db: &Connection, checkpoint: &Checkpoint, newest: u64) -> rusqlite::Result<bool> {
    let mut events = db.prepare("SELECT body FROM record WHERE kind = 'event' AND seq > ?1 AND seq <= ?2")?;
    let mut rows = events.query([checkpoint.seq as i64, newest as i64])?;
    while let Some(row) = rows.next()? {
        let body: serde_json::Value = serde_json::from_str(&row.get::<_, String>(0)?).unwrap_or_default();
        let hash = body.pointer("/archived/hash").and_then(serde_json::Value::as_str);
        if body["event"] == "archived" && hash == Some(&checkpoint.hash.to_string()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Why a database was not gone through.
enum Halt {
    Damaged(rusqlite::Error),
    NotALog(Problem),
    Failed(AuditError),
}

impl From<rusqlite::Error> for Halt {
    fn from(error: rusqlite::Error) -> Self {
        Self::Damaged(error)
    }
}

fn verify_database(db: &Connection, options: &Options) -> Result<Report, Halt> {
    if let Some(found) = database::not_a_log(db)? {
        return Err(Halt::NotALog(Problem {
            what: What::Identity,
            seq: None,
            expected: format!("an Isotherm audit log of version {}", database::VERSION),
            found,
            message: "the file is not an audit log".to_owned(),
        }));
    }
    let identity = database::identity(db)?.map_err(|found| Halt::NotALog(no_identity(found)))?;
    let archived = database::archived(db)?;
    let archive = archive_rows(options, archived).map_err(Halt::Failed)?;
    let mut checker = beginning(db, &identity, options, archived, archive.is_some())?;
    for found in database::schema_changes(db)? {
        checker.problem(Problem {
            what: What::Database,
            seq: None,
            expected: "the schema it was made with".to_owned(),
            found,
            message: "the schema was changed".to_owned(),
        });
    }
    match integrity(db) {
        Ok(messages) => messages.iter().for_each(|m| checker.problem(damaged(None, m))),
        Err(e) => checker.problem(damaged(None, &e.to_string())),
    }
    let (earlier, archived_rows) = archive.unzip();
    let earlier = earlier.into_iter().flatten().filter(|c| c.seq < archived).map(Ok);
    checker.checkpoints(earlier.chain(database::checkpoints(db, &identity, 0)?));
    checker.against(options.against.iter().cloned());
    for row in archived_rows.into_iter().flatten() {
        match row {
            Ok(row) => checker.row(row),
            Err(e) => checker.problem(damaged(None, &e.to_string())),
        }
    }
    if let Err((after, e)) = rows(db, &mut checker) {
        checker.problem(damaged(after, &format!("{e}, when reading the record after this one")));
    }
    Ok(checker.finish(|hash, seq| {
        db.query_row("SELECT seq FROM record WHERE hash = ?1 AND seq <> ?2", (hash, seq), |r| r.get(0)).ok()
    }))
}

fn no_identity(found: String) -> Problem {
    Problem {
        what: What::Identity,
        seq: None,
        expected: "a store id, the time it was created and a public key".to_owned(),
        found,
        message: "the log does not say what it is".to_owned(),
    }
}

fn integrity(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare("PRAGMA integrity_check(20)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    lines.filter(|line| !line.as_ref().is_ok_and(|l| l == "ok")).collect()
}

fn rows(db: &Connection, checker: &mut Checker) -> Result<(), (Option<i64>, rusqlite::Error)> {
    let mut last = None;
    let mut statement = db
        .prepare(&format!("SELECT {} FROM record ORDER BY seq", database::COLUMNS))
        .map_err(|e| (last, e))?;
    let mut rows = statement.query([]).map_err(|e| (last, e))?;
    while let Some(row) = rows.next().map_err(|e| (last, e))? {
        let row = database::row(row).map_err(|e| (last, e))?;
        last = Some(row.seq);
        checker.row(row);
    }
    Ok(())
}

fn verify_export(dir: &Path, options: &Options) -> Result<Report, AuditError> {
    let path = dir.join(IDENTITY);
    if !path.exists() {
        let expected = "identity.json: it is a folder, but not an export; give the log itself";
        return Err(AuditError::Lacks { path: dir.to_owned(), expected });
    }
    let identity = fs::read_to_string(&path).map_err(|source| unreadable(&path, source))?;
    let identity: Identity = match serde_json::from_str(&identity) {
        Ok(identity) => identity,
        Err(e) => return Ok(Report::unreadable(no_identity(format!("{IDENTITY}: {e}")))),
    };
    let mut checker = Checker::whole(&identity, options.public_key);
    let bad_line = |file: &str, number: usize, why: &serde_json::Error| Problem {
        what: What::Database,
        seq: None,
        expected: "one JSON object on each line".to_owned(),
        found: why.to_string(),
        message: format!("{file}:{number} is not readable"),
    };
    for (number, line) in lines(&dir.join(CHECKPOINTS))?.enumerate() {
        match serde_json::from_slice(&line?) {
            Ok(checkpoint) => checker.checkpoints([Ok(checkpoint)]),
            Err(e) => checker.problem(bad_line(CHECKPOINTS, number + 1, &e)),
        }
    }
    checker.against(options.against.iter().cloned());
    for (number, line) in lines(&dir.join(RECORDS))?.enumerate() {
        match serde_json::from_slice::<Line>(&line?) {
            Ok(line) => checker.row(Row::from(line)),
            Err(e) => checker.problem(bad_line(RECORDS, number + 1, &e)),
        }
    }
    Ok(checker.finish(|_, _| None))
}

fn lines(path: &Path) -> Result<impl Iterator<Item = Result<Vec<u8>, AuditError>>, AuditError> {
    let file = fs::File::open(path).map_err(|source| unreadable(path, source))?;
    Ok(BufReader::new(file).split(b'\n').map(|line| line.map_err(|source| unreadable(path, source))))
}

fn unreadable(path: &Path, source: std::io::Error) -> AuditError {
    AuditError::Io { path: path.to_owned(), doing: "read", source }
}

/// Reads a file of checkpoints, one JSON object on each line, for [`Options::against`].
pub fn read_checkpoints(path: &Path) -> Result<Vec<Checkpoint>, AuditError> {
    let text = fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
    parse_checkpoints(&text, path)
}

pub(super) fn parse_checkpoints(text: &str, path: &Path) -> Result<Vec<Checkpoint>, AuditError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let checkpoints: Vec<Checkpoint> = lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|e| AuditError::NotACheckpoint {
                path: PathBuf::from(path),
                line: number + 1,
                why: e.to_string(),
            })
        })
        .collect::<Result<_, _>>()?;
    if checkpoints.is_empty() {
        let expected =
            "checkpoint: expected JSON lines, as the agent appends them to [audit] checkpoint_file";
        return Err(AuditError::Lacks { path: path.to_owned(), expected });
    }
    Ok(checkpoints)
}
