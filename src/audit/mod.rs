//! The operator audit log: what was seen, decided, allowed and written, in an order nobody can change
//! without being found out.
//!
//! One SQLite file holds one chain of records. Each record's hash covers its content and the hash before
//! it, so a changed, removed, moved or inserted record breaks the chain where it stands. Every so many
//! records a checkpoint signs the newest hash; checkpoints also leave the machine, so that a log that
//! was cut short or rewritten to its end no longer matches them. `docs/audit.md` is the format.
//!
//! - [`Store`] writes. One process at a time; a failed write latches it until it is reopened.
//! - [`Log`] reads: records in order, lists, one decision with what came of it.
//! - [`verify`] walks everything and names what is wrong.
//!
//! Record bodies are JSON made elsewhere and are kept byte for byte; [`summary`] and the queries know
//! some of their fields and do without any of them.

#[cfg(feature = "parquet")]
mod archive;
mod archived;
mod chain;
mod check;
mod checkpoint_file;
pub mod cli;
mod database;
mod export;
mod hex;
mod key;
mod log;
#[cfg(feature = "parquet")]
mod parquet;
mod report;
mod store;
mod summary;
mod verify;

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

#[cfg(feature = "parquet")]
pub use archive::{archive, archive_closed, days_before};
pub use archived::Archived;
pub use chain::{Checkpoint, Hash, Identity, PublicKey, Signature, StoreId};
pub use export::{Exported, Format, export};
pub use hex::NotHex;
pub use key::signing_key_of;
pub(crate) use log::named;
pub use log::{Filter, Listed, Log, Orphan, Records, Shown};
pub use report::{Problem, Report, What};
pub use store::{Appended, Committed, Store};
pub(crate) use summary::rules;
pub use summary::summary;
pub use verify::{Options, read_checkpoints, verify};

/// What a record is about.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The header of one run of the agent: build, model, prompt, schema and config hashes.
    Start,
    Frame,
    /// An intent: synced before anything of it is written to the plant.
    Decision,
    /// What a candidate for an upgrade would have decided: written by nobody.
    Candidate,
    /// What was written for an intent, and what was read back.
    Outcome,
    /// Something a person did.
    Operator,
    /// Something that happened to the agent or its links. With an action, an intent too.
    Event,
    /// A run ended in order.
    Stop,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Start,
        Self::Frame,
        Self::Decision,
        Self::Candidate,
        Self::Outcome,
        Self::Operator,
        Self::Event,
        Self::Stop,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Frame => "frame",
            Self::Decision => "decision",
            Self::Candidate => "candidate",
            Self::Outcome => "outcome",
            Self::Operator => "operator",
            Self::Event => "event",
            Self::Stop => "stop",
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == bytes)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One record of the log. As JSON its body is embedded as it is, not as a string.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Record {
    /// 1, 2, 3, … without gaps.
    pub seq: u64,
    pub time: Timestamp,
    pub kind: Kind,
    pub previous: Hash,
    pub hash: Hash,
    /// JSON text, byte for byte as it was appended.
    #[serde(serialize_with = "embedded")]
    pub body: String,
}

fn embedded<S: Serializer>(body: &str, s: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<&RawValue>(body) {
        Ok(json) => json.serialize(s),
        Err(_) => s.serialize_str(body),
    }
}

impl TryFrom<chain::Row> for Record {
    type Error = Malformed;

    fn try_from(row: chain::Row) -> Result<Self, Malformed> {
        let seq = row.seq;
        let malformed = |column| Malformed { seq, column };
        let hash = |bytes: &[u8], column| bytes.try_into().map(Hash::new).map_err(|_| malformed(column));
        Ok(Self {
            seq: u64::try_from(seq).map_err(|_| malformed("seq"))?,
            time: std::str::from_utf8(&row.time)
                .ok()
                .and_then(|t| t.parse().ok())
                .ok_or(malformed("time"))?,
            kind: Kind::from_bytes(&row.kind).ok_or(malformed("kind"))?,
            previous: hash(&row.previous, "previous")?,
            hash: hash(&row.hash, "hash")?,
            body: String::from_utf8(row.body).map_err(|_| malformed("body"))?,
        })
    }
}

/// A stored record that cannot have been written by this program.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("record {seq}: its {column} is not readable; `isotherm audit verify` says more")]
pub struct Malformed {
    seq: i64,
    column: &'static str,
}

/// Times are stored in UTC with nine decimals, so that their text sorts as they do.
fn time_text(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// Why the audit log could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("{path}: cannot {doing}: {source}", path = path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error("{path}: cannot {doing}: {source}", path = path.display())]
    Database { path: PathBuf, doing: &'static str, source: rusqlite::Error },
    #[error("{path}: is written by {holder}; one log has one writer. Stop that one, or give this one its own [audit] path", path = path.display())]
    Busy { path: PathBuf, holder: String },
    #[error("{path}: is not an Isotherm audit log of version {expected}: {found}", path = path.display(), expected = database::VERSION)]
    NotALog { path: PathBuf, found: String },
    #[error("{path}: the signing key {why}", path = path.display())]
    Key { path: PathBuf, why: String },
    #[error("{path}: does not verify: {first}. Keep this file as evidence, move it away, and start a new log", path = path.display())]
    Broken { path: PathBuf, first: Box<Problem> },
    /// A write failed. Nothing that was appended since the last commit is in the log, and nothing can
    /// be appended until it is reopened.
    #[error("{path}: the audit log failed ({cause}); nothing is recorded until it is reopened", path = path.display())]
    Latched { path: PathBuf, cause: String },
    #[error("{path}: {source}", path = path.display())]
    Malformed { path: PathBuf, source: Malformed },
    #[error("{path}: has no record {seq}", path = path.display())]
    NoRecord { path: PathBuf, seq: u64 },
    #[error("{path}:{line}: is not a checkpoint: {why}", path = path.display())]
    NotACheckpoint { path: PathBuf, line: usize, why: String },
    #[error("{path}: has no {expected}", path = path.display())]
    Lacks { path: PathBuf, expected: &'static str },
    #[error("{path}: is not empty: give a new folder", path = path.display())]
    NotEmpty { path: PathBuf },
    #[error("{path}: is not the file that was archived: {why}", path = path.display())]
    Archive { path: PathBuf, why: String },
    #[error("{path}: cannot write or read the Parquet file: {why}", path = path.display())]
    Parquet { path: PathBuf, why: String },
}
