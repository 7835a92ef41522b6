//! Least squares in noise of which a share remains from one interval to the next.

/// One measured series, and the share of its noise that remains.
pub(super) struct Problem {
    memory: f64,
    y: Vec<f64>,
}

pub(super) struct Solved {
    pub(super) coefficients: Vec<f64>,
    /// Their standard deviations.
    pub(super) deviations: Vec<f64>,
    /// Sum of squares.
    pub(super) unexplained: f64,
}

/// Keeps what the data do not say, such as the effect of a load that does not change, from being undefined.
const RIDGE: f64 = 1e-9;

impl Problem {
    pub(super) fn new(y: &[f64], memory: f64) -> Self {
        Self { memory, y: news(y, memory) }
    }

    /// `None` where there are too few intervals.
    pub(super) fn solve(&self, columns: &[Vec<f64>]) -> Option<Solved> {
        let columns: Vec<Vec<f64>> = columns.iter().map(|c| news(c, self.memory)).collect();
        let k = columns.len();
        let free = self.y.len().checked_sub(k).filter(|n| *n > 0)?;
        let mut normal: Vec<Vec<f64>> = columns
            .iter()
            .map(|a| columns.iter().map(|b| dot(a, b)).chain([dot(a, &self.y)]).collect())
            .collect();
        for (i, row) in normal.iter_mut().enumerate() {
            row[i] += RIDGE * (row[i] + 1.0);
            row.extend((0..k).map(|j| f64::from(u8::from(i == j))));
        }
        reduce(&mut normal)?;
        let coefficients: Vec<f64> = normal.iter().map(|row| row[k]).collect();
        let left = (0..self.y.len()).map(|t| self.y[t] - sum(&coefficients, &columns, t));
        let unexplained: f64 = left.map(|e| e * e).sum();
        let variance = unexplained / free as f64;
        let deviations = (0..k).map(|i| (variance * normal[i][k + 1 + i]).max(0.0).sqrt()).collect();
        Some(Solved { coefficients, deviations, unexplained })
    }
}

impl Solved {
    /// The share of what it leaves that remains from one interval to the next.
    pub(super) fn memory(&self, y: &[f64], columns: &[Vec<f64>]) -> f64 {
        let left: Vec<f64> =
            y.iter().enumerate().map(|(t, y)| y - sum(&self.coefficients, columns, t)).collect();
        let before = left.get(..left.len().saturating_sub(1)).unwrap_or_default();
        dot(before, left.get(1..).unwrap_or_default()) / dot(before, before).max(1e-12)
    }
}

/// What is new in each interval.
fn news(values: &[f64], memory: f64) -> Vec<f64> {
    values.windows(2).map(|w| w[1] - memory * w[0]).collect()
}

fn sum(coefficients: &[f64], columns: &[Vec<f64>], t: usize) -> f64 {
    coefficients.iter().zip(columns).map(|(c, column)| c * column[t]).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Gauss and Jordan, on rows whose left part is positive definite. `None` where it is not, to within rounding.
fn reduce(rows: &mut [Vec<f64>]) -> Option<()> {
    for i in 0..rows.len() {
        let pivot = rows[i][i];
        if !(pivot.is_finite() && pivot > 1e-300) {
            return None;
        }
        rows[i].iter_mut().for_each(|v| *v /= pivot);
        let own = rows[i].clone();
        for (j, row) in rows.iter_mut().enumerate() {
            let factor = row[i];
            if j != i && factor != 0.0 {
                row.iter_mut().zip(&own).for_each(|(v, o)| *v -= factor * o);
            }
        }
    }
    Some(())
}
