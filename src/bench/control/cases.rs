//! What is run: scenarios of the simulator, each under the example site of its plant.

use std::path::Path;

use isotherm_sim::Scenario;

use super::BenchError;
use crate::policy::rl;
use crate::site::{self, Backend, Law, Site};

/// A scenario and the site that its agent has.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Case {
    pub(in crate::bench) plant: &'static str,
    pub(in crate::bench) scenario: &'static str,
    pub(in crate::bench) text: &'static str,
}

macro_rules! cases {
    ($($plant:literal: [$($name:literal),*]),*) => {
        const CASES: &[Case] = &[$($(Case {
            plant: $plant,
            scenario: concat!($plant, "-", $name),
            text: include_str!(concat!("../../../simulator/scenarios/bench/", $plant, "-", $name, ".toml")),
        }),*),*];
    };
}

cases![
    "air": ["summer-training", "summer-burst", "mild-training", "mild-inference", "summer-faults"],
    "liquid": ["summer-training", "summer-burst", "mild-training", "mild-inference", "summer-faults"],
    "immersion": ["summer-training", "summer-burst", "mild-training", "mild-inference", "summer-faults"]
];

/// What `--quick` runs.
pub(in crate::bench) const QUICK: [&str; 4] =
    ["air-summer-training", "air-summer-faults", "liquid-mild-inference", "immersion-summer-burst"];

/// The cases of these plants (all if none is named) whose names match one of the patterns (all if none).
pub(in crate::bench) fn select(plants: &[String], patterns: &[String]) -> Result<Vec<Case>, BenchError> {
    let known = ["air", "liquid", "immersion"];
    if let Some(other) = plants.iter().find(|p| !known.contains(&p.as_str())) {
        return Err(BenchError::Usage(format!("--plants: expected air, liquid or immersion, got {other:?}")));
    }
    let wanted = |c: &&Case| {
        (plants.is_empty() || plants.iter().any(|p| p == c.plant))
            && (patterns.is_empty() || patterns.iter().any(|p| matches(p, c.scenario)))
    };
    let found: Vec<Case> = CASES.iter().filter(wanted).cloned().collect();
    if found.is_empty() {
        let names: Vec<&str> = CASES.iter().map(|c| c.scenario).collect();
        return Err(BenchError::Usage(format!("no such scenario; there are {}", names.join(", "))));
    }
    Ok(found)
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).filter_map(|i| tail.get(i..)).any(|tail| matches(rest, tail))
        }),
    }
}

impl Case {
    pub(in crate::bench) fn site(&self) -> Result<Site, BenchError> {
        let (text, path) = match self.plant {
            "air" => (include_str!("../../../sites/air.toml"), "sites/air.toml"),
            "liquid" => (include_str!("../../../sites/liquid.toml"), "sites/liquid.toml"),
            _ => (include_str!("../../../sites/immersion.toml"), "sites/immersion.toml"),
        };
        Ok(site::parse(text, Path::new(path))?)
    }

    /// The site under a controller that needs no language model; `rl` with the policy in this folder, or the one
    /// built in.
    pub(in crate::bench) fn site_without_model(
        &self,
        law: Law,
        policies: Option<&Path>,
    ) -> Result<Site, BenchError> {
        let mut site = self.site()?;
        site.controller = law;
        site.model.backend = Backend::None;
        if law == Law::Rl {
            site.rl.policy = policies.map(|folder| folder.join(self.plant).with_extension("json"));
            rl::attach(&mut site)?;
        }
        Ok(site)
    }

    /// The scenario, with temperatures counted as too warm above the band that the site sets its agent.
    pub(in crate::bench) fn scenario(&self, band: [f64; 2]) -> Result<Scenario, BenchError> {
        let mut scenario = Scenario::parse(self.scenario, self.text)?;
        scenario.over_above = band[1];
        Ok(scenario)
    }

    /// All that decides what a run is, but seed and length.
    pub(in crate::bench) fn text(&self, site: &Site) -> String {
        format!("{}\n{}", self.text, serde_json::to_string(site).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches("air-*", "air-summer-burst") && matches("*burst", "air-summer-burst"));
        assert!(matches("*summer*", "air-summer-burst") && matches("air-summer-burst", "air-summer-burst"));
        assert!(!matches("liquid*", "air-summer-burst") && !matches("air", "air-summer-burst"));
    }

    #[test]
    fn every_case_parses_and_quick_names_cases() {
        let all = select(&[], &[]).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulator/scenarios/bench");
        assert_eq!(all.len(), std::fs::read_dir(folder).unwrap().count(), "a file that is not run");
        for case in all {
            case.site().unwrap();
            case.scenario([18.0, 27.0]).unwrap();
        }
        let quick: Vec<String> = QUICK.map(ToOwned::to_owned).into();
        assert_eq!(select(&[], &quick).unwrap().len(), QUICK.len());
    }
}
