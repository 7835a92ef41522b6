//! The reading side: a live log, a closed one or a copy. Nothing here writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer as _, value};
use serde_json::Value;

use super::chain::Row;
use super::{AuditError, Checkpoint, Identity, Kind, Malformed, Record, database, summary, time_text};
use crate::envelope::Rule;

/// Records read at a time, so that a slow reader holds up nothing.
const BATCH: usize = 64;

/// A log, opened for reading.
#[derive(Debug)]
pub struct Log {
    db: Connection,
    path: PathBuf,
}

/// Which records to list. All conditions hold together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filter {
    pub kind: Option<Kind>,
    pub since: Option<Timestamp>,
    /// Up to and including.
    pub until: Option<Timestamp>,
    /// Only decisions that this rule had a say in.
    pub rule: Option<Rule>,
    /// The newest so many.
    pub limit: usize,
}

/// An enum by the name it has in JSON.
pub(crate) fn named<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    let name: value::StrDeserializer<'_, value::Error> = name.into_deserializer();
    T::deserialize(name).map_err(|e| e.to_string())
}

/// One line of a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Listed {
    pub seq: u64,
    pub time: Timestamp,
    pub kind: Kind,
    pub summary: String,
}

/// One record, and for an intent what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Shown {
    pub record: Record,
    /// The outcome of the record's writes; for one that an earlier run left open, the event that says so.
    pub outcomes: Vec<Record>,
}

/// Writes that nothing says the outcome of.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Orphan {
    /// Of the record that holds the intent: a decision, or an event with an action.
    pub seq: u64,
    /// What was to be written.
    pub action: Value,
}

