//! What the servers are asked to do, as a share of full load.

mod job;
mod recorded;
mod synthetic;

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::noise::{Noise, Stream};
pub use job::Job;
pub use recorded::{PowerTrace, Requests};
pub use synthetic::{Inference, Profile, Training};

/// Where a hall's load comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum WorkloadConfig {
    /// One synchronous job after another over all nodes.
    Training(Training),
    /// Requests: a daily curve with bursts.
    Inference(Inference),
    /// A recorded power trace.
    Power(PowerTrace),
    /// Recorded request arrivals.
    Requests(Requests),
    /// A constant share of full load.
    Constant {
        #[serde(deserialize_with = "crate::bounds::fraction")]
        share: f64,
    },
    /// Straight lines between points.
    Profile(Profile),
}

#[derive(Debug, Clone)]
enum Source {
    Training(Training, synthetic::Job),
    Inference(Inference, synthetic::Bursts),
    Recorded(recorded::Recorded),
    Constant(f64),
    Profile(Profile, f64),
}

/// The load of one hall over a run.
#[derive(Debug, Clone)]
pub struct Workload {
    source: Source,
    noise: Noise,
}

impl Workload {
    /// `index` tells halls apart, so that two of the same kind do not run in step; `folder` is where
    /// relative paths count from; `settle_h` passes before the hours of a profile begin. The error names file
    /// and line.
    pub fn new(
        config: &WorkloadConfig,
        folder: &Path,
        seed: u64,
        index: usize,
        settle_h: f64,
    ) -> Result<Self, String> {
        let mut noise = noise(seed, index);
        let source = match config {
            WorkloadConfig::Training(c) => Source::Training(c.clone(), synthetic::Job::new(c, &mut noise)),
            WorkloadConfig::Inference(c) => Source::Inference(c.clone(), synthetic::Bursts::default()),
            WorkloadConfig::Power(c) => Source::Recorded(c.read(folder)?),
            WorkloadConfig::Requests(c) => Source::Recorded(c.read(folder)?),
            WorkloadConfig::Constant { share } => Source::Constant(*share),
            WorkloadConfig::Profile(c) => Source::Profile(c.checked()?, -settle_h),
        };
        Ok(Self { source, noise })
    }

    /// What comes is drawn anew; what runs goes on. A length of which only the mean is known has no memory: what is
    /// left of it is distributed as the whole was.
    pub fn draw_anew(&mut self, seed: u64, index: usize) {
        self.noise = noise(seed, index);
        if let Source::Training(c, job) = &mut self.source {
            job.draw_anew(c, &mut self.noise);
        }
    }

    /// Share of full load over the next `dt` seconds.
    pub fn step(&mut self, dt: f64, time: Timestamp) -> f64 {
        match &mut self.source {
            Source::Training(c, job) => job.step(dt, c, &mut self.noise),
            Source::Inference(c, bursts) => bursts.step(dt, c, time, &mut self.noise),
            Source::Recorded(recorded) => recorded.step(dt),
            Source::Constant(share) => *share,
            Source::Profile(c, hours) => {
                *hours += dt / 3600.0;
                c.at(*hours)
            }
        }
    }
}

fn noise(seed: u64, index: usize) -> Noise {
    Noise::new(seed.wrapping_add(1000 * index as u64), Stream::Workload)
}
