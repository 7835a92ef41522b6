mod charge;

use std::sync::Arc;

use jiff::Timestamp;

use super::record::Disposition;
use super::*;
use crate::actuate::{Outcome, WriteResult, Written};
use crate::decision;
use crate::envelope::SafeAction;
use crate::facts::example;
use crate::ingest::modbus::Exception;
use crate::site::Point;

/// A controller whose effects are carried out at once: every write arrives, until `deaf`.
struct Rig {
    controller: Controller,
    second: i64,
    deaf: bool,
    /// Heartbeats do not arrive.
    beats_lost: bool,
    /// Setpoints as they were last written.
    plant: BTreeMap<Name, Finite>,
    /// What was recorded and sent since the last look, in order.
    seen: Vec<String>,
}

fn setup(mode: Mode, clock: Clock) -> Arc<Setup> {
    let mut site = example::site();
    (site.mode, site.clock) = (mode, clock);
    let point = |address| Point { address, ..site.setpoints[0].register.clone() };
    (site.link.enable, site.link.heartbeat) = (Some(point(90)), Some(point(91)));
    let schema = decision::schema(&site);
    Arc::new(Setup { site, prompts: Prompts::load(None).unwrap(), schema })
}

impl Rig {
    fn new(mode: Mode, clock: Clock) -> Self {
        let controller = Controller::new(setup(mode, clock), 1);
        let (plant, seen) = (BTreeMap::new(), Vec::new());
        Self { controller, second: 0, deaf: false, beats_lost: false, plant, seen }
    }

    fn now(&self) -> Timestamp {
        example::frame(self.second, &[]).time
    }

    /// A frame a minute after the last.
    fn frame(&mut self, values: &[(&str, f64)]) {
        self.second += 60;
        self.frame_here(values);
    }

    fn frame_here(&mut self, values: &[(&str, f64)]) {
        let frame = self.shown(values);
        self.feed(Input::Frame(frame));
    }

    /// What the plant shows now: these values, and the setpoints that were written.
    fn shown(&self, values: &[(&str, f64)]) -> Frame {
        let written = self.plant.iter().map(|(name, value)| (name.as_str(), value.get()));
        let all: Vec<(&str, f64)> = values.iter().copied().chain(written).collect();
        example::frame(self.second, &all)
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.controller.handle(self.now(), input) {
                match effect {
                    Effect::Record(Body::Frame(_) | Body::Outcome(_) | Body::Operator(_)) => {}
                    Effect::Record(Body::Event(e)) => self.seen.push(format!("{:?}", e.event)),
                    Effect::Record(body) => {
                        self.seen.push(body.kind().to_string());
                        if let Body::Decision(d) = body
                            && d.disposition == Disposition::Write
                            && !self.deaf
                        {
                            self.plant = d.verdict.setpoints;
                        }
                    }
                    Effect::Heartbeat { intent, action } => {
                        self.seen.push("heartbeat".to_owned());
                        if self.beats_lost {
                            let refused = Written::Refused { exception: Exception::BUSY };
                            let outcome =
                                Outcome { writes: results(&action, &refused), release_needed: false };
                            inputs.push_back(Input::Outcome { intent, outcome });
                        }
                    }
                    Effect::Answer(answer) => self.seen.push(format!("accepted {}", answer.accepted)),
                    Effect::Write { intent, action } => {
                        self.seen.push("write".to_owned());
                        let gone = Written::LinkFailed { why: "deaf".to_owned() };
                        let result = if self.deaf { gone } else { Written::Applied };
                        let outcome =
                            Outcome { writes: results(&action, &result), release_needed: self.deaf };
                        inputs.push_back(Input::Outcome { intent, outcome });
                    }
                    Effect::Ask { .. } | Effect::AskCandidate { .. } | Effect::Stage(_) => {
                        unreachable!("there is no model")
                    }
                }
            }
        }
    }

    fn act(&mut self, what: What) {
        self.feed(Input::Act(Act { who: "ann".to_owned(), why: "a test".to_owned(), what }));
    }

    fn seen(&mut self) -> String {
        std::mem::take(&mut self.seen).join(" ")
    }

    /// Hot enough for the fallback to want more cooling, until it is advised.
    fn advised(&mut self) -> u64 {
        for _ in 0..60 {
            self.frame(&[("hall_a_inlet_max", 27.0)]);
            if let Some((decision, _)) = self.controller.advice() {
                return decision;
            }
        }
        panic!("nothing was advised: {}", self.seen());
    }
}

