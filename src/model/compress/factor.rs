//! One layer's keys and values as one latent and one rotary key.
//!
//! Everything is measured with the covariance of what the layer sees: an error counts as far as real input
//! makes it felt. Rotation turns each pair of a key's dimensions as a complex number, and commutes with
//! complex factors: so for each frequency the heads' keys are replaced by one shared complex key, their
//! leading direction, and its factor for each head moves into the queries. What does not rotate (the slow
//! frequencies that no rotary dimension is spent on) joins the values in a decomposition of lowest error.

use faer::linalg::solvers::EvdError;
use faer::{Mat, MatRef, Side, c64};

use super::source::Shape;

/// What to compress to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) rank: usize,
    pub(super) rope_dims: usize,
}

impl Target {
    /// The dimensions of a head from here on go through the latent.
    pub(super) fn first_nope(self, shape: &Shape) -> usize {
        self.rope_dims.min(shape.head_dims / 2)
    }

    pub(super) fn nope_dims(self, shape: &Shape) -> usize {
        shape.head_dims - self.first_nope(shape)
    }

    /// More would keep nothing more.
    pub(super) fn most_rank(self, shape: &Shape) -> usize {
        (shape.kv_heads * (self.nope_dims(shape) + shape.head_dims)).min(shape.hidden)
    }
}

pub(super) struct Latent {
    /// For each head first what meets the latent, then what rotates.
    pub(super) q: Mat<f64>,
    /// First the latent, then the rotary key.
    pub(super) kv_a: Mat<f64>,
    /// For each key-value head: keys out of the latent.
    pub(super) k_b: Mat<f64>,
    /// For each key-value head: values out of the latent.
    pub(super) v_b: Mat<f64>,
    /// Relative Frobenius error of the restored keys, before rotation.
    pub(super) key_error: f64,
    pub(super) value_error: f64,
}

/// `covariance` is that of the attention's input.
pub(super) fn compress(
    shape: &Shape,
    target: Target,
    [q, k, v]: [MatRef<'_, f64>; 3],
    covariance: MatRef<'_, f64>,
) -> Result<Latent, EvdError> {
    let (dims, rope, nope) = (shape.head_dims, target.rope_dims, target.nope_dims(shape));
    let first = target.first_nope(shape);

    let shared = rotary_directions(shape, rope, (k * covariance * k.transpose()).as_ref())?;
    let rotary_key = &shared * k;
    let left = k - shared.transpose() * &rotary_key;
    let keys = Mat::from_fn(shape.kv_heads * nope, shape.hidden, |i, j| {
        left[(i / nope * dims + first + i % nope, j)]
    });

    // What is minimized is what is reported: the errors of keys and values, each relative to its own size.
    let even = |m: MatRef<'_, f64>| match energy(m, covariance) {
        e if e > 0.0 => 1.0 / e.sqrt(),
        _ => 1.0,
    };
    let (key_weight, value_weight) = (even(k), even(v));
    let split = keys.nrows();
    let joint = Mat::from_fn(split + v.nrows(), shape.hidden, |i, j| {
        if i < split { keys[(i, j)] * key_weight } else { v[(i - split, j)] * value_weight }
    });
    let (down, up) = decompose(joint.as_ref(), covariance, target.rank)?;
    let k_b = Mat::from_fn(split, target.rank, |i, j| up[(i, j)] / key_weight);
    let v_b = Mat::from_fn(v.nrows(), target.rank, |i, j| up[(split + i, j)] / value_weight);

    let lost_keys = {
        let restored = &k_b * &down;
        Mat::from_fn(k.nrows(), shape.hidden, |i, j| match (i % dims).checked_sub(first) {
            Some(n) => left[(i, j)] - restored[(i / dims * nope + n, j)],
            None => left[(i, j)],
        })
    };
    let lost_values = v - &v_b * &down;
    let error = |lost: MatRef<'_, f64>, all| {
        let all = energy(all, covariance);
        if all > 0.0 { (energy(lost, covariance) / all).sqrt() } else { 0.0 }
    };

    // llama.cpp divides by the root of what a query now has.
    let scale = ((nope + rope) as f64 / dims as f64).sqrt();
    let group = shape.heads / shape.kv_heads;
    let mut queries = Mat::zeros(shape.heads * (nope + rope), shape.hidden);
    for head in 0..shape.heads {
        let own = q.subrows(head * dims, dims);
        let at = head * (nope + rope);
        let rotated = shared.subcols(head / group * dims, dims) * own;
        queries.subrows_mut(at, nope).copy_from(own.subrows(first, nope) * faer::Scale(scale));
        queries.subrows_mut(at + nope, rope).copy_from(rotated * faer::Scale(scale));
    }
    Ok(Latent {
        q: queries,
        kv_a: faer::concat![[down], [rotary_key]],
        key_error: error(lost_keys.as_ref(), k),
        value_error: error(lost_values.as_ref(), v),
        k_b,
        v_b,
    })
}

