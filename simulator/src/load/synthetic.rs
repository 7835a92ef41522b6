//! Synthetic load: training, inference, and a course drawn by hand.

use jiff::Timestamp;
use serde::Deserialize;

use crate::noise::Noise;

/// Synchronous training: all nodes compute, exchange gradients, and now and then write a checkpoint,
/// together. That is what makes megawatts move within seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Load while computing, while exchanging gradients, at a checkpoint, and between jobs.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub compute: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub exchange: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub checkpoint: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub between: f64,
    /// Length of a step and of its exchange, s.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub step_s: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub exchange_s: f64,
    /// A checkpoint every so many minutes, lasting so many seconds.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub checkpoint_every_min: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub checkpoint_s: f64,
    /// Mean length of a job and of the gap after it, h (exponential).
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub job_h: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub gap_h: f64,
}

/// Progress of the present job or gap.
#[derive(Debug, Clone)]
pub(super) struct Job {
    running: bool,
    left: f64,
    elapsed: f64,
}

impl Job {
    pub(super) fn new(c: &Training, noise: &mut Noise) -> Self {
        let mut job = Self { running: true, left: 0.0, elapsed: 0.0 };
        job.draw_anew(c, noise);
        job
    }

    /// How long the present job or gap still takes.
    pub(super) fn draw_anew(&mut self, c: &Training, noise: &mut Noise) {
        let mean = if self.running { c.job_h } else { c.gap_h };
        self.left = noise.exponential(mean * 3600.0);
    }

    pub(super) fn step(&mut self, dt: f64, c: &Training, noise: &mut Noise) -> f64 {
        self.left -= dt;
        self.elapsed += dt;
        if self.left <= 0.0 {
            self.running = !self.running;
            self.draw_anew(c, noise);
            self.elapsed = 0.0;
        }
        if !self.running {
            c.between
        } else if self.elapsed % (c.checkpoint_every_min * 60.0)
            > c.checkpoint_every_min * 60.0 - c.checkpoint_s
        {
            c.checkpoint
        } else if self.elapsed % c.step_s >= c.step_s - c.exchange_s {
            c.exchange
        } else {
            c.compute
        }
    }
}

/// Inference: a daily curve, and bursts that arrive at random and die away (shot noise).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inference {
    /// Load at the quietest and the busiest hour, without bursts.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub night: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub day: f64,
    /// Busiest hour of the day, UTC.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub busiest_h: f64,
    /// Bursts an hour, their mean height and their decay time in minutes.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub bursts_per_h: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub burst_height: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub burst_decay_min: f64,
}

/// Sum of the bursts still dying away.
#[derive(Debug, Clone, Default)]
pub(super) struct Bursts {
    height: f64,
}

impl Bursts {
    pub(super) fn step(&mut self, dt: f64, c: &Inference, time: Timestamp, noise: &mut Noise) -> f64 {
        self.height *= (-dt / (c.burst_decay_min * 60.0)).exp();
        if noise.uniform() < c.bursts_per_h * dt / 3600.0 {
            self.height += noise.exponential(c.burst_height);
        }
        let hour = time.as_second().rem_euclid(86_400) as f64 / 3600.0;
        let phase = std::f64::consts::TAU * (hour - c.busiest_h) / 24.0;
        let curve = c.night + (c.day - c.night) * f64::midpoint(1.0, phase.cos());
        (curve + self.height).min(1.0)
    }
}

/// A course drawn by hand: `[hours, share]`, straight lines between them, level before and after. Two points
/// at the same hour are a step.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    #[serde(deserialize_with = "crate::bounds::some")]
    pub points: Vec<[f64; 2]>,
}

impl Profile {
    pub(super) fn checked(&self) -> Result<Self, String> {
        let ordered = self.points.windows(2).all(|w| w[0][0] <= w[1][0]);
        let shares = self.points.iter().all(|[_, share]| (0.0..=1.0).contains(share));
        if ordered && shares {
            Ok(self.clone())
        } else {
            Err("workload: expected points [hours, share] in order of time, with shares from 0 to 1".into())
        }
    }

    pub(super) fn at(&self, hours: f64) -> f64 {
        let next = self.points.partition_point(|[at, _]| *at <= hours);
        let before = next.checked_sub(1).and_then(|i| self.points.get(i));
        match (before, self.points.get(next)) {
            (Some([t0, a]), Some([t1, b])) => a + (b - a) * (hours - t0) / (t1 - t0),
            (Some([_, share]), None) | (None, Some([_, share])) => *share,
            (None, None) => 0.0,
        }
    }
}
