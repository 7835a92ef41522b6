use std::num::NonZeroU32;

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::*;

const SHAPE: Shape = Shape {
    layers: 2,
    hidden: 64,
    heads: 4,
    kv_heads: 2,
    head_dims: 32,
    feed_forward: 96,
    vocabulary: 50,
    context: 128,
    rope_base: 10_000.0,
    norm_eps: 1e-5,
};
/// Rank of the low-rank model's values.
const VALUE_RANK: usize = 6;
const TOKENS: [usize; 12] = [3, 17, 44, 0, 9, 9, 31, 49, 2, 25, 8, 13];

/// Numbers around 0 that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
    fn matrix(&mut self, rows: usize, columns: usize) -> Mat<f32> {
        let size = (3.0 / columns as f32).sqrt();
        Mat::from_fn(rows, columns, |_, _| self.roll() * size)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Keys of all heads are one rotary key times a complex factor; values have a low rank.
    LowRank,
    Random,
}

fn flat(m: &Mat<f32>) -> Vec<f32> {
    (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect()
}

/// Keys that share a direction: head 1 turns and stretches each pair of what head 0 has.
fn shared_keys(dice: &mut Dice) -> Mat<f32> {
    let dims = SHAPE.head_dims;
    let one = dice.matrix(dims, SHAPE.hidden);
    let factors: Vec<[f32; 2]> = (0..dims / 2).map(|_| [dice.roll(), dice.roll()]).collect();
    Mat::from_fn(2 * dims, SHAPE.hidden, |i, j| {
        if i < dims {
            return one[(i, j)];
        }
        let (pair, [re, im]) = ((i - dims) / 2 * 2, factors[(i - dims) / 2]);
        let (x, y) = (one[(pair, j)], one[(pair + 1, j)]);
        if i % 2 == 0 { re * x - im * y } else { im * x + re * y }
    })
}

/// Writes a Llama-family model; `extra` is a tensor that does not belong there.
fn write_model(path: &Path, kind: Kind, architecture: &str, extra: Option<&str>) {
    let s = SHAPE;
    let mut dice = Dice(7);
    let (all, shared) = (s.heads * s.head_dims, s.kv_heads * s.head_dims);
    let mut metadata = vec![
        ("general.architecture".to_owned(), write::text(architecture)),
        ("general.name".to_owned(), write::text("A test")),
        ("tokenizer.ggml.model".to_owned(), write::text("none")),
    ];
    let numbers = [
        ("block_count", s.layers),
        ("context_length", 128),
        ("embedding_length", s.hidden),
        ("feed_forward_length", s.feed_forward),
        ("vocab_size", s.vocabulary),
        ("attention.head_count", s.heads),
        ("attention.head_count_kv", s.kv_heads),
        ("attention.key_length", s.head_dims),
        ("attention.value_length", s.head_dims),
        ("rope.dimension_count", s.head_dims),
    ];
    let own = |key: &str| format!("{architecture}.{key}");
    metadata.extend(numbers.map(|(key, n)| (own(key), write::number(n as u32))));
    metadata.push((own("attention.layer_norm_rms_epsilon"), write::float(s.norm_eps)));

    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let mut matrix = |name: String, m: &Mat<f32>| tensors.push((name, vec![m.ncols(), m.nrows()], flat(m)));
    matrix("token_embd.weight".to_owned(), &dice.matrix(s.vocabulary, s.hidden));
    for layer in 0..s.layers {
        let (keys, values) = match kind {
            Kind::LowRank => {
                (shared_keys(&mut dice), dice.matrix(shared, VALUE_RANK) * dice.matrix(VALUE_RANK, s.hidden))
            }
            Kind::Random => (dice.matrix(shared, s.hidden), dice.matrix(shared, s.hidden)),
        };
        let mut part = |name: &str, m: &Mat<f32>| matrix(format!("blk.{layer}.{name}.weight"), m);
        part("attn_q", &dice.matrix(all, s.hidden));
        part("attn_k", &keys);
        part("attn_v", &values);
        part("attn_output", &dice.matrix(s.hidden, all));
        part("ffn_gate", &dice.matrix(s.feed_forward, s.hidden));
        part("ffn_up", &dice.matrix(s.feed_forward, s.hidden));
        part("ffn_down", &dice.matrix(s.hidden, s.feed_forward));
    }
    let mut norms = vec!["output_norm.weight".to_owned()];
    for layer in 0..s.layers {
        norms.extend(["attn_norm", "ffn_norm"].map(|n| format!("blk.{layer}.{n}.weight")));
    }
    norms.extend(extra.map(str::to_owned));
    for name in norms {
        tensors.push((name, vec![s.hidden], (0..s.hidden).map(|_| 1.0 + 0.3 * dice.roll()).collect()));
    }
    let plan = tensors.iter().map(|(name, shape, _)| Planned::new(name.as_str(), shape)).collect();
    let mut writer = Writer::create(path, &metadata, plan, Stored::F32).unwrap();
    for (name, _, numbers) in &tensors {
        writer.tensor(name, numbers).unwrap();
    }
    writer.finish().unwrap();
}

/// llama.cpp allows one at a time in a process.
fn backend() -> LlamaBackend {
    loop {
        if let Ok(backend) = LlamaBackend::init() {
            return backend;
        }
        std::thread::yield_now();
    }
}

/// What llama.cpp makes of the model: logits behind each of [`TOKENS`].
fn logits(path: &Path) -> Vec<f32> {
    let backend = backend();
    let model = LlamaModel::load_from_file(&backend, path, &LlamaModelParams::default()).unwrap();
    let params = LlamaContextParams::default().with_n_ctx(NonZeroU32::new(64)).with_n_threads(1);
    let mut context = model.new_context(&backend, params).unwrap();
    let mut batch = LlamaBatch::new(64, 1);
    for (at, token) in TOKENS.iter().enumerate() {
        batch.add(LlamaToken(*token as i32), at as i32, &[0], true).unwrap();
    }
    context.decode(&mut batch).unwrap();
    (0..TOKENS.len() as i32).flat_map(|i| context.get_logits_ith(i).to_vec()).collect()
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

fn options(rank: usize, rope_dims: usize) -> Options {
    Options { rank: rank as u32, rope_dims: Some(rope_dims as u32), stored: Stored::F32, text: None }
}

#[test]
fn what_has_low_rank_comes_through_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    write_model(&input, Kind::LowRank, "llama", None);
    let report = compress(&input, &output, &options(VALUE_RANK, SHAPE.head_dims)).unwrap();
    for layer in &report.layers {
        assert!(layer.key_error < 1e-5 && layer.value_error < 1e-5, "{layer:?}");
    }
    let (before, after) = (logits(&input), logits(&output));
    let size = before.iter().map(|x| x.abs()).fold(0.0, f32::max);
    let error = worst(&before, &after);
    // Both run with half-precision caches.
    assert!(error < 5e-3 * size, "logits up to {size} differ by {error}");

    // The same with the values cut by one more rank must not.
    compress(&input, &output, &options(VALUE_RANK - 1, SHAPE.head_dims)).unwrap();
    let error = worst(&before, &logits(&output));
    assert!(error > 2e-2 * size, "logits up to {size} differ by {error} only");
}

#[test]
fn the_report_counts_the_cache_and_the_file_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    write_model(&input, Kind::Random, "llama", None);
    let report = compress(&input, &output, &options(16, 16)).unwrap();
    assert_eq!(report.mha_bytes_per_token, 2 * 4 * (32 + 32) * 2);
    assert_eq!(report.before_bytes_per_token, 2 * 2 * (32 + 32) * 2);
    assert_eq!(report.after_bytes_per_token, 2 * (16 + 16) * 2);
    assert!((report.ratio_to_mha - 8.0).abs() < 1e-9);
    let made = inspect(&output).unwrap();
    assert!(made.needs_training && !inspect(&input).unwrap().needs_training);
    assert_eq!((made.name.as_deref(), made.latent_rank, made.rope_dims), (Some("A test"), Some(16), 16));
    // The head keeps its size, so what every head's keys and values would take stays the same.
    assert_eq!(made.kv_bytes_per_token_mha, report.mha_bytes_per_token);
    assert!(made.to_string().contains("training      needed"), "{made}");
}

