//! What compression kept, in numbers.

use serde::{Deserialize, Serialize};

use crate::model::inspect::Inspection;

/// What one layer keeps, measured on what the layer sees.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct LayerReport {
    /// Share of the keys' energy that latent and rotary key keep.
    pub key_energy: f64,
    pub value_energy: f64,
    /// Relative Frobenius error of the restored keys and values.
    pub key_error: f64,
    pub value_error: f64,
}

impl LayerReport {
    pub(super) fn new(key_error: f64, value_error: f64) -> Self {
        let energy = |error: f64| 1.0 - error * error;
        Self { key_energy: energy(key_error), value_energy: energy(value_error), key_error, value_error }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// SHA-256 of the file made.
    pub sha256: String,
    pub file_bytes: u64,
    pub rank: u64,
    pub rope_dims: u64,
    pub heads: u64,
    pub kv_heads: u64,
    /// Bytes the f16 cache takes for each token: with keys and values of every head, as the input has it,
    /// and now.
    pub mha_bytes_per_token: u64,
    pub before_bytes_per_token: u64,
    pub after_bytes_per_token: u64,
    /// How many times less than every head's keys and values.
    pub ratio_to_mha: f64,
    pub ratio_to_before: f64,
    pub needs_training: bool,
    pub mean: LayerReport,
    pub layers: Vec<LayerReport>,
}

impl Report {
    pub(super) fn new(before: &Inspection, after: &Inspection, layers: Vec<LayerReport>) -> Self {
        let count = layers.len().max(1) as f64;
        let mean = |of: fn(&LayerReport) -> f64| layers.iter().map(of).sum::<f64>() / count;
        let ratio = |bytes: u64| bytes as f64 / after.kv_bytes_per_token.max(1) as f64;
        Self {
            sha256: after.sha256.clone(),
            file_bytes: after.file_bytes,
            rank: after.latent_rank.unwrap_or(0),
            rope_dims: after.rope_dims,
            heads: before.heads,
            kv_heads: before.kv_heads,
            mha_bytes_per_token: before.kv_bytes_per_token_mha,
            before_bytes_per_token: before.kv_bytes_per_token,
            after_bytes_per_token: after.kv_bytes_per_token,
            ratio_to_mha: ratio(before.kv_bytes_per_token_mha),
            ratio_to_before: ratio(before.kv_bytes_per_token),
            needs_training: after.needs_training,
            mean: LayerReport {
                key_energy: mean(|l| l.key_energy),
                value_energy: mean(|l| l.value_energy),
                key_error: mean(|l| l.key_error),
                value_error: mean(|l| l.value_error),
            },
            layers,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "layer   keys kept  values kept   key error  value error")?;
        let mut line = |name: String, l: &LayerReport| {
            let (keys, values) = (100.0 * l.key_energy, 100.0 * l.value_energy);
            writeln!(
                f,
                "{name:>5}  {keys:>8.2} %   {values:>8.2} %   {:>9.4}    {:>9.4}",
                l.key_error, l.value_error
            )
        };
        for (i, layer) in self.layers.iter().enumerate() {
            line(i.to_string(), layer)?;
        }
        line("mean".to_owned(), &self.mean)?;
        writeln!(f)?;
        writeln!(f, "cache, bytes a token in f16")?;
        writeln!(
            f,
            "  every head's keys and values  {:>8}  ({} heads)",
            self.mha_bytes_per_token, self.heads
        )?;
        writeln!(
            f,
            "  before                        {:>8}  ({} heads)",
            self.before_bytes_per_token, self.kv_heads
        )?;
        writeln!(
            f,
            "  after                         {:>8}  (1 head: rank {} and {} rotary dimensions)",
            self.after_bytes_per_token, self.rank, self.rope_dims
        )?;
        writeln!(
            f,
            "  {:.1} times less than every head's, {:.1} times less than before",
            self.ratio_to_mha, self.ratio_to_before
        )?;
        writeln!(f, "file    {:.1} MB, SHA-256 {}", self.file_bytes as f64 / 1e6, self.sha256)?;
        write!(f, "The file says that it needs training: what was lost above shows in its text until then.")
    }
}
