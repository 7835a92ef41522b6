//! What the model is shown and may answer, for every example site; and the published schemas.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use isotherm::control::record;
use isotherm::decision::{self, Decision, Evidence, Trend};
use isotherm::facts::{Facts, Shown};
use isotherm::frame::{self, Frame, Quality, Sample};
use isotherm::history::History;
use isotherm::policy::{self, Seen};
use isotherm::prompt::Prompts;
use isotherm::site::{self, Site};
use isotherm::twin::Twin;
use isotherm::units::Finite;
use jiff::Timestamp;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sites() -> Vec<Site> {
    ["air", "liquid", "immersion"]
        .map(|n| site::load(&root("sites").join(n).with_extension("toml")).unwrap())
        .into()
}

/// Every signal in the middle of its range, wandering; every setpoint at its safe value.
fn frame(site: &Site, i: i32) -> Frame {
    let sample = |value: f64, unit| Sample {
        value: Finite::new(value),
        quality: Quality::Good,
        doubt: None,
        age_s: Some(Finite::ZERO),
        ..Sample::missing(unit)
    };
    let wander = (f64::from(i) / 90.0).sin() / 50.0;
    let signals = site.signals.iter().map(|s| {
        let [low, high] = s.range.map(Finite::get);
        (s.name.clone(), sample(low + (high - low) * (0.5 + wander), s.unit))
    });
    let setpoints = site.setpoints.iter().map(|s| (s.name.clone(), sample(s.safe.get(), s.unit)));
    Frame {
        time: Timestamp::from_second(1_782_900_000 + i64::from(i) * 15).unwrap(),
        signals: signals.collect(),
        setpoints: setpoints.collect(),
        active: [].into(),
        enable: None,
        jobs: Vec::new(),
    }
}

/// A rough count of the default model's tokens: each digit and mark one, words by their length.
fn tokens(text: &str) -> usize {
    let words = text.split(|c: char| !c.is_alphabetic()).map(|w| w.chars().count().div_ceil(4));
    words.sum::<usize>() + text.chars().filter(|c| !c.is_alphabetic() && *c != ' ').count()
}

#[test]
fn every_example_site_has_a_compact_prompt_and_an_answer_that_is_accepted() {
    for site in sites() {
        let (mut history, mut twin) = (History::new(&site), Twin::new(&site));
        let frames = (0..1500).map(|i| frame(&site, i));
        let last = frames.inspect(|f| history.push(f)).inspect(|f| twin.update(f)).last().unwrap();
        let outlook = policy::choices(&Seen { site: &site, frame: &last, twin: &twin, limits: &[] });
        let shown = Shown {
            site: &site,
            now: last.time,
            frame: &last,
            history: &history,
            outlook: &outlook,
            directives: &[],
        };
        let facts = Facts::new(&shown);
        let prompt = Prompts::load(None).unwrap().render(&shown, &facts).unwrap();
        let count = tokens(&prompt.prefix) + tokens(&prompt.body);
        assert!(count < 650, "{}: {count} tokens\n{}{}", site.name, prompt.prefix, prompt.body);

        let signal = &facts.signals[0];
        let answer = Decision {
            assessment: format!("{} {}", signal.name, signal.trend.as_str()),
            evidence: vec![Evidence {
                signal: signal.name.clone(),
                value: signal.value.unwrap(),
                trend: signal.trend,
            }],
            setpoints: site.setpoints.iter().map(|s| (s.name.clone(), s.safe)).collect(),
            rationale: "Hold all setpoints.".to_owned(),
        };
        let read = decision::parse(&site, &serde_json::to_string(&answer).unwrap()).unwrap();
        assert_eq!(read, answer, "{}", site.name);
        let claims = decision::check(&facts, &read);
        assert!(claims.verified, "{}: {:?}", site.name, claims.failing());

        let mut wrong = answer;
        wrong.evidence[0].trend = if signal.trend == Trend::Steady { Trend::Rising } else { Trend::Steady };
        assert!(!decision::check(&facts, &wrong).verified);
    }
}

/// The files in `schemas/` are what the code says. `UPDATE=1` writes them.
#[test]
fn published_schemas_are_in_step() {
    let example = site::load(&root("sites/air.toml")).unwrap();
    let schemas = BTreeMap::from([
        ("decision.json", schemars::schema_for!(Decision).to_value()),
        ("decision.example.json", decision::schema(&example)),
        ("frame.json", frame::schema()),
        ("record.json", record::schema()),
        ("site.json", site::schema()),
    ]);
    for (name, schema) in schemas {
        let path = root("schemas").join(name);
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == text,
            "schemas/{name} is out of step: run the tests with UPDATE=1 and commit it"
        );
    }
}
