//! The copy of the checkpoints that belongs on another disk or machine: one JSON object on each line.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use rusqlite::Connection;

use super::{AuditError, Checkpoint, Identity, database};

#[derive(Debug)]
pub(super) struct CheckpointFile {
    path: PathBuf,
    /// Seq of the newest checkpoint in the file; `None` when the file has to be read to know.
    written: Option<u64>,
}

impl CheckpointFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, written: None }
    }

    /// The newest checkpoint of this log in the file. Other lines are of no account here.
    pub(super) fn newest(&self, identity: &Identity) -> Result<Option<Checkpoint>, AuditError> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.io("read the checkpoint file", e)),
        };
        let own = |c: &Checkpoint| c.store == identity.store && c.is_signed_by(identity.public_key);
        Ok(text.split(|b| *b == b'\n').rev().filter_map(|l| serde_json::from_slice(l).ok()).find(own))
    }

    /// Appends and syncs all checkpoints of the log that the file does not have yet.
    pub(super) fn catch_up(&mut self, db: &Connection, identity: &Identity) -> Result<(), AuditError> {
        let newest = if let Some(seq) = self.written.take() {
            seq
        } else {
            self.drop_torn_line()?;
            self.newest(identity)?.map_or(0, |c| c.seq)
        };
        let failed = |source| AuditError::Database {
            path: self.path.clone(),
            doing: "read the checkpoints for this file",
            source,
        };
        let missing = database::checkpoints(db, identity, newest + 1).map_err(failed)?;
        let mut text = String::new();
        let mut last = newest;
        for checkpoint in missing.into_iter().flatten() {
            last = checkpoint.seq;
            text.push_str(&serde_json::to_string(&checkpoint).map_err(|e| self.io("write", e.into()))?);
            text.push('\n');
        }
        let io = |e| self.io("write the checkpoint file", e);
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        self.written = Some(last);
        Ok(())
    }

    /// A full disk or a power cut may have left part of a line, which is then written again in full.
    fn drop_torn_line(&self) -> Result<(), AuditError> {
        let io = |e| self.io("mend the checkpoint file", e);
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(io(e)),
        };
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        if whole == text.len() {
            return Ok(());
        }
        OpenOptions::new().write(true).open(&self.path).and_then(|f| f.set_len(whole as u64)).map_err(io)
    }

    fn io(&self, doing: &'static str, source: std::io::Error) -> AuditError {
        AuditError::Io { path: self.path.clone(), doing, source }
    }
}
