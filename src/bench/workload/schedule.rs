//! A scheduler that heeds the headroom, against one that starts each job when it comes. The day is hot, and
//! for some hours part of the machines is out.
//!
//! Both know how full each place is. The one starts a job at once in the emptier place. The other starts it
//! where the headroom holds it, and tries the next one where it does not; the first of those that wait it announces
//! for 20 min ahead, again and again, so that room is made for it.

use jiff::{SignedDuration, Timestamp};

use super::super::twin::Random;
use super::{BenchError, Job, Nobody, Sums, full_kw, rig, scenario, site};
use crate::site::Role;
use crate::units::Finite;
use rig::Rig;

const HOURS: f64 = 24.0;
const JOBS: usize = 10;
/// Jobs come between these hours, and take so long.
const COME_H: [f64; 2] = [4.0, 10.0];
const TAKE_H: [f64; 2] = [1.0, 2.0];
const SHARE: [f64; 2] = [0.2, 0.35];
/// Announced power is off by up to this share.
const OFF: f64 = 0.15;
/// The scheduler looks this often, h.
const LOOKS_H: f64 = 1.0 / 60.0;
/// What was started so lately may not be measured yet, h.
const UNSEEN_H: f64 = 2.0 / 60.0;
/// An announced start that is near without room is put off.
const AHEAD: SignedDuration = SignedDuration::from_mins(20);
const NEAR: SignedDuration = SignedDuration::from_mins(10);
/// Chips are held under this, degC: they throttle at 84.
const CHIP_TOP: Finite = Finite::constant(80.0);
/// Shares of jobs that run in a place add up to no more.
const FULL: f64 = 0.75;

/// A job that waits.
struct Waiting {
    id: String,
    came_h: f64,
    hours: f64,
    share: f64,
    kw: f64,
    announced: Option<Timestamp>,
}

/// A job that was started.
struct Started {
    load: usize,
    from_h: f64,
    to_h: f64,
    share: f64,
    kw: f64,
}

struct Scheduler {
    heeds: bool,
    coming: Vec<Waiting>,
    started: Vec<Started>,
    waited_h: f64,
}

pub(super) fn run(plant: &'static str, seed: u64, heeds: bool) -> Result<Sums, BenchError> {
    let mut site = site(plant)?;
    let chips = site.signals.iter_mut().filter(|s| s.role == Some(Role::ChipTemp));
    chips.for_each(|s| s.band = Some([Finite::constant(20.0), CHIP_TOP]));
    let band = rig::band(&site)?;
    let (hours, what) = match plant {
        "air" => (1.5, "chiller_trip = { count = 2 }"),
        _ => (4.0, "tower_fan_loss = { share = 0.6 }"),
    };
    let heat = format!("[weather]\nmean = 17.0\n[[fault]]\nat_h = 6\nhours = {hours}\nwhat = {{ {what} }}\n");
    let mut scenario = scenario(plant, &heat)?;
    scenario.over_above = band[1];
    let mut rig = Rig::new(site, scenario, seed, None, &Nobody)?;
    let mut scheduler = Scheduler { heeds, coming: jobs(plant, seed), started: Vec::new(), waited_h: 0.0 };
    let mut next = 0.0;
    while rig.plant().hours() < HOURS {
        rig.sample()?;
        if rig.plant().hours() >= next {
            next = rig.plant().hours() + LOOKS_H - 1e-6;
            scheduler.look(&mut rig)?;
        }
    }
    let t = rig.plant().totals();
    let Scheduler { coming, started, waited_h, .. } = &scheduler;
    Ok(vec![
        ("throttled, GPU h", t.throttled_gpu_h),
        ("work, TFLOP/s h", t.tflop_h),
        ("facility, Wh per TFLOP/s h", 1000.0 * t.facility_kwh / t.tflop_h),
        ("above the band, K h", t.over_degh),
        ("mean wait, min", 60.0 * waited_h / started.len().max(1) as f64),
        ("last job done, h", started.iter().map(|s| s.to_h).fold(0.0, f64::max)),
        ("jobs not started", coming.len() as f64),
    ])
}

