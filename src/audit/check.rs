//! Follows a chain from record to record and names where it does not hold. No I/O: rows and
//! checkpoints go in, a report comes out.

use std::collections::BTreeMap;

use super::chain::{Identity, Row};
use super::{Checkpoint, Hash, Problem, PublicKey, Report, StoreId, What};
use crate::hex;

/// Altered rows kept to find out, at the end, which records they are.
const SUSPECTS: usize = 16;

pub(super) struct Checker {
    key: PublicKey,
    store: StoreId,
    /// The seq that comes next.
    expected: i64,
    /// What the next record must hold as its previous hash; `None` after a problem, so that one
    /// problem is not reported twice.
    link: Option<Hash>,
    /// The last record that a checkpoint vouches for.
    vouched: i64,
    signed: BTreeMap<u64, Vec<Checkpoint>>,
    missing: Vec<(i64, i64)>,
    /// The row whose successor is not known yet.
    pending: Option<Row>,
    suspects: Vec<Row>,
    report: Report,
}

impl Checker {
    /// Checks all records of a log. Without `key`, signatures are verified with the log's own.
    pub(super) fn whole(identity: &Identity, key: Option<PublicKey>) -> Self {
        let mut checker = Self::new(identity, key, 1, Some(identity.genesis()));
        if let Some(given) = key
            && given != identity.public_key
        {
            checker.problem(Problem {
                what: What::Identity,
                seq: None,
                expected: format!("the given key {given}"),
                found: identity.public_key.to_string(),
                message: "the log names another key as its own".to_owned(),
            });
        }
        checker
    }

    /// Checks the records after one with this hash, which somebody else vouches for.
    pub(super) fn after(identity: &Identity, key: Option<PublicKey>, seq: i64, hash: Hash) -> Self {
        let mut checker = Self::whole(identity, key);
        (checker.expected, checker.link, checker.vouched) = (seq.saturating_add(1), Some(hash), seq);
        checker
    }

    /// Checks the records from `first`, which a checkpoint signed, to the end.
    pub(super) fn tail(identity: &Identity, first: i64) -> Self {
        Self::new(identity, None, first, None)
    }

    fn new(identity: &Identity, key: Option<PublicKey>, expected: i64, link: Option<Hash>) -> Self {
        let public_key = key.unwrap_or(identity.public_key);
        Self {
            key: public_key,
            store: identity.store,
            expected,
            link,
            vouched: 0,
            signed: BTreeMap::new(),
            missing: Vec::new(),
            pending: None,
            suspects: Vec::new(),
            report: Report {
                store: Some(identity.store),
                public_key: Some(public_key),
                key_given: key.is_some(),
                ..Report::empty()
            },
        }
    }

    pub(super) fn note_archived(&mut self, to: u64) {
        self.report.archived = Some(to);
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.report.problem(problem);
    }

    /// Checkpoints in the log itself; `Err` for the seq of one that is not readable. All checkpoints go
    /// in before the first row.
    pub(super) fn checkpoints(&mut self, all: impl IntoIterator<Item = Result<Checkpoint, i64>>) {
        for checkpoint in all {
            self.report.checkpoints += 1;
            match checkpoint {
                Ok(checkpoint) => self.signed_by_key("in the log", checkpoint),
                Err(seq) => self.problem(Problem {
                    what: What::Checkpoint,
                    seq: Some(seq),
                    expected: "a seq, a hash of 32 bytes and a signature of 64".to_owned(),
                    found: "something else".to_owned(),
                    message: format!("the checkpoint in the log for record {seq} is not readable"),
                }),
            }
        }
    }

    /// Checkpoints that were kept elsewhere.
    pub(super) fn against(&mut self, all: impl IntoIterator<Item = Checkpoint>) {
        for checkpoint in all {
            if checkpoint.store != self.store {
                self.problem(Problem {
                    what: What::Checkpoint,
                    seq: i64::try_from(checkpoint.seq).ok(),
                    expected: format!("log {}", self.store),
                    found: format!("log {}", checkpoint.store),
                    message: "the checkpoint given is of another log".to_owned(),
                });
            } else if self.report.archived.is_some_and(|to| checkpoint.seq < to) {
                self.report.not_compared += 1;
            } else {
                self.report.compared += 1;
                self.signed_by_key("given", checkpoint);
            }
        }
    }

