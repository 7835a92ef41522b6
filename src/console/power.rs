//! Power by role.

use crate::site::{Role, Site};

/// The power of a role, which is that of all its signals together, as workload and policies take it: IT load may be
/// measured loop by loop, and without one of them the sum would be a fraction that looks like the whole.
#[derive(Clone, Debug)]
pub(super) struct Power {
    /// Columns of the tape; those of signals come first, in the order of the site. All are in kW.
    places: Vec<usize>,
}

impl Power {
    /// `None` where the site does not measure it.
    pub(super) fn of(site: &Site, role: Role) -> Option<Self> {
        let all = site.signals.iter().enumerate();
        let places: Vec<usize> = all.filter(|(_, s)| s.role == Some(role)).map(|(i, _)| i).collect();
        (!places.is_empty()).then_some(Self { places })
    }

    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.places.iter().copied()
    }

    /// The sum of what is in each column; unknown unless all of them are known.
    pub(super) fn kw(&self, at: impl Fn(usize) -> Option<f64>) -> Option<f64> {
        self.places().map(at).sum()
    }
}
