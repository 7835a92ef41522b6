//! How well the twin predicts a recording, from where it starts.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Serialize;

use crate::frame::Frame;
use crate::site::{Name, Site};
use crate::twin::{HORIZONS_MIN, Twin, is_predicted_temperature};
use crate::units::Finite;

/// Predictions are made this often.
const EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Root mean square errors of one temperature, K, at [`HORIZONS_MIN`].
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Errors {
    pub signal: Name,
    /// Of "it stays as it is".
    pub stays: [Option<Finite>; 3],
    /// Of the twin as the site had it start.
    pub before: [Option<Finite>; 3],
    /// Of the twin with the answers that were found.
    pub after: [Option<Finite>; 3],
}

type Squares = BTreeMap<Name, [Vec<f64>; 3]>;

pub(super) fn errors(before: &Site, after: &Site, frames: &[Frame], watched: SignedDuration) -> Vec<Errors> {
    let (stays, first) = squares(before, frames, watched);
    let (_, then) = squares(after, frames, watched);
    let of = |all: &Squares, name: &Name| {
        let one = all.get(name).cloned().unwrap_or_default();
        one.map(|squares| root_mean_square(&squares))
    };
    let signals = before.signals.iter().filter(|s| is_predicted_temperature(s));
    signals
        .map(|s| Errors {
            signal: s.name.clone(),
            stays: of(&stays, &s.name),
            before: of(&first, &s.name),
            after: of(&then, &s.name),
        })
        .collect()
}

/// Squared errors of persistence and of a twin that begins with the recording, from the end of the watch on. It is told
/// the setpoints that came.
fn squares(site: &Site, frames: &[Frame], watched: SignedDuration) -> (Squares, Squares) {
    let (mut stays, mut twins) = (Squares::new(), Squares::new());
    let mut twin = Twin::new(site);
    let Some(first) = frames.first() else { return (stays, twins) };
    let mut due = first.time + watched;
    for (i, frame) in frames.iter().enumerate() {
        twin.update(frame);
        if frame.time < due {
            continue;
        }
        due = frame.time + EVERY;
        let coming = frames.get(i..).unwrap_or_default();
        let Some(ahead) = twin.lookahead(frame) else { continue };
        let trajectory = ahead.run(&rows(site, coming));
        for (output, path) in ahead.outputs().iter().zip(&trajectory.signals) {
            let good = |f: &Frame| f.good(&output.name).map(Finite::get);
            let (Some(path), Some(now)) = (path, good(frame)) else { continue };
            for (k, minutes) in HORIZONS_MIN.into_iter().enumerate() {
                let at = frame.time + SignedDuration::from_mins(minutes.into());
                let Some(came) = coming.iter().find(|f| f.time >= at).and_then(good) else { continue };
                let predicted = path.values.get(minutes as usize / 5 - 1).copied().unwrap_or(now);
                for (all, value) in [(&mut stays, now), (&mut twins, predicted)] {
                    let squares = all.entry(output.name.clone()).or_default();
                    squares.iter_mut().skip(k).take(1).for_each(|s| s.push((value - came).powi(2)));
                }
            }
        }
    }
    (stays, twins)
}

/// The setpoints in force over each of the next steps, as means.
fn rows(site: &Site, coming: &[Frame]) -> Vec<Vec<f64>> {
    let Some(now) = coming.first() else { return Vec::new() };
    let steps = i32::try_from(crate::twin::STEPS).unwrap_or(0);
    let row = |k: i32| {
        let (from, to) = (now.time + EVERY * k, now.time + EVERY * (k + 1));
        let within = || coming.iter().filter(|f| from <= f.time && f.time < to);
        let mean = |name: &Name| {
            let values: Vec<f64> = within().filter_map(|f| f.in_force(name).map(Finite::get)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        site.setpoints.iter().map(|s| mean(&s.name)).collect::<Option<Vec<f64>>>()
    };
    (0..steps).map_while(row).collect()
}

/// Of squared errors.
fn root_mean_square(squares: &[f64]) -> Option<Finite> {
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    Finite::new(mean.sqrt()).map(|v| v.rounded(3))
}
