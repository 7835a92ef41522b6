//! One world's hours, and the lessons in them.

use std::collections::BTreeMap;

use anyhow::Result;
use isotherm::decision::Decision;
use isotherm::directive::{self, Directive, Limit};
use isotherm::facts::{Facts, Shown};
use isotherm::frame::{Assembler, Frame};
use isotherm::history::History;
use isotherm::policy::{self, Policy, Seen};
use isotherm::prompt::Prompts;
use isotherm::site::{Backend, Cools, Law, Name, Site};
use isotherm::twin::Twin;
use isotherm::units::Finite;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::dice::Dice;
use crate::orders::{self, KINDS, Kind, Meaning, Order};
use crate::speech::{self, Choice};
use crate::world::World;

/// The twin learns for so long before there is a lesson.
const LEARNS_S: i64 = 3000;
/// Seconds between decisions.
const CADENCE_S: i64 = 300;

/// A line of the training data.
#[derive(Serialize)]
pub(crate) struct Lesson {
    pub(crate) prompt: String,
    pub(crate) answer: String,
    /// The kind of the directive in force, `none` without.
    pub(crate) order: String,
    /// `save`, `cool`, `mixed` or `hold`.
    pub(crate) what: &'static str,
    pub(crate) plant: &'static str,
    /// What the directive asks of the setpoints, for evaluation by outcome.
    limits: Vec<Limit>,
    present: BTreeMap<Name, Finite>,
}

/// A directive in force.
struct Standing {
    order: Order,
    directive: Directive,
    until: Timestamp,
}

/// The lessons of a world.
pub(crate) fn world(seed: u64, hours: f64, most: usize, held_out: bool) -> Result<Vec<Lesson>> {
    let mut dice = Dice::new(seed);
    let mut world = World::draw(seed, &mut dice)?;
    world.site.model.backend = Backend::Local;
    let site = world.site.clone();
    let mut scholar = Scholar::new(&site)?;
    let steps = (hours * 3600.0 / site.sample.as_secs_f64()) as i64;
    let sample_s = site.sample.as_secs();
    // Some worlds are all about orders, some have none.
    let orders_a_decision = dice.between(0.0, 0.12);
    let lesson_share = dice.between(0.2, 0.5);
    let mut lessons = Vec::new();
    let mut standing: Option<Standing> = None;
    world.plant.command("enable", 1.0).ok();
    for step in 1..=steps {
        world.plant.command("heartbeat", (step % 60_000) as f64).ok();
        world.plant.step(sample_s as f64);
        let now = world.plant.time();
        for reading in world.readings(now) {
            scholar.assembler.push(&reading);
        }
        let frame = scholar.assembler.snapshot(now);
        scholar.see(&frame);
        if step * sample_s % CADENCE_S != 0 {
            continue;
        }
        if standing.as_ref().is_some_and(|s| now >= s.until) {
            standing = None;
        }
        if standing.is_none() && step * sample_s > LEARNS_S - CADENCE_S && dice.often(orders_a_decision * 2.0)
        {
            standing = give(&site, &frame, now, held_out, &mut dice);
        }
        let meaning = standing.as_ref().map(|s| s.order.meaning.clone()).unwrap_or_default();
        let Some(chosen) = scholar.choose(&site, &frame, now, &meaning) else { continue };
        if step * sample_s > LEARNS_S
            && (standing.is_some() || dice.often(lesson_share))
            && lessons.len() < most
        {
            let lesson = scholar.lesson(&site, &frame, now, standing.as_ref(), &chosen, &mut dice);
            lessons.extend(lesson);
        }
        act(&mut world, &site, &frame, &chosen, &mut dice)?;
    }
    Ok(lessons)
}

