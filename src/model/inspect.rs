//! `isotherm model inspect`: what a model file holds, and what its attention costs to remember, read from
//! the file's header alone.

use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::gguf::{Gguf, GgufError, Layout, Value};

/// What a file says of itself that was compressed and not trained since.
pub(crate) const NEEDS_TRAINING: &str = "isotherm.mla.needs_training";

/// Bytes of one cached number: llama.cpp's default cache is f16.
const F16: u64 = 2;
/// More than any model has.
const MOST_LAYERS: u64 = 4096;

/// A model file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inspection {
    pub name: Option<String>,
    pub architecture: String,
    pub attention: Attention,
    /// The type most of its parameters are stored in.
    pub quantization: String,
    pub parameters: u64,
    pub file_bytes: u64,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    pub layers: u64,
    /// Tokens in its vocabulary.
    pub vocabulary: u64,
    /// Tokens it was trained to look back on.
    pub context: u64,
    pub embedding: u64,
    pub feed_forward: u64,
    /// Query heads of a layer; the largest where layers differ.
    pub heads: u64,
    /// Key-value heads of a layer; the largest where layers differ.
    pub kv_heads: u64,
    /// Rank of the shared latent, for latent attention.
    pub latent_rank: Option<u64>,
    /// Dimensions that carry position.
    pub rope_dims: u64,
    /// Bytes the f16 cache takes for each token.
    pub kv_bytes_per_token: u64,
    /// The same with grouped queries: its own key-value heads if it has fewer of them than query heads,
    /// otherwise one for every four query heads, as is usual.
    pub kv_bytes_per_token_gqa: u64,
    /// The same if every query head had keys and values of its own.
    pub kv_bytes_per_token_mha: u64,
    /// Its attention was compressed and not trained since, so its text is not to be relied on.
    pub needs_training: bool,
}

/// How it remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// Every head has its own keys and values.
    Mha,
    /// Heads share keys and values in groups.
    Gqa,
    /// All heads share one compressed latent and one rotary key.
    Mla,
}

#[derive(Debug, thiserror::Error)]
#[error("model file {path}: {source}")]
pub struct InspectError {
    path: String,
    source: GgufError,
}

/// Inspects the file at `path`, reading all of it once for its hash.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let failed = |source| InspectError { path: path.display().to_string(), source };
    let mut file = File::open(path).map_err(|e| failed(e.into()))?;
    let gguf = Gguf::read(&mut file).map_err(failed)?;
    let file_bytes = file.metadata().map_err(|e| failed(e.into()))?.len();
    let sha256 = super::sha256(path).map_err(|e| failed(e.into()))?;
    describe(&gguf, file_bytes, sha256).map_err(failed)
}

/// Puts what the header says in this program's terms.
pub fn describe(gguf: &Gguf, file_bytes: u64, sha256: String) -> Result<Inspection, GgufError> {
    let architecture = gguf
        .text("general.architecture")
        .ok_or_else(|| missing("general.architecture", "how to read the rest"))?
        .to_owned();
    let key = |name: &str| format!("{architecture}.{name}");
    let need = |name: &str, meaning| gguf.number(&key(name))?.ok_or_else(|| missing(&key(name), meaning));

    let layers = need("block_count", "how many layers it has")?;
    if layers > MOST_LAYERS {
        return Err(GgufError::Unexpected {
            key: key("block_count"),
            expected: "at most 4096 layers",
            found: layers.to_string(),
        });
    }
    let embedding = need("embedding_length", "how wide it is")?;
    let heads = gguf
        .per_layer(&key("attention.head_count"), layers)?
        .ok_or_else(|| missing(&key("attention.head_count"), "how many attention heads it has"))?;
    let kv_heads = gguf.per_layer(&key("attention.head_count_kv"), layers)?.unwrap_or_else(|| heads.clone());
    let most_heads = heads.iter().copied().max().unwrap_or(0);
    let head_dims = embedding.checked_div(most_heads).unwrap_or(0);
    let or_head_dims = |name: &str| gguf.number(&key(name)).map(|n| n.unwrap_or(head_dims));
    let key_length = or_head_dims("attention.key_length")?;
    let value_length = or_head_dims("attention.value_length")?;
    let latent_key = gguf.number(&key("attention.key_length_mla"))?.filter(|n| *n > 0);
    let latent_value = gguf.number(&key("attention.value_length_mla"))?.filter(|n| *n > 0);

    // llama.cpp caches keys and values of every key-value head; with latent attention keys alone, since
    // the values are a part of them.
    let most_kv_heads = kv_heads.iter().copied().max().unwrap_or(0);
    let (attention, cached, head) = match (latent_key, latent_value) {
        (Some(k), Some(v)) => (Attention::Mla, key_length, k.saturating_add(v)),
        _ if most_kv_heads < most_heads => {
            let both = key_length.saturating_add(value_length);
            (Attention::Gqa, both, both)
        }
        _ => {
            let both = key_length.saturating_add(value_length);
            (Attention::Mha, both, both)
        }
    };
    let grouped: Vec<u64> = match attention {
        Attention::Gqa => kv_heads.clone(),
        Attention::Mha | Attention::Mla => heads.iter().map(|h| h.div_ceil(4)).collect(),
    };

    Ok(Inspection {
        name: gguf.text("general.name").map(str::to_owned),
        attention,
        quantization: commonest_type(gguf),
        parameters: gguf.tensors.iter().fold(0, |sum, t| sum.saturating_add(t.elements)),
        file_bytes,
        sha256,
        layers,
        vocabulary: match gguf.array_length("tokenizer.ggml.tokens") {
            Some(tokens) => tokens,
            None => gguf.number(&key("vocab_size"))?.unwrap_or(0),
        },
        context: gguf.number(&key("context_length"))?.unwrap_or(0),
        embedding,
        feed_forward: gguf
            .per_layer(&key("feed_forward_length"), layers)?
            .and_then(|widths| widths.into_iter().max())
            .unwrap_or(0),
        heads: most_heads,
        kv_heads: most_kv_heads,
        latent_rank: match attention {
            Attention::Mla => gguf.number(&key("attention.kv_lora_rank"))?,
            Attention::Gqa | Attention::Mha => None,
        },
        rope_dims: or_head_dims("rope.dimension_count")?,
        kv_bytes_per_token: cache_bytes(&kv_heads, cached),
        kv_bytes_per_token_gqa: cache_bytes(&grouped, head),
        kv_bytes_per_token_mha: cache_bytes(&heads, head),
        needs_training: gguf.metadata.get(NEEDS_TRAINING) == Some(&Value::Bool(true)),
        architecture,
    })
}

