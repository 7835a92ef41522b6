//! The model to compress: a Llama-family GGUF, its weights as plain numbers.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use faer::MatRef;

use super::CompressError;
use crate::model::ffi;
use crate::model::gguf::{Gguf, Layout, Tensor};

/// What a layer must hold, and may not hold more than.
const LAYER: [&str; 9] =
    ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"];

/// Sizes of a Llama-family model.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Shape {
    pub(super) layers: usize,
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dims: usize,
    pub(super) feed_forward: usize,
    pub(super) vocabulary: usize,
    pub(super) context: u32,
    pub(super) rope_base: f64,
    pub(super) norm_eps: f64,
}

/// Row-major: a row for each output.
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) numbers: Vec<f32>,
}

impl Matrix {
    pub(super) fn view(&self) -> MatRef<'_, f32> {
        MatRef::from_row_major_slice(&self.numbers, self.rows, self.columns)
    }
}

pub(super) struct Source {
    file: File,
    pub(super) gguf: Gguf,
    pub(super) shape: Shape,
    /// The output has a matrix of its own; otherwise it is the embedding's.
    pub(super) untied: bool,
}

impl Source {
    /// Opens the file and checks that it is a model this command understands in full.
    pub(super) fn open(path: &Path) -> Result<Self, CompressError> {
        let mut file = File::open(path)?;
        let gguf = Gguf::read(&mut file)?;
        let shape = shape(&gguf)?;
        let mut source = Self { file, untied: false, gguf, shape };
        source.untied = source.check_tensors()?;
        Ok(source)
    }

    /// Whether there is an output matrix.
    fn check_tensors(&self) -> Result<bool, CompressError> {
        let mut untied = false;
        for tensor in &self.gguf.tensors {
            let in_layer = |name: &str| {
                let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
                let known = LAYER.iter().any(|l| part.strip_suffix(".weight") == Some(l));
                (known && layer.parse::<usize>().ok()? < self.shape.layers).then_some(())
            };
            match tensor.name.as_str() {
                "token_embd.weight" | "output_norm.weight" => {}
                "output.weight" => untied = true,
                name if in_layer(name).is_some() => {}
                name => {
                    return Err(CompressError::Unsupported(format!(
                        "it holds a tensor {name:?}; expected plain Llama layers without biases, experts or scaled rotation"
                    )));
                }
            }
        }
        Ok(untied)
    }

    fn tensor(&self, name: &str) -> Result<Tensor, CompressError> {
        let full = format!("{name}.weight");
        let found = self.gguf.tensors.iter().find(|t| t.name == full);
        found.cloned().ok_or_else(|| CompressError::Unsupported(format!("it has no tensor {full:?}")))
    }

    /// A tensor of `rows` by `columns`.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, CompressError> {
        let tensor = self.tensor(name)?;
        let wanted = [columns as u64, rows as u64];
        let same = tensor.shape == wanted || (rows == 1 && tensor.shape == wanted[..1]);
        if !same {
            return Err(CompressError::Unsupported(format!(
                "tensor {:?} has the sizes {:?}, expected {wanted:?}",
                tensor.name, tensor.shape
            )));
        }
        let unreadable = || {
            let kind = Layout::of(tensor.kind)
                .map_or_else(|| format!("type {}", tensor.kind), |l| l.name.to_owned());
            CompressError::Unsupported(format!(
                "tensor {:?} is stored as {kind}, which cannot be read",
                tensor.name
            ))
        };
        let layout = Layout::of(tensor.kind).ok_or_else(unreadable)?;
        let size = usize::try_from(layout.bytes(tensor.elements)).map_err(|_| unreadable())?;
        let mut bytes = vec![0; size];
        self.file.seek(SeekFrom::Start(self.gguf.data_start.saturating_add(tensor.offset)))?;
        self.file.read_exact(&mut bytes)?;
        let mut numbers = vec![0.0; rows * columns];
        if !ffi::dequantize(tensor.kind, &bytes, &mut numbers) {
            return Err(unreadable());
        }
        if !numbers.iter().all(|n| n.is_finite()) {
            return Err(CompressError::Unsupported(format!(
                "tensor {:?} holds numbers that are not finite",
                tensor.name
            )));
        }
        Ok(Matrix { rows, columns, numbers })
    }

    pub(super) fn vector(&mut self, name: &str, size: usize) -> Result<Vec<f32>, CompressError> {
        Ok(self.matrix(name, 1, size)?.numbers)
    }

    /// The bytes of a metadata value, its type in front.
    pub(super) fn raw_value(&mut self, key: &str) -> Result<Vec<u8>, CompressError> {
        let span = self.gguf.spans.get(key).cloned().unwrap_or_default();
        let mut bytes = vec![0; usize::try_from(span.end - span.start).unwrap_or(0)];
        self.file.seek(SeekFrom::Start(span.start))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn shape(gguf: &Gguf) -> Result<Shape, CompressError> {
    let unsupported = |why: String| Err(CompressError::Unsupported(why));
    match gguf.text("general.architecture") {
        Some("llama") => {}
        Some("deepseek2") => return unsupported("its attention is latent already (deepseek2)".to_owned()),
        Some(other) => {
            return unsupported(format!("its architecture is {other:?}; only \"llama\" can be compressed"));
        }
        None => return unsupported("the metadata has no general.architecture".to_owned()),
    }
    let optional = |key: &str| -> Result<Option<usize>, CompressError> {
        Ok(gguf.number(&format!("llama.{key}"))?.and_then(|n| usize::try_from(n).ok()))
    };
    let need = |key: &str| {
        optional(key)?
            .filter(|n| *n > 0)
            .ok_or_else(|| CompressError::Unsupported(format!("the metadata has no llama.{key}, or it is 0")))
    };
    if let Some(kind) = gguf.text("llama.rope.scaling.type")
        && kind != "none"
    {
        return unsupported(format!(
            "its rotation is scaled ({kind}), which the latent form has no place for"
        ));
    }
    let (layers, hidden, heads) =
        (need("block_count")?, need("embedding_length")?, need("attention.head_count")?);
    let kv_heads = optional("attention.head_count_kv")?.unwrap_or(heads);
    let head_dims = optional("attention.key_length")?.unwrap_or(hidden / heads);
    let same = [optional("attention.value_length")?, optional("rope.dimension_count")?];
    if same.into_iter().flatten().any(|n| n != head_dims) || !head_dims.is_multiple_of(4) || head_dims == 0 {
        return unsupported(format!(
            "expected heads whose {head_dims} dimensions (a multiple of 4) all rotate, and values of the same size"
        ));
    }
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return unsupported(format!("{heads} heads do not share {kv_heads} key-value heads evenly"));
    }
    let vocabulary = gguf.tensors.iter().find(|t| t.name == "token_embd.weight").and_then(|t| t.shape.get(1));
    Ok(Shape {
        layers,
        hidden,
        heads,
        kv_heads,
        head_dims,
        feed_forward: need("feed_forward_length")?,
        vocabulary: vocabulary.and_then(|n| usize::try_from(*n).ok()).unwrap_or(0),
        context: u32::try_from(need("context_length")?).unwrap_or(u32::MAX),
        rope_base: gguf.float("llama.rope.freq_base")?.unwrap_or(10_000.0),
        norm_eps: gguf.float("llama.attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5),
    })
}
