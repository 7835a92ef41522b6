//! Who has the plant, when somebody else has a say in it.

use super::*;
use crate::control::Link;
use crate::frame::{Frame, Quality, Sample};
use crate::units::Unit;

/// The plant has not heard that it is its own again: pressing manual says it once more.
#[test]
fn a_release_that_was_not_heard_is_said_again() {
    let mut rig = Rig::new(Mode::Auto, Clock::Frames);
    rig.frame(&[]);
    let link = |up| Input::Link { link: Link::Source, up, why: String::new() };
    rig.deaf = true;
    rig.feed(link(false));
    assert!(rig.seen().ends_with("LinkDown Release write WriteFailed"));
    rig.deaf = false;
    rig.act(What::Mode { mode: Mode::Manual });
    assert!(rig.seen().contains("Release write"));
    rig.act(What::Mode { mode: Mode::Shadow });
    assert!(!rig.seen().contains("Release"), "once heard is enough");
    // The link to the plant is fine, so nothing but time says that it should be tried again.
    let mut rig = Rig::new(Mode::Auto, Clock::Frames);
    rig.frame(&[]);
    rig.deaf = true;
    rig.act(What::Mode { mode: Mode::Manual });
    assert!(rig.seen().contains("WriteFailed"));
    (0..2).for_each(|_| rig.frame(&[]));
    assert!(rig.seen().ends_with("Release write"), "one alarm is enough");
    rig.deaf = false;
    (0..2).for_each(|_| rig.frame(&[]));
    assert!(rig.seen().ends_with("Release write"));
    rig.frame(&[]);
    assert!(!rig.seen().contains("Release"));
}

/// A frame a minute after the last, in which the plant says whether it is the agent's.
fn frame_of(rig: &mut Rig, enable: f64) {
    rig.second += 60;
    let frame = example::frame(rig.second, &[]);
    let sample = Sample {
        value: Finite::new(enable),
        unit: Unit::Count,
        quality: Quality::Good,
        age_s: Some(Finite::ZERO),
        worst: None,
        doubt: None,
    };
    rig.feed(Input::Frame(Frame { enable: Some(sample), ..frame }));
}

/// Somebody at the panel takes the agent out: it says so, writes nothing at all, and comes back after the hold.
#[test]
fn switched_off_at_the_plant_is_left_alone() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    // The poll of the frame with which control is taken was before that.
    frame_of(&mut rig, 0.0);
    frame_of(&mut rig, 1.0);
    assert!(rig.controller.in_charge());
    rig.seen();
    frame_of(&mut rig, 0.0);
    assert_eq!(rig.seen(), "SwitchedOff");
    assert!(!rig.controller.in_charge());
    assert_eq!(rig.controller.alarms().last().unwrap().event, Event::SwitchedOff);
    let hold = rig.controller.setup().site.envelope.manual_hold.as_mins();
    for _ in 1..hold {
        frame_of(&mut rig, 0.0);
        let seen = rig.seen();
        assert!(!seen.contains("write") && !seen.contains("heartbeat"), "{seen}");
    }
    frame_of(&mut rig, 0.0);
    assert!(rig.seen().contains("TakeControl write"));
    // An operator who says auto does not wait.
    frame_of(&mut rig, 0.0);
    assert_eq!(rig.seen(), "SwitchedOff");
    rig.act(What::Mode { mode: Mode::Manual });
    rig.act(What::Mode { mode: Mode::Auto });
    assert!(rig.controller.in_charge());
}

/// Where nothing is heard of it, or the register cannot be read, the agent goes on.
#[test]
fn an_enable_register_that_is_not_read_says_nothing() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    frame_of(&mut rig, 1.0);
    rig.second += 60;
    let mut frame = example::frame(rig.second, &[]);
    frame.enable = Some(Sample::missing(Unit::Count));
    rig.feed(Input::Frame(frame));
    rig.frame(&[]);
    assert!(rig.controller.in_charge());
}

