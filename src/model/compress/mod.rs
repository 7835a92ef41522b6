//! `isotherm model compress`: a Llama-family model with its attention made latent, so that its cache holds
//! one latent and one rotary key for all heads of a layer. docs/mla.md derives what is done here.
//!
//! llama.cpp runs the result as a dense `deepseek2`, which puts the latent through an RMS norm. That would
//! take away how large keys and values are, so the norm is made to divide by a constant: its epsilon is far
//! above the latent's mean square. Files have one epsilon for all norms, so the residual stream is written
//! [`STREAM_SCALE`] times larger to go with it; every norm undoes that again.

mod calibrate;
mod factor;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};

use faer::{Mat, MatRef};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

use self::calibrate::{Layer, Stream};
use self::factor::{Latent, Target};
pub use self::report::{LayerReport, Report};
use self::source::{Shape, Source};
pub use self::write::Stored;
use self::write::{Planned, Writer};
use super::gguf::GgufError;
use super::inspect::{InspectError, NEEDS_TRAINING, inspect};

/// The latent's mean square is about 1, and its norm adds this to it.
const LATENT_EPS: f64 = 1e4;
/// A power of two, so that scaling rounds nothing.
const STREAM_SCALE: f64 = 1024.0;
/// Most tokens of the calibration text that are read.
const MOST_TOKENS: usize = 4096;

#[derive(Clone, Debug)]
pub struct Options {
    /// Numbers of the latent.
    pub rank: u32,
    /// Dimensions of the shared rotary key; half a head's when absent.
    pub rope_dims: Option<u32>,
    pub stored: Stored,
    /// What the layers' inputs are measured on; without it all directions of the input count alike.
    pub text: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    #[error("cannot be compressed: {0}")]
    Unsupported(String),
    #[error("{0}")]
    Target(String),
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("layer {layer}: the decomposition did not converge")]
    Decomposition { layer: usize },
    #[error("its tokenizer cannot read the calibration text: {0}")]
    Tokenizer(String),
    #[error(transparent)]
    Inspect(#[from] InspectError),
}

/// A failure, and the file it is about.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct Failed {
    path: PathBuf,
    source: CompressError,
}

/// Compresses `input` into `output`, which appears whole or not at all.
pub fn compress(input: &Path, output: &Path, options: &Options) -> Result<Report, Failed> {
    let failed = |source| Failed { path: input.to_owned(), source };
    let partial = output.with_extension("partial");
    let made = into_file(input, &partial, options);
    let layers = match made {
        Ok(layers) => layers,
        Err(error) => {
            // It may not have come far enough to leave anything.
            std::fs::remove_file(&partial).ok();
            return Err(failed(error));
        }
    };
    let moved = std::fs::rename(&partial, output);
    moved.map_err(|e| Failed { path: output.to_owned(), source: e.into() })?;
    let facts = |path: &Path| inspect(path).map_err(|e| failed(e.into()));
    Ok(Report::new(&facts(input)?, &facts(output)?, layers))
}

fn into_file(input: &Path, output: &Path, options: &Options) -> Result<Vec<LayerReport>, CompressError> {
    let mut source = Source::open(input)?;
    let shape = source.shape;
    let target = target(&shape, options)?;
    let metadata = metadata(&mut source, target, options.stored)?;
    let embedding = source.matrix("token_embd", shape.vocabulary, shape.hidden)?;
    let mut stream = match &options.text {
        Some(text) => Some(Stream::new(shape, &embedding, &tokens(input, text, shape.vocabulary)?)),
        None => None,
    };
    let mut writer = Writer::create(output, &metadata, plan(&shape, target, source.untied), options.stored)?;
    writer.tensor("token_embd.weight", &scaled(&embedding.numbers, STREAM_SCALE))?;
    drop(embedding);
    let norm = source.vector("output_norm", shape.hidden)?;
    if source.untied {
        writer.tensor("output_norm.weight", &norm)?;
        let output = source.matrix("output", shape.vocabulary, shape.hidden)?;
        writer.tensor("output.weight", &output.numbers)?;
    } else {
        // The output reads the embedding, which is larger now.
        writer.tensor("output_norm.weight", &scaled(&norm, 1.0 / STREAM_SCALE))?;
    }

    let mut reports = Vec::new();
    for number in 0..shape.layers {
        let layer = read_layer(&mut source, number)?;
        let covariance = match &stream {
            Some(stream) => stream.covariance(&layer),
            // Behind a norm, as far as is known, every direction is as likely as any other.
            None => Mat::from_fn(shape.hidden, shape.hidden, |i, j| {
                if i == j { f64::from(layer.attn_norm[i]).powi(2) } else { 0.0 }
            }),
        };
        let [q, k, v] = [&layer.q, &layer.k, &layer.v].map(|m| wide(m.view()));
        let matrices = [q.as_ref(), k.as_ref(), v.as_ref()];
        let latent = factor::compress(&shape, target, matrices, covariance.as_ref())
            .map_err(|_| CompressError::Decomposition { layer: number })?;
        write_layer(&mut writer, &shape, target, number, &layer, &latent, 1.0 / latent_gain(&shape))?;
        reports.push(LayerReport::new(latent.key_error, latent.value_error));
        if let Some(stream) = &mut stream {
            stream.pass(&layer);
        }
    }
    writer.finish()?;
    Ok(reports)
}

