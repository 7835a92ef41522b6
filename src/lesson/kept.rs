//! Whether setpoints do what a directive asks for, judged by what they come to. Most directives bound setpoints,
//! and a bound is kept or not. Those that ask for a manner can be kept in more than one way: what the teacher
//! would set is one of them.

use std::collections::BTreeMap;

use super::moves::Moves;
use super::orders::{Kind, Order};
use super::teacher::RESERVE_K;
use super::{Scene, Sight};
use crate::directive::reading::{EXTRA_K, STABILITY_K, margin_to_the_top};
use crate::site::Name;
use crate::units::Finite;

/// `to` are all setpoints, without the guard's help.
pub(super) fn kept(scene: &Scene<'_>, sight: &Sight, order: &Order, to: &BTreeMap<Name, Finite>) -> bool {
    let asked = order.reading.limits(&sight.facts);
    if !asked.is_empty() {
        return asked.iter().all(|l| {
            let Some(to) = to.get(&l.setpoint) else { return false };
            let held = !l.hold || scene.frame.good(&l.setpoint) == Some(*to);
            held && l.floor.is_none_or(|f| *to >= f) && l.ceiling.is_none_or(|c| *to <= c)
        });
    }
    let Moves { warmer, colder } = Moves::count(scene.site, scene.frame, to);
    let under = |k: f64| margin_to_the_top(&sight.facts).is_some_and(|m| m.get() < k);
    let ways = match order.kind {
        Kind::OneAtATime => warmer + colder <= 1,
        Kind::Stability => warmer == 0 && (colder == 0 || under(STABILITY_K)),
        Kind::ExtraMargin => warmer == 0 && (colder > 0 || !under(EXTRA_K)),
        Kind::Prepare => warmer == 0 && (colder > 0 || !under(RESERVE_K)),
        // Whatever has bounds was judged by them; what is left is the teacher's to say.
        Kind::Floor
        | Kind::Ceiling
        | Kind::Exact
        | Kind::Range
        | Kind::HoldOne
        | Kind::HoldAll
        | Kind::NoColder
        | Kind::NoWarmer
        | Kind::Quiet
        | Kind::Economy
        | Kind::Maintenance
        | Kind::Test
        | Kind::DesignValues
        | Kind::Noise => false,
    };
    ways || *to == sight.chosen
}

#[cfg(test)]
mod tests {
    use super::super::{Walk, walk};
    use super::*;
    use crate::site::Cools;

    /// All setpoints a step colder, or warmer, or where they are.
    fn stepped(scene: &Scene<'_>, by: f64) -> BTreeMap<Name, Finite> {
        let setpoints = scene.site.setpoints.iter();
        let moved = setpoints.filter_map(|s| {
            let way = if s.cools == Cools::Up { by } else { -by };
            Some((s.name.clone(), scene.frame.good(&s.name)?.plus(way * s.step.get())))
        });
        moved.collect()
    }

    #[test]
    fn a_manner_can_be_kept_in_more_than_one_way_and_not_in_any() {
        let mut seen = BTreeMap::<Kind, u32>::new();
        for seed in 1..40 {
            walk(Walk { seed, hours: 3.0, held_out: false }, &mut |scene, sight, _| {
                let Some(order) = scene.standing.map(|s| &s.order) else { return Ok(None) };
                *seen.entry(order.kind).or_default() += 1;
                let by = |steps| kept(scene, sight, order, &stepped(scene, steps));
                let several = scene.site.setpoints.len() > 1;
                assert!(kept(scene, sight, order, &sight.chosen), "what the teacher sets: {order:?}");
                match order.kind {
                    Kind::ExtraMargin | Kind::Prepare => assert!(by(1.0), "colder: {order:?}"),
                    Kind::Stability => assert!(by(0.0), "at rest: {order:?}"),
                    Kind::OneAtATime => assert!(by(0.0) && (!several || !by(1.0)), "{order:?}"),
                    Kind::HoldAll | Kind::Test => assert!(by(0.0) && !by(1.0) && !by(-1.0)),
                    Kind::NoColder => assert!(by(0.0) && by(-1.0) && !by(1.0)),
                    Kind::NoWarmer => assert!(by(0.0) && by(1.0) && !by(-1.0)),
                    Kind::Floor
                    | Kind::Ceiling
                    | Kind::Exact
                    | Kind::Range
                    | Kind::HoldOne
                    | Kind::Quiet
                    | Kind::Economy
                    | Kind::Maintenance
                    | Kind::DesignValues
                    | Kind::Noise => {}
                }
                if matches!(order.kind, Kind::ExtraMargin | Kind::Prepare | Kind::Stability) {
                    let warmer = stepped(scene, -1.0);
                    assert!(warmer == sight.chosen || !by(-1.0), "warmer: {order:?}");
                }
                Ok(None)
            })
            .unwrap();
        }
        assert!(seen.len() > 12, "{seen:?}");
    }
}
