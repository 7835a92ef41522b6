//! The file of a policy: what it was trained to see and to move, and a small network of dense layers.

use serde::{Deserialize, Serialize};

use crate::site::{Cools, Name, Site};
use crate::units::{Finite, Unit};

const FORMAT: &str = "isotherm-rl@1";
/// Of every input there are its value and two trends.
const PER_INPUT: usize = 3;
/// Features are held within this many of their standard deviations.
const CLIP: f64 = 5.0;

/// A learned policy. Fields are private: one that passed [`check`](Self::check) stays as it was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    format: String,
    /// How it was made: for people.
    trained: serde_json::Map<String, serde_json::Value>,
    cadence_s: u32,
    signals: Vec<Signal>,
    pub(super) setpoints: Vec<Setpoint>,
    /// What each signal, then each setpoint, was in the mean of the log.
    pub(super) usual: Vec<Finite>,
    /// Of each feature.
    mean: Vec<Finite>,
    sd: Vec<Finite>,
    layers: Vec<Layer>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signal {
    name: Name,
    unit: Unit,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setpoint {
    pub(super) name: Name,
    unit: Unit,
    pub(super) min: Finite,
    pub(super) max: Finite,
    pub(super) cools: Cools,
    /// The furthest one decision moves it, as a share of its range, each way.
    pub(super) warmer: Finite,
    pub(super) colder: Finite,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    /// One row an output.
    weights: Vec<Vec<Finite>>,
    bias: Vec<Finite>,
}

impl Network {
    /// What the network is shown, in its order.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Name> {
        self.signals.iter().map(|s| &s.name).chain(self.setpoints.iter().map(|s| &s.name))
    }

    /// Whether all parts fit together.
    pub(super) fn check(&self) -> Result<(), String> {
        let expect = |what: &str, expected: usize, found: usize| {
            if expected == found {
                Ok(())
            } else {
                Err(format!("{what}: expected {expected}, found {found}"))
            }
        };
        if self.format != FORMAT {
            return Err(format!("format: expected {FORMAT:?}, found {:?}", self.format));
        }
        let inputs = self.inputs().count();
        let features = PER_INPUT * inputs;
        expect("usual: numbers, one an input", inputs, self.usual.len())?;
        expect("mean: numbers, three an input", features, self.mean.len())?;
        expect("sd: numbers, three an input", features, self.sd.len())?;
        if let Some(i) = self.sd.iter().position(|sd| *sd <= Finite::ZERO) {
            return Err(format!("sd: number {i}: expected more than 0"));
        }
        let mut width = features;
        for (i, layer) in self.layers.iter().enumerate() {
            for row in &layer.weights {
                expect(&format!("layers: layer {i}: inputs of a row of weights"), width, row.len())?;
            }
            width = layer.weights.len();
            expect(&format!("layers: layer {i}: bias"), width, layer.bias.len())?;
        }
        expect("layers: outputs of the last, one a setpoint", self.setpoints.len(), width)
    }

    /// In what a site is not the one that this was trained for.
    pub(super) fn differences(&self, site: &Site) -> Vec<String> {
        let mut found = Vec::new();
        if site.cadence.as_secs() != i64::from(self.cadence_s) {
            found.push(format!("cadence: expected {} s, the site has {:#}", self.cadence_s, site.cadence));
        }
        for own in &self.signals {
            match site.signal(&own.name) {
                None => found.push(format!("signal {:?}: the site has none of this name", own.name.as_str())),
                Some(s) if s.unit != own.unit => {
                    found.push(format!(
                        "signal {:?}: expected {}, the site has {}",
                        own.name.as_str(),
                        own.unit,
                        s.unit
                    ));
                }
                Some(_) => {}
            }
        }
        for own in &self.setpoints {
            let shape = |unit: Unit, min: Finite, max: Finite, cools: Cools| {
                format!("{min} to {max} {unit}, cools {}", if cools == Cools::Up { "up" } else { "down" })
            };
            let name = own.name.as_str();
            match site.setpoint(&own.name) {
                None => found.push(format!("setpoint {name:?}: the site has none of this name")),
                Some(s) => {
                    let (ours, theirs) =
                        (shape(own.unit, own.min, own.max, own.cools), shape(s.unit, s.min, s.max, s.cools));
                    if ours != theirs {
                        found.push(format!("setpoint {name:?}: expected {ours}, the site has {theirs}"));
                    }
                }
            }
        }
        for s in site.setpoints.iter().filter(|s| self.setpoints.iter().all(|own| own.name != s.name)) {
            found.push(format!("setpoint {:?}: the policy does not know it", s.name.as_str()));
        }
        found
    }

    /// Of every setpoint, how far to move it: from -1 (warmer) to 1 (colder).
    pub(super) fn forward(&self, features: &[f64]) -> Vec<f64> {
        let scaled = features.iter().zip(&self.mean).zip(&self.sd);
        let mut x: Vec<f64> =
            scaled.map(|((v, mean), sd)| ((v - mean.get()) / sd.get()).clamp(-CLIP, CLIP)).collect();
        let last = self.layers.len().saturating_sub(1);
        for (i, layer) in self.layers.iter().enumerate() {
            let unit = |(row, bias): (&Vec<Finite>, &Finite)| {
                let sum = row.iter().zip(&x).fold(bias.get(), |sum, (w, v)| sum + w.get() * v);
                // A product of finite numbers may still overflow.
                let sum = Finite::saturating(sum).get();
                if i == last { sum.tanh() } else { sum.max(0.0) }
            };
            x = layer.weights.iter().zip(&layer.bias).map(unit).collect();
        }
        x
    }
}
