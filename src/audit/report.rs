//! What verification found.

use std::fmt;

use serde::Serialize;

use super::{PublicKey, StoreId};

/// Problems listed in a report; all are counted.
const LISTED: usize = 1000;
/// What a walk over a whole log found.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub ok: bool,
    pub records: u64,
    /// Seq of the first record.
    pub first: Option<i64>,
    /// Seq of the last record.
    pub last: Option<i64>,
    pub checkpoints: u64,
    /// Checkpoints kept elsewhere that the records were compared with.
    pub compared: u64,
    /// Checkpoints kept elsewhere whose records are in an archive, which was not looked at.
    pub not_compared: u64,
    /// Records up to this one are in an archive, which was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<u64>,
    /// Records after the last checkpoint. Only the chain speaks for these, and whoever can write the
    /// file can write a chain.
    pub unsigned: u64,
    pub store: Option<StoreId>,
    /// The key that signatures were verified with.
    pub public_key: Option<PublicKey>,
    /// The caller gave the key. Otherwise it is the log's own, and a log that was replaced as a whole
    /// brings its own.
    pub key_given: bool,
    pub problem_count: u64,
    /// The first thousand, by seq.
    pub problems: Vec<Problem>,
}

/// One thing that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    pub what: What,
    /// The record concerned, where there is one.
    pub seq: Option<i64>,
    pub expected: String,
    pub found: String,
    /// All of it in a sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.message, self.expected, self.found)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The file itself is damaged, or its schema was changed.
    Database,
    /// What the log says it is cannot be read or is not what the caller knows it to be.
    Identity,
    /// A record does not have the content its hash was made of.
    Altered,
    Missing,
    /// A record stands in another's place.
    Reordered,
    Duplicate,
    /// A record fits its own hash but not its neighbours.
    Replaced,
    /// Everything fits, but not what a checkpoint signed.
    Rewritten,
    /// The log ends before what a checkpoint signed.
    Truncated,
    /// A checkpoint is not this log's, or its signature does not hold.
    Checkpoint,
}

impl Report {
    pub(super) fn empty() -> Self {
        Self {
            ok: true,
            records: 0,
            first: None,
            last: None,
            checkpoints: 0,
            compared: 0,
            not_compared: 0,
            archived: None,
            unsigned: 0,
            store: None,
            public_key: None,
            key_given: false,
            problem_count: 0,
            problems: Vec::new(),
        }
    }

    /// When there is nothing to follow: the file is damaged or something else.
    pub(super) fn unreadable(problem: Problem) -> Self {
        let mut report = Self::empty();
        report.problem(problem);
        report.finish()
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }

    pub(super) fn withdraw(&mut self, what: What, seq: i64) {
        if let Some(i) = self.problems.iter().position(|p| p.what == what && p.seq == Some(seq)) {
            self.problems.remove(i);
            self.problem_count -= 1;
        }
    }

    pub(super) fn finish(mut self) -> Self {
        self.problems.sort_by_key(|p| (p.seq, p.what));
        self.ok = self.problem_count == 0;
        self
    }
}
