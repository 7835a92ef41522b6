//! Lessons as lines of JSON, for training.
//!
//! A line is one moment under several orders: most of a prompt is the same whatever is ordered, and what an
//! order changes is learned best where nothing else differs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use super::dice::Dice;
use super::moves::Moves;
use super::orders::{Kind, SIDES};
use super::speech::{self, Choice};
use super::{Scene, Sight, Standing, Walk};
use crate::decision::Decision;
use crate::facts::Facts;
use crate::site::Site;

/// Writes examples for training.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A new file, of JSON lines {"prompt", "branches": [{"prompt", "answer", …}, …]}.
    out: PathBuf,
    /// Lessons to write.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// The first world; each world has the next seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Phrasings of directives that training never sees.
    #[arg(long)]
    held_out: bool,
    /// Hours of each world; in the first the twin learns, and there are no lessons.
    #[arg(long, default_value_t = 10.0, value_parser = hours, allow_negative_numbers = true)]
    hours: f64,
    /// Lessons of each world at most.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    of_each: u32,
}

/// So many orders that change nothing are no lesson: they teach little of what they mean.
const IDLE_LEFT_OUT: f64 = 0.6;

/// Orders of a moment at most, whose whole answer is learned, and of which only what was understood is: that
/// takes few tokens.
const WHOLE: usize = 4;
const UNDERSTOOD: usize = 24;

/// Orders of a moment in a drill, and the share of them that forbid to cool more or to cool less: which of the two
/// it is takes far more reading than anything else.
const DRILLED: usize = 60;
const SIDED: f64 = 0.6;
/// So many lessons are drills.
const DRILLS: f64 = 0.3;

/// What ends an answer.
const END: &str = "<|im_end|>";

#[derive(Serialize)]
struct Lesson {
    /// What all branches have before them.
    prompt: String,
    branches: Vec<Branch>,
    plant: &'static str,
}

/// The moment under one order, or none.
#[derive(Serialize)]
struct Branch {
    /// The rest of the prompt.
    prompt: String,
    answer: String,
    /// The kind of the directive in force, `none` without.
    order: String,
    /// `save`, `cool`, `mixed` or `hold`; `understood` where the answer goes no further.
    what: &'static str,
}

fn hours(text: &str) -> Result<f64, String> {
    crate::bench::more_than(1.0, text)
}

/// Lessons written, by order and by what was done.
pub fn run(args: &Args) -> Result<BTreeMap<String, u64>> {
    let file = std::fs::File::create_new(&args.out)
        .with_context(|| format!("{}: cannot make this file; give a new one", args.out.display()))?;
    let out = Mutex::new((std::io::BufWriter::new(file), 0u64, BTreeMap::<String, u64>::new()));
    let next = AtomicU64::new(args.seed);
    let work = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let lessons =
                of_world(Walk { seed, hours: args.hours, held_out: args.held_out }, args.of_each as usize)?;
            let mut out = out.lock().map_err(|_| anyhow!("a worker broke"))?;
            for lesson in lessons {
                if out.1 >= args.count {
                    return Ok(());
                }
                serde_json::to_writer(&mut out.0, &lesson)?;
                out.0.write_all(b"\n")?;
                out.1 += 1;
                for branch in lesson.branches {
                    *out.2.entry(branch.order).or_default() += 1;
                    *out.2.entry(branch.what.to_owned()).or_default() += 1;
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| anyhow!("a worker broke"))?)
    })?;
    let (mut file, _, kinds) = out.into_inner().map_err(|_| anyhow!("a worker broke"))?;
    file.flush()?;
    Ok(kinds)
}

fn of_world(walk: Walk, most: usize) -> Result<Vec<Lesson>> {
    let mut lessons = Vec::new();
    super::walk(walk, &mut |scene, sight, dice| {
        if lessons.len() < most {
            let mut here = Here { scene, held_out: walk.held_out, dice };
            if here.dice.often(DRILLS) {
                lessons.extend(here.drill());
            } else {
                lessons.extend(here.alone(sight));
                lessons.extend(here.under_many());
            }
        }
        Ok(None)
    })?;
    Ok(lessons)
}

/// A moment of which lessons are made.
struct Here<'a, 'b> {
    scene: &'a Scene<'b>,
    held_out: bool,
    dice: &'a mut Dice,
}

