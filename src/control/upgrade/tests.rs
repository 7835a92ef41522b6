use super::*;
use crate::control::{Body, Input};
use crate::decision;
use crate::facts::example;
use crate::memory::Reading;
use crate::memory::ladder::Cause;
use crate::reason::Completion;
use crate::site::{self, Mode};
use crate::upgrade::Templates;

fn setup() -> Arc<Setup> {
    let mut site = example::site();
    site.mode = Mode::Shadow;
    site.model.backend = site::Backend::Openai;
    site.model.name = Some("old".to_owned());
    let schema = decision::schema(&site);
    Arc::new(Setup { site, prompts: Prompts::load(None).unwrap(), schema })
}

fn found(setup: &Setup) -> Box<Found> {
    let version = |name: &str| Version {
        model: Model::Served { name: name.to_owned() },
        prompts: Templates::of(&setup.prompts, None),
    };
    Box::new(Found { from: version("old"), to: version("new") })
}

fn act(what: What) -> Act {
    Act { who: "ann".to_owned(), why: "a test".to_owned(), what }
}

fn reply(setpoint: f64) -> Completion {
    let text = format!(
        r#"{{"assessment":"ok","evidence":[{{"signal":"it_load","value":800,"trend":"steady"}}],"setpoints":{{"chws_sp":{setpoint},"crah_supply_sp":20,"chw_dp_sp":150}},"rationale":"ok"}}"#
    );
    Completion { text, ..Completion::default() }
}

/// A controller that goes on with frames until it asks, is answered, and gives the effects of that.
struct Rig {
    controller: Controller,
    second: i64,
    /// What was recorded, and asked of whom, in order.
    seen: Vec<String>,
}

impl Rig {
    fn tried() -> Self {
        let setup = setup();
        let found = found(&setup);
        let mut rig = Self { controller: Controller::new(setup, 1), second: 0, seen: Vec::new() };
        rig.frame();
        let what = What::ProposeUpgrade { model: None, sha256: None, prompts: None, shadow_min: 30 };
        rig.feed(Input::Proposed { act: act(what), found: Ok(found) });
        rig.feed(Input::CandidateReady(Value::Null));
        rig
    }

    fn now(&self) -> Timestamp {
        example::frame(self.second, &[]).time
    }

    fn frame(&mut self) {
        self.second += 60;
        self.feed(Input::Frame(example::frame(self.second, &[("it_load", 800.0)])));
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.controller.handle(self.now(), input) {
                match effect {
                    Effect::Record(Body::Frame(_)) => {}
                    Effect::Record(Body::Event(e)) => self.seen.push(format!("{:?}", e.event)),
                    Effect::Record(body) => self.seen.push(body.kind().to_string()),
                    Effect::Ask { ask, .. } => {
                        self.seen.push("ask".to_owned());
                        inputs.push(Input::Reply { ask, result: Ok(reply(8.0)) });
                    }
                    Effect::AskCandidate { .. } => self.seen.push("ask candidate".to_owned()),
                    Effect::Stage(staging) => self.seen.push(word(&staging).to_owned()),
                    Effect::Answer(answer) => assert!(answer.accepted, "{answer:?}"),
                    Effect::Write { .. } | Effect::Heartbeat { .. } => {
                        unreachable!("in shadow nothing is written")
                    }
                }
            }
        }
    }

    fn until(&mut self, what: &str) {
        for _ in 0..60 {
            if self.seen.iter().any(|s| s == what) {
                return;
            }
            self.frame();
        }
        panic!("{what}: {:?}", self.seen);
    }

    fn memory(&mut self, from: Rung, to: Rung) {
        let cause = Cause::Calm { for_s: 1 };
        self.feed(Input::Memory(Change { from, to, cause, reading: Reading::default() }));
    }
}

fn word(staging: &Staging) -> &'static str {
    match staging {
        Staging::Try(_) => "try",
        Staging::Drop => "drop",
        Staging::Install(_) => "install",
        Staging::TakeOver => "take over",
        Staging::Return(_) => "return",
    }
}

