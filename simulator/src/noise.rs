//! Random numbers: ChaCha8 (a counter-based generator with a published definition), one seed per run
//! and one independent stream per part of the plant, so that adding a sensor does not change the
//! weather. The same seed gives the same run on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Streams of one seed.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    Weather = 1,
    Workload = 2,
    Sensors = 3,
}

/// A seeded source of random numbers.
#[derive(Debug, Clone)]
pub struct Noise(ChaCha8Rng);

impl Noise {
    pub fn new(seed: u64, stream: Stream) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64);
        Self(rng)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Exponential with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }
}
