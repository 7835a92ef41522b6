//! A running agent that keeps its log short.

use jiff::SignedDuration;
use serde_json::Value;

use crate::agent::{Rig, frame_text, honest};

/// Longer ago than `keep_days`, by the clock of the frames.
const LONG_AGO: SignedDuration = SignedDuration::from_hours(-24 * 800);

/// Old records leave the log of an agent at work: into a file, by an event in the chain, with control kept. The
/// log verifies all the while, the chain goes on through the archive, and the next run replays.
#[tokio::test]
async fn old_records_leave_while_the_plant_is_held() {
    let short = |t: String| {
        t.replace(
            "key = \"audit.key\"",
            "key = \"audit.key\"\ncheckpoint_every = 8\narchive = \"old\"\nkeep_days = 35",
        )
    };
    let Some(mut rig) = Rig::start_without_agent("archiving", short).await else { return };
    rig.send(LONG_AGO, |now| frame_text(now, 22.0)).await;
    rig.restart().await;
    rig.model.now_says(honest(8.0, "Raise"));
    rig.frames(20).await;
    assert_eq!(rig.register(2).await, 80, "{}", rig.log());
    let archived = |r: &Rig| r.bodies("event").into_iter().find(|e| e["event"] == "archived");
    rig.until_at_last("the records are archived", |r| archived(r).is_some()).await;
    let event = archived(&rig).unwrap();
    let to = event["archived"]["to"].as_u64().unwrap();
    let file = rig.dir.path().join("old").join(event["archived"]["file"].as_str().unwrap());
    assert!(to >= 16 && file.exists(), "{event}");

    rig.model.now_says(honest(7.5, "Lower"));
    rig.frames(20).await;
    assert_eq!(rig.register(2).await, 75, "it decides and writes as before");
    assert_eq!(rig.records()[0].seq, to + 1, "what is archived has left the log");
    assert!(!rig.events().iter().any(|e| e == "release" || e == "audit_lost"), "{:?}", rig.events());
    rig.stop().await;

    let verified = async |more: &[&str]| {
        let (code, out, err) =
            rig.cli(&[&["audit", "verify", "--site", "site.toml", "--json"], more].concat()).await;
        assert_eq!(code, 0, "{more:?}: {out}{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let (left, whole) = (verified(&[]).await, verified(&["--archive", "old"]).await);
    assert_eq!((&left["first"], &left["archived"]), (&(to + 1).into(), &to.into()), "{left}");
    assert_eq!((&whole["first"], &whole["last"]), (&1.into(), &left["last"]), "{whole}");
    assert_eq!(whole["records"].as_u64(), whole["last"].as_u64(), "{whole}");

    rig.restart().await;
    rig.frames(8).await;
    rig.stop().await;
    let (code, out, err) = rig.cli(&["replay", "audit.db", "--verify", "--json"]).await;
    assert_eq!(code, 0, "{out}{err}");
}
