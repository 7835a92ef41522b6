//! `/api/live`: server-sent events. Each has the number of the last record in it as its id, so a browser
//! that lost the connection asks for what came after, and misses nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::access::Access;
use super::extract::Query;
use super::feed::{Followed, Live};
use crate::audit::Log;
use crate::clock;
use crate::service::View;

/// A plant that runs a thousand times too fast is still shown at a pace that people can see.
const AT_MOST_EVERY: Duration = Duration::from_millis(400);
/// Records in one event.
const BATCH: usize = 500;
/// A reader further behind than this starts anew: asking for the trends is faster than replaying them.
const TOO_FAR: u64 = 20_000;
/// Between two looks at whether the reader may still see this: sessions end, and people are removed.
const ASK_EVERY: Duration = Duration::from_secs(3);
/// Where nothing is new this is said, so that a reader can tell a quiet plant from a dead line.
const SAY_EVERY: Duration = Duration::from_secs(10);

#[derive(Deserialize, JsonSchema)]
pub(super) struct From {
    /// The last record that the reader has; a reconnecting browser says it in a header.
    #[schemars(range(max = u64::MAX))]
    after: Option<u64>,
}

struct Reader {
    access: Arc<Access>,
    /// What the reader came with, and from where.
    headers: HeaderMap,
    peer: SocketAddr,
    ask_at: Instant,
    followed: Arc<Followed>,
    audit: PathBuf,
    view: watch::Receiver<View>,
    tail: watch::Receiver<u64>,
    /// The last record that the reader has, by its own word.
    has: Option<u64>,
    last: u64,
    begun: bool,
}

/// Events: `reset` (start anew: what you have is of another log, or too old), `records` (an array), and `state`.
pub(super) async fn live(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let resumed = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let tail = shared.followed.tail.subscribe();
    let reader = Reader {
        access: shared.access.clone(),
        headers,
        peer,
        ask_at: clock::monotonic() + ASK_EVERY,
        followed: shared.followed.clone(),
        audit: shared.audit.clone(),
        view: shared.view.clone(),
        tail,
        has: resumed.or(from.after),
        last: 0,
        begun: false,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let events = reader.next().await?;
        Some((stream::iter(events.into_iter().map(Ok)), reader))
    });
    Sse::new(futures_util::StreamExt::flatten(events)).keep_alive(KeepAlive::default())
}

impl Reader {
    /// The next events; `None` when there are no more for this reader.
    async fn next(&mut self) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        if self.begun {
            tokio::time::sleep(AT_MOST_EVERY).await;
            self.news().await?;
        } else {
            // After a start the log is read first: before that nothing can be compared with it.
            let newest = *self.tail.wait_for(|newest| *newest > 0).await.ok()?;
            self.last = self.has.unwrap_or(newest);
        }
        let newest = *self.tail.borrow_and_update();
        let lost = self.last > newest || newest - self.last > TOO_FAR;
        if lost {
            self.last = newest;
            events.push(self.event("reset", "{}".to_owned()));
        }
        self.begun = true;
        let batch = self.batch().await;
        if let Some(last) = batch.last() {
            self.last = last.seq;
            let texts: Vec<&str> = batch.iter().map(|l| l.text.as_str()).collect();
            events.push(self.event("records", format!("[{}]", texts.join(","))));
        }
        let state = state(&self.view.borrow_and_update());
        events.push(self.event("state", state.to_string()));
        Some(events)
    }

    /// Waits for something new; `None` when the agent has ended, or the reader may not see it any more.
    async fn news(&mut self) -> Option<()> {
        let say_at = clock::monotonic() + SAY_EVERY;
        loop {
            if clock::monotonic() >= self.ask_at {
                if !self.access.lets_in(&self.headers, self.peer) {
                    return None;
                }
                self.ask_at = clock::monotonic() + ASK_EVERY;
            }
            if *self.tail.borrow() > self.last {
                return Some(());
            }
            tokio::select! {
                changed = self.tail.changed() => return changed.ok(),
                changed = self.view.changed() => return changed.ok(),
                () = tokio::time::sleep_until(say_at) => return Some(()),
                () = tokio::time::sleep_until(self.ask_at) => {}
            }
        }
    }

    async fn batch(&self) -> Vec<Arc<Live>> {
        if let Some(batch) = self.followed.recent(self.last, BATCH) {
            return batch;
        }
        let (followed, audit, last) = (self.followed.clone(), self.audit.clone(), self.last);
        let read = tokio::task::spawn_blocking(move || followed.reread(&Log::open(&audit)?, last, BATCH));
        match read.await {
            Ok(Ok(batch)) => batch,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the live stream cannot read the audit log");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    fn event(&self, name: &str, data: String) -> Event {
        Event::default().event(name).id(self.last.to_string()).data(data)
    }
}

/// The live state without the last decision, which comes as a record.
pub(super) fn state(view: &View) -> Value {
    let mut state = view.clone();
    if let Some(fields) = state.as_object_mut() {
        fields.remove("last_decision");
    }
    if state.is_null() { json!({}) } else { state }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::FutureExt as _;

    use super::super::access::tests::{access, logged_in};
    use super::super::columns::Columns;
    use super::*;

    #[tokio::test]
    async fn a_stream_ends_with_the_session_that_may_see_it() {
        let text = include_str!("../../sites/air.toml");
        let site = crate::site::parse(text, Path::new("site.toml")).unwrap();
        let (dir, access) = access();
        let (_view, view) = watch::channel(View::Null);
        let followed = Arc::new(Followed::new(Columns::new(&site)));
        let mut reader = Reader {
            headers: logged_in(&access),
            access: Arc::new(access),
            peer: ([127, 0, 0, 1], 1).into(),
            ask_at: clock::monotonic(),
            audit: dir.path().join("audit.db"),
            view,
            tail: followed.tail.subscribe(),
            followed,
            has: None,
            last: 0,
            begun: true,
        };
        assert_eq!(reader.news().now_or_never(), None, "nothing new, and still logged in");
        std::fs::write(dir.path().join("users.toml"), "").unwrap();
        assert_eq!(reader.news().now_or_never(), None, "not asked again yet");
        reader.ask_at = clock::monotonic();
        assert_eq!(reader.news().now_or_never(), Some(None), "removed meanwhile");
    }
}
