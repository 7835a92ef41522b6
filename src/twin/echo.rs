//! What the last surprises say of the next: a moving average of the errors (Ljung, *System Identification*, ch. 4)
//! beside a model that has none. A loop that overshoots and comes back, or a bath that is still on its way, leaves
//! errors that follow on each other; how, each model learns for itself, by recursive least squares from a first guess.

use super::model::{MARKS, STEPS};

/// Surprises that are kept, one a step.
const KEPT: usize = 4;
/// First guess: what a surprise has brought is gone again after ten minutes.
const GUESS: [f64; KEPT] = [0.0, -0.25, -0.12, -0.12];
/// How far off that may be.
const GUESS_SD: f64 = 0.17;
/// Surprises beyond this many deviations count as this many.
const MOST: f64 = 3.5;

#[derive(Clone, Debug)]
pub(super) struct Echo {
    /// Errors of the predictions for one step ahead, the newest first.
    recent: [f64; KEPT],
    marks: [Weights; MARKS.len()],
}

#[derive(Clone, Debug)]
struct Weights {
    mean: [f64; KEPT],
    cov: [[f64; KEPT]; KEPT],
}

impl Echo {
    pub(super) fn new() -> Self {
        let own = GUESS_SD * GUESS_SD;
        let cov = std::array::from_fn(|i| std::array::from_fn(|j| if i == j { own } else { 0.0 }));
        let weights = Weights { mean: GUESS, cov };
        Self { recent: [0.0; KEPT], marks: std::array::from_fn(|_| weights.clone()) }
    }

    /// After a silence nothing follows on what was before it.
    pub(super) fn forget(&mut self) {
        self.recent = [0.0; KEPT];
    }

    /// What is still to come of the surprises so far, at each step: learned at the marks, in between on a line.
    pub(super) fn ahead(&self) -> [f64; STEPS] {
        let at = self.marks.each_ref().map(|w| dot(&w.mean, &self.recent));
        std::array::from_fn(|step| {
            let after = MARKS.iter().position(|mark| *mark >= step).unwrap_or(MARKS.len() - 1);
            let (Some(before), true) = (after.checked_sub(1), MARKS[after] > step) else { return at[after] };
            let share = (step - MARKS[before]) as f64 / (MARKS[after] - MARKS[before]) as f64;
            at[before] + share * (at[after] - at[before])
        })
    }

    /// What `then` was followed by, at a mark: the error of the prediction, and the variance of such errors.
    pub(super) fn learn(&mut self, mark: usize, then: &Self, error: f64, variance: f64) {
        let most = MOST * variance.sqrt();
        let (Some(weights), Some(before)) = (self.marks.get_mut(mark), then.marks.get(mark)) else { return };
        let error = (error + dot(&before.mean, &then.recent)).clamp(-most, most);
        weights.learn(&then.recent, error, variance);
        if mark == 0 {
            self.recent.rotate_right(1);
            self.recent[0] = error;
        }
    }
}

impl Weights {
    fn learn(&mut self, x: &[f64; KEPT], y: f64, variance: f64) {
        let spread = self.cov.map(|row| dot(&row, x));
        let total = variance.max(1e-6) + dot(&spread, x);
        let surprise = y - dot(&self.mean, x);
        for i in 0..KEPT {
            self.mean[i] += spread[i] * surprise / total;
            for j in 0..KEPT {
                self.cov[i][j] -= spread[i] * spread[j] / total;
            }
        }
    }
}

fn dot(a: &[f64; KEPT], b: &[f64; KEPT]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Surprises of which half is gone again two steps later.
    fn surprises() -> impl Iterator<Item = (f64, f64)> {
        let mut random = 1_u32;
        let (mut last, mut before) = (0.0, 0.0);
        std::iter::repeat_with(move || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let own = f64::from(random >> 16) / 32_768.0 - 1.0;
            let surprise = own - 0.5 * before;
            (before, last) = (last, surprise);
            (surprise, own)
        })
    }

    #[test]
    fn what_follows_on_a_surprise_is_learned() {
        let mut echo = Echo::new();
        let (mut with, mut least) = (0.0, 0.0);
        for (i, (surprise, own)) in surprises().take(600).enumerate() {
            let error = surprise - echo.ahead()[0];
            if i >= 100 {
                (with, least) = (with + error * error, least + own * own);
            }
            let then = echo.clone();
            echo.learn(0, &then, error, 0.4);
        }
        // Without it the errors would be a third more than the least that is possible.
        assert!(with < 1.03 * least, "{with} {least}");
        let [_, second, ..] = echo.marks[0].mean;
        assert!((second + 0.5).abs() < 0.1, "{second}");
    }

    #[test]
    fn between_marks_it_is_on_a_line_and_after_a_silence_nothing() {
        let mut echo = Echo::new();
        let then = echo.clone();
        echo.learn(0, &then, 1.0, 1.0);
        echo.marks[0].mean = [0.2; KEPT];
        echo.marks[1].mean = [0.6; KEPT];
        echo.marks[2].mean = [0.0; KEPT];
        for (is, should) in echo.ahead().into_iter().zip([0.2, 0.4, 0.6, 0.4, 0.2, 0.0]) {
            assert!((is - should).abs() < 1e-12, "{is} {should}");
        }
        echo.forget();
        assert!(echo.ahead().iter().all(|at| at.abs() < 1e-12));
    }

    #[test]
    fn a_leap_counts_as_a_few_deviations() {
        let mut echo = Echo::new();
        let then = echo.clone();
        echo.learn(0, &then, 1e6, 1.0);
        assert!((echo.recent[0] - MOST).abs() < 1e-12);
    }
}
