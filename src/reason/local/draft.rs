//! Guesses at what the reply says next: what the reply before said at that place. Each guess is computed in
//! the pass that computes the tokens before it, and is kept only where it turns out to be what would have
//! been chosen anyway, so guesses save passes and decide nothing (speculative decoding: Leviathan, Kalman and
//! Matias, ICML 2023; without a second model, as in prompt lookup).

use llama_cpp_2::token::LlamaToken;

use crate::reason::Chosen;

/// Most guesses a pass.
const MOST: usize = 12;
/// Tokens alike before a place that make it a likely one. More than the longest say no more.
const ALIKE: std::ops::RangeInclusive<usize> = 2..=16;

pub(super) struct Draft {
    earlier: Vec<i32>,
    /// How far the place in the earlier reply is ahead of that in this one.
    shift: isize,
}

impl Draft {
    pub(super) fn new(earlier: Vec<i32>) -> Self {
        Self { earlier, shift: 0 }
    }

    /// What may come behind `written`, at most `most` tokens of it.
    pub(super) fn behind(&mut self, written: &[Chosen], most: usize) -> Vec<LlamaToken> {
        let expected = written.len().saturating_add_signed(self.shift);
        let found = (0..=self.earlier.len())
            .map(|at| (self.alike(at, written), std::cmp::Reverse(at.abs_diff(expected)), at))
            .filter(|(alike, ..)| *alike >= (*ALIKE.start()).min(written.len()))
            .max();
        let Some((.., at)) = found else { return Vec::new() };
        self.shift = at.wrapping_sub(written.len()).cast_signed();
        self.earlier.iter().skip(at).take(most.min(MOST)).map(|id| LlamaToken(*id)).collect()
    }

    /// How many tokens before a place are those that were written last.
    fn alike(&self, at: usize, written: &[Chosen]) -> usize {
        let before = self.earlier.iter().take(at).rev();
        let last = written.iter().rev().map(|t| t.id);
        before.zip(last).take(*ALIKE.end()).take_while(|(a, b)| *a == b).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(draft: &mut Draft, written: &[i32]) -> Vec<i32> {
        let written: Vec<Chosen> = written.iter().map(|id| Chosen { id: *id, bytes: 1, p: 1.0 }).collect();
        draft.behind(&written, 6).iter().map(|t| t.0).collect()
    }

    #[test]
    fn what_was_said_before_is_guessed_again() {
        let mut draft = Draft::new(vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(behind(&mut draft, &[]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(behind(&mut draft, &[1, 2, 3]), [4, 5, 6]);
        // Something else was said: no guess until two tokens agree again.
        assert_eq!(behind(&mut draft, &[1, 2, 3, 9]), Vec::<i32>::new());
        assert_eq!(behind(&mut draft, &[1, 2, 3, 9, 5]), Vec::<i32>::new());
        assert_eq!(behind(&mut draft, &[1, 2, 3, 9, 9, 4, 5]), [6]);
        assert_eq!(behind(&mut Draft::new(Vec::new()), &[1, 2]), Vec::<i32>::new());
    }

    #[test]
    fn of_equal_places_the_nearest_counts() {
        let mut draft = Draft::new(vec![7, 8, 1, 7, 8, 2, 7, 8, 3]);
        assert_eq!(behind(&mut draft, &[0, 0, 0, 7, 8]), [2, 7, 8, 3]);
        assert_eq!(behind(&mut draft, &[0, 0, 0, 7, 8, 5, 7, 8]), [3]);
    }
}