#[test]
fn more_rank_keeps_more() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    write_model(&input, Kind::Random, "llama", None);
    // Values of two heads of 32 dimensions, and 16 of each key that do not rotate: 96, but the input has 64.
    let reports = [4, 16, 32, 48, 64].map(|rank| compress(&input, &output, &options(rank, 16)).unwrap());
    for pair in reports.windows(2) {
        assert!(pair[1].mean.value_error < pair[0].mean.value_error, "{:?}", pair[1].mean);
        assert!(pair[1].mean.key_error < pair[0].mean.key_error, "{:?}", pair[1].mean);
    }
    let whole = &reports[4].mean;
    assert!(whole.value_error < 1e-5, "{whole:?}");
    assert!(whole.key_error > 0.1, "two random heads do not share a rotary key: {whole:?}");
    let most = compress(&input, &output, &options(65, 16)).unwrap_err().to_string();
    assert!(most.contains("--rank: expected 1 to 64"), "{most}");
}

#[test]
fn the_forward_pass_is_llama_cpps() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.gguf");
    write_model(&input, Kind::Random, "llama", None);
    let mut source = Source::open(&input).unwrap();
    let embedding = source.matrix("token_embd", SHAPE.vocabulary, SHAPE.hidden).unwrap();
    let norm = source.vector("output_norm", SHAPE.hidden).unwrap();
    let mut stream = Stream::new(source.shape, &embedding, &TOKENS);
    for number in 0..SHAPE.layers {
        let layer = read_layer(&mut source, number).unwrap();
        let covariance = stream.covariance(&layer);
        let trace: f64 = (0..SHAPE.hidden).map(|i| covariance[(i, i)]).sum();
        assert!((trace / SHAPE.hidden as f64 - 1.0).abs() < 0.3, "behind a norm: {trace}");
        stream.pass(&layer);
    }
    let own = stream.outputs(&embedding, &norm);
    let theirs = logits(&input);
    let size = theirs.iter().map(|x| x.abs()).fold(0.0, f32::max);
    let error = worst(&own, &theirs);
    assert!(error < 5e-3 * size, "logits up to {size} differ by {error}");
}

