//! What each layer sees when the model reads a text: the original's own forward pass, a layer at a time.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use super::source::{Matrix, Shape};

/// Tokens read at once, which is also as far as they look back.
const WINDOW: usize = 512;

/// A layer of the original.
pub(super) struct Layer {
    pub(super) attn_norm: Vec<f32>,
    pub(super) q: Matrix,
    pub(super) k: Matrix,
    pub(super) v: Matrix,
    pub(super) output: Matrix,
    pub(super) ffn_norm: Vec<f32>,
    pub(super) gate: Matrix,
    pub(super) up: Matrix,
    pub(super) down: Matrix,
}

/// Windows of text between two layers: a column for each token.
pub(super) struct Stream {
    windows: Vec<Mat<f32>>,
    shape: Shape,
    turns: Mat<f32>,
}

impl Stream {
    /// `tokens` must be of the embedding's vocabulary.
    pub(super) fn new(shape: Shape, embedding: &Matrix, tokens: &[usize]) -> Self {
        let table = embedding.view();
        let windows = tokens
            .chunks(WINDOW)
            .map(|window| Mat::from_fn(shape.hidden, window.len(), |i, t| table[(window[t], i)]))
            .collect();
        // Cosine and sine of each frequency in turn, at each position.
        let turns = Mat::from_fn(shape.head_dims, WINDOW, |i, position| {
            let exponent = -((i / 2 * 2) as f64) / shape.head_dims as f64;
            let angle = position as f64 * shape.rope_base.powf(exponent);
            (if i % 2 == 0 { angle.cos() } else { angle.sin() }) as f32
        });
        Self { windows, shape, turns }
    }

    /// Mean product of the numbers that go into the layer's attention. A little of the identity keeps
    /// directions that this text does not use.
    pub(super) fn covariance(&self, layer: &Layer) -> Mat<f64> {
        let size = self.shape.hidden;
        let mut sum = Mat::<f32>::zeros(size, size);
        let mut tokens = 0;
        for window in &self.windows {
            let x = self.norm(window.as_ref(), &layer.attn_norm);
            matmul(&mut sum, Accum::Add, &x, x.transpose(), 1.0, Par::rayon(0));
            tokens += window.ncols();
        }
        let trace: f64 = (0..size).map(|i| f64::from(sum[(i, i)])).sum();
        let floor = 1e-4 * trace / size as f64;
        Mat::from_fn(size, size, |i, j| {
            let regular = if i == j { floor } else { 0.0 };
            (f64::from(sum[(i, j)]) + regular) / tokens as f64
        })
    }

    /// Moves every window through the layer.
    pub(super) fn pass(&mut self, layer: &Layer) {
        for i in 0..self.windows.len() {
            let attended = self.attend(layer, self.windows[i].as_ref());
            self.windows[i] += attended;
            let x = self.norm(self.windows[i].as_ref(), &layer.ffn_norm);
            let (mut gate, up) = (times(&layer.gate, x.as_ref()), times(&layer.up, x.as_ref()));
            faer::zip!(&mut gate, &up).for_each(|faer::unzip!(g, u)| *g = *g / (1.0 + (-*g).exp()) * *u);
            self.windows[i] += times(&layer.down, gate.as_ref());
        }
    }

    /// What the model would say behind every token, with the embedding as output.
    #[cfg(test)]
    pub(super) fn outputs(&self, embedding: &Matrix, norm: &[f32]) -> Vec<f32> {
        let columns =
            |m: Mat<f32>| (0..m.ncols()).flat_map(move |t| m.col_as_slice(t).to_vec()).collect::<Vec<_>>();
        let windows = self.windows.iter().map(|w| times(embedding, self.norm(w.as_ref(), norm).as_ref()));
        windows.flat_map(columns).collect()
    }

    fn attend(&self, layer: &Layer, window: MatRef<'_, f32>) -> Mat<f32> {
        let (dims, tokens) = (self.shape.head_dims, window.ncols());
        let x = self.norm(window, &layer.attn_norm);
        let mut q = times(&layer.q, x.as_ref());
        let mut k = times(&layer.k, x.as_ref());
        let v = times(&layer.v, x.as_ref());
        self.rotate(&mut q);
        self.rotate(&mut k);
        let group = self.shape.heads / self.shape.kv_heads;
        let scale = 1.0 / (dims as f32).sqrt();
        let mut heads = Mat::zeros(q.nrows(), tokens);
        for head in 0..self.shape.heads {
            let shared = head / group * dims;
            let mut scores = Mat::zeros(tokens, tokens);
            let (keys, queries) = (k.subrows(shared, dims), q.subrows(head * dims, dims));
            matmul(&mut scores, Accum::Replace, keys.transpose(), queries, scale, Par::rayon(0));
            for t in 0..tokens {
                softmax(&mut scores.col_as_slice_mut(t)[..=t]);
                scores.col_as_slice_mut(t)[t + 1..].fill(0.0);
            }
            let values = v.subrows(shared, dims);
            matmul(heads.subrows_mut(head * dims, dims), Accum::Replace, values, &scores, 1.0, Par::rayon(0));
        }
        times(&layer.output, heads.as_ref())
    }

    fn rotate(&self, heads: &mut Mat<f32>) {
        let dims = self.shape.head_dims;
        for t in 0..heads.ncols() {
            let turns = self.turns.col_as_slice(t);
            for head in heads.col_as_slice_mut(t).chunks_exact_mut(dims) {
                for (pair, turn) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns.as_chunks::<2>().0) {
                    let ([x, y], [cos, sin]) = (*pair, *turn);
                    *pair = [x * cos - y * sin, x * sin + y * cos];
                }
            }
        }
    }

    fn norm(&self, window: MatRef<'_, f32>, weight: &[f32]) -> Mat<f32> {
        let mut x = window.to_owned();
        for t in 0..x.ncols() {
            let column = x.col_as_slice_mut(t);
            let power = column.iter().map(|n| n * n).sum::<f32>() / column.len() as f32;
            let scale = 1.0 / (power + self.shape.norm_eps as f32).sqrt();
            for (number, weight) in column.iter_mut().zip(weight) {
                *number *= scale * weight;
            }
        }
        x
    }
}

fn times(weights: &Matrix, x: MatRef<'_, f32>) -> Mat<f32> {
    let mut out = Mat::zeros(weights.rows, x.ncols());
    matmul(&mut out, Accum::Replace, weights.view(), x, 1.0, Par::rayon(0));
    out
}

fn softmax(numbers: &mut [f32]) {
    let top = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for n in &mut *numbers {
        *n = (*n - top).exp();
    }
    let sum: f32 = numbers.iter().sum();
    for n in numbers {
        *n /= sum;
    }
}
