//! Who moves the setpoints of a run.

use super::{Behaviour, EVERY_MIN, Job};
use crate::fallback::Fallback;
use crate::frame::Frame;
use crate::site::{Setpoint, Site};
use crate::units::Finite;

/// Who moves the setpoints.
enum Mover {
    Trim(Box<Fallback>),
    /// Where each setpoint is going, and how many steps it stays there.
    Steps {
        random: Random,
        goals: Vec<(f64, u32)>,
    },
}

pub(super) struct Drive {
    mover: Mover,
    now: Vec<f64>,
    still: u32,
}

impl Drive {
    pub(super) fn new(site: &Site, job: &Job) -> Self {
        let mover = match job.behaviour {
            Behaviour::Trim => Mover::Trim(Box::new(Fallback::new(site))),
            Behaviour::Steps => Mover::Steps {
                random: Random(job.seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1),
                goals: Vec::new(),
            },
        };
        Self { mover, now: Vec::new(), still: u32::MAX }
    }

    pub(super) fn observe(&mut self, frame: &Frame) {
        if let Mover::Trim(fallback) = &mut self.mover {
            fallback.observe(frame);
        }
    }

    pub(super) fn step(&mut self, site: &Site, frame: &Frame) -> Vec<f64> {
        let present = |s: &Setpoint| frame.good(&s.name).map_or(s.safe.get(), Finite::get);
        let before: Vec<f64> = site.setpoints.iter().map(present).collect();
        let steps = matches!(self.mover, Mover::Steps { .. });
        let wanted: Vec<f64> = match &mut self.mover {
            Mover::Trim(fallback) => {
                let wish = fallback.step(frame.time, frame).setpoints;
                let wish = |(s, now): (&Setpoint, &f64)| wish.get(&s.name).map_or(*now, |v| v.get());
                site.setpoints.iter().zip(&before).map(wish).collect()
            }
            Mover::Steps { random, goals } => {
                goals.resize(site.setpoints.len(), (0.0, 0));
                let each = goals.iter_mut().zip(&site.setpoints);
                let goal = |((goal, left), s): (&mut (f64, u32), &Setpoint)| {
                    if *left == 0 {
                        *goal = s.min.get() + random.share() * s.span();
                        *left = 4 + (random.share() * 14.0) as u32;
                    }
                    *left -= 1;
                    *goal
                };
                each.map(goal).collect()
            }
        };
        let limited = |((s, now), goal): ((&Setpoint, &f64), &f64)| {
            let reach = s.rate_per_min.get() * EVERY_MIN as f64;
            let to = goal.clamp(now - reach, now + reach).clamp(s.min.get(), s.max.get());
            // Trim and respond moves by less than a step; random moves are whole steps.
            let step = if steps { s.step.get() } else { 0.1 };
            let to = s.min.get() + ((to - s.min.get()) / step).round() * step;
            if (to - now).abs() > reach + 1e-9 { *now } else { to.min(s.max.get()) }
        };
        self.now = site.setpoints.iter().zip(&before).zip(&wanted).map(limited).collect();
        let moved = self.now.iter().zip(&before).any(|(a, b)| (a - b).abs() > 1e-6);
        self.still = if moved { 0 } else { self.still.saturating_add(1) };
        self.now.clone()
    }

    /// Within the last 15 min, now included.
    pub(super) fn moved_lately(&self) -> bool {
        self.still <= 3
    }
}

/// A generator of its own (xorshift64*), so that equal seeds mean equal runs.
pub(in crate::bench) struct Random(pub(in crate::bench) u64);

impl Random {
    pub(in crate::bench) fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}
