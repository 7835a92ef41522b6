//! What machines that watch are told: whether the control loop turns, and whether it has what it needs.

use std::time::Duration;

use serde_json::json;

use super::{Client, address, with_console};
use crate::agent::Rig;
use crate::peers::soon;

async fn probe(client: &Client, path: &str) -> (u16, String) {
    let answer = client.get(path).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn until(client: &Client, path: &str, status: u16, says: &str) {
    soon(&format!("{path} says {status} {says}"), async {
        loop {
            let (found, said) = probe(client, path).await;
            if found == status && said.contains(says) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_ready_says_why() {
    let Some(mut rig) = Rig::start_without_agent("console readiness", |t| t).await else { return };
    rig.start_agent();
    let client = Client::new(&address(&rig).await);
    until(&client, "/readyz", 503, "not ready: no frame has arrived yet").await;
    assert_eq!(probe(&client, "/healthz").await, (200, "ok\n".to_owned()), "alive all the same");
    rig.listen_again().await;
    assert_eq!(probe(&client, "/readyz").await, (200, "ready\n".to_owned()));
    // Three seconds of silence are the watchdog's.
    until(&client, "/readyz", 503, "not ready: no frames arrive: the source is down or silent").await;
    assert_eq!(probe(&client, "/healthz").await.0, 200);
    rig.listen_again().await;
    until(&client, "/readyz", 200, "ready").await;
}

/// A device that says nothing for longer than any turn should take holds the loop up; the console beside it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_control_loop_that_hangs_is_not_healthy() {
    let slow = |t: String| with_console(&t, "").replacen("timeout = \"400ms\"", "timeout = \"27s\"", 1);
    let Some(mut rig) = Rig::start("console health", slow).await else { return };
    rig.frames(2).await;
    let client = Client::new(&address(&rig).await);
    assert_eq!(probe(&client, "/healthz").await, (200, "ok\n".to_owned()));
    rig.plc.tell(json!({ "delay_once": 60 })).await;
    rig.frame_unanswered(22.0).await;
    until(&client, "/healthz", 503, "the control loop has not turned for 2").await;
    let (status, said) = probe(&client, "/readyz").await;
    assert!(status == 503 && said.contains("not ready: the control loop has not turned"), "{said}");
    until(&client, "/healthz", 200, "ok").await;
}
