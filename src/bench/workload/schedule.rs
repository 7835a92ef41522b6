//! A scheduler that heeds the headroom, against one that starts each job when it comes. The afternoon is hot,
//! and some of the machines are out.

use super::super::twin::Random;
use super::{BenchError, Job, Nobody, Sums, full_kw, rig, scenario, site};
use crate::site::Role;
use crate::units::Finite;
use rig::Rig;

const HOURS: f64 = 20.0;
const JOBS: usize = 10;
/// Jobs come between these hours, and take so long.
const COME_H: [f64; 2] = [4.0, 10.0];
const TAKE_H: [f64; 2] = [1.0, 2.0];
/// The scheduler looks this often, s.
const LOOKS_S: f64 = 60.0;
/// What was started so lately is not measured yet, min.
const UNSEEN_MIN: f64 = 2.0;
/// Chips are held under this, degC: they throttle at 84.
const CHIP_TOP: Finite = Finite::constant(80.0);
/// Shares of jobs that run in a place add up to no more.
const FULL: f64 = 0.75;

/// A job that waits.
struct Waiting {
    came_h: f64,
    hours: f64,
    share: f64,
    kw: f64,
}

/// A job that was started.
struct Started {
    load: usize,
    from_h: f64,
    to_h: f64,
    share: f64,
    kw: f64,
}

pub(super) fn run(plant: &'static str, seed: u64, heeds: bool) -> Result<Sums, BenchError> {
    let mut site = site(plant)?;
    let chips = site.signals.iter_mut().filter(|s| s.role == Some(Role::ChipTemp));
    chips.for_each(|s| s.band = Some([Finite::constant(20.0), CHIP_TOP]));
    let band = rig::band(&site)?;
    let what = if plant == "air" { "chiller_trip = { count = 2 }" } else { "tower_fan_loss = { share = 0.6 }" };
    let heat = format!("[weather]\nmean = 17.0\n[[fault]]\nat_h = 4\nhours = 6\nwhat = {{ {what} }}\n");
    let mut scenario = scenario(plant, &heat)?;
    scenario.over_above = band[1];
    let mut rig = Rig::new(site, scenario, seed, None, &Nobody)?;
    let mut coming = jobs(plant, seed);
    let (mut started, mut waited, mut looked) = (Vec::<Started>::new(), 0.0, f64::NEG_INFINITY);
    while rig.plant().hours() < HOURS {
        rig.sample()?;
        let now = rig.plant().hours();
        if (now - looked) * 3600.0 < LOOKS_S - 1e-6 {
            continue;
        }
        looked = now;
        while let Some(job) = coming.first().filter(|job| job.came_h <= now) {
            let Some(load) = place(&rig, &started, job, now, heeds) else { break };
            let id = format!("job-{}", started.len());
            let (share, hours, kw) = (job.share, job.hours, job.kw);
            rig.plant_mut().submit(Job { id, load, at_h: now, hours, share, kw, announce_min: None, cancel_min: None });
            started.push(Started { load, from_h: now, to_h: now + hours, share, kw });
            waited += now - job.came_h;
            coming.remove(0);
        }
    }
    let t = rig.plant().totals();
    let last = started.iter().map(|s| s.to_h).fold(0.0, f64::max);
    Ok(vec![
        ("throttled, GPU h", t.throttled_gpu_h),
        ("work, TFLOP/s h", t.tflop_h),
        ("facility, kWh per TFLOP/s h", t.facility_kwh / t.tflop_h),
        ("above the band, K h", t.over_degh),
        ("mean wait, min", 60.0 * waited / started.len().max(1) as f64),
        ("last job done, h", last),
        ("jobs not started", coming.len() as f64),
    ])
}

/// Where a job goes; `None`: it waits. Both know how full each place is.
fn place(rig: &Rig<'_>, started: &[Started], job: &Waiting, now: f64, heeds: bool) -> Option<usize> {
    let running = |load: usize| started.iter().filter(move |s| s.load == load && s.to_h > now);
    let used = |load: usize| running(load).map(|s| s.share).sum::<f64>();
    let fits = |load: &usize| used(*load) + job.share <= FULL;
    let places = 0..rig.plant().scenario().plant.loads();
    if !heeds {
        return places.filter(fits).min_by(|a, b| used(*a).total_cmp(&used(*b)));
    }
    let headroom = rig.headroom();
    let unseen: f64 = started.iter().filter(|s| (now - s.from_h) * 60.0 < UNSEEN_MIN).map(|s| s.kw).sum();
    let room = |load: &usize| headroom.get(*load).map_or(0.0, |h| h.kw.get() - unseen);
    places.filter(fits).filter(|l| room(l) >= job.kw).max_by(|a, b| room(a).total_cmp(&room(b)))
}

/// In the order in which they come.
fn jobs(plant: &str, seed: u64) -> Vec<Waiting> {
    let mut random = Random(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1);
    let mut between = |[low, high]: [f64; 2]| low + (high - low) * random.share();
    let mut jobs: Vec<Waiting> = (0..JOBS)
        .map(|_| {
            let share = between([0.2, 0.35]);
            let (came_h, hours) = (between(COME_H), between(TAKE_H));
            Waiting { came_h, hours, share, kw: share * full_kw(plant) }
        })
        .collect();
    jobs.sort_by(|a, b| a.came_h.total_cmp(&b.came_h));
    jobs
}