/// The shared rotary key as a map from all heads' keys: orthonormal rows, two for each frequency. Its
/// transpose gives back every head's share. `gram`: products of the keys' dimensions.
fn rotary_directions(shape: &Shape, rope_dims: usize, gram: MatRef<'_, f64>) -> Result<Mat<f64>, EvdError> {
    let mut map = Mat::zeros(rope_dims, gram.nrows());
    for pair in (0..rope_dims).step_by(2) {
        let real = |head: usize| head * shape.head_dims + pair;
        let hermitian = Mat::from_fn(shape.kv_heads, shape.kv_heads, |a, b| {
            let (ra, rb) = (real(a), real(b));
            let (ia, ib) = (ra + 1, rb + 1);
            c64::new(gram[(ra, rb)] + gram[(ia, ib)], gram[(ia, rb)] - gram[(ra, ib)])
        });
        let eigen = hermitian.self_adjoint_eigen(Side::Lower)?;
        let leading = eigen.U().col(shape.kv_heads - 1);
        for head in 0..shape.kv_heads {
            let (re, im) = (leading[head].re, leading[head].im);
            map[(pair, real(head))] = re;
            map[(pair, real(head) + 1)] = im;
            map[(pair + 1, real(head))] = -im;
            map[(pair + 1, real(head) + 1)] = re;
        }
    }
    Ok(map)
}

/// `up * down` is `matrix` as nearly as `rank` allows; what `down` makes has unit variance.
fn decompose(
    matrix: MatRef<'_, f64>,
    covariance: MatRef<'_, f64>,
    rank: usize,
) -> Result<(Mat<f64>, Mat<f64>), EvdError> {
    let eigen = (matrix * covariance * matrix.transpose()).self_adjoint_eigen(Side::Lower)?;
    let (rows, values, vectors) = (matrix.nrows(), eigen.S().column_vector(), eigen.U());
    let largest = values[rows - 1];
    // Ascending, so the strongest direction is the last one. One without energy stays unused.
    let size = |i: usize| {
        let value = if i < rows { values[rows - 1 - i] } else { 0.0 };
        if value > largest * 1e-12 { value.sqrt() } else { 0.0 }
    };
    let direction = |row: usize, i: usize| if size(i) > 0.0 { vectors[(row, rows - 1 - i)] } else { 0.0 };
    let up = Mat::from_fn(rows, rank, |row, i| direction(row, i) * size(i));
    let inverse =
        Mat::from_fn(rank, rows, |i, row| if size(i) > 0.0 { direction(row, i) / size(i) } else { 0.0 });
    Ok((inverse * matrix, up))
}

/// Sum of squares of what the rows make of the input.
fn energy(rows: MatRef<'_, f64>, covariance: MatRef<'_, f64>) -> f64 {
    let weighted = rows * covariance;
    (0..rows.ncols()).map(|j| weighted.col(j).transpose() * rows.col(j)).sum()
}
