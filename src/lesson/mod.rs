//! Lessons: what the language model is shown, and what a teacher would answer.
//!
//! A world is a plant and a site drawn by chance. It runs for hours under a mixture of behaviours, with
//! directives given and withdrawn; now and then a moment becomes a lesson: the prompt as the agent renders it,
//! and the teacher's decision with its reasons. The teacher takes what the prompt calls best, bound by what the
//! directives mean, and every claim in its reasons has passed the claim checker. The same moments, of other
//! seeds and with phrasings that training never sees, are what a model is examined on ([`exam`]).

mod dice;
#[cfg(feature = "llama")]
pub mod exam;
#[cfg(feature = "llama")]
mod kept;
mod moves;
mod orders;
mod phrasings;
mod sides;
mod speech;
mod teacher;
mod wording;
mod world;
pub mod write;

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::directive::{self, Directive};
use crate::facts::{Facts, Shown};
use crate::frame::{Assembler, Frame};
use crate::history::History;
use crate::policy::{self, Seen};
use crate::prompt::{Prompt, Prompts};
use crate::site::{Backend, Name, Site};
use crate::twin::Twin;
use crate::units::Finite;
use dice::Dice;
use orders::{KINDS, Kind, Order};
use world::World;

/// The twin learns for so long before there is a lesson.
const LEARNS_S: i64 = 3000;
/// Seconds between decisions.
const CADENCE_S: i64 = 300;

/// Directives that take more lessons to be understood, some twice as many, and the share of directives that are one
/// of them anyhow.
const HARDER: [Kind; 11] = [
    Kind::Exact,
    Kind::Range,
    Kind::HoldOne,
    Kind::NoColder,
    Kind::NoColder,
    Kind::NoWarmer,
    Kind::NoWarmer,
    Kind::Stability,
    Kind::ExtraMargin,
    Kind::Prepare,
    Kind::OneAtATime,
];
const HARDER_SHARE: f64 = 0.45;

/// A directive in force.
#[derive(Debug)]
struct Standing {
    order: Order,
    directive: Directive,
    until: Timestamp,
}

/// A moment of a world, as far as the agent knows it.
struct Scene<'a> {
    site: &'a Site,
    frame: &'a Frame,
    stages: &'a Stages,
    standing: Option<&'a Standing>,
}

/// What the agent makes of a scene, and what the teacher would set: every setpoint, on its steps.
struct Sight {
    facts: Facts,
    prompt: Prompt,
    chosen: BTreeMap<Name, Finite>,
}

impl Scene<'_> {
    /// The scene with another frame, or without its directive.
    fn look(&self, frame: &Frame, standing: Option<&Standing>) -> Option<Sight> {
        let (site, stages) = (self.site, self.stages);
        let directives: Vec<Directive> = standing.iter().map(|s| s.directive.clone()).collect();
        let limits: Vec<_> = directives.iter().flat_map(|d| d.limits.clone()).collect();
        let outlook = policy::choices(&Seen { site, frame, twin: &stages.twin, limits: &limits });
        let shown = Shown {
            site,
            now: frame.time,
            frame,
            history: &stages.history,
            outlook: &outlook,
            directives: &directives,
        };
        let facts = Facts::new(&shown);
        let prompt = stages.prompts.render(&shown, &facts).ok()?;
        let chosen = teacher::choose(site, frame, &outlook, &facts, standing.map(|s| &s.order))?;
        Some(Sight { facts, prompt, chosen })
    }
}

/// The stages of the agent that lead to a prompt.
struct Stages {
    assembler: Assembler,
    history: History,
    twin: Twin,
    prompts: Prompts,
}

impl Stages {
    fn new(site: &Site) -> Result<Self> {
        Ok(Self {
            assembler: Assembler::new(site),
            history: History::new(site),
            twin: Twin::new(site),
            prompts: Prompts::load(None)?,
        })
    }

    fn see(&mut self, frame: &Frame) {
        self.history.push(frame);
        self.twin.update(frame);
    }
}

/// Where a visitor sends the plant.
type Visited = Result<Option<BTreeMap<Name, Finite>>>;

