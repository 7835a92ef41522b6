use super::*;
use crate::actuate::{WriteResult, Written};
use crate::facts::example;

fn plan() -> Plan {
    let margin = Kelvin::new(Finite::constant(0.5));
    let hold = SignedDuration::from_mins(10);
    Plan { steps: 2, hold, margin, at_most: SignedDuration::from_hours(4) }
}

/// A plant that does what it is told, and a core that tells it.
struct Stage {
    core: Core,
    chws: f64,
    minute: i64,
    said: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let site = example::site();
        let chws = site.setpoints.iter().find(|s| s.name.as_str() == "chws_sp").unwrap();
        let consent = Consent::from_answer("ann", chws, "chws_sp").unwrap();
        Self { core: Core::new(&site, plan(), &[consent]), chws: 9.0, minute: 0, said: Vec::new() }
    }

    fn frame(&self, values: &[(&str, f64)]) -> Frame {
        let all = [values, &[("chws_sp", self.chws)]].concat();
        example::frame(60 * self.minute, &all)
    }

    /// A minute with these values.
    fn minute(&mut self, edit: impl Fn(&mut Frame), values: &[(&str, f64)]) {
        self.minute += 1;
        let mut frame = self.frame(values);
        edit(&mut frame);
        let effects = self.core.on_frame(&frame);
        self.carry_out(frame.time, effects);
    }

    fn carry_out(&mut self, now: Timestamp, effects: Vec<Effect>) {
        for effect in effects {
            let to = effect.moved.as_ref().map_or(String::new(), |m| format!(" {}", m.to));
            self.said.push(format!("{}{to}", effect.what));
            let write = |w: &crate::envelope::SafeWrite| {
                self.chws = w.value().get();
                WriteResult {
                    target: w.target().clone(),
                    device: w.device().clone(),
                    address: w.address(),
                    words: w.words(),
                    read_back: Some(w.words()),
                    result: Written::Applied,
                    tries: 1,
                }
            };
            let writes = effect.action.writes().iter().map(write).collect();
            let more = self.core.on_outcome(now, &Outcome { writes, release_needed: false });
            self.carry_out(now, more);
        }
    }

    fn minutes(&mut self, count: u32) {
        (0..count).for_each(|_| self.minute(|_| (), &[]));
    }

    /// Until both steps are away.
    fn away(&mut self) {
        while self.chws > 8.0 {
            assert!(self.minute < 120, "{:?}", self.said);
            self.minutes(1);
        }
    }

    fn stopped(&self) -> &str {
        let Some(End::Stopped(why)) = self.core.end() else {
            panic!("{:?} {:?}", self.core.end(), self.said)
        };
        why
    }
}

#[test]
fn a_setpoint_goes_away_by_steps_and_comes_back_by_steps_with_rests_between() {
    let mut stage = Stage::new();
    stage.minutes(230);
    assert_eq!(
        stage.said,
        ["take control", "away 8.5", "away 8", "back 8.5", "back 9", "release"],
        "{:?} {:?}",
        stage.core.end(),
        stage.core.left_out
    );
    assert_eq!(stage.core.end(), Some(&End::Complete));
    assert_eq!(stage.core.moved.len(), 1);
    assert!(stage.core.left_out.iter().all(|(_, why)| why == "no consent"), "{:?}", stage.core.left_out);
}

#[test]
fn a_signal_that_goes_bad_puts_everything_back_at_once() {
    let mut stage = Stage::new();
    stage.away();
    let bad = |f: &mut Frame| {
        let sample = f.signals.get_mut(&"chwr".parse::<Name>().unwrap()).unwrap();
        sample.quality = crate::frame::Quality::Suspect;
    };
    stage.minute(bad, &[]);
    assert!(stage.stopped().contains("chwr is suspect"), "{}", stage.stopped());
    assert_eq!(stage.said[stage.said.len() - 2..], ["restore 9", "release"]);
    stage.minutes(60);
    assert_eq!(stage.said.last().unwrap(), "release", "nothing follows");
}

#[test]
fn a_short_margin_ends_it() {
    let mut stage = Stage::new();
    stage.away();
    stage.minute(|_| (), &[("gpu_temp_max", 94.6)]);
    assert!(stage.stopped().contains("gpu_temp_max is at 94.6, less than 0.5 K"), "{}", stage.stopped());
    assert_eq!(stage.said[stage.said.len() - 2..], ["restore 9", "release"]);
}

#[test]
fn a_move_that_the_guard_changes_ends_it() {
    let mut stage = Stage::new();
    stage.away();
    // Warm enough that the guard makes nothing warmer, and far enough from every limit.
    while stage.core.end().is_none() {
        assert!(stage.minute < 240, "{:?}", stage.said);
        stage.minute(|_| (), &[("hall_a_inlet_max", 26.2)]);
    }
    let why = stage.stopped();
    assert!(why.contains("the guard does not let chws_sp go to 8.5"), "{why}");
    assert_eq!(stage.said[stage.said.len() - 2..], ["restore 9", "release"]);
}

#[test]
fn in_an_emergency_nothing_is_made_warmer() {
    let mut stage = Stage::new();
    stage.away();
    stage.minute(|_| (), &[("gpu_temp_max", 97.0)]);
    assert!(stage.stopped().contains("full cooling"), "{}", stage.stopped());
    assert_eq!(stage.said.last().unwrap(), "release");
    assert!(stage.chws < 8.1 && !stage.said.iter().any(|s| s.starts_with("restore")), "{:?}", stage.said);
}

#[test]
fn a_change_at_the_plant_and_the_end_of_the_time_end_it() {
    let mut stage = Stage::new();
    stage.away();
    stage.minutes(1);
    stage.chws = 10.0;
    stage.minutes(1);
    assert!(stage.stopped().contains("changed at the plant itself"), "{}", stage.stopped());
    let mut stage = Stage::new();
    stage.core.plan.at_most = SignedDuration::from_mins(15);
    stage.minutes(16);
    assert!(stage.stopped().contains("the time is up: 15m"), "{}", stage.stopped());
}