/// A directive by chance, for a while.
fn give(site: &Site, frame: &Frame, now: Timestamp, held_out: bool, dice: &mut Dice) -> Option<Standing> {
    let kind = *dice.pick(&KINDS)?;
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
        let step = s.step.max(s.deadband).get();
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

/// The stages of the agent that lead to a prompt, and the teacher.
struct Scholar {
    assembler: Assembler,
    history: History,
    twin: Twin,
    teacher: Box<dyn Policy>,
    prompts: Prompts,
}

impl Scholar {
    fn new(site: &Site) -> Result<Self> {
        let mut by = site.clone();
        by.controller = Law::Mpc;
        let teacher = policy::of(&by).ok_or_else(|| anyhow::anyhow!("no teacher"))?;
        Ok(Self {
            assembler: Assembler::new(site),
            history: History::new(site),
            twin: Twin::new(site),
            teacher,
            prompts: Prompts::load(None)?,
        })
    }

    fn see(&mut self, frame: &Frame) {
        self.history.push(frame);
        self.twin.update(frame);
        self.teacher.observe(frame);
    }

    /// What the teacher would set, whole: every setpoint, on its steps.
    fn choose(
        &mut self,
        site: &Site,
        frame: &Frame,
        now: Timestamp,
        meaning: &Meaning,
    ) -> Option<BTreeMap<Name, Finite>> {
        let mut view = site.clone();
        for s in &mut view.signals {
            if let Some([_, top]) = &mut s.band {
                *top = top.plus(meaning.band_shift);
            }
        }
        let seen = Seen { site: &view, frame, twin: &self.twin, limits: &meaning.limits };
        let mut wish = self.teacher.propose(now, &seen)?;
        if meaning.calm && !self.near_a_limit(site, frame) {
            wish.clear();
        }
        let mut chosen = BTreeMap::new();
        let mut moved = 0;
        for s in &site.setpoints {
            let present = frame.good(&s.name)?;
            let to = wish.get(&s.name).copied().unwrap_or(present);
            let to = bounded(&meaning.limits, &s.name, to);
            let steps = ((to.get() - s.min.get()) / s.step.get()).round();
            let mut to = s.min.plus(steps * s.step.get()).rounded(3).max(s.min).min(s.max);
            if (to.get() - present.get()).abs() > 1e-9 {
                moved += 1;
                if meaning.one_at_a_time && moved > 1 {
                    to = present;
                }
            }
            chosen.insert(s.name.clone(), to);
        }
        Some(chosen)
    }

    /// Whether staying brings a temperature within a kelvin of its band in half an hour.
    fn near_a_limit(&self, site: &Site, frame: &Frame) -> bool {
        let Some(hold) = self.twin.row(frame, BTreeMap::new()) else { return true };
        site.signals.iter().any(|s| {
            let ahead = hold.ahead.get(&s.name);
            ahead.zip(s.band).is_some_and(|(a, [_, top])| a[2].value.get() > top.get() - 1.0)
        })
    }

    fn lesson(
        &self,
        site: &Site,
        frame: &Frame,
        now: Timestamp,
        standing: Option<&Standing>,
        chosen: &BTreeMap<Name, Finite>,
        dice: &mut Dice,
    ) -> Option<Lesson> {
        let directives: Vec<Directive> = standing.iter().map(|s| s.directive.clone()).collect();
        let limits: Vec<Limit> = directives.iter().flat_map(|d| d.limits.clone()).collect();
        let seen = Seen { site, frame, twin: &self.twin, limits: &limits };
        let outlook = policy::choices(&seen);
        let shown =
            Shown { site, now, frame, history: &self.history, outlook: &outlook, directives: &directives };
        let facts = Facts::new(&shown);
        let prompt = self.prompts.render(&shown, &facts).ok()?;
        let kinds: Vec<Kind> = standing.iter().map(|s| s.order.kind).collect();
        let asked = standing.map(|s| s.order.meaning.limits.clone()).unwrap_or_default();
        let bound: Vec<Name> = asked.iter().map(|l| l.setpoint.clone()).collect();
        let choice = Choice { facts: &facts, setpoints: chosen, orders: &kinds, bound: &bound };
        let decision = speech::explain(choice, dice)?;
        let present: BTreeMap<Name, Finite> =
            site.setpoints.iter().filter_map(|s| Some((s.name.clone(), frame.good(&s.name)?))).collect();
        Some(Lesson {
            prompt: format!("{}{}", prompt.prefix, prompt.body),
            answer: written(site, &facts, &decision),
            order: standing.map_or_else(|| "none".to_owned(), |s| format!("{:?}", s.order.kind)),
            what: direction(site, &present, chosen),
            plant: site.plant.as_str(),
            limits: asked,
            present,
        })
    }
}

/// Inside what was asked; a hold keeps what is there.
fn bounded(limits: &[Limit], name: &Name, to: Finite) -> Finite {
    limits.iter().filter(|l| l.setpoint == *name).fold(to, |to, l| {
        let to = l.ceiling.map_or(to, |c| to.min(c));
        l.floor.map_or(to, |f| to.max(f))
    })
}

fn direction(site: &Site, present: &BTreeMap<Name, Finite>, chosen: &BTreeMap<Name, Finite>) -> &'static str {
    let cools = site.setpoints.iter().filter_map(|s| {
        let (now, to) = (present.get(&s.name)?, chosen.get(&s.name)?);
        (now != to).then_some((to > now) == (s.cools == Cools::Up))
    });
    let all: Vec<bool> = cools.collect();
    match (all.iter().any(|c| *c), all.iter().any(|c| !c)) {
        (true, true) => "mixed",
        (true, false) => "cool",
        (false, true) => "save",
        (false, false) => "hold",
    }
}

/// The reply as the schema spells it: numbers as the prompt shows them.
fn written(site: &Site, facts: &Facts, d: &Decision) -> String {
    let text = |s: &str| serde_json::to_string(s).unwrap_or_default();
    let evidence: Vec<String> = d
        .evidence
        .iter()
        .map(|e| {
            let decimals = facts.signal(&e.signal).map_or(1, |s| s.unit.decimals());
            format!(
                r#"{{"signal":"{}","value":{:.*},"trend":"{}"}}"#,
                e.signal,
                usize::from(decimals),
                e.value.get(),
                e.trend.as_str()
            )
        })
        .collect();
    let setpoints: Vec<String> = site
        .setpoints
        .iter()
        .filter_map(|s| Some(format!(r#""{}":{}"#, s.name, d.setpoints.get(&s.name)?)))
        .collect();
    format!(
        r#"{{"assessment":{},"evidence":[{}],"setpoints":{{{}}},"rationale":{}}}"#,
        text(&d.assessment),
        evidence.join(","),
        setpoints.join(","),
        text(&d.rationale)
    )
}