#[test]
fn what_it_cannot_compress_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let why = |architecture: &str, extra: Option<&str>, options: &Options| {
        write_model(&input, Kind::Random, architecture, extra);
        let message = compress(&input, &output, options).unwrap_err().to_string();
        assert!(message.contains("in.gguf"), "{message}");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left behind");
        message
    };
    let good = options(16, 16);
    assert!(why("qwen2", None, &good).contains("\"qwen2\"; only \"llama\""));
    assert!(why("deepseek2", None, &good).contains("latent already"));
    assert!(why("llama", Some("blk.0.attn_q.bias"), &good).contains("blk.0.attn_q.bias"));
    assert!(why("llama", Some("rope_freqs.weight"), &good).contains("rope_freqs.weight"));
    assert!(why("llama", None, &options(16, 15)).contains("--rope-dims"));
    assert!(why("llama", None, &options(16, 34)).contains("from 2 to 32, found 34"));
    assert!(why("llama", None, &options(0, 16)).contains("--rank"));
    std::fs::write(&input, "GGUF").unwrap();
    assert!(compress(&input, &output, &good).unwrap_err().to_string().contains("cut off"));
}

#[test]
fn stored_blocks_become_numbers() {
    // One block of Q8_0: a scale of 0.5 as a half, then 32 whole numbers.
    let block: Vec<u8> = [0x00, 0x38].into_iter().chain(0..32).collect();
    let mut numbers = [0.0; 32];
    assert!(crate::model::ffi::dequantize(8, &block, &mut numbers));
    assert!(numbers.iter().enumerate().all(|(i, n)| (n - 0.5 * i as f32).abs() < 1e-6), "{numbers:?}");
    assert!(!crate::model::ffi::dequantize(8, &block[1..], &mut numbers), "a byte is missing");
    assert!(!crate::model::ffi::dequantize(8, &block, &mut numbers[1..]), "no whole block");
    assert!(!crate::model::ffi::dequantize(9999, &block, &mut numbers), "no such type");
}