impl Scheduler {
    fn look(&mut self, rig: &mut Rig<'_>) -> Result<(), BenchError> {
        let now = rig.plant().hours();
        let rooms = self.rooms(rig, now);
        let mut waiting: Vec<Waiting> = Vec::new();
        for mut job in std::mem::take(&mut self.coming) {
            if job.came_h > now {
                waiting.push(job);
                continue;
            }
            let emptiest = self.free(rig, &job, now).max_by(|a, b| rooms[*a].total_cmp(&rooms[*b]));
            // Rooms are of before this look: one start at a time.
            let one = self.started.last().is_none_or(|s| s.from_h < now);
            match emptiest {
                Some(load) if one && (!self.heeds || rooms[load] >= job.kw) => {
                    self.start(rig, job, load, now)?;
                }
                Some(load) if self.heeds && waiting.is_empty() => {
                    announce(rig, &mut job, load)?;
                    waiting.push(job);
                }
                _ => waiting.push(job),
            }
        }
        self.coming = waiting;
        Ok(())
    }

    /// By place: kW that the agent says there are, or, for who does not ask, how empty it is.
    fn rooms(&self, rig: &Rig<'_>, now: f64) -> Vec<f64> {
        if !self.heeds {
            let places = 0..rig.plant().scenario().plant.loads();
            return places.map(|load| -self.used(load, now)).collect();
        }
        let unseen: f64 = self.started.iter().filter(|s| now - s.from_h < UNSEEN_H).map(|s| s.kw).sum();
        rig.headroom().iter().map(|h| h.kw.get() - unseen).collect()
    }

    fn used(&self, load: usize, now: f64) -> f64 {
        self.started.iter().filter(|s| s.load == load && s.to_h > now).map(|s| s.share).sum()
    }

    /// Places that are not full.
    fn free(&self, rig: &Rig<'_>, job: &Waiting, now: f64) -> impl Iterator<Item = usize> {
        let places = 0..rig.plant().scenario().plant.loads();
        places.filter(move |load| self.used(*load, now) + job.share <= FULL)
    }

    fn start(&mut self, rig: &mut Rig<'_>, job: Waiting, load: usize, now: f64) -> Result<(), BenchError> {
        if job.announced.is_some_and(|start| start > rig.plant().time()) {
            rig.announce(&serde_json::json!({ "id": job.id, "cancelled": true }).to_string())?;
        }
        let Waiting { id, hours, share, kw, came_h, .. } = job;
        let (announce_min, cancel_min) = (None, None);
        rig.plant_mut().submit(Job { id, load, at_h: now, hours, share, kw, announce_min, cancel_min });
        self.started.push(Started { load, from_h: now, to_h: now + hours, share, kw });
        self.waited_h += now - came_h;
        Ok(())
    }
}

/// For so long ahead, unless it is announced for late enough already.
fn announce(rig: &mut Rig<'_>, job: &mut Waiting, load: usize) -> Result<(), BenchError> {
    let now = rig.plant().time();
    if job.announced.is_some_and(|start| start.duration_since(now) > NEAR) {
        return Ok(());
    }
    let (start, place) = (now + AHEAD, rig.plant().scenario().plant.places()[load]);
    job.announced = Some(start);
    rig.announce(
        &serde_json::json!({ "id": job.id, "start": start, "kw": job.kw, "place": place }).to_string(),
    )
}

/// In the order in which they come.
fn jobs(plant: &str, seed: u64) -> Vec<Waiting> {
    let mut random = Random(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1);
    let mut between = |[low, high]: [f64; 2]| low + (high - low) * random.share();
    let mut jobs: Vec<Waiting> = (0..JOBS)
        .map(|i| {
            let share = between(SHARE);
            let kw = (share * full_kw(plant) * between([1.0 - OFF, 1.0 + OFF])).round();
            let (came_h, hours) = (between(COME_H), between(TAKE_H));
            Waiting { id: format!("job-{i}"), came_h, hours, share, kw, announced: None }
        })
        .collect();
    jobs.sort_by(|a, b| a.came_h.total_cmp(&b.came_h));
    jobs
}
