//! The operator's door on the machine itself: a Unix socket, one JSON act or query a line, one JSON answer a line.
//! Who may open it is the file system's decision (mode 0600); the peer's uid goes into the record.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

use super::View;
use crate::control::{Act, Answer};

/// A line on the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ask {
    Act(Act),
    State { state: bool },
}

/// An act on its way to the controller.
#[derive(Debug)]
pub struct Call {
    pub act: Act,
    pub answer: oneshot::Sender<Answer>,
}

impl Call {
    /// Asks the controller, and waits for its answer; why there is none, where the agent ends.
    pub(crate) async fn send(calls: &mpsc::Sender<Self>, act: Act) -> Result<Answer, &'static str> {
        let (answer, answered) = oneshot::channel();
        calls.send(Self { act, answer }).await.map_err(|_| "the agent is stopping")?;
        answered.await.map_err(|_| "the agent stopped before it answered")
    }
}

/// After a connection that could not be accepted.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// The longest line accepted.
const MAX_LINE: u64 = 16 * 1024;

/// Serves until the receiver of the calls is gone.
pub fn listen(path: &Path, calls: mpsc::Sender<Call>, view: watch::Receiver<View>) -> std::io::Result<()> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        use std::os::unix::fs::FileTypeExt;
        if !found.file_type().is_socket() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "there is another file of this name, which is left alone: expected a path of its own for console.control_socket",
            ));
        }
        // A socket left by a run that was killed; one that answers belongs to a live agent.
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AddrInUse,
                "another agent answers on this socket: give each its own console.control_socket",
            ));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    tokio::spawn(async move {
        while !calls.is_closed() {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream, calls.clone(), view.clone()));
                }
                Err(e) => {
                    tracing::warn!(error = %e, "control socket");
                    // Out of descriptors, most likely: asking again at once would only say so again.
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
    Ok(())
}

async fn serve(stream: UnixStream, calls: mpsc::Sender<Call>, view: watch::Receiver<View>) {
    use tokio::io::AsyncReadExt;
    let uid = stream.peer_cred().ok().map(|c| c.uid());
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(MAX_LINE)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let cut = lines.get_ref().get_ref().limit() == 0;
        let reply = if cut {
            refused(&format!("longer than the {MAX_LINE} bytes that an act may have: shorten its text"))
        } else {
            reply(&line, uid, &calls, &view).await
        };
        if write.write_all(format!("{reply}\n").as_bytes()).await.is_err() {
            return;
        }
        lines.get_mut().get_mut().set_limit(MAX_LINE);
    }
}

async fn reply(
    line: &str,
    uid: Option<u32>,
    calls: &mpsc::Sender<Call>,
    view: &watch::Receiver<View>,
) -> String {
    match serde_json::from_str::<Ask>(line) {
        Err(e) => refused(&format!(
            "expected an act such as {{\"act\":\"mode\",\"mode\":\"shadow\",\"who\":…,\"why\":…}} or {{\"state\":true}}: {e}"
        )),
        Ok(Ask::State { .. }) => view.borrow().to_string(),
        Ok(Ask::Act(mut act)) => {
            if let Some(uid) = uid {
                act.who = format!("{} (uid {uid})", act.who);
            }
            match Call::send(calls, act).await {
                Ok(a) => serde_json::to_string(&a).unwrap_or_else(|e| refused(&e.to_string())),
                Err(why) => refused(why),
            }
        }
    }
}

fn refused(answer: &str) -> String {
    serde_json::json!({ "accepted": false, "answer": answer }).to_string()
}

/// Sends one line to a running agent and returns its answer.
pub async fn call(path: &Path, ask: &Ask) -> std::io::Result<serde_json::Value> {
    let stream = UnixStream::connect(path).await?;
    let (read, mut write) = stream.into_split();
    let line = serde_json::to_string(ask).map_err(std::io::Error::other)?;
    write.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(read).read_line(&mut answer).await?;
    serde_json::from_str(&answer).map_err(std::io::Error::other)
}