/// The same end for all of an action.
fn results(action: &SafeAction, result: &Written) -> Vec<WriteResult> {
    let end = |w: &crate::envelope::SafeWrite| WriteResult {
        target: w.target().clone(),
        device: w.device().clone(),
        address: w.address(),
        words: w.words(),
        read_back: (*result == Written::Applied).then(|| w.words()),
        result: result.clone(),
        tries: 1,
    };
    action.writes().iter().map(end).collect()
}

#[test]
fn a_clock_that_is_put_back_stops_neither_heartbeat_nor_decisions() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    (0..10).for_each(|_| rig.frame(&[]));
    assert!(rig.controller.in_charge());
    rig.seen();
    rig.second -= 3600;
    (0..6).for_each(|_| rig.frame(&[]));
    let seen = rig.seen();
    assert_eq!(seen.matches("ClockBackwards").count(), 1, "{seen}");
    assert_eq!(seen.matches("heartbeat").count(), 6, "{seen}");
    assert!(seen.contains("decision"), "{seen}");
    rig.frame(&[("hall_a_inlet_max", 40.0)]);
    assert!(rig.seen().contains("Emergency decision write"), "full cooling at once");
}

#[test]
fn an_old_frame_is_used_only_once_its_source_was_lost() {
    let mut rig = Rig::new(Mode::Auto, Clock::Frames);
    rig.frame(&[]);
    rig.second -= 1000;
    rig.frame(&[]);
    assert!(rig.seen().ends_with("ClockBackwards"));
    let link = |up| Input::Link { link: Link::Source, up, why: String::new() };
    rig.feed(link(false));
    rig.frame(&[]);
    rig.feed(link(true));
    rig.seen();
    rig.frame(&[]);
    assert_eq!(rig.seen(), "TakeControl write");
}

#[test]
fn an_approval_writes_only_once_control_is_taken() {
    let mut rig = Rig::new(Mode::Advise, Clock::Wall);
    let decision = rig.advised();
    rig.seen();
    rig.act(What::Approve { decision });
    assert_eq!(rig.seen(), "TakeControl write accepted true decision write");

    let mut rig = Rig::new(Mode::Advise, Clock::Wall);
    let decision = rig.advised();
    rig.seen();
    rig.deaf = true;
    rig.act(What::Approve { decision });
    let seen = rig.seen();
    assert_eq!(seen, "TakeControl write accepted true WriteFailed Release write WriteFailed");
    assert!(!rig.controller.in_charge());
}

#[test]
fn an_approval_that_comes_late_or_blind_is_refused() {
    let mut rig = Rig::new(Mode::Advise, Clock::Wall);
    let decision = rig.advised();
    rig.seen();
    rig.second += 3600;
    rig.act(What::Approve { decision });
    assert_eq!(rig.seen(), "accepted false");

    let mut rig = Rig::new(Mode::Advise, Clock::Wall);
    let decision = rig.advised();
    rig.feed(Input::Link { link: Link::Source, up: false, why: String::new() });
    rig.seen();
    rig.act(What::Approve { decision });
    assert_eq!(rig.seen(), "accepted false");
}

#[test]
fn who_holds_the_plant_in_advise_cools_in_an_emergency_without_being_asked() {
    let mut rig = Rig::new(Mode::Advise, Clock::Wall);
    let decision = rig.advised();
    rig.act(What::Approve { decision });
    rig.seen();
    rig.frame(&[("hall_a_inlet_max", 40.0)]);
    assert_eq!(rig.seen(), "heartbeat Emergency decision write");
}

#[test]
fn a_take_over_that_fails_is_taken_back_and_told() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    rig.deaf = true;
    rig.frame(&[]);
    assert_eq!(rig.seen(), "TakeControl write WriteFailed Release write WriteFailed");
    rig.deaf = false;
    (0..9).for_each(|_| rig.frame(&[]));
    assert!(!rig.controller.in_charge(), "not before ten minutes are over");
    (0..2).for_each(|_| rig.frame(&[]));
    assert!(rig.controller.in_charge());
}

#[test]
fn a_release_that_a_silent_plant_missed_is_said_again_when_it_is_back() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    rig.frame(&[]);
    let link = |up| Input::Link { link: Link::Plant, up, why: String::new() };
    rig.deaf = true;
    rig.feed(link(false));
    rig.act(What::Mode { mode: Mode::Manual });
    rig.deaf = false;
    rig.seen();
    rig.feed(link(true));
    assert_eq!(rig.seen(), "LinkUp Release write");
    rig.feed(link(true));
    assert_eq!(rig.seen(), "LinkUp", "once is enough");
}