fn missing(key: &str, meaning: &'static str) -> GgufError {
    GgufError::Missing { key: key.to_owned(), meaning }
}

/// Bytes a token takes when each layer keeps `dims` numbers for each of its heads.
fn cache_bytes(heads: &[u64], dims: u64) -> u64 {
    heads.iter().fold(0u64, |sum, h| sum.saturating_add(h.saturating_mul(dims).saturating_mul(F16)))
}

fn commonest_type(gguf: &Gguf) -> String {
    let mut elements = std::collections::BTreeMap::<u32, u64>::new();
    for tensor in &gguf.tensors {
        let sum = elements.entry(tensor.kind).or_default();
        *sum = sum.saturating_add(tensor.elements);
    }
    let kind = elements.into_iter().max_by_key(|(_, n)| *n).map(|(kind, _)| kind);
    kind.map_or("none".to_owned(), |k| {
        Layout::of(k).map_or_else(|| format!("type {k}"), |layout| layout.name.to_owned())
    })
}

impl std::fmt::Display for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name.as_deref().unwrap_or("(no name)");
        let attention = match (self.attention, self.latent_rank) {
            (Attention::Mla, Some(rank)) => {
                format!(
                    "latent: {} heads share rank {rank} and {} rotary dimensions",
                    self.heads, self.rope_dims
                )
            }
            (Attention::Mla, None) => format!("latent: {} heads", self.heads),
            (Attention::Gqa, _) => {
                format!("grouped: {} heads on {} key-value heads", self.heads, self.kv_heads)
            }
            (Attention::Mha, _) => format!("full: {} heads", self.heads),
        };
        writeln!(f, "name          {name}")?;
        writeln!(f, "architecture  {} with {} layers", self.architecture, self.layers)?;
        writeln!(f, "attention     {attention}")?;
        writeln!(f, "parameters    {:.1} M, mostly {}", self.parameters as f64 / 1e6, self.quantization)?;
        writeln!(f, "vocabulary    {} tokens", self.vocabulary)?;
        writeln!(f, "context       {} tokens", self.context)?;
        writeln!(f, "file          {:.1} MB", self.file_bytes as f64 / 1e6)?;
        writeln!(f, "sha256        {}", self.sha256)?;
        writeln!(f, "cache         {} bytes a token (f16)", self.kv_bytes_per_token)?;
        writeln!(f, "  grouped     {} bytes a token for the same shape", self.kv_bytes_per_token_gqa)?;
        let ratio = self.kv_bytes_per_token_mha as f64 / self.kv_bytes_per_token.max(1) as f64;
        let full = self.kv_bytes_per_token_mha;
        write!(f, "  full        {full} bytes a token for the same shape: {ratio:.1} times as many")?;
        if self.needs_training {
            write!(f, "\ntraining      needed: its attention was compressed and not trained since")?;
        }
        Ok(())
    }
}