#[test]
fn the_candidate_is_asked_after_the_decision_and_one_it_is_late_for_is_skipped() {
    let mut rig = Rig::tried();
    rig.until("ask candidate");
    let at = |what: &str| rig.seen.iter().rposition(|s| s == what).unwrap();
    assert!(at("ask") < at("decision") && at("decision") < at("ask candidate"), "{:?}", rig.seen);
    let ask = rig.controller.candidate_ask().unwrap();
    while rig.controller.trial().unwrap().tally.skipped == 0 {
        rig.frame();
    }
    rig.feed(Input::Reply { ask, result: Ok(reply(9.0)) });
    while rig.controller.trial().unwrap().tally.compared == 0 {
        // Untrue words are asked for anew, of the candidate as of anyone.
        let ask = rig.controller.candidate_ask().unwrap();
        rig.feed(Input::Reply { ask, result: Err(Failure::Late { deadline_ms: 1 }) });
    }
    assert_eq!(rig.seen.iter().filter(|s| *s == "candidate").count(), 1);
    assert_eq!(rig.controller.candidate_ask(), None);
}

#[test]
fn the_candidate_goes_first_when_memory_is_short() {
    let mut rig = Rig::tried();
    rig.until("ask candidate");
    rig.seen.clear();
    rig.memory(Rung::Full, Rung::Short);
    assert_eq!(rig.seen, ["Memory", "UpgradeAbandoned", "drop"]);
    assert!(rig.controller.trial().is_none());

    // And none is begun.
    let setup = rig.controller.setup().clone();
    let what = What::ProposeUpgrade { model: None, sha256: None, prompts: None, shadow_min: 30 };
    let input = Input::Proposed { act: act(what), found: Ok(found(&setup)) };
    let effects = rig.controller.handle(rig.now(), input);
    let refused = effects.iter().any(|e| {
        matches!(e, Effect::Answer(a) if !a.accepted && a.answer.contains("memory is short (rung short)"))
    });
    assert!(refused, "{effects:?}");
}

#[test]
fn an_accepted_version_that_does_not_come_up_changes_nothing() {
    let mut rig = Rig::tried();
    rig.until("UpgradeDue");
    let before = rig.controller.setup().clone();
    rig.seen.clear();
    rig.feed(Input::Act(act(What::AcceptUpgrade { early: true })));
    assert_eq!(rig.seen, ["operator", "install"]);
    rig.feed(Input::CandidateLost { why: "no room".to_owned() });
    assert_eq!(rig.seen[2..], ["UpgradeAbandoned", "drop"]);
    assert!(Arc::ptr_eq(&before, rig.controller.setup()));
}

#[test]
fn an_accepted_version_is_loaded_by_the_next_run_too() {
    let mut before = Rig::tried();
    before.feed(Input::Act(act(What::AcceptUpgrade { early: true })));
    // The agent ends while it is being loaded.
    let kept = serde_json::to_string(before.controller.trial().unwrap()).unwrap();
    let mut rig = Rig { controller: Controller::new(setup(), 1), second: before.second, seen: Vec::new() };
    rig.frame();
    rig.seen.clear();
    rig.feed(Input::Resumed(serde_json::from_str(&kept).unwrap()));
    assert_eq!(rig.seen, ["UpgradeResumed", "install"]);
    rig.feed(Input::Installed(Value::Null));
    assert_eq!(rig.seen[2..], ["UpgradeAccepted", "take over"]);
    assert_eq!(rig.controller.setup().site.model.name.as_deref(), Some("new"));
}

#[test]
fn upgrades_are_taken_back_one_by_one_even_while_a_question_is_under_way() {
    let mut rig = Rig::tried();
    rig.feed(Input::Act(act(What::AcceptUpgrade { early: true })));
    rig.feed(Input::Installed(Value::Null));
    assert_eq!(rig.controller.setup().site.model.name.as_deref(), Some("new"));
    assert_eq!(rig.controller.lineage().unwrap().before.len(), 1);
    // Asked and not answered.
    let mut asked = false;
    while !asked {
        rig.second += 60;
        let frame = example::frame(rig.second, &[("it_load", 800.0)]);
        let effects = rig.controller.handle(rig.now(), Input::Frame(frame));
        asked = effects.iter().any(|e| matches!(e, Effect::Ask { .. }));
    }
    rig.seen.clear();
    rig.feed(Input::Act(act(What::RevertUpgrade)));
    assert_eq!(
        rig.seen,
        ["operator", "UpgradeReverted", "return", "decision"],
        "the interval has its decision"
    );
    assert!(!rig.controller.is_thinking());
    assert_eq!(rig.controller.setup().site.model.name.as_deref(), Some("old"));
    assert_eq!(rig.controller.lineage(), None);
}