fn target(shape: &Shape, options: &Options) -> Result<Target, CompressError> {
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let target =
        Target { rank: size(options.rank), rope_dims: options.rope_dims.map_or(shape.head_dims / 2, size) };
    if target.rope_dims < 2 || !target.rope_dims.is_multiple_of(2) || target.rope_dims > shape.head_dims {
        return Err(CompressError::Target(format!(
            "--rope-dims: expected an even number from 2 to {}, found {}",
            shape.head_dims, target.rope_dims
        )));
    }
    let most = target.most_rank(shape);
    if target.rank == 0 || target.rank > most {
        return Err(CompressError::Target(format!(
            "--rank: expected 1 to {most} (with which nothing that meets the latent is lost), found {}",
            options.rank
        )));
    }
    Ok(target)
}

/// The text as tokens of the model's own tokenizer.
fn tokens(model: &Path, text: &str, vocabulary: usize) -> Result<Vec<usize>, CompressError> {
    let failed = |e: String| CompressError::Tokenizer(e);
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
    let backend = LlamaBackend::init().map_err(|e| failed(e.to_string()))?;
    let params = LlamaModelParams::default().with_vocab_only(true);
    let model = LlamaModel::load_from_file(&backend, model, &params).map_err(|e| failed(e.to_string()))?;
    let tokens = model.vocab().tokenize(text.as_bytes(), true, false);
    let known = tokens.iter().filter_map(|t| usize::try_from(t.0).ok()).filter(|t| *t < vocabulary);
    let known: Vec<usize> = known.take(MOST_TOKENS).collect();
    if known.is_empty() { Err(failed("it makes no tokens".to_owned())) } else { Ok(known) }
}

fn metadata(
    source: &mut Source,
    target: Target,
    stored: Stored,
) -> Result<Vec<(String, Vec<u8>)>, CompressError> {
    let replaced = ["general.architecture", "general.file_type", "general.alignment"];
    let kept = |key: &String| {
        (key.starts_with("general.") || key.starts_with("tokenizer.")) && !replaced.contains(&key.as_str())
    };
    let keys: Vec<String> = source.gguf.metadata.keys().filter(|k| kept(k)).cloned().collect();
    let shape = source.shape;
    let nope = target.nope_dims(&shape);
    let mut entries = vec![("general.architecture".to_owned(), write::text("deepseek2"))];
    for key in keys {
        let value = source.raw_value(&key)?;
        entries.push((key, value));
    }
    let file_type = match stored {
        Stored::F32 => 0,
        Stored::F16 => 1,
    };
    entries.push(("general.file_type".to_owned(), write::number(file_type)));
    let numbers = [
        ("block_count", shape.layers),
        ("embedding_length", shape.hidden),
        ("feed_forward_length", shape.feed_forward),
        ("vocab_size", shape.vocabulary),
        ("leading_dense_block_count", shape.layers),
        ("expert_count", 0),
        ("expert_used_count", 0),
        ("expert_shared_count", 0),
        ("expert_feed_forward_length", 0),
        ("attention.head_count", shape.heads),
        ("attention.head_count_kv", 1),
        ("attention.q_lora_rank", 0),
        ("attention.kv_lora_rank", target.rank),
        ("attention.key_length", target.rank + target.rope_dims),
        ("attention.value_length", target.rank),
        ("attention.key_length_mla", nope + target.rope_dims),
        ("attention.value_length_mla", shape.head_dims),
        ("rope.dimension_count", target.rope_dims),
    ];
    let own = |key: &str| format!("deepseek2.{key}");
    entries.extend(numbers.map(|(key, n)| (own(key), write::number(n as u32))));
    entries.push((own("context_length"), write::number(shape.context)));
    // The fastest frequencies, as they were.
    let base = shape.rope_base.powf(target.rope_dims as f64 / shape.head_dims as f64);
    entries.push((own("rope.freq_base"), write::float(base)));
    let eps = shape.norm_eps * STREAM_SCALE * STREAM_SCALE;
    entries.push((own("attention.layer_norm_rms_epsilon"), write::float(eps)));
    entries.push(("isotherm.mla.latent_eps".to_owned(), write::float(LATENT_EPS)));
    entries.push(("isotherm.mla.stream_scale".to_owned(), write::float(STREAM_SCALE)));
    entries.push((NEEDS_TRAINING.to_owned(), write::truth(true)));
    Ok(entries)
}

/// The latent is written so many times smaller: next to the file's epsilon it is then what it should be next
/// to [`LATENT_EPS`].
fn latent_gain(shape: &Shape) -> f64 {
    (LATENT_EPS / shape.norm_eps).sqrt() / STREAM_SCALE
}