impl Log {
    /// Opens without verifying; that is what [`super::verify`] is for.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let log = Self { db: database::open_reader(path)?, path: path.to_owned() };
        match database::not_a_log(&log.db).map_err(|e| log.failed(e))? {
            None => Ok(log),
            Some(found) => Err(AuditError::NotALog { path: log.path, found }),
        }
    }

    /// What is read while this lives is of one moment.
    pub(super) fn snapshot(&self) -> Result<rusqlite::Transaction<'_>, AuditError> {
        self.db.unchecked_transaction().map_err(|e| self.failed(e))
    }

    pub fn identity(&self) -> Result<Identity, AuditError> {
        database::identity(&self.db)
            .map_err(|e| self.failed(e))?
            .map_err(|found| AuditError::NotALog { path: self.path.clone(), found })
    }

    /// All checkpoints in the log, oldest first.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, AuditError> {
        let all = database::checkpoints(&self.db, &self.identity()?, 0).map_err(|e| self.failed(e))?;
        all.into_iter()
            .map(|c| c.map_err(|seq| self.malformed(Malformed { seq, column: "checkpoint" })))
            .collect()
    }

    /// The records after the one with this seq, in order; 0 for all. A live log is followed up to
    /// where it is when the iterator comes to its end.
    pub fn records(&self, after: u64) -> Records<'_> {
        Records { log: self, after: after as i64, batch: Vec::new().into_iter(), done: false }
    }

    /// The newest records that match, oldest first.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Listed>, AuditError> {
        let mut conditions = vec!["1".to_owned()];
        let mut values = Vec::new();
        let kind = if filter.rule.is_some() { Some(Kind::Decision) } else { filter.kind };
        if filter.rule.is_some() && filter.kind.is_some_and(|k| k != Kind::Decision) {
            return Ok(Vec::new());
        }
        for (condition, value) in [
            ("kind =", kind.map(|k| k.as_str().to_owned())),
            ("time >=", filter.since.map(time_text)),
            ("time <=", filter.until.map(time_text)),
        ] {
            if let Some(value) = value {
                values.push(Sql::Text(value));
                conditions.push(format!("{condition} ?{}", values.len()));
            }
        }
        let rule = filter.rule.map(|rule| serde_json::to_value(rule).unwrap_or(Value::Null));
        let sql = format!("WHERE {} ORDER BY seq DESC", conditions.join(" AND "));
        let mut listed = Vec::new();
        self.each(&sql, values, |row| {
            if listed.len() == filter.limit {
                return Ok(false);
            }
            let record = Record::try_from(row)?;
            if rule.as_ref().is_none_or(|rule| summary::touched_by(&record.body, rule)) {
                let summary = summary(record.kind, &record.body);
                listed.push(Listed { seq: record.seq, time: record.time, kind: record.kind, summary });
            }
            Ok(true)
        })?;
        listed.reverse();
        Ok(listed)
    }

    /// Calls `act` with the records of these kinds from the newest on backwards, those before `before`,
    /// until it returns false.
    pub fn back(
        &self,
        kinds: &[Kind],
        before: Option<u64>,
        mut act: impl FnMut(Record) -> bool,
    ) -> Result<(), AuditError> {
        let kinds: Vec<_> = kinds.iter().map(|k| format!("'{k}'")).collect();
        // Several kinds by the index would have to be sorted, bodies and all: `+` walks the table instead.
        let plus = if kinds.len() > 1 { "+" } else { "" };
        let before = before.map_or(i64::MAX, |seq| seq as i64);
        let sql = format!("WHERE {plus}kind IN ({}) AND seq < ?1 ORDER BY seq DESC", kinds.join(", "));
        self.each(&sql, vec![Sql::Integer(before)], |row| Ok(act(Record::try_from(row)?)))
    }

    /// The number of the record that `time` begins with: the one after the last frame before it. Other
    /// records may be of another clock. Clocks that were set back make it near, not exact.
    pub fn seq_at(&self, time: Timestamp) -> Result<u64, AuditError> {
        let text = time_text(time);
        let mut frame = self
            .db
            .prepare_cached(
                "SELECT time FROM record WHERE seq >= ?1 AND +kind = 'frame' ORDER BY seq LIMIT 1",
            )
            .map_err(|e| self.failed(e))?;
        let last: i64 = self
            .db
            .query_row("SELECT coalesce(max(seq), 0) FROM record", [], |row| row.get(0))
            .map_err(|e| self.failed(e))?;
        let (mut low, mut high) = (1, last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let at: Option<String> =
                frame.query_row([middle], |row| row.get(0)).optional().map_err(|e| self.failed(e))?;
            if at.is_some_and(|at| at < text) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low as u64)
    }

    /// One record; an intent comes with its outcome.
    pub fn show(&self, seq: u64) -> Result<Shown, AuditError> {
        let record = self.get(seq)?;
        let mut outcomes = Vec::new();
        if matches!(record.kind, Kind::Decision | Kind::Event) {
            self.settling(seq, |later| {
                outcomes.push(later);
                true
            })?;
        }
        Ok(Shown { record, outcomes })
    }

    /// The first record that says how an intent ended: one is all there is in a log that nobody tampered
    /// with. `None` for what was not to be written, and for what has not ended yet.
    pub fn outcome_of(&self, intent: &Record) -> Result<Option<Record>, AuditError> {
        let body: Value = serde_json::from_str(&intent.body).unwrap_or_default();
        let mut outcome = None;
        if intended(intent.kind, &body).as_array().is_some_and(|writes| !writes.is_empty()) {
            self.settling(intent.seq, |later| {
                outcome = Some(later);
                false
            })?;
        }
        Ok(outcome)
    }

    pub fn get(&self, seq: u64) -> Result<Record, AuditError> {
        let row = self
            .db
            .query_row(
                &format!("SELECT {} FROM record WHERE seq = ?1", database::COLUMNS),
                [seq as i64],
                database::row,
            )
            .optional()
            .map_err(|e| self.failed(e))?
            .ok_or_else(|| AuditError::NoRecord { path: self.path.clone(), seq })?;
        Record::try_from(row).map_err(|e| self.malformed(e))
    }

    /// Calls `act` with the records that say how an intent ended, until it returns false.
    fn settling(&self, seq: u64, mut act: impl FnMut(Record) -> bool) -> Result<(), AuditError> {
        let sql = "WHERE +kind IN ('outcome', 'event') AND seq > ?1 ORDER BY seq";
        self.each(sql, vec![Sql::Integer(seq as i64)], |row| {
            let later = Record::try_from(row)?;
            let body = serde_json::from_str(&later.body).unwrap_or_default();
            Ok(!settled(later.kind, &body).contains(&seq) || act(later))
        })
    }

    /// Calls `act` with each row until it returns false.
    fn each(
        &self,
        rest: &str,
        values: Vec<Sql>,
        mut act: impl FnMut(Row) -> Result<bool, Malformed>,
    ) -> Result<(), AuditError> {
        let sql = format!("SELECT {} FROM record {rest}", database::COLUMNS);
        let mut statement = self.db.prepare_cached(&sql).map_err(|e| self.failed(e))?;
        let mut rows = statement.query(params_from_iter(values)).map_err(|e| self.failed(e))?;
        while let Some(row) = rows.next().map_err(|e| self.failed(e))? {
            let row = database::row(row).map_err(|e| self.failed(e))?;
            if !act(row).map_err(|e| self.malformed(e))? {
                break;
            }
        }
        Ok(())
    }

    fn failed(&self, source: rusqlite::Error) -> AuditError {
        AuditError::Database { path: self.path.clone(), doing: "read the audit log", source }
    }

    fn malformed(&self, source: Malformed) -> AuditError {
        AuditError::Malformed { path: self.path.clone(), source }
    }
}

