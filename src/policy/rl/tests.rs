use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::*;
use crate::site;
use crate::units::Unit;

/// What `isotherm_train.rl.export --recorded` wrote: rows of a log, and PyTorch's outputs to them.
#[derive(Deserialize)]
struct Recorded {
    values: Vec<Vec<Option<f64>>>,
    outputs: Vec<Vec<f64>>,
}

fn demo(plant: &str, edit: impl Fn(String) -> String) -> Site {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sites");
    let text = std::fs::read_to_string(folder.join(plant).with_extension("toml")).unwrap();
    site::parse(&edit(text), Path::new("test.toml")).unwrap()
}

fn attached(plant: &str) -> Site {
    let mut site = demo(plant, |t| t);
    attach(&mut site).unwrap();
    site
}

#[test]
fn the_network_says_what_pytorch_says() {
    for (plant, text) in [
        ("air", include_str!("recorded/air.json")),
        ("liquid", include_str!("recorded/liquid.json")),
        ("immersion", include_str!("recorded/immersion.json")),
    ] {
        let network = attached(plant).rl.network.unwrap();
        let recorded: Recorded = serde_json::from_str(text).unwrap();
        assert!(recorded.values.iter().flatten().any(Option::is_none), "no missing value is tried");
        assert_eq!(recorded.values.len(), recorded.outputs.len());
        let (mut memory, mut now) = (Memory::default(), Timestamp::UNIX_EPOCH);
        for (row, expected) in recorded.values.iter().zip(&recorded.outputs) {
            let said = network.forward(&memory.features(now, row, &network.usual));
            assert_eq!(said.len(), expected.len());
            for (a, b) in said.iter().zip(expected) {
                assert!((a - b).abs() < 1e-4, "{plant}, {now}: {said:?}, PyTorch {expected:?}");
            }
            now += SignedDuration::from_mins(5);
        }
    }
}

#[test]
fn trends_start_anew_after_a_silence() {
    let usual = [Finite::constant(9.0)];
    let mut memory = Memory::default();
    for (minute, value, expected) in [
        (0, None, [9.0, 0.0, 0.0]), // what it usually is
        (5, Some(15.0), [15.0, 6.0, 5.0]),
        (10, None, [15.0, 0.0, 25.0 / 6.0]), // what it was
        (60, Some(12.0), [12.0, 0.0, 0.0]),
    ] {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let seen = memory.features(now, &[value], &usual);
        let same = seen.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(seen.len() == 3 && same, "{minute} min: {seen:?}, expected {expected:?}");
    }
}

type Edit = fn(String) -> String;

/// The complaint of a site, or of a policy file that was edited.
fn refused(plant: &str, edit: impl Fn(String) -> String, file: Option<Edit>) -> String {
    let mut site = demo(plant, edit);
    let dir = tempfile::tempdir().unwrap();
    if let Some(file) = file {
        let path = dir.path().join("policy.json");
        std::fs::write(&path, file(built_in(site.plant).to_owned())).unwrap();
        site.rl.policy = Some(path);
    }
    attach(&mut site).unwrap_err().to_string()
}

#[test]
fn a_site_that_it_was_not_trained_for_is_told_in_what_it_differs() {
    let renamed = refused("air", |t| t.replace("\"chw_dp_sp\"", "\"pump_sp\""), None);
    for part in [
        "the built-in policy for air plants was trained for another site",
        "setpoint \"chw_dp_sp\": the site has none of this name",
        "setpoint \"pump_sp\": the policy does not know it",
        "Train one on this site's own log",
    ] {
        assert!(renamed.contains(part), "{renamed}");
    }
    let said = refused("air", |t| t.replacen("max = 16", "max = 15", 1), None);
    assert!(said.contains("expected 6 to 16 degC, cools down, the site has 6 to 15 degC"), "{said}");
    let said = refused("liquid", |t| t.replace("\"5min\"", "\"10min\""), None);
    assert!(said.contains("cadence: expected 300 s, the site has 10m"), "{said}");
    let said = refused("liquid", |t| t.replace("\"cdu_return\"", "\"back\""), None);
    assert!(said.contains("signal \"cdu_return\": the site has none of this name"), "{said}");
}

#[test]
fn a_file_that_does_not_fit_together_is_refused() {
    let cases: [(Edit, &str); 5] = [
        (|t| t.replace("isotherm-rl@1", "isotherm-rl@9"), "format: expected \"isotherm-rl@1\""),
        (|t| t.replace("\"sd\":[", "\"sd\":[1,"), "sd: numbers, three an input: expected 63, found 64"),
        (|t| t.replace("\"sd\":[", "\"sd\":[0,"), "sd: numbers, three an input"),
        (|t| t.replacen("\"bias\":[", "\"bias\":[0,", 1), "layer 0: bias: expected 64, found 65"),
        (|t| t.replacen("\"mean\":[", "\"mean\":[1e999,", 1), "number out of range"),
    ];
    for (edit, expected) in cases {
        let said = refused("air", |t| t, Some(edit));
        assert!(said.contains("policy.json") && said.contains(expected), "{said}");
    }
    let mut site = demo("air", |t| t);
    site.rl.policy = Some("no/such.json".into());
    let said = attach(&mut site).unwrap_err().to_string();
    assert!(said.contains("no/such.json") && said.contains("isotherm_train.rl.export"), "{said}");
}

/// Whatever the plant shows, the wishes are inside the setpoints' limits, and each start from where it is.
#[test]
fn wishes_stay_inside_limits() {
    let site = attached("air");
    let twin = crate::twin::Twin::new(&site);
    let mut rl = Rl::new(&site);
    for extreme in [-1e12, 0.0, 1e12] {
        let sample = |unit: Unit, v: f64| crate::frame::Sample {
            value: Finite::new(v),
            quality: crate::frame::Quality::Good,
            ..crate::frame::Sample::missing(unit)
        };
        let frame = Frame {
            time: Timestamp::UNIX_EPOCH,
            signals: site.signals.iter().map(|s| (s.name.clone(), sample(s.unit, extreme))).collect(),
            setpoints: site
                .setpoints
                .iter()
                .map(|s| (s.name.clone(), sample(s.unit, s.safe.get())))
                .collect(),
            active: BTreeMap::new(),
            enable: None,
            jobs: Vec::new(),
        };
        let seen = Seen { site: &site, frame: &frame, twin: &twin, limits: &[] };
        let wishes = rl.propose(frame.time, &seen).unwrap();
        assert_eq!(wishes.len(), site.setpoints.len());
        for s in &site.setpoints {
            let to = wishes[&s.name];
            assert!(s.min <= to && to <= s.max, "{}: {to}", s.name.as_str());
            let share = (to.get() - s.safe.get()).abs() / s.span();
            assert!(share < 0.3, "{} goes {share} of its range at once", s.name.as_str());
        }
    }
}
