//! Controllers that decide without a language model.
//!
//! A [`Policy`] stands where the model stands: what it proposes goes through the same guard, the same
//! record and the same writer, and `replay` must come to the same proposals. So a policy is pure and
//! deterministic: no clock, no randomness that is not seeded by the site, nothing but the frames it was
//! shown and what [`Seen`] holds.
//!
//! To add one: a module here, a [`Law`] in the site, and a line in [`of`].

mod fixed;
mod mpc;
mod pid;
pub mod rl;
mod trim;

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::Timestamp;

use crate::envelope::{Limit, coldest_supply};
use crate::fallback::Fallback;
use crate::frame::Frame;
use crate::site::{Cools, Law, Name, Setpoint, Site};
use crate::twin::{Outlook, Twin};
use crate::units::Finite;

/// What a policy decides from.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub site: &'a Site,
    pub frame: &'a Frame,
    pub twin: &'a Twin,
    /// Operators' overrides and directives. The guard enforces them; a policy that plans may use them.
    pub limits: &'a [Limit],
}

/// A controller that proposes setpoints.
pub trait Policy: Debug + Send {
    /// Watches every frame, whoever decides.
    fn observe(&mut self, frame: &Frame);

    /// Something else has moved a setpoint: the next proposal starts from what it left.
    fn stand_by(&mut self);

    /// The limits of the site have changed. What is read from [`Seen`] has them already.
    fn go_by(&mut self, _site: &Site) {}

    /// The setpoints it would like; those not named stay. `None`: it cannot say, and the fallback acts.
    fn propose(&mut self, now: Timestamp, seen: &Seen<'_>) -> Option<BTreeMap<Name, Finite>>;
}

/// The choices that a language model is shown what comes of: staying, what the optimizer would do now, and
/// all of it a step colder.
#[must_use]
pub fn choices(seen: &Seen<'_>) -> Outlook {
    let differs = |(name, to): &(Name, Finite)| seen.frame.good(name).is_some_and(|now| now != *to);
    // On the steps that the model can choose from.
    let on_a_step = |(name, to): (Name, Finite)| {
        let s = seen.site.setpoint(&name)?;
        Some((name, s.nearest_step(to)))
    };
    let plan: Option<BTreeMap<Name, Finite>> = mpc::Mpc
        .propose(seen.frame.time, seen)
        .map(|moves| moves.into_iter().filter_map(on_a_step).filter(differs).collect());
    let colder = |s: &Setpoint| {
        let step = s.least_move().get();
        let by = if s.cools == Cools::Down { -step } else { step };
        let now = seen.frame.good(&s.name)?;
        let to = now.plus(by);
        let to = coldest(seen, s).map_or(to, |coldest| to.max(coldest.min(now)));
        on_a_step((s.name.clone(), to))
    };
    let colder = || seen.site.setpoints.iter().filter_map(colder).filter(differs).collect();
    let mut candidates = vec![plan.clone().unwrap_or_default(), colder()];
    candidates.dedup();
    candidates.retain(|moves| !moves.is_empty());
    let mut outlook = seen.twin.outlook(seen.frame, candidates);
    outlook.best = plan.and_then(|plan| outlook.rows.iter().position(|r| r.moves == plan));
    outlook
}

/// The coldest step of a liquid supply that the guard lets pass, if there is such a bound.
fn coldest(seen: &Seen<'_>, s: &Setpoint) -> Option<Finite> {
    let coldest = coldest_supply(seen.site, seen.frame, s)?;
    Some(s.at_step((s.steps_to(coldest) - 1e-9).ceil()))
}

/// The policy that a site has chosen; `None` where the language model decides.
#[must_use]
pub fn of(site: &Site) -> Option<Box<dyn Policy>> {
    match site.controller {
        Law::Llm => None,
        Law::Fixed => Some(Box::new(fixed::Fixed::new(site))),
        Law::Trim => Some(Box::new(Fallback::new(site))),
        Law::Pid => Some(Box::new(pid::Pid::new(site))),
        Law::Mpc => Some(Box::new(mpc::Mpc)),
        Law::Rl => Some(Box::new(rl::Rl::new(site))),
    }
}