/// Names and sizes of the tensors, in the order they are written.
fn plan(shape: &Shape, target: Target, untied: bool) -> Vec<Planned> {
    let (hidden, heads, rank) = (shape.hidden, shape.heads, target.rank);
    let nope = target.nope_dims(shape);
    let mut tensors = vec![
        Planned::new("token_embd.weight", &[hidden, shape.vocabulary]),
        Planned::new("output_norm.weight", &[hidden]),
    ];
    if untied {
        tensors.push(Planned::new("output.weight", &[hidden, shape.vocabulary]));
    }
    for layer in 0..shape.layers {
        let sizes: [(&str, &[usize]); 11] = [
            ("attn_norm", &[hidden]),
            ("attn_q", &[hidden, heads * (nope + target.rope_dims)]),
            ("attn_kv_a_mqa", &[hidden, rank + target.rope_dims]),
            ("attn_kv_a_norm", &[rank]),
            ("attn_k_b", &[nope, rank, heads]),
            ("attn_v_b", &[rank, shape.head_dims, heads]),
            ("attn_output", &[heads * shape.head_dims, hidden]),
            ("ffn_norm", &[hidden]),
            ("ffn_gate", &[hidden, shape.feed_forward]),
            ("ffn_up", &[hidden, shape.feed_forward]),
            ("ffn_down", &[shape.feed_forward, hidden]),
        ];
        tensors.extend(sizes.map(|(name, size)| Planned::new(format!("blk.{layer}.{name}.weight"), size)));
    }
    tensors
}

fn read_layer(source: &mut Source, number: usize) -> Result<Layer, CompressError> {
    let s = source.shape;
    let (all, shared) = (s.heads * s.head_dims, s.kv_heads * s.head_dims);
    let name = |part: &str| format!("blk.{number}.{part}");
    Ok(Layer {
        attn_norm: source.vector(&name("attn_norm"), s.hidden)?,
        q: source.matrix(&name("attn_q"), all, s.hidden)?,
        k: source.matrix(&name("attn_k"), shared, s.hidden)?,
        v: source.matrix(&name("attn_v"), shared, s.hidden)?,
        output: source.matrix(&name("attn_output"), s.hidden, all)?,
        ffn_norm: source.vector(&name("ffn_norm"), s.hidden)?,
        gate: source.matrix(&name("ffn_gate"), s.feed_forward, s.hidden)?,
        up: source.matrix(&name("ffn_up"), s.feed_forward, s.hidden)?,
        down: source.matrix(&name("ffn_down"), s.hidden, s.feed_forward)?,
    })
}

fn write_layer(
    writer: &mut Writer,
    shape: &Shape,
    target: Target,
    number: usize,
    layer: &Layer,
    latent: &Latent,
    shrink: f64,
) -> std::io::Result<()> {
    let (nope, group) = (target.nope_dims(shape), shape.heads / shape.kv_heads);
    let kv_a = Mat::from_fn(latent.kv_a.nrows(), shape.hidden, |i, j| {
        latent.kv_a[(i, j)] * if i < target.rank { shrink } else { 1.0 }
    });
    // Heads that shared keys and values each get a copy of what makes them.
    let per_head = |head: usize, dims: usize| head / group * dims;
    let k_b = (0..shape.heads).flat_map(|head| {
        let own = latent.k_b.subrows(per_head(head, nope), nope);
        row_major(own.transpose())
    });
    let v_b = (0..shape.heads).flat_map(|head| {
        let own = latent.v_b.subrows(per_head(head, shape.head_dims), shape.head_dims);
        row_major(own)
    });
    let gain = vec![LATENT_EPS.sqrt() as f32; target.rank];
    let tensors: [(&str, &[f32]); 11] = [
        ("attn_norm", &layer.attn_norm),
        ("attn_q", &row_major(latent.q.as_ref())),
        ("attn_kv_a_mqa", &row_major(kv_a.as_ref())),
        ("attn_kv_a_norm", &gain),
        ("attn_k_b", &k_b.collect::<Vec<_>>()),
        ("attn_v_b", &v_b.collect::<Vec<_>>()),
        ("attn_output", &scaled(&layer.output.numbers, STREAM_SCALE)),
        ("ffn_norm", &layer.ffn_norm),
        ("ffn_gate", &layer.gate.numbers),
        ("ffn_up", &layer.up.numbers),
        ("ffn_down", &scaled(&layer.down.numbers, STREAM_SCALE)),
    ];
    tensors
        .into_iter()
        .try_for_each(|(name, numbers)| writer.tensor(&format!("blk.{number}.{name}.weight"), numbers))
}

fn row_major(m: MatRef<'_, f64>) -> Vec<f32> {
    (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)] as f32)).collect()
}

fn wide(m: MatRef<'_, f32>) -> Mat<f64> {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| f64::from(m[(i, j)]))
}

fn scaled(numbers: &[f32], by: f64) -> Vec<f32> {
    numbers.iter().map(|n| (f64::from(*n) * by) as f32).collect()
}
