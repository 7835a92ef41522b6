//! Sites whose controller is not the language model: same guard, same records, same writes.

use serde_json::Value;

use crate::agent::Rig;

/// Enough frames for a few decisions, warm room left by a cold inlet.
async fn run(law: &str) {
    let line = format!("controller = \"{law}\"\n");
    let Some(mut rig) = Rig::start(law, |t| format!("{line}{t}")).await else { return };
    rig.frames(24).await;
    rig.stop().await;
    let decisions = rig.bodies("decision");
    let by: Vec<&Value> = decisions.iter().filter_map(|d| d.pointer("/verdict/by")).collect();
    // The twin knows nothing of the site in its first minutes, and the optimizer says so.
    let who = if law == "mpc" { "fallback" } else { "policy" };
    assert!(by.len() > 3 && by.first().is_some_and(|b| *b == who), "{law}: {by:?}\n{}", rig.log());
    assert!(law == "mpc" || by.iter().all(|b| *b == "policy"), "{law}: {by:?}\n{}", rig.log());
    let asked: Vec<&Value> = decisions.iter().map(|d| &d["prompt"]).collect();
    assert!(asked.iter().all(|p| p.is_null()), "{law} asked a model");
    let wish = &decisions.last().unwrap()["verdict"]["setpoints"]["chws_sp"];
    match law {
        "fixed" => assert_eq!(*wish, 7.0),
        "mpc" => {}
        // The inlet is 3 K below its target.
        _ => assert!(wish.as_f64() > Some(7.0), "{law}: {wish}"),
    }
    // Byte for byte, and decided anew from the frames: its own site makes no difference.
    for how in [&["--verify"][..], &["--site", "site.toml"]] {
        let (code, out, err) = rig.cli(&[&["replay", "audit.db", "--json"], how].concat()).await;
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        assert_eq!((code, &report["first_difference"]), (0, &Value::Null), "{out}{err}");
        assert_eq!(report["identical"], report["decisions"], "{out}");
    }
}

#[tokio::test]
async fn fixed_setpoints_stay_and_replay() {
    run("fixed").await;
}

#[tokio::test]
async fn pid_moves_setpoints_and_replays() {
    run("pid").await;
}

#[tokio::test]
async fn mpc_leaves_what_it_does_not_know_to_the_fallback_and_replays() {
    run("mpc").await;
}
