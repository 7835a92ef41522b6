//! Writes lessons for the language model: what it is shown, and what a teacher would have answered.
//!
//! A world is a plant and a site drawn by chance. It runs for hours under a mixture of behaviours, with
//! directives given and withdrawn; now and then the moment becomes a lesson: the prompt as the agent renders it,
//! and the teacher's decision with its reasons. The teacher is the optimizer on the twin, bound by what the
//! directives mean; every claim in its reasons has passed the claim checker.

mod dice;
mod lesson;
mod orders;
mod speech;
mod world;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow};
use clap::Parser;

/// Writes examples for training, or for evaluation with --held-out.
#[derive(Parser)]
struct Args {
    /// JSON lines of {"prompt", "answer", …}.
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

fn main() -> Result<()> {
    let args = Args::parse();
    let file = std::fs::File::create(&args.out).with_context(|| args.out.display().to_string())?;
    let out = Mutex::new((std::io::BufWriter::new(file), 0u64, BTreeMap::<String, u64>::new()));
    let next = AtomicU64::new(args.seed);
    let work = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let lessons = lesson::world(seed, args.hours, args.of_each, args.held_out)?;
            let mut out = out.lock().map_err(|_| anyhow!("a worker broke"))?;
            for lesson in lessons {
                if out.1 >= args.count {
                    out.0.flush()?;
                    return Ok(());
                }
                serde_json::to_writer(&mut out.0, &lesson)?;
                out.0.write_all(b"\n")?;
                out.1 += 1;
                *out.2.entry(lesson.order.clone()).or_default() += 1;
                *out.2.entry(lesson.what.to_owned()).or_default() += 1;
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| anyhow!("a worker broke"))?)
    })?;
    let (_, count, kinds) = out.into_inner().map_err(|_| anyhow!("a worker broke"))?;
    eprintln!("{count} lessons: {kinds:?}");
    Ok(())
}