/// Which world, and for how long.
#[derive(Clone, Copy, Debug)]
struct Walk {
    seed: u64,
    hours: f64,
    /// Phrasings of directives that training never sees.
    held_out: bool,
}

/// Visits the moments of a world that are worth a lesson. The plant goes where the teacher points, or where the
/// visitor does.
fn walk(walk: Walk, visit: &mut dyn FnMut(&Scene<'_>, &Sight, &mut Dice) -> Visited) -> Result<()> {
    let mut dice = Dice::new(walk.seed);
    let mut world = World::draw(walk.seed, &mut dice)?;
    world.site.model.backend = Backend::Local;
    let site = world.site.clone();
    let mut stages = Stages::new(&site)?;
    let steps = (walk.hours * 3600.0 / site.sample.as_secs_f64()) as i64;
    let sample_s = site.sample.as_secs();
    // Some worlds are all about orders, some have none.
    let orders_a_decision = dice.between(0.0, 0.24);
    let lesson_share = dice.between(0.2, 0.5);
    let mut standing: Option<Standing> = None;
    world.plant.command("enable", 1.0).ok();
    for step in 1..=steps {
        world.plant.command("heartbeat", (step % 60_000) as f64).ok();
        world.plant.step(sample_s as f64);
        let now = world.plant.time();
        for reading in world.readings(now) {
            stages.assembler.push(&reading);
        }
        let frame = stages.assembler.snapshot(now);
        stages.see(&frame);
        if step * sample_s % CADENCE_S != 0 {
            continue;
        }
        let learned = step * sample_s > LEARNS_S;
        if standing.as_ref().is_some_and(|s| now >= s.until) {
            standing = None;
        }
        if standing.is_none() && learned && dice.often(orders_a_decision) {
            let kind = kind(walk.held_out, &mut dice);
            standing = give(kind, &site, &frame, now, walk.held_out, &mut dice);
        }
        let scene = Scene { site: &site, frame: &frame, stages: &stages, standing: standing.as_ref() };
        let Some(sight) = scene.look(&frame, standing.as_ref()) else { continue };
        let visited = learned && (standing.is_some() || dice.often(lesson_share));
        let other = if visited { visit(&scene, &sight, &mut dice)? } else { None };
        act(&mut world, &site, &frame, &other.unwrap_or(sight.chosen), &mut dice)?;
    }
    Ok(())
}

fn kind(held_out: bool, dice: &mut Dice) -> Kind {
    let harder = !held_out && dice.often(HARDER_SHARE);
    if harder { dice.pick(&HARDER) } else { dice.pick(&KINDS) }.copied().unwrap_or(Kind::Noise)
}

/// A directive of a kind, for a while.
fn give(
    kind: Kind,
    site: &Site,
    frame: &Frame,
    now: Timestamp,
    held_out: bool,
    dice: &mut Dice,
) -> Option<Standing> {
    let until = now + SignedDuration::from_mins(dice.between(15.0, 90.0) as i64);
    let clock = site.zone().to_datetime(until);
    let clock = format!("{:02}:{:02}", clock.hour(), clock.minute());
    let order = orders::give(kind, site, frame, &clock, held_out, dice)?;
    let directive = directive::understand(site, now, "operator", &order.text, Some(until)).ok()?;
    Some(Standing { order, directive, until })
}

/// Where the plant goes from here: mostly where the teacher points, at times elsewhere, so that lessons also
/// tell how to come back.
fn act(
    world: &mut World,
    site: &Site,
    frame: &Frame,
    chosen: &BTreeMap<Name, Finite>,
    dice: &mut Dice,
) -> Result<()> {
    let astray = dice.often(0.15);
    for s in &site.setpoints {
        let Some(now) = frame.good(&s.name) else { continue };
        let step = s.least_move().get();
        let to = if astray {
            now.get() + (dice.between(-4.0, 4.0)).round() * step
        } else {
            chosen.get(&s.name).map_or(now.get(), |to| to.get())
        };
        let to = to.clamp(s.min.get(), s.max.get());
        world.command(&s.name, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::coldest_supply;
    use crate::site::Role;

    /// Of each kind of directive whole answers are learned: none is left out because nothing true can be said of it.
    #[test]
    fn every_kind_of_directive_is_explained() {
        let mut explained: BTreeMap<Kind, (u32, u32)> = BTreeMap::new();
        for seed in 1..8 {
            walk(Walk { seed, hours: 2.0, held_out: false }, &mut |scene, _, dice| {
                for kind in KINDS {
                    let order = orders::give(kind, scene.site, scene.frame, "23:59", false, dice);
                    let Some(order) = order else { continue };
                    let now = scene.frame.time;
                    let until = now + SignedDuration::from_hours(1);
                    let directive =
                        directive::understand(scene.site, now, "operator", &order.text, Some(until)).unwrap();
                    let standing = Standing { order, directive, until };
                    let Some(sight) = scene.look(scene.frame, Some(&standing)) else { continue };
                    let choice = speech::Choice {
                        facts: &sight.facts,
                        setpoints: &sight.chosen,
                        order: Some(&standing.order),
                        bound: !standing.order.reading.limits(&sight.facts).is_empty(),
                    };
                    let count = explained.entry(kind).or_default();
                    count.0 += u32::from(speech::explain(choice, dice).is_some());
                    count.1 += 1;
                }
                Ok(None)
            })
            .unwrap();
        }
        assert_eq!(explained.len(), KINDS.len(), "{explained:?}");
        let rare: Vec<_> = explained.iter().filter(|(_, (said, of))| 10 * said < 9 * of).collect();
        assert!(rare.is_empty(), "{rare:?} of {explained:?}");
    }

    /// The model chooses among readings: the right one is there, however it was said.
    #[test]
    fn what_is_meant_is_among_what_may_be_meant() {
        let (mut given, mut sure) = (0, 0);
        for (seed, held_out) in (1..8).flat_map(|seed| [(seed, false), (seed, true)]) {
            walk(Walk { seed, hours: 2.0, held_out }, &mut |scene, _, dice| {
                for kind in KINDS {
                    let now = scene.frame.time;
                    let Some(standing) = give(kind, scene.site, scene.frame, now, held_out, dice) else {
                        continue;
                    };
                    let Some(sight) = scene.look(scene.frame, Some(&standing)) else { continue };
                    let Order { text, reading, .. } = &standing.order;
                    let readings = &sight.facts.readings;
                    assert!(readings.contains(reading), "{text}: {reading} is not one of {readings:?}");
                    given += 1;
                    sure += u32::from(readings.len() == 1);
                }
                Ok(None)
            })
            .unwrap();
        }
        assert!(given > 1000 && sure > 0 && sure < given / 3, "{sure} of {given}");
    }

    /// The facility water nearly as warm as the exchanger allows: no row of the prompt goes colder than that.
    #[test]
    fn nothing_is_offered_that_the_exchanger_cannot_hold() {
        let mut rows = 0;
        for seed in 1..20 {
            walk(Walk { seed, hours: 2.0, held_out: false }, &mut |scene, _, _| {
                let mut supplies = scene.site.setpoints.iter().filter(|s| s.role == Some(Role::LiquidSupply));
                let (Some(supply), Some(approach)) = (supplies.next(), scene.site.envelope.min_approach)
                else {
                    return Ok(None);
                };
                let Some(now) = scene.frame.good(&supply.name) else { return Ok(None) };
                let mut frame = scene.frame.clone();
                for s in scene.site.with_role(Role::FacilitySupply) {
                    frame.signals.get_mut(&s.name).unwrap().value =
                        Some(now.plus(-approach.get().get() - 0.1));
                }
                let Some(sight) = scene.look(&frame, None) else { return Ok(None) };
                for row in &sight.facts.outlook.rows {
                    let to = row.moves.get(&supply.name).copied().unwrap_or(now);
                    let coldest = coldest_supply(scene.site, &frame, supply).unwrap_or(to);
                    assert!(to >= coldest.min(now), "{} from {now} to {to}, {coldest}", supply.name);
                    rows += 1;
                }
                Ok(None)
            })
            .unwrap();
        }
        assert!(rows > 20, "{rows}");
    }
}
