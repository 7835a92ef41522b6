//! One world's hours, and the lessons in them.

use std::collections::BTreeMap;

use anyhow::Result;
use isotherm::decision::Decision;
use isotherm::directive::{self, Directive, Limit};
use isotherm::facts::{Facts, Shown, Side, SignalFacts};
use isotherm::frame::{Assembler, Frame};
use isotherm::history::History;
use isotherm::policy::{self, Seen};
use isotherm::prompt::Prompts;
use isotherm::site::{Backend, Cools, Name, Site};
use isotherm::twin::{Outlook, Twin};
use isotherm::units::Finite;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::dice::Dice;
use crate::orders::{self, KINDS, Kind, Order};
use crate::speech::{self, Choice};
use crate::world::World;

/// The twin learns for so long before there is a lesson.
const LEARNS_S: i64 = 3000;
/// Seconds between decisions.
const CADENCE_S: i64 = 300;

/// With a margin under this, K, a limit is near enough to move although stability is preferred.
const STABILITY_K: f64 = 1.0;
/// The margin kept where extra margin is asked for, and where load is announced.
const EXTRA_K: f64 = 2.0;
const RESERVE_K: f64 = 4.0;

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
        let Some((outlook, chosen)) = scholar.choose(&site, &frame, now, standing.as_ref()) else { continue };
        if step * sample_s > LEARNS_S
            && (standing.is_some() || dice.often(lesson_share))
            && lessons.len() < most
        {
            let lesson = scholar.lesson(&site, &frame, now, standing.as_ref(), &outlook, &chosen, &mut dice);
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
    prompts: Prompts,
}

impl Scholar {
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

    /// The choices shown, and what the teacher makes of them: every setpoint, on its steps. The teacher goes
    /// by what the prompt shows and nothing else: what the student cannot see, it cannot learn.
    fn choose(
        &mut self,
        site: &Site,
        frame: &Frame,
        now: Timestamp,
        standing: Option<&Standing>,
    ) -> Option<(Outlook, BTreeMap<Name, Finite>)> {
        let directives: Vec<Directive> = standing.iter().map(|s| s.directive.clone()).collect();
        let bounds: Vec<Limit> = directives.iter().flat_map(|d| d.limits.clone()).collect();
        let outlook = policy::choices(&Seen { site, frame, twin: &self.twin, limits: &bounds });
        let shown =
            Shown { site, now, frame, history: &self.history, outlook: &outlook, directives: &directives };
        let facts = Facts::new(&shown);
        let kind = standing.map(|s| s.order.kind);
        let asked = standing.map(|s| s.order.limits(site, frame)).unwrap_or_default();
        let wish = wish(kind, &outlook, margin_to_the_top(&facts));
        let mut chosen = BTreeMap::new();
        let mut moved = 0;
        for s in &site.setpoints {
            let present = frame.good(&s.name)?;
            let to = wish.get(&s.name).copied().unwrap_or(present);
            let to = bounded(&asked, &s.name, present, to);
            let steps = ((to.get() - s.min.get()) / s.step.get()).round();
            let mut to = s.min.plus(steps * s.step.get()).rounded(3).max(s.min).min(s.max);
            if (to.get() - present.get()).abs() > 1e-9 {
                moved += 1;
                if kind == Some(Kind::OneAtATime) && moved > 1 {
                    to = present;
                }
            }
            chosen.insert(s.name.clone(), to);
        }
        Some((outlook, chosen))
    }

    fn lesson(
        &self,
        site: &Site,
        frame: &Frame,
        now: Timestamp,
        standing: Option<&Standing>,
        outlook: &Outlook,
        chosen: &BTreeMap<Name, Finite>,
        dice: &mut Dice,
    ) -> Option<Lesson> {
        let directives: Vec<Directive> = standing.iter().map(|s| s.directive.clone()).collect();
        let shown = Shown { site, now, frame, history: &self.history, outlook, directives: &directives };
        let facts = Facts::new(&shown);
        let prompt = self.prompts.render(&shown, &facts).ok()?;
        let kinds: Vec<Kind> = standing.iter().map(|s| s.order.kind).collect();
        let asked = standing.map(|s| s.order.limits(site, frame)).unwrap_or_default();
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

/// The least margin, where it is one to an upper limit: what the prompt's `margin` line shows.
fn margin_to_the_top(facts: &Facts) -> Option<Finite> {
    let all = facts.signals.iter().filter_map(SignalFacts::margin);
    all.min_by_key(|(_, m)| *m).filter(|(bound, _)| bound.side == Side::High).map(|(_, m)| m)
}

/// Inside what was asked; a hold keeps what is there.
fn bounded(limits: &[Limit], name: &Name, present: Finite, to: Finite) -> Finite {
    limits.iter().filter(|l| l.setpoint == *name).fold(to, |to, l| {
        let to = if l.hold { present } else { to };
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