/// The plant's watchdog has ended it by now: control is taken anew.
#[test]
fn a_gap_longer_than_the_watchdog_ends_it() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    rig.frame(&[]);
    rig.second += 60;
    rig.frame(&[]);
    assert!(!rig.seen().contains("Release"), "two minutes are not three");
    rig.second += 180;
    rig.frame(&[]);
    let seen = rig.seen();
    assert!(seen.starts_with("Release TakeControl write"), "{seen}");
    assert!(rig.controller.in_charge());
}

/// One heartbeat that is lost is no matter; three in a row are.
#[test]
fn heartbeats_that_do_not_arrive_end_it() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    rig.frame(&[]);
    for _ in 0..3 {
        rig.beats_lost = true;
        (0..2).for_each(|_| rig.frame(&[]));
        rig.beats_lost = false;
        rig.frame(&[]);
    }
    assert!(rig.controller.in_charge());
    assert!(rig.controller.alarms().is_empty());
    rig.seen();
    rig.beats_lost = true;
    (0..3).for_each(|_| rig.frame(&[]));
    let seen = rig.seen();
    assert!(seen.contains("WriteFailed Release write"), "{seen}");
    assert!(!rig.controller.in_charge());
    let alarm = rig.controller.alarms().last().unwrap();
    assert!(alarm.detail.contains("heartbeat"), "{alarm:?}");
    (0..9).for_each(|_| rig.frame(&[]));
    assert!(!rig.seen().contains("TakeControl"), "not before ten minutes are over");
}

/// An agent that was killed while it had the plant, and may not take it now, gives it back.
#[test]
fn a_plant_that_was_left_behind_is_released() {
    let mut killed = Rig::new(Mode::Auto, Clock::Wall);
    killed.frame(&[]);
    let left = killed.controller.standing();
    let mut next = Rig::new(Mode::Advise, Clock::Wall);
    next.second = killed.second;
    next.feed(Input::Standing(Box::new(left.clone())));
    (0..2).for_each(|_| next.frame(&[]));
    assert!(next.seen().contains("Release write"));
    (0..4).for_each(|_| next.frame(&[]));
    assert!(!next.seen().contains("Release"));
    // In auto it is taken again, and in shadow nothing is written.
    let mut next = Rig::new(Mode::Auto, Clock::Wall);
    next.second = killed.second;
    next.feed(Input::Standing(Box::new(left.clone())));
    (0..5).for_each(|_| next.frame(&[]));
    let seen = next.seen();
    assert!(seen.contains("TakeControl write") && !seen.contains("Release"), "{seen}");
    let mut next = Rig::new(Mode::Shadow, Clock::Wall);
    next.feed(Input::Standing(Box::new(left)));
    (0..5).for_each(|_| next.frame(&[]));
    assert!(!next.seen().contains("write"));
}

/// Without frames nothing is decided; the shell says the release again and reports what became of it.
#[test]
fn a_release_that_is_heard_late_counts() {
    let mut rig = Rig::new(Mode::Auto, Clock::Frames);
    rig.frame(&[]);
    rig.deaf = true;
    rig.feed(Input::Link { link: Link::Source, up: false, why: String::new() });
    let (intent, action) = rig.controller.unconfirmed_release().unwrap();
    assert!(!action.is_empty());
    let again =
        |release_needed| Input::Outcome { intent, outcome: Outcome { writes: Vec::new(), release_needed } };
    rig.seen();
    rig.feed(again(true));
    assert_eq!((rig.seen().as_str(), rig.controller.unconfirmed_release().is_some()), ("", true));
    rig.feed(again(false));
    assert!(rig.controller.unconfirmed_release().is_none());
}

/// Nobody knows whether an operator had taken the plant: it is not taken without one.
#[test]
fn what_cannot_be_read_is_not_made_up() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    rig.feed(Input::StandingLost { why: "unreadable".to_owned() });
    rig.frame(&[]);
    let seen = rig.seen();
    assert!(seen.starts_with("StandingLost ModeChange") && !seen.contains("TakeControl"), "{seen}");
    assert_eq!(rig.controller.mode(), Mode::Advise);
    assert_eq!(rig.controller.alarms().first().unwrap().event, Event::StandingLost);
}
