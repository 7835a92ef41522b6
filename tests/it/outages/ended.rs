//! A process that ends when nobody asked it to: the agent, its model, its control loop.

use std::time::Duration;

use rustix::process::Signal;

use super::{DECISION, HEARTBEAT, last, verifies_by_replay};
use crate::agent::{Rig, honest};

/// Power cut: at random moments the agent is gone. The log verifies, and every word that reached a setpoint
/// register stands in it.
async fn kill_9(test: &str, times: u32) {
    let Some(mut rig) = Rig::start(test, |t| t).await else { return };
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..times {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rig.model.now_says(if round % 2 == 0 { honest(12.0, "Raise") } else { honest(6.0, "Lower") });
        rig.frames(u32::try_from(seed >> 60).unwrap()).await;
        rig.frame_unanswered(22.0).await;
        tokio::time::sleep(Duration::from_micros(seed >> 50)).await;
        rig.end(Signal::KILL).await;
        rig.records();
        rig.restart().await;
    }
    rig.stop().await;
    let writes = rig.audited_writes(HEARTBEAT).await;
    let checked = writes.iter().filter(|(address, _)| *address != HEARTBEAT).count();
    assert!(checked > times as usize, "the test saw writes: {checked}");
    verifies_by_replay(&rig).await;
}

#[tokio::test]
async fn kill_9_leaves_a_log_that_verifies() {
    kill_9("kill -9", 20).await;
}

#[tokio::test]
#[ignore = "200 rounds take minutes; the quick suite has 20"]
async fn kill_9_two_hundred_times() {
    kill_9("kill -9, long", 200).await;
}

#[tokio::test]
async fn a_killed_reasoner_costs_no_interval() {
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/isotherm.gguf");
    let edit = |t: String| {
        t.replace("backend = \"openai\"", &format!("backend = \"local\"\npath = \"{}\"", model.display()))
            .replace("deadline = \"2s\"", "deadline = \"30s\"")
    };
    let Some(mut rig) = Rig::start("a_killed_reasoner", edit).await else { return };
    let child = rig.until_reasoner_is_ready().await;
    let group = rustix::process::getpgid(Some(child)).unwrap();
    assert_eq!(group, child, "a Ctrl-C for the agent is not for its model");
    rig.frames(DECISION - 1).await;
    while rig.bodies("decision").is_empty() {
        rig.frame_unanswered(22.0).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        rustix::process::kill_process(child, Signal::KILL).ok();
    }
    rig.frames(1).await;
    let decision = last(&rig);
    assert_eq!(decision["verdict"]["by"], "fallback", "{decision}");
    assert_eq!(decision["failure"]["failure"], "died", "{decision}");
    assert_ne!(rig.until_reasoner_is_ready().await, child, "it is started again");
    rig.stop().await;
    verifies_by_replay(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_in_release() {
    let Some(mut rig) = Rig::start("panic", |t| t).await else { return };
    rig.frames(2).await;
    rig.end(Signal::KILL).await;
    assert_eq!(rig.register(0).await, 1, "a killed agent cannot release; its heartbeat stops");

    // The same agent in this process, so that it can be made to panic in the middle of its loop.
    let site = isotherm::site::load(&rig.dir.path().join("site.toml")).unwrap();
    let (audit, key) = (rig.dir.path().join("audit.db"), rig.dir.path().join("audit.key"));
    let mut site = site;
    site.audit.path = audit;
    site.audit.key = key;
    site.console.control_socket = rig.dir.path().join("second.sock");
    let options =
        isotherm::service::Options { wait_for_model: Duration::ZERO, simulated: false, site_file: None };
    let bomb = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        panic!("made to panic by the test")
    };
    let run = tokio::spawn(isotherm::service::run(site, options, bomb));
    rig.listen_again().await;
    let ended = run.await.unwrap().unwrap_err();
    assert!(ended.to_string().contains("panic"), "{ended}");
    assert_eq!(rig.register(0).await, 0, "released");
    assert_eq!(rig.events().last().unwrap(), "broken");
    let standing = std::fs::read_to_string(rig.dir.path().join("audit.standing.json")).unwrap();
    assert!(standing.contains("made to panic by the test"), "an alarm for the next run: {standing}");
}

/// Whether somebody had taken the plant by hand is not known: it is not taken without a person.
#[tokio::test]
async fn standing_that_cannot_be_read_only_advises() {
    let Some(mut rig) = Rig::start("unreadable", |t| t).await else { return };
    rig.frames(2).await;
    rig.end(Signal::KILL).await;
    let kept = rig.audit_path().with_extension("standing.json");
    std::fs::write(&kept, "{ half a").unwrap();
    rig.plc.set(0, &[0]).await;
    rig.restart().await;
    rig.frames(3).await;
    assert!(rig.events().contains(&"standing_lost".to_owned()), "{:?}", rig.events());
    assert_eq!(rig.register(0).await, 0, "not taken");
    assert_eq!(std::fs::read_to_string(kept.with_extension("json.unreadable")).unwrap(), "{ half a");
    rig.stop().await;
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
    assert_eq!(kept["mode"], "advise");
    verifies_by_replay(&rig).await;
}