    fn signed_by_key(&mut self, origin: &str, checkpoint: Checkpoint) {
        if checkpoint.is_signed_by(self.key) {
            self.signed.entry(checkpoint.seq).or_default().push(checkpoint);
        } else {
            self.problem(Problem {
                what: What::Checkpoint,
                seq: i64::try_from(checkpoint.seq).ok(),
                expected: format!("a signature by {}", self.key),
                found: format!("{}, which is not", checkpoint.signature),
                message: format!("the checkpoint {origin} for record {} does not hold", checkpoint.seq),
            });
        }
    }

    /// The next row, in stored order.
    pub(super) fn row(&mut self, row: Row) {
        self.report.records += 1;
        self.report.first = self.report.first.or(Some(row.seq));
        self.report.last = Some(row.seq);
        if let Some(before) = self.pending.take() {
            self.check(before, Some(&row));
        }
        self.pending = Some(row);
    }

    fn check(&mut self, row: Row, next: Option<&Row>) {
        let digest = row.digest();
        let intact = row.hash == digest.as_bytes();
        if row.seq < self.expected {
            if intact {
                self.out_of_order(row.seq);
            } else {
                self.altered(row, digest, None, next);
            }
            return;
        }
        if row.seq > self.expected {
            self.gap(row.seq);
        }
        self.expected = row.seq.saturating_add(1);
        let link = self.link.take();
        let linked = link.is_none_or(|link| row.previous == link.as_bytes());
        if intact {
            self.compare_with_checkpoints(row.seq, digest, linked);
        }
        match link {
            _ if !intact => self.altered(row, digest, link, next),
            Some(link) if !linked => self.unlinked(&row, digest, link, next),
            _ => self.link = Some(digest),
        }
    }

    /// Rows come by rising seq from SQLite; from a file of lines they may not.
    fn out_of_order(&mut self, seq: i64) {
        let lost = self.missing.iter().position(|(from, to)| (*from..=*to).contains(&seq));
        let what = if lost.is_some() { What::Reordered } else { What::Duplicate };
        if let Some(i) = lost
            && self.missing[i] == (seq, seq)
        {
            // It is not missing after all.
            self.missing.remove(i);
            self.report.withdraw(What::Missing, seq);
        }
        self.problem(Problem {
            what,
            seq: Some(seq),
            expected: format!("record {}", self.expected),
            found: format!("record {seq}"),
            message: if lost.is_some() {
                format!("record {seq} stands after record {}", self.expected - 1)
            } else {
                format!("record {seq} is there again, after record {}", self.expected - 1)
            },
        });
    }

    fn gap(&mut self, found: i64) {
        let (from, to) = (self.expected, found - 1);
        self.link = None;
        self.missing.push((from, to));
        self.problem(Problem {
            what: What::Missing,
            seq: Some(from),
            expected: format!("record {from}"),
            found: format!("record {found}"),
            message: missing(from, to),
        });
    }

    fn unlinked(&mut self, row: &Row, digest: Hash, link: Hash, next: Option<&Row>) {
        let seq = row.seq;
        let witnessed = self.is_witnessed(seq, digest, next);
        if witnessed {
            self.link = Some(digest);
        }
        let (replaced, message) = if seq == 1 {
            (seq, "record 1 is not the first of this log, or the log's identity was changed".to_owned())
        } else if witnessed {
            (seq - 1, format!("record {} was replaced: record {seq} was made after another one", seq - 1))
        } else {
            (seq, format!("record {seq} was put there: it was not made after record {}", seq - 1))
        };
        self.problem(Problem {
            what: What::Replaced,
            seq: Some(replaced),
            expected: format!("previous hash {link}"),
            found: hex::encode(&row.previous),
            message,
        });
    }