#[test]
fn a_frame_is_followed_by_one_write_at_most() {
    let mut rig = Rig::new(Mode::Auto, Clock::Wall);
    rig.frame(&[]);
    for minute in 0..40 {
        rig.seen();
        // Above the line from which the guard cools by itself.
        rig.frame(&[("hall_a_inlet_max", 29.0)]);
        let seen = rig.seen();
        assert!(seen.matches("write").count() <= 1, "{minute}: {seen}");
    }
}

#[test]
fn what_operators_have_set_outlives_a_run() {
    let until = Some(example::frame(7200, &[]).time);
    let mut before = Rig::new(Mode::Auto, Clock::Wall);
    before.frame(&[]);
    let setpoint: Name = "chws_sp".parse().unwrap();
    before.act(What::Override { setpoint: setpoint.clone(), value: Finite::new(8.0).unwrap(), until });
    before.act(What::Directive { text: "pump pressure at most 200".to_owned(), until });
    before.frame(&[("hall_a_inlet_max", 40.0)]);
    before.act(What::Mode { mode: Mode::Manual });
    let kept = serde_json::to_string(&before.controller.standing()).unwrap();

    let mut after = Rig::new(Mode::Auto, Clock::Wall);
    after.second = before.second;
    after.feed(Input::Standing(serde_json::from_str(&kept).unwrap()));
    after.frame(&[("hall_a_inlet_max", 29.0)]);
    let seen = after.seen();
    assert_eq!(seen, "StandingResumed Emergency", "manual: nothing is taken, and 29 is not cool yet");
    let mut limits = after.controller.limits();
    limits.sort_by(|a, b| a.setpoint.cmp(&b.setpoint));
    assert_eq!(limits.len(), 2, "{limits:?}");
    assert!(limits.iter().any(|l| l.setpoint == setpoint && l.floor == l.ceiling));
    // What nobody has seen yet still waits, before what is new; and can be acknowledged.
    let alarms: Vec<_> = after.controller.alarms().iter().map(|a| (a.event, a.seq)).collect();
    let old = before.controller.alarms().first().unwrap().seq;
    assert_eq!(alarms.first(), Some(&(Event::Emergency, old)), "{alarms:?}");
    assert_eq!(alarms.len(), 2, "the emergency of then, and of now: {alarms:?}");
    after.act(What::Acknowledge { alarm: old });
    assert_eq!(after.controller.alarms().len(), 1);

    // Another mode in the site file is the engineer's word of today.
    let mut edited = Rig::new(Mode::Shadow, Clock::Wall);
    edited.feed(Input::Standing(serde_json::from_str(&kept).unwrap()));
    assert_eq!(edited.controller.mode(), Mode::Shadow);
    // But it does not take the plant from who has it by hand.
    let was_shadow = kept.replacen("\"site_mode\":\"auto\"", "\"site_mode\":\"shadow\"", 1);
    assert_ne!(was_shadow, kept);
    let mut edited = Rig::new(Mode::Auto, Clock::Wall);
    edited.feed(Input::Standing(serde_json::from_str(&was_shadow).unwrap()));
    edited.frame(&[]);
    assert_eq!(edited.controller.mode(), Mode::Manual);
    assert!(!edited.seen().contains("TakeControl"));
}

#[test]
fn after_an_emergency_the_fallback_starts_from_full_cooling() {
    let mut rig = Rig::new(Mode::Auto, Clock::Frames);
    (0..60).for_each(|_| rig.frame(&[]));
    rig.frame(&[("hall_a_inlet_max", 40.0)]);
    assert!(rig.seen().contains("Emergency decision write"));
    while rig.controller.in_emergency() {
        rig.frame(&[("hall_a_inlet_max", 20.0)]);
    }
    for _ in 0..30 {
        rig.second += 60;
        let frame = rig.shown(&[]);
        let effects = rig.controller.handle(rig.now(), Input::Frame(frame));
        let decision = effects
            .iter()
            .find_map(|e| if let Effect::Record(Body::Decision(d)) = e { Some(d) } else { None });
        if let Some(verdict) = decision.map(|d| &d.verdict) {
            assert_eq!(verdict.by, ProposedBy::Fallback);
            let leaps: Vec<_> = verdict.touched.iter().filter(|t| t.rule == Rule::RateLimit).collect();
            assert!(leaps.is_empty(), "{leaps:?}");
            return;
        }
    }
    panic!("nothing was decided");
}
