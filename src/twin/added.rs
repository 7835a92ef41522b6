//! IT load beside what is measured: announced, or asked about.

use jiff::Timestamp;

use super::model::{STEP_MIN, STEPS};
use crate::site::{Name, Site};
use crate::workload::Job;

/// Halls or cabinets, as far as the twin needs them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    names: Vec<Name>,
    /// Of the measured load, how much a place counts as carrying.
    shares: Vec<f64>,
}

/// kW at each step: what goes nowhere in particular, and into each place.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Added {
    anywhere: [f64; STEPS],
    placed: Vec<[f64; STEPS]>,
}

impl Places {
    pub(super) fn new(site: &Site) -> Self {
        let (places, all) = (site.places(), site.capacity_kw().get().max(1.0));
        let shares = places.iter().map(|p| (p.capacity_kw.get() / all).max(1e-3)).collect();
        Self { names: places.into_iter().map(|p| p.name).collect(), shares }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn position(&self, name: &Name) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// The jobs' load over the steps after `now`: in the step in which it starts, the part of it that is left.
    pub(super) fn announced(&self, now: Timestamp, jobs: &[Job]) -> Added {
        let mut added = Added::default();
        for job in jobs {
            let begins = job.start.duration_since(now).as_secs_f64() / 60.0;
            let kw = |k: usize| ((STEP_MIN * (k + 1) as f64 - begins) / STEP_MIN).clamp(0.0, 1.0);
            self.add(&mut added, job.place.as_ref(), |k| kw(k) * job.kw.get());
        }
        added
    }

    /// So much more from now on.
    pub(super) fn constant(&self, place: Option<&Name>, kw: f64) -> Added {
        let mut added = Added::default();
        self.add(&mut added, place, |_| kw);
        added
    }

    fn add(&self, added: &mut Added, place: Option<&Name>, kw: impl Fn(usize) -> f64) {
        added.placed.resize(self.len(), [0.0; STEPS]);
        let into = match place.and_then(|p| added.placed.get_mut(self.position(p)?)) {
            Some(placed) => placed,
            None => &mut added.anywhere,
        };
        into.iter_mut().enumerate().for_each(|(k, sum)| *sum += kw(k));
    }

    /// The place that is loaded most beyond what is measured, for its size.
    pub(super) fn worst(&self, added: &Added) -> Option<usize> {
        let last = |i: usize| self.seen(added, Some(i), STEPS - 1);
        (0..added.placed.len()).max_by(|a, b| last(*a).total_cmp(&last(*b)))
    }

    /// What a signal of a place sees at a step, as if the whole site had been loaded alike; `None`: what one
    /// sees that follows them all.
    pub(super) fn seen(&self, added: &Added, place: Option<usize>, step: usize) -> f64 {
        let at = |row: &[f64; STEPS]| row.get(step).copied().unwrap_or_default();
        let own = |i: usize| Some(at(added.placed.get(i)?) / self.shares.get(i)?);
        let placed = match place {
            Some(i) => own(i).unwrap_or_default(),
            None => added.placed.iter().map(at).sum(),
        };
        at(&added.anywhere) + placed
    }
}

impl Added {
    pub(super) fn is_none(&self) -> bool {
        self.anywhere.iter().chain(self.placed.iter().flatten()).all(|kw| *kw <= 0.0)
    }
}
