//! The pipes to the reasoner process, and its log.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::REAP_LIMIT;
use crate::reason::protocol::{self, Command, ProtocolError, Reply};

/// Lines of its log that are passed on, for each life, and bytes of each.
const LOG_LINES: u32 = 500;
const LOG_LINE_BYTES: u64 = 400;

/// Both pipes have a task of their own: a process that stands still must not hold up its keeper.
pub(super) struct Pipes {
    commands: mpsc::UnboundedSender<Vec<u8>>,
    replies: mpsc::UnboundedReceiver<Result<Reply, ProtocolError>>,
    pub(super) log: Log,
}

impl Pipes {
    pub(super) fn new(input: ChildStdin, output: ChildStdout, log: Log) -> Self {
        let (commands, written) = mpsc::unbounded_channel();
        let (read, replies) = mpsc::unbounded_channel();
        tokio::spawn(pass_in(written, input, read.clone()));
        tokio::spawn(pass_out(BufReader::new(output), read));
        Self { commands, replies, log }
    }

    /// Never waits. A pipe that broke shows in [`Self::receive`].
    pub(super) fn send(&self, command: &Command) -> Result<(), ProtocolError> {
        self.commands.send(protocol::encode(command)?).ok();
        Ok(())
    }

    /// Nothing is lost when this is given up half-way.
    pub(super) async fn receive(&mut self) -> Result<Reply, ProtocolError> {
        let closed = || Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into());
        self.replies.recv().await.unwrap_or_else(closed)
    }
}

async fn pass_in(
    mut commands: mpsc::UnboundedReceiver<Vec<u8>>,
    mut input: ChildStdin,
    failed: mpsc::UnboundedSender<Result<Reply, ProtocolError>>,
) {
    while let Some(command) = commands.recv().await {
        if let Err(error) = input.write_all(&command).await {
            failed.send(Err(error.into())).ok();
            return;
        }
    }
}

async fn pass_out(
    mut output: BufReader<ChildStdout>,
    replies: mpsc::UnboundedSender<Result<Reply, ProtocolError>>,
) {
    loop {
        let reply = read(&mut output).await;
        let broken = reply.is_err();
        if replies.send(reply).is_err() || broken {
            return;
        }
    }
}

async fn read(output: &mut BufReader<ChildStdout>) -> Result<Reply, ProtocolError> {
    let mut prefix = [0; 4];
    output.read_exact(&mut prefix).await?;
    let mut body = vec![0; protocol::length(prefix)?];
    output.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
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
