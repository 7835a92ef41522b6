//! From bytes to registers: a plant, then line by line what it sends and what a model says. Whatever they
//! are, the oracle finds nothing wrong with what would be written.
//!
//! A line that begins with `!` is a whole step (operators' limits, panel, clock and write results too), one
//! that begins with `{"time"` a frame; any other is a model's reply, judged on the latest frame.
//!
//! ```sh
//! mkdir -p fuzz/corpus/bytes_to_registers
//! RUSTC_BOOTSTRAP=1 cargo fuzz run bytes_to_registers fuzz/corpus/bytes_to_registers fuzz/corpus_seed \
//!     -- -max_total_time=300
//! ```
//!
//! New inputs are kept in the first folder.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use isotherm::decision;
use isotherm::envelope::oracle::{Fate, Step, Trial, sites};
use isotherm::envelope::{Proposal, ProposedBy};
use isotherm::frame::Frame;
use isotherm::site::Site;
use isotherm::units::Finite;
use libfuzzer_sys::fuzz_target;

static SITES: LazyLock<Vec<Site>> = LazyLock::new(sites);

fn step() -> Step {
    Step {
        after_s: 300,
        signals: BTreeMap::new(),
        unread: BTreeMap::new(),
        panel: BTreeMap::new(),
        active: BTreeMap::new(),
        proposal: Proposal { by: ProposedBy::Model, setpoints: BTreeMap::new() },
        decided_s_ago: 1,
        limits: Vec::new(),
        outlook_gain: Finite::ZERO,
        fate: Fate::Applied,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let Some(site) = SITES.get(usize::from(*first) % SITES.len()) else { return };
    let mut trial = Trial::new(site);
    let mut frame: Option<Frame> = None;
    for line in rest.split(|b| *b == b'\n').take(24) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let wrong = if let Some(whole) = text.strip_prefix('!') {
            let Ok(step) = serde_json::from_str::<Step>(whole) else { continue };
            trial.step(&step).1
        } else if text.starts_with("{\"time\"") {
            let Ok(mut read) = serde_json::from_str::<Frame>(text) else { continue };
            // What the plant holds is not for the frame to say; where it says nothing, it is read.
            let mut step = step();
            step.signals = std::mem::take(&mut read.signals);
            let mut shown = trial.advance(&step);
            shown.setpoints.extend(read.setpoints);
            shown.active.extend(read.active);
            let wrong = trial.judge(&shown, &step).1;
            frame = Some(shown);
            wrong
        } else if let (Some(frame), Ok(decision)) = (&frame, decision::parse(site, text)) {
            let mut step = step();
            step.proposal.setpoints = decision.setpoints;
            trial.judge(frame, &step).1
        } else {
            continue;
        };
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
});
