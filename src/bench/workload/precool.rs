//! Pre-cooling before a job that was announced, against not knowing of it.

use super::super::twin::Random;
use super::{BenchError, Job, Nobody, Sums, full_kw, rig, scenario, site};
use rig::Rig;

/// Jobs start after the twin has learned for this long, h.
const FIRST_H: f64 = 4.0;
const JOBS: usize = 4;
const EVERY_H: f64 = 3.0;
const HOURS: f64 = FIRST_H + EVERY_H * JOBS as f64;
const AHEAD_MIN: f64 = 40.0;
/// A peak is what is highest within this time of a start, h.
const PEAK_H: f64 = 0.75;
/// Announced power is off by up to this share.
const OFF: f64 = 0.15;

pub(super) fn run(plant: &'static str, seed: u64, told: bool) -> Result<Sums, BenchError> {
    let site = site(plant)?;
    let band = rig::band(&site)?;
    let jobs = jobs(plant, seed, told);
    let mut scenario = scenario(plant, "")?;
    scenario.over_above = band[1];
    scenario.job.clone_from(&jobs);
    let mut rig = Rig::new(site, scenario, seed, None, &Nobody)?;
    let mut peaks = vec![f64::NEG_INFINITY; jobs.len()];
    let mut near = 0.0;
    while rig.plant().hours() < HOURS {
        let before = rig.plant().hours();
        rig.sample()?;
        let (hours, watched) = (rig.plant().hours(), rig.plant().outcome().watched);
        near += (watched - (band[1] - 1.0)).max(0.0) * (hours - before);
        for (peak, job) in peaks.iter_mut().zip(&jobs) {
            if (job.at_h..job.at_h + PEAK_H).contains(&hours) {
                *peak = peak.max(watched);
            }
        }
    }
    let t = rig.plant().totals();
    Ok(vec![
        ("peak after a start, degC", peaks.iter().sum::<f64>() / JOBS as f64),
        ("highest peak, degC", peaks.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        ("above the band, K h", t.over_degh),
        ("above 1 K below its top, K h", near),
        ("cooling, kWh", t.cooling_kwh),
        ("work, TFLOP/s h", t.tflop_h),
    ])
}

fn jobs(plant: &str, seed: u64, told: bool) -> Vec<Job> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let job = |i: usize| {
        let at_h = FIRST_H + EVERY_H * i as f64 + random.share();
        let share = 0.4 + 0.2 * random.share();
        let kw = share * full_kw(plant) * (1.0 + OFF * (2.0 * random.share() - 1.0));
        Job {
            id: format!("job-{i}"),
            load: if plant == "liquid" { 0 } else { i % 2 },
            at_h,
            hours: 1.0 + 0.5 * random.share(),
            share,
            kw: kw.round(),
            announce_min: told.then_some(AHEAD_MIN),
            cancel_min: None,
        }
    };
    (0..JOBS).map(job).collect()
}