    /// Whether the next record or a checkpoint speaks for a record with this hash.
    fn is_witnessed(&self, seq: i64, digest: Hash, next: Option<&Row>) -> bool {
        next.is_some_and(|next| next.previous == digest.as_bytes())
            || self.signed.get(&(seq as u64)).is_some_and(|c| c.iter().any(|c| c.hash == digest))
    }

    fn altered(&mut self, row: Row, digest: Hash, link: Option<Hash>, next: Option<&Row>) {
        let seq = row.seq;
        let column = if link.is_some_and(|link| row.hash == row.digest_as(seq, link.as_bytes()).as_bytes()) {
            "its previous hash was"
        } else if self.is_witnessed(seq, digest, next) {
            "its hash was"
        } else {
            "its time, kind or body was"
        };
        self.problem(Problem {
            what: What::Altered,
            seq: Some(seq),
            expected: format!("content with hash {}", hex::encode(&row.hash)),
            found: format!("content with hash {digest}"),
            message: format!("record {seq} was altered: {column} changed"),
        });
        if self.suspects.len() < SUSPECTS {
            self.suspects.push(row);
        }
    }

    fn compare_with_checkpoints(&mut self, seq: i64, digest: Hash, linked: bool) {
        let Some(signed) = self.signed.get(&(seq as u64)) else { return };
        if let Some(other) = signed.iter().find(|c| c.hash != digest).cloned() {
            self.problem(Problem {
                what: What::Rewritten,
                seq: Some(seq),
                expected: format!("hash {}, as signed", other.hash),
                found: digest.to_string(),
                message: format!(
                    "record {seq} is not the one that was signed: records from some point after {} on were rewritten",
                    self.vouched
                ),
            });
        } else if linked {
            self.vouched = seq;
        }
    }

    /// The report. `other_with` finds another record with the same hash, by its seq.
    pub(super) fn finish(mut self, other_with: impl Fn(&[u8], i64) -> Option<i64>) -> Report {
        if let Some(last) = self.pending.take() {
            self.check(last, None);
        }
        let last = self.expected - 1;
        let latest = self.signed.last_key_value().and_then(|(_, c)| c.first()).cloned();
        let signed = latest.as_ref().map_or(0, |c| c.seq as i64);
        if let Some(latest) = latest.filter(|_| signed > last) {
            self.missing.push((self.expected, signed));
            self.problem(Problem {
                what: What::Truncated,
                seq: Some(self.expected),
                expected: format!("record {signed} of {} with hash {}, as signed", latest.time, latest.hash),
                found: format!("the end of the log after record {last}"),
                message: missing(self.expected, signed),
            });
        }
        self.identify(&other_with);
        self.report.unsigned = u64::try_from(last - signed).unwrap_or(0).min(self.report.records);
        self.report.finish()
    }

    /// Finds out which records the altered ones really are: swapped, moved or copied ones still have
    /// the hash of their true place.
    fn identify(&mut self, other_with: &impl Fn(&[u8], i64) -> Option<i64>) {
        let places: Vec<i64> = self
            .suspects
            .iter()
            .map(|row| row.seq)
            .chain(self.missing.iter().take(SUSPECTS).map(|(from, _)| *from))
            .collect();
        for row in &self.suspects {
            let at_home = |place: &&i64| {
                **place != row.seq && row.hash == row.digest_as(**place, &row.previous).as_bytes()
            };
            let (what, home) = match places.iter().find(at_home) {
                Some(home) => (What::Reordered, *home),
                None => match other_with(&row.hash, row.seq) {
                    Some(home) => (What::Duplicate, home),
                    None => continue,
                },
            };
            self.report.withdraw(What::Altered, row.seq);
            let how = if what == What::Duplicate { "a copy of record" } else { "record" };
            self.report.problem(Problem {
                what,
                seq: Some(row.seq),
                expected: format!("record {}", row.seq),
                found: format!("{how} {home}"),
                message: format!("{how} {home} stands in the place of record {}", row.seq),
            });
        }
    }
}

fn missing(from: i64, to: i64) -> String {
    if from == to {
        format!("record {from} is missing")
    } else {
        format!("records {from} to {to} are missing")
    }
}
