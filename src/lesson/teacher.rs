//! What the teacher would set. It goes by what the prompt shows and nothing else: what the student cannot see,
//! it cannot learn.

use std::collections::BTreeMap;

use super::orders::{Kind, Order};
use crate::directive::Limit;
use crate::directive::reading::{EXTRA_K, STABILITY_K, margin_to_the_top};
use crate::facts::Facts;
use crate::frame::Frame;
use crate::site::{Name, Site};
use crate::twin::Outlook;
use crate::units::Finite;

/// The margin kept where load is announced.
pub(super) const RESERVE_K: f64 = 4.0;

/// Every setpoint, on its steps; `None` where one cannot be seen.
pub(super) fn choose(
    site: &Site,
    frame: &Frame,
    outlook: &Outlook,
    facts: &Facts,
    order: Option<&Order>,
) -> Option<BTreeMap<Name, Finite>> {
    let kind = order.map(|o| o.kind);
    let asked = order.map(|o| o.reading.limits(facts)).unwrap_or_default();
    let wish = wish(kind, outlook, margin_to_the_top(facts));
    let mut chosen = BTreeMap::new();
    let mut moved = 0;
    for s in &site.setpoints {
        let present = frame.good(&s.name)?;
        let to = wish.get(&s.name).copied().unwrap_or(present);
        let to = bounded(&asked, &s.name, present, to);
        let mut to = s.nearest_step(to);
        if (to.get() - present.get()).abs() > 1e-9 {
            moved += 1;
            if kind == Some(Kind::OneAtATime) && moved > 1 {
                to = present;
            }
        }
        chosen.insert(s.name.clone(), to);
    }
    Some(chosen)
}

/// Where the teacher would go before it is bound: the optimizer's choice, or what an order prefers.
fn wish(kind: Option<Kind>, outlook: &Outlook, margin: Option<Finite>) -> BTreeMap<Name, Finite> {
    let best = outlook.best.and_then(|i| outlook.rows.get(i)).map(|r| r.moves.clone()).unwrap_or_default();
    // The row beside holding and the best one is a step colder.
    let other =
        outlook.rows.iter().enumerate().find(|(i, r)| Some(*i) != outlook.best && !r.moves.is_empty());
    let colder = || other.map_or_else(|| best.clone(), |(_, r)| r.moves.clone());
    let under = |k: f64| margin.is_some_and(|m| m.get() < k);
    match kind {
        Some(Kind::Stability) if !under(STABILITY_K) => BTreeMap::new(),
        Some(Kind::ExtraMargin) if under(EXTRA_K) => colder(),
        Some(Kind::ExtraMargin) if under(EXTRA_K + 1.0) => BTreeMap::new(),
        Some(Kind::Prepare) if under(RESERVE_K) => colder(),
        Some(Kind::Prepare) => BTreeMap::new(),
        None if outlook.best.is_none() && under(STABILITY_K) => colder(),
        Some(_) | None => best,
    }
}

/// Inside what was asked; a hold keeps what is there.
fn bounded(limits: &[Limit], name: &Name, present: Finite, to: Finite) -> Finite {
    limits.iter().filter(|l| l.setpoint == *name).fold(to, |to, l| {
        let to = if l.hold { present } else { to };
        let to = l.ceiling.map_or(to, |c| to.min(c));
        l.floor.map_or(to, |f| to.max(f))
    })
}