/// Records in order. Ends after the first error.
#[derive(Debug)]
pub struct Records<'a> {
    log: &'a Log,
    after: i64,
    batch: std::vec::IntoIter<Row>,
    done: bool,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.batch.len() == 0 {
            let mut batch = Vec::new();
            let sql = format!("WHERE seq > ?1 ORDER BY seq LIMIT {BATCH}");
            let read = self.log.each(&sql, vec![Sql::Integer(self.after)], |row| {
                batch.push(row);
                Ok(true)
            });
            if let Err(e) = read {
                self.done = true;
                return Some(Err(e));
            }
            self.batch = batch.into_iter();
        }
        let Some(row) = self.batch.next() else {
            self.done = true;
            return None;
        };
        self.after = row.seq;
        let record = Record::try_from(row).map_err(|e| self.log.malformed(e));
        self.done = record.is_err();
        Some(record)
    }
}

/// What a record meant to write: the action of a decision that was to be acted on, or of an event such as
/// a release. Empty for all others.
fn intended(kind: Kind, body: &Value) -> &Value {
    match kind {
        Kind::Decision if body["disposition"] == "write" => &body["verdict"]["action"],
        Kind::Event => &body["action"],
        Kind::Decision
        | Kind::Candidate
        | Kind::Start
        | Kind::Frame
        | Kind::Outcome
        | Kind::Operator
        | Kind::Stop => &Value::Null,
    }
}

/// The intents that a record says the end of: an outcome has one, and an event after a crash may have
/// several.
fn settled(kind: Kind, body: &Value) -> Vec<u64> {
    match kind {
        Kind::Outcome => body["intent"].as_u64().into_iter().collect(),
        Kind::Event => body["intents"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect(),
        Kind::Start | Kind::Frame | Kind::Decision | Kind::Candidate | Kind::Operator | Kind::Stop => {
            Vec::new()
        }
    }
}

/// Intents without an outcome. A run that came to its `stop` had taken care of those of earlier runs, so
/// only it and what came after is looked at.
pub(super) fn orphans(db: &Connection, path: &Path) -> Result<Vec<Orphan>, AuditError> {
    let failed =
        |source| AuditError::Database { path: path.to_owned(), doing: "look for open intents", source };
    let sql = "WITH stopped (seq) AS (SELECT coalesce(max(seq), 0) FROM record WHERE kind = 'stop') \
               SELECT seq, kind, body FROM record WHERE kind IN ('decision', 'outcome', 'event') AND seq > \
               (SELECT coalesce(max(record.seq), 0) FROM record, stopped \
                WHERE kind = 'start' AND record.seq < stopped.seq) ORDER BY seq";
    let mut statement = db.prepare(sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut open = BTreeMap::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let seq = row.get::<_, i64>(0).map_err(failed)? as u64;
        let kind: String = row.get(1).map_err(failed)?;
        let body: String = row.get(2).map_err(failed)?;
        let Some(kind) = Kind::from_bytes(kind.as_bytes()) else { continue };
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        for intent in settled(kind, &body) {
            open.remove(&intent);
        }
        let action = intended(kind, &body);
        if action.as_array().is_some_and(|writes| !writes.is_empty()) {
            open.insert(seq, Orphan { seq, action: action.clone() });
        }
    }
    Ok(open.into_values().collect())
}