impl Here<'_, '_> {
    /// The order in force, where the optimizer knows of what it asks: it changes more than its own line.
    fn alone(&mut self, sight: &Sight) -> Option<Lesson> {
        let standing = self.scene.standing.filter(|s| !s.directive.limits.is_empty())?;
        let (prompt, rest) = parted(sight)?;
        let branch = self.branch(Some(standing), sight, rest)?;
        Some(self.lesson(prompt, vec![branch]))
    }

    /// No order, and several, one beside the other.
    fn under_many(&mut self) -> Option<Lesson> {
        let scene = self.scene;
        let free = scene.look(scene.frame, None)?;
        let (prompt, rest) = parted(&free)?;
        let mut branches: Vec<Branch> = self.branch(None, &free, rest).into_iter().collect();
        for n in 0..WHOLE + UNDERSTOOD {
            let kind = super::kind(self.held_out, self.dice);
            let Some((standing, sight, rest)) = self.beside(&prompt, kind) else { continue };
            if n >= WHOLE {
                branches.push(understood(&standing, rest));
            } else if sight.chosen != free.chosen || !self.dice.often(IDLE_LEFT_OUT) {
                branches.extend(self.branch(Some(&standing), &sight, rest));
            }
        }
        (!branches.is_empty()).then(|| self.lesson(prompt, branches))
    }

    /// Orders that are only understood.
    fn drill(&mut self) -> Option<Lesson> {
        let scene = self.scene;
        let (prompt, _) = parted(&scene.look(scene.frame, None)?)?;
        let mut branches = Vec::new();
        for _ in 0..DRILLED {
            let sided = self.dice.often(SIDED).then(|| self.dice.pick(&SIDES).copied()).flatten();
            let kind = sided.unwrap_or_else(|| super::kind(self.held_out, self.dice));
            let Some((standing, _, rest)) = self.beside(&prompt, kind) else { continue };
            branches.push(understood(&standing, rest));
        }
        (!branches.is_empty()).then(|| self.lesson(prompt, branches))
    }

    /// An order of a kind after the same beginning: one that the optimizer knows of may change what comes before it.
    fn beside(&mut self, prompt: &str, kind: Kind) -> Option<(Standing, Sight, String)> {
        let scene = self.scene;
        let standing =
            super::give(kind, scene.site, scene.frame, scene.frame.time, self.held_out, self.dice)?;
        let sight = scene.look(scene.frame, Some(&standing))?;
        let (_, rest) = parted(&sight).filter(|(before, _)| before == prompt)?;
        Some((standing, sight, rest))
    }

    fn lesson(&self, prompt: String, branches: Vec<Branch>) -> Lesson {
        Lesson { prompt, branches, plant: self.scene.site.plant.as_str() }
    }

    fn branch(&mut self, standing: Option<&Standing>, sight: &Sight, rest: String) -> Option<Branch> {
        let Scene { site, frame, .. } = self.scene;
        let order = standing.map(|s| &s.order);
        let bound = order.is_some_and(|o| !o.reading.limits(&sight.facts).is_empty());
        let choice = Choice { facts: &sight.facts, setpoints: &sight.chosen, order, bound };
        let decision = speech::explain(choice, self.dice)?;
        Some(Branch {
            prompt: rest,
            answer: format!("{}{END}", written(site, &sight.facts, &decision)),
            order: order.map_or_else(|| "none".to_owned(), |o| format!("{:?}", o.kind)),
            what: direction(&Moves::count(site, frame, &sight.chosen)),
        })
    }
}

/// How an answer begins.
fn understood(standing: &Standing, rest: String) -> Branch {
    Branch {
        prompt: rest,
        answer: format!(r#"{{"assessment":"{};"#, standing.order.reading.heading()),
        order: format!("{:?}", standing.order.kind),
        what: "understood",
    }
}

/// A prompt up to what orders change, and the rest.
fn parted(sight: &Sight) -> Option<(String, String)> {
    let body = &sight.prompt.body;
    let at = body.find("\norder: ").or_else(|| body.rfind("\nset "))? + 1;
    let (before, rest) = body.split_at_checked(at)?;
    Some((format!("{}{before}", sight.prompt.prefix), rest.to_owned()))
}

fn direction(moves: &Moves) -> &'static str {
    match (moves.colder > 0, moves.warmer > 0) {
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
