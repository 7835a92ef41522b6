//! `isotherm model eval`: a model is asked in worlds, and in words, that training never saw.
//!
//! Every reply is made as the agent's are: own process, schema, greedy. What counts is what a site would see:
//! whether the reply fits the schema, whether every claim in it is true, whether directives are kept without the
//! guard's help and forgotten when withdrawn, and whether the reasons given are reasons.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use jiff::SignedDuration;
use serde::Serialize;

use super::kept::kept;
use super::orders::{Kind, Order};
use super::{Scene, Sight, Walk};
use crate::decision::{self, Account, Decision};
use crate::directive::reading::split_heading;
use crate::frame::Frame;
use crate::reason::{Backend, Request, Sampler};
use crate::site::{self, Name, Site};
use crate::units::Unit;

/// The first world of an exam; those of training are far below.
const FIRST_SEED: u64 = 900_000;
const HOURS: f64 = 10.0;
/// Scenes of a world at most, so that an exam sees many worlds.
const OF_EACH: usize = 6;
const READY_WITHIN: Duration = Duration::from_mins(2);
/// How far a signal is moved to see whether it mattered: kelvins, and a share of anything else.
const SHIFT_K: f64 = 3.0;
const SHIFT_SHARE: f64 = 0.2;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The GGUF file.
    path: PathBuf,
    /// Scenes to ask about.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// The first world.
    #[arg(long, default_value_t = FIRST_SEED)]
    seed: u64,
    /// Number format of the cache.
    #[arg(long, value_enum, default_value_t)]
    cache: site::CacheType,
    /// Print every reply that is wrong in some way, to stderr.
    #[arg(long)]
    failures: bool,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Tally {
    pub yes: u64,
    pub of: u64,
    pub pct: f64,
}

impl Tally {
    fn count(&mut self, yes: bool) {
        self.of += 1;
        self.yes += u64::from(yes);
        self.pct = (1000.0 * self.yes as f64 / self.of as f64).round() / 10.0;
    }
}

/// What an exam finds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Marks {
    pub model: String,
    pub schema_valid: Tally,
    pub verified: Tally,
    /// The same after as many other wordings as a site allows by default.
    pub verified_in_the_end: Tally,
    /// Claims that did not hold, by kind.
    pub failing_claims: BTreeMap<String, u64>,
    /// The same setpoints as the teacher, where no directive was in force.
    pub as_teacher: Tally,
    /// Directives read as they were meant, and of how many the guard's own reader was sure.
    pub directives_read: Tally,
    pub directives_sure: Tally,
    /// Directives kept by the setpoints proposed, without the guard.
    pub directives_kept: Tally,
    /// Under a directive, the very setpoints of the teacher.
    pub directives_as_teacher: Tally,
    pub directives: BTreeMap<String, Tally>,
    /// Without the directive, the choice that the teacher makes without it, where the two differ.
    pub withdrawn_forgotten: Tally,
    /// Text that asks for nothing, or for what no frame supports, moves nothing.
    pub noise_ignored: Tally,
    /// The action changed when the signals cited as evidence were shifted, and when others were.
    pub changed_by_cited: Tally,
    pub changed_by_others: Tally,
    /// The teacher's action changed by the same shifts: how often there was cause to.
    pub teacher_changed_by_cited: Tally,
    pub teacher_changed_by_others: Tally,
    pub reply_tokens_mean: f64,
    pub decide_p50_ms: f64,
}

struct Examiner {
    runtime: tokio::runtime::Runtime,
    backend: Backend,
    model: site::Model,
    failures: bool,
    marks: Marks,
    tokens: u64,
    times_ms: Vec<f64>,
}

/// Asks about `count` scenes.
pub fn run(args: &Args) -> Result<Marks> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // What it says counts here; how long it takes is told apart.
    let deadline = SignedDuration::from_mins(2);
    let model =
        site::Model { path: Some(args.path.clone()), cache: args.cache, deadline, ..site::Model::default() };
    let backend = {
        let _inside = runtime.enter();
        Backend::start(&model, std::env::current_exe()?)?
    };
    runtime.block_on(backend.ready(READY_WITHIN)).map_err(|e| anyhow!("{}: {e}", args.path.display()))?;
    let marks = Marks { model: args.path.display().to_string(), ..Marks::default() };
    let mut examiner =
        Examiner { runtime, backend, model, failures: args.failures, marks, tokens: 0, times_ms: Vec::new() };
    for seed in args.seed.. {
        if examiner.marks.schema_valid.of >= args.count {
            break;
        }
        let mut here = 0;
        super::walk(Walk { seed, hours: HOURS, held_out: true }, &mut |scene, sight, dice| {
            // Scenes spread over the world's hours.
            if here >= OF_EACH || examiner.marks.schema_valid.of >= args.count || !dice.often(0.2) {
                return Ok(None);
            }
            here += 1;
            examiner.scene(scene, sight)?;
            Ok(None)
        })?;
    }
    Ok(examiner.finish())
}

