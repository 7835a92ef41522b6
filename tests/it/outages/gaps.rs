//! Frames that do not come for a while, and frames that come too late. Times are those of the frames.

use std::time::Duration;

use jiff::SignedDuration;

use super::{DECISION, HEARTBEAT, last, verifies_by_replay};
use crate::agent::{Rig, frame_text, honest};

/// Silence of minutes and of hours: released, and once frames come again control is taken without anybody's help, from what
/// the plant shows now.
async fn comes_back_after(test: &str, silence: SignedDuration) {
    let Some(mut rig) = Rig::start(test, |t| t).await else { return };
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(DECISION).await;
    rig.until("released", |r| r.events().contains(&"release".to_owned())).await;
    assert_eq!(rig.register(0).await, 0, "no frame within the watchdog's time");
    rig.written().await;
    // Meanwhile the plant's own controller went elsewhere.
    rig.plc.set(2, &[90]).await;
    rig.send(silence, |now| frame_text(now, 22.0)).await;
    rig.acknowledged().await;
    rig.model.now_says(honest(9.5, "Raise"));
    let before = rig.bodies("decision").len();
    rig.frames(2 * DECISION).await;
    let events = rig.events();
    assert!(events.ends_with(&["link_up".to_owned(), "take_control".to_owned()]), "{silence:#}: {events:?}");
    assert_eq!(rig.register(0).await, 1);
    let decision = &rig.bodies("decision")[before];
    assert_eq!(decision["verdict"]["by"], "model", "{silence:#}: {decision}");
    assert_eq!(
        decision["frame"]["setpoints"]["chws_sp"]["value"], 9.0,
        "from where the plant is: {decision}"
    );
    assert_eq!(rig.register(2).await, 95, "{decision}");
    rig.stop().await;
    rig.audited_writes(HEARTBEAT).await;
    verifies_by_replay(&rig).await;
}

#[tokio::test]
async fn silence_of_two_minutes() {
    comes_back_after("silence of 2 min", SignedDuration::from_mins(2)).await;
}

#[tokio::test]
async fn silence_of_a_quarter_of_an_hour() {
    comes_back_after("silence of 15 min", SignedDuration::from_mins(15)).await;
}

#[tokio::test]
async fn silence_of_two_hours() {
    comes_back_after("silence of 2 h", SignedDuration::from_hours(2)).await;
}

/// What a gateway sends again of the last hour moves nothing, and costs no trust in the sensors.
#[tokio::test]
async fn backfilled_frames_are_as_if_they_had_not_come() {
    let Some(mut rig) = Rig::start("backfilled", |t| t).await else { return };
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(2).await;
    let frames = rig.bodies("frame").len();
    for minutes in [60, 30, 1] {
        let back = SignedDuration::from_mins(minutes);
        rig.send(-back, |then| frame_text(then, 35.0)).await;
        rig.send(back, |now| frame_text(now, 22.0)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.bodies("frame").len(), frames, "{}", rig.log());
    rig.frames(DECISION - 2).await;
    let decision = last(&rig);
    assert_eq!(
        (&decision["cause"], &decision["verdict"]["by"]),
        (&"cadence".into(), &"model".into()),
        "{decision}"
    );
    assert_eq!(decision["frame"]["signals"]["inlet"]["quality"], "good", "{decision}");
    assert_eq!(rig.events(), ["take_control"], "{}", rig.log());
    rig.stop().await;
    verifies_by_replay(&rig).await;
}
