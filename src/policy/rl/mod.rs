//! A policy learned offline from logs of the same plant; `docs/rl.md` says how, `training/` makes the files.
//!
//! At every decision the network is shown all signals and setpoints with their trends ([`Memory`]), and says
//! for each setpoint how far it should move within a quarter of an hour, as a share of its range. What is
//! proposed is that much from where the setpoint is now, so nothing winds up and taking over is bumpless;
//! the guard's steps and pace make of it what may be written.
//!
//! A policy knows one site's signals and setpoints. [`attach`] puts it into the site, so that the record of
//! a run holds all that its replay needs, and refuses one that does not fit.

mod memory;
mod network;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::{Policy, Seen};
use crate::frame::Frame;
use crate::site::{Cools, Name, PlantKind, Site};
use crate::units::Finite;
use memory::Memory;
pub use network::Network;

/// Why there is no policy for a site.
#[derive(Debug, thiserror::Error)]
pub enum RlError {
    #[error("cannot read {path}: {source}. Give the path of a file made by isotherm_train.rl.export", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{file}: {problem}")]
    Broken { file: String, problem: String },
    #[error("{file} was trained for another site: {}. Train one on this site's own log (training/README.md), or choose another `controller`", problems.join("; "))]
    Foreign { file: String, problems: Vec<String> },
}

/// Puts the policy that a site names, or the built-in one for the demo plant of its kind, into the site.
pub fn attach(site: &mut Site) -> Result<(), RlError> {
    let (file, text) = if let Some(path) = &site.rl.policy {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RlError::Unreadable { path: path.clone(), source })?;
        (path.display().to_string(), text)
    } else {
        let kind = site.plant.as_str();
        (format!("the built-in policy for {kind} plants"), built_in(site.plant).to_owned())
    };
    let network: Network = serde_json::from_str(&text)
        .map_err(|e| RlError::Broken { file: file.clone(), problem: e.to_string() })?;
    network.check().map_err(|problem| RlError::Broken { file: file.clone(), problem })?;
    let problems = network.differences(site);
    if !problems.is_empty() {
        return Err(RlError::Foreign { file, problems });
    }
    site.rl.network = Some(network);
    Ok(())
}

fn built_in(plant: PlantKind) -> &'static str {
    match plant {
        PlantKind::Air => include_str!("../../../models/rl/air.json"),
        PlantKind::Liquid => include_str!("../../../models/rl/liquid.json"),
        PlantKind::Immersion => include_str!("../../../models/rl/immersion.json"),
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rl {
    /// `None`: the site was made without [`attach`].
    network: Option<Network>,
    memory: Memory,
}

impl Rl {
    pub(super) fn new(site: &Site) -> Self {
        Self { network: site.rl.network.clone(), memory: Memory::default() }
    }
}

impl Policy for Rl {
    fn observe(&mut self, _: &Frame) {}

    // Every proposal starts from where the plant is.
    fn stand_by(&mut self) {}

    fn propose(&mut self, _: Timestamp, seen: &Seen<'_>) -> Option<BTreeMap<Name, Finite>> {
        let network = self.network.as_ref()?;
        let inputs: Vec<Option<f64>> =
            network.inputs().map(|name| seen.frame.good(name).map(Finite::get)).collect();
        let features = self.memory.features(seen.frame.time, &inputs, &network.usual);
        let moves = network.forward(&features);
        let target = |(s, moved): (&network::Setpoint, f64)| {
            let share = if moved < 0.0 { moved * s.warmer.get() } else { moved * s.colder.get() };
            let by = share * (s.max.get() - s.min.get()) * if s.cools == Cools::Down { -1.0 } else { 1.0 };
            let to = seen.frame.good(&s.name)?.plus(by).max(s.min).min(s.max);
            Some((s.name.clone(), to.rounded(3)))
        };
        Some(network.setpoints.iter().zip(moves).filter_map(target).collect())
    }
}