impl Examiner {
    fn question(&self, site: &Site, sight: &Sight) -> Request {
        Request {
            prefix: sight.prompt.prefix.clone(),
            body: sight.prompt.body.clone(),
            schema: decision::schema(site),
            account: Some(Account::new(&sight.facts)),
            sampler: Sampler::of(&self.model),
            deadline: self.model.deadline,
        }
    }

    fn ask(&mut self, site: &Site, sight: &Sight) -> Option<Decision> {
        let question = self.question(site, sight);
        let schema = decision::schema_under(&question.schema, &sight.facts);
        self.put(site, sight, Request { schema, ..question })
    }

    fn put(&mut self, site: &Site, sight: &Sight, request: Request) -> Option<Decision> {
        let reply = self.runtime.block_on(self.backend.ask(request));
        let completion = match reply {
            Ok(completion) => completion,
            Err(why) => {
                self.show(sight, &why.to_string());
                return None;
            }
        };
        self.tokens += completion.tokens.len() as u64;
        self.times_ms.push(completion.prefill_ms + completion.decode_ms);
        match decision::parse(site, &completion.text) {
            Ok(decision) => Some(decision),
            Err(why) => {
                self.show(sight, &format!("{why:?}\n{}", completion.text));
                None
            }
        }
    }

    fn show(&self, sight: &Sight, what: &str) {
        if self.failures {
            eprintln!("{}{}\n-- {what}\n", sight.prompt.prefix, sight.prompt.body);
        }
    }

    fn scene(&mut self, scene: &Scene<'_>, sight: &Sight) -> Result<()> {
        let reply = self.ask(scene.site, sight);
        self.marks.schema_valid.count(reply.is_some());
        let Some(reply) = reply else { return Ok(()) };
        let claims = decision::check(&sight.facts, &reply);
        self.marks.verified.count(claims.verified);
        for check in claims.checks.iter().filter(|c| !c.holds) {
            let kind = format!("{:?}", check.kind).to_lowercase();
            *self.marks.failing_claims.entry(kind).or_default() += 1;
        }
        if let Some(check) = claims.failing() {
            let said = serde_json::to_string(&reply).unwrap_or_default();
            self.show(sight, &format!("not so: {} ({})\n{said}", check.claim, check.found));
        }
        let in_the_end = claims.verified
            || (1..=self.model.rewrites).any(|attempt| {
                let asked = self.question(scene.site, sight);
                let again = decision::rewrite(asked, &sight.facts, &reply, attempt);
                let again = again.and_then(|again| self.put(scene.site, sight, again));
                again.is_some_and(|d| decision::check(&sight.facts, &d).verified)
            });
        self.marks.verified_in_the_end.count(in_the_end);
        match scene.standing {
            None => {
                let same = reply.setpoints == sight.chosen;
                self.marks.as_teacher.count(same);
                if !same {
                    let said = serde_json::to_string(&reply.setpoints).unwrap_or_default();
                    self.show(sight, &format!("the teacher sets {:?}, the model {said}", sight.chosen));
                }
                self.causes(scene, sight, &reply);
                Ok(())
            }
            Some(standing) => {
                self.order(scene, sight, &standing.order, &reply);
                let without = scene.look(scene.frame, None).context("a scene without its directive")?;
                if without.chosen == sight.chosen {
                    return Ok(());
                }
                let reply = self.ask(scene.site, &without);
                self.marks.withdrawn_forgotten.count(reply.is_some_and(|r| r.setpoints == without.chosen));
                Ok(())
            }
        }
    }

    fn order(&mut self, scene: &Scene<'_>, sight: &Sight, order: &Order, reply: &Decision) {
        let kept = kept(scene, sight, order, &reply.setpoints);
        if order.kind == Kind::Noise {
            self.marks.noise_ignored.count(kept);
        } else {
            self.marks.directives_sure.count(sight.facts.readings.len() == 1);
            self.marks.directives_read.count(
                split_heading(&reply.assessment).is_some_and(|(said, _)| said == order.reading.to_string()),
            );
            self.marks.directives_kept.count(kept);
            self.marks.directives_as_teacher.count(reply.setpoints == sight.chosen);
            self.marks.directives.entry(format!("{:?}", order.kind)).or_default().count(kept);
        }
        if !kept {
            let set = serde_json::to_string(&reply.setpoints).unwrap_or_default();
            self.show(
                sight,
                &format!("not kept: {} ({}) -> {set}\n{}", order.text, order.reading, reply.assessment),
            );
        }
    }

