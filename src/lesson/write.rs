//! Lessons as lines of JSON, for training.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use super::dice::Dice;
use super::moves::Moves;
use super::speech::{self, Choice};
use super::{Scene, Sight, Walk};
use crate::decision::Decision;
use crate::facts::Facts;
use crate::site::Site;

/// Writes examples for training.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON lines of {"prompt", "answer", …} and, for what orders mean, {"turns": [[prompt, answer], …]}.
    out: PathBuf,
    /// Lessons to write.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// The first world; each world has the next seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Phrasings of directives that training never sees.
    #[arg(long)]
    held_out: bool,
    /// Hours of each world.
    #[arg(long, default_value_t = 10.0)]
    hours: f64,
    /// Lessons of each world at most.
    #[arg(long, default_value_t = 24)]
    of_each: usize,
}

/// So many of the moments in which a directive changes nothing are no lesson.
const IDLE_LEFT_OUT: f64 = 0.6;

/// So many of the moments teach what orders mean instead, so many orders each.
const DRILLS: f64 = 0.1;
const OF_EACH_DRILL: usize = 10;
/// Where a prompt's lines of orders begin.
const ORDER: &str = "\norder: ";

/// A line of the training data.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Lesson(Lesson),
    Drill(Drill),
}

/// Orders one after the other, each as a prompt ends with it, and how an answer begins: many ways to say the
/// same take no more tokens than one whole lesson.
#[derive(Serialize)]
struct Drill {
    turns: Vec<[String; 2]>,
    plant: &'static str,
}

#[derive(Serialize)]
struct Lesson {
    prompt: String,
    answer: String,
    /// The kind of the directive in force, `none` without.
    order: String,
    /// `save`, `cool`, `mixed` or `hold`.
    what: &'static str,
    plant: &'static str,
}

/// Lessons written, by order and by what was done.
pub fn run(args: &Args) -> Result<BTreeMap<String, u64>> {
    let file = std::fs::File::create(&args.out).with_context(|| args.out.display().to_string())?;
    let out = Mutex::new((std::io::BufWriter::new(file), 0u64, BTreeMap::<String, u64>::new()));
    let next = AtomicU64::new(args.seed);
    let work = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let lessons = of_world(Walk { seed, hours: args.hours, held_out: args.held_out }, args.of_each)?;
            let mut out = out.lock().map_err(|_| anyhow!("a worker broke"))?;
            for lesson in lessons {
                if out.1 >= args.count {
                    return Ok(());
                }
                serde_json::to_writer(&mut out.0, &lesson)?;
                out.0.write_all(b"\n")?;
                out.1 += 1;
                let kinds = match &lesson {
                    Line::Lesson(l) => vec![l.order.clone(), l.what.to_owned()],
                    Line::Drill(_) => vec!["drill".to_owned()],
                };
                for kind in kinds {
                    *out.2.entry(kind).or_default() += 1;
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

fn of_world(walk: Walk, most: usize) -> Result<Vec<Line>> {
    let mut lessons = Vec::new();
    super::walk(walk, &mut |scene, sight, dice| {
        if lessons.len() < most {
            let drills = !walk.held_out && dice.often(DRILLS);
            lessons.extend(if drills {
                drill(scene, dice).map(Line::Drill)
            } else {
                lesson(scene, sight, dice).map(Line::Lesson)
            });
        }
        Ok(None)
    })?;
    Ok(lessons)
}

fn drill(scene: &Scene<'_>, dice: &mut Dice) -> Option<Drill> {
    let mut turns = Vec::new();
    for _ in 0..OF_EACH_DRILL {
        let standing = super::give(scene.site, scene.frame, scene.frame.time, false, dice);
        let Some(standing) = standing else { continue };
        let Some(sight) = scene.look(scene.frame, Some(&standing)) else { continue };
        let Some((_, shown)) = sight.prompt.body.rsplit_once(ORDER) else { continue };
        let turn = if turns.is_empty() { "" } else { "<|im_end|>\n" };
        turns.push([
            format!("{turn}<|im_start|>user{ORDER}{shown}"),
            format!(r#"{{"assessment":"{};"#, standing.order.heading()),
        ]);
    }
    (!turns.is_empty()).then(|| Drill { turns, plant: scene.site.plant.as_str() })
}

fn lesson(scene: &Scene<'_>, sight: &Sight, dice: &mut Dice) -> Option<Lesson> {
    let order = scene.standing.map(|s| &s.order);
    // A directive that changes nothing teaches little of what it means.
    if order.is_some() && dice.often(IDLE_LEFT_OUT) && scene.look(scene.frame, None)?.chosen == sight.chosen {
        return None;
    }
    let bound = order.is_some_and(|o| !o.limits(scene.site, scene.frame).is_empty());
    let choice = Choice { facts: &sight.facts, setpoints: &sight.chosen, order, bound };
    let decision = speech::explain(choice, dice)?;
    Some(Lesson {
        prompt: format!("{}{}", sight.prompt.prefix, sight.prompt.body),
        answer: written(scene.site, &sight.facts, &decision),
        order: order.map_or_else(|| "none".to_owned(), |o| format!("{:?}", o.kind)),
        what: direction(&Moves::count(scene.site, scene.frame, &sight.chosen)),
        plant: scene.site.plant.as_str(),
    })
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
