//! The live stream: what a reader gets, and what it gets after it was away.

use serde_json::Value;

use super::{Client, address};
use crate::agent::Rig;
use crate::peers::soon;

/// Reads events until one holds the record `until`; the numbers of all records that came, and the last id.
async fn read(client: &Client, path: &str, resume: Option<u64>, until: u64) -> (Vec<u64>, u64) {
    let mut request = client.get(path);
    if let Some(id) = resume {
        request = request.header("last-event-id", id.to_string());
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut text, mut seqs, mut last) = (String::new(), Vec::new(), 0);
    soon("the stream has the record", async {
        loop {
            let chunk = response.chunk().await.unwrap().expect("the stream goes on");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((event, rest)) = text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
                if field("event:") == Some("records") {
                    let records: Value = serde_json::from_str(field("data:").unwrap()).unwrap();
                    seqs.extend(records.as_array().unwrap().iter().map(|r| r["seq"].as_u64().unwrap()));
                }
                assert_ne!(field("event:"), Some("reset"), "nothing was too long ago");
                if let Some(id) = field("id:") {
                    last = id.parse().unwrap();
                }
                let read = text.len() - rest.len();
                text.drain(..read);
            }
            if last >= until {
                return;
            }
        }
    })
    .await;
    (seqs, last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_was_away_gets_all_it_missed() {
    let Some(mut rig) = Rig::start("live stream", |t| t).await else { return };
    rig.frames(8).await;
    let client = Client::new(&address(&rig).await);
    let newest = rig.records().last().unwrap().seq;
    let (seqs, last) = read(&client, "/api/live?after=0", None, newest).await;
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>());

    // Away for more than the memory of the stream holds: the rest comes from the log.
    rig.frames(300).await;
    let newest = rig.records().last().unwrap().seq;
    let (missed, now) = read(&client, "/api/live", Some(last), newest).await;
    assert_eq!(missed, (last + 1..=now).collect::<Vec<_>>());
}

/// A browser that comes from another log, or from one that was moved away, is told to start anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_from_another_log_starts_anew() {
    let Some(mut rig) = Rig::start("live stream of another log", |t| t).await else { return };
    rig.frames(2).await;
    let client = Client::new(&address(&rig).await);
    let mut response = client.get("/api/live").header("last-event-id", "123456").send().await.unwrap();
    let chunk = soon("the first event", response.chunk()).await.unwrap().unwrap();
    assert!(chunk.starts_with(b"event: reset"), "{chunk:?}");
}
