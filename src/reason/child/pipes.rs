//! The pipes to the reasoner process, and its log.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::REAP_LIMIT;
use crate::reason::protocol::{self, Command, ProtocolError, Reply};

/// Lines of its log that are passed on, for each life, and bytes of each.
const LOG_LINES: u32 = 500;
const LOG_LINE_BYTES: u64 = 400;

pub(super) struct Pipes {
    pub(super) input: ChildStdin,
    pub(super) output: BufReader<ChildStdout>,
    pub(super) log: Log,
}

impl Pipes {
    pub(super) async fn send(&mut self, command: &Command) -> Result<(), ProtocolError> {
        Ok(self.input.write_all(&protocol::encode(command)?).await?)
    }

    pub(super) async fn receive(&mut self) -> Result<Reply, ProtocolError> {
        let mut prefix = [0; 4];
        self.output.read_exact(&mut prefix).await?;
        let mut body = vec![0; protocol::length(prefix)?];
        self.output.read_exact(&mut body).await?;
        Ok(serde_json::from_slice(&body)?)
    }
}

/// The process's log as it comes in.
pub(super) struct Log {
    pub(super) last: Arc<Mutex<String>>,
    pub(super) ended: JoinHandle<()>,
}

impl Log {
    /// How the process ended, with the last line it wrote.
    pub(super) async fn obituary(&mut self, status: Option<ExitStatus>) -> String {
        // What it wrote may still be in the pipe.
        timeout(REAP_LIMIT, &mut self.ended).await.ok();
        let status = status.map_or("it closed its pipe".to_owned(), |s| s.to_string());
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_empty() { status } else { format!("{status}; its last words: {last}") }
    }
}

/// Passes the process's log on to ours. It is read to its end even where it is not passed on, since a full
/// pipe would stop the process.
pub(super) async fn pass_on(stderr: impl AsyncRead + Unpin, last: Arc<Mutex<String>>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut lines = 0;
    loop {
        line.clear();
        match (&mut stderr).take(LOG_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        text.clone_into(&mut last.lock().unwrap_or_else(PoisonError::into_inner));
        lines += 1;
        if lines <= LOG_LINES {
            tracing::warn!(target: "isotherm::reasoner", "{text}");
        }
    }
}
