//! Moves old records into an archive while the agent runs: written and verified beside the control loop,
//! recorded by it, and only then out of the log.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::audit::{self, Archived};
use crate::clock;
use crate::site::Audit;

/// After the start, when the model is loaded.
const FIRST: Duration = Duration::from_secs(20);
const EVERY: Duration = Duration::from_hours(24);

/// What was archived, as it is. `None` where the site archives nothing.
pub(super) fn start(audit: &Audit) -> Option<mpsc::Receiver<Archived>> {
    let (dir, keep) = (audit.archive.clone()?, audit.keep_days?);
    let path = audit.path.clone();
    let (tx, rx) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut next = tokio::time::interval_at(clock::monotonic() + FIRST, EVERY);
        loop {
            next.tick().await;
            let (path, dir) = (path.clone(), dir.clone());
            let before = audit::days_before(clock::now(), keep);
            let done = tokio::task::spawn_blocking(move || audit::archive(&path, &dir, before)).await;
            match done {
                Ok(Ok(Some(archived))) => {
                    if tx.send(archived).await.is_err() {
                        return;
                    }
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::error!(%error, "nothing was archived; the log keeps everything"),
                Err(error) => tracing::error!(%error, "archiving broke; the log keeps everything"),
            }
        }
    });
    Some(rx)
}