    /// Shifts what the reply cites, and as many signals that it does not, and asks again.
    fn causes(&mut self, scene: &Scene<'_>, sight: &Sight, reply: &Decision) {
        let cited = |name: &Name| reply.evidence.iter().any(|e| e.signal == *name);
        for of_cited in [true, false] {
            let mut frame = scene.frame.clone();
            let names: Vec<Name> = frame
                .signals
                .keys()
                .filter(|n| cited(n) == of_cited)
                .take(reply.evidence.len())
                .cloned()
                .collect();
            for name in &names {
                shift(&mut frame, name);
            }
            let Some(other) = scene.look(&frame, None) else { continue };
            if other.prompt.body == sight.prompt.body {
                continue;
            }
            let again = self.ask(scene.site, &other);
            let changed = again.is_some_and(|a| a.setpoints != reply.setpoints);
            let marks = &mut self.marks;
            let (model, teacher) = if of_cited {
                (&mut marks.changed_by_cited, &mut marks.teacher_changed_by_cited)
            } else {
                (&mut marks.changed_by_others, &mut marks.teacher_changed_by_others)
            };
            model.count(changed);
            teacher.count(other.chosen != sight.chosen);
        }
    }

    fn finish(mut self) -> Marks {
        self.times_ms.sort_by(f64::total_cmp);
        let asked = self.times_ms.len();
        self.marks.decide_p50_ms = self.times_ms.get(asked / 2).copied().unwrap_or_default().round();
        self.marks.reply_tokens_mean = (self.tokens as f64 / asked.max(1) as f64).round();
        self.marks
    }
}

fn shift(frame: &mut Frame, name: &Name) {
    let Some(sample) = frame.signals.get_mut(name) else { return };
    let Some(value) = sample.good() else { return };
    let by = if sample.unit == Unit::DegC { SHIFT_K } else { SHIFT_SHARE * value.get() };
    sample.value = Some(value.plus(by));
}

impl std::fmt::Display for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = |f: &mut std::fmt::Formatter<'_>, what: &str, t: &Tally| {
            writeln!(f, "{what:<44} {:>5.1} %  ({} of {})", t.pct, t.yes, t.of)
        };
        writeln!(f, "{}", self.model)?;
        line(f, "fits the schema", &self.schema_valid)?;
        line(f, "every claim true at once", &self.verified)?;
        line(f, "every claim true after other wordings", &self.verified_in_the_end)?;
        for (kind, count) in &self.failing_claims {
            writeln!(f, "  false: {kind} {count}")?;
        }
        line(f, "as the teacher, without directives", &self.as_teacher)?;
        line(f, "directives read as they were meant", &self.directives_read)?;
        line(f, "  sure before the model", &self.directives_sure)?;
        line(f, "directives kept", &self.directives_kept)?;
        for (kind, tally) in &self.directives {
            line(f, &format!("  {kind}"), tally)?;
        }
        line(f, "  as the teacher", &self.directives_as_teacher)?;
        line(f, "forgotten once withdrawn", &self.withdrawn_forgotten)?;
        line(f, "noise and injection ignored", &self.noise_ignored)?;
        line(f, "action changes with what is cited", &self.changed_by_cited)?;
        line(f, "  the teacher's", &self.teacher_changed_by_cited)?;
        line(f, "action changes with what is not", &self.changed_by_others)?;
        line(f, "  the teacher's", &self.teacher_changed_by_others)?;
        writeln!(f, "{} tokens and {} ms a reply", self.reply_tokens_mean, self.decide_p50_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk;
    use super::*;

    #[test]
    fn a_tally_counts_in_percent() {
        let mut tally = Tally::default();
        for yes in [true, true, false] {
            tally.count(yes);
        }
        assert_eq!((tally.yes, tally.of), (2, 3));
        assert!((tally.pct - 66.7).abs() < 1e-9);
    }

    #[test]
    fn equal_seeds_make_equal_lessons_and_the_teacher_keeps_its_own_orders() {
        let lessons = |seed| {
            let mut seen = Vec::new();
            let w = Walk { seed, hours: 3.0, held_out: false };
            walk(w, &mut |scene, sight, _| {
                if let Some(s) = scene.standing {
                    for l in s.order.reading.limits(&sight.facts) {
                        let to = sight.chosen[&l.setpoint];
                        assert!(l.floor.is_none_or(|f| to >= f) && l.ceiling.is_none_or(|c| to <= c));
                    }
                }
                seen.push(sight.prompt.sha256.clone());
                Ok(None)
            })
            .unwrap();
            seen
        };
        let first: Vec<_> = (1..5).flat_map(lessons).collect();
        assert!(first.len() > 20, "{}", first.len());
        assert_eq!(first, (1..5).flat_map(lessons).collect::<Vec<_>>());
    }
}
