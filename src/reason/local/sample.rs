//! Which token comes next.

use toktrie::SimpleVob;

use crate::reason::{Failure, Sampler};

/// Chooses among the allowed tokens, and gives the choice's probability among them at temperature 1.
pub(super) fn choose(
    logits: &[f32],
    allowed: &SimpleVob,
    sampler: Sampler,
    dice: &mut Dice,
) -> Result<(u32, f32), Failure> {
    let candidates: Vec<(u32, f64)> = allowed
        .iter()
        .filter_map(|token| Some((token, f64::from(*logits.get(token as usize)?))))
        .filter(|(_, logit)| logit.is_finite())
        .collect();
    // The first of equals, so that a tie is no matter of chance.
    let best = candidates.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
    let Some((best, top)) = best else {
        return Err(Failure::Compute { why: "no allowed token has a finite logit".to_owned() });
    };
    let weight = |logit: f64| (logit - top).exp();
    let total: f64 = candidates.iter().map(|(_, logit)| weight(*logit)).sum();
    let temperature = sampler.temperature.get();
    let token = if temperature > 0.0 {
        let weight = |logit: f64| ((logit - top) / temperature).exp();
        let mut left = dice.roll() * candidates.iter().map(|(_, logit)| weight(*logit)).sum::<f64>();
        let drawn = candidates.iter().find(|(_, logit)| {
            left -= weight(*logit);
            left < 0.0
        });
        drawn.map_or(best, |(token, _)| *token)
    } else {
        best
    };
    let logit = candidates.iter().find(|(t, _)| *t == token).map_or(top, |(_, logit)| *logit);
    Ok((token, (weight(logit) / total) as f32))
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same seed gives the same draws on every machine.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Uniform in [0, 1).
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Finite;

    fn sampler(temperature: f64) -> Sampler {
        Sampler { max_tokens: 1, temperature: Finite::constant(temperature), seed: 1 }
    }

    fn allowed(tokens: &[u32]) -> SimpleVob {
        let mut mask = SimpleVob::alloc(8);
        for token in tokens {
            mask.allow_token(*token);
        }
        mask
    }

    #[test]
    fn greedy_takes_the_best_allowed_token_and_measures_it_among_the_allowed() {
        let logits = [9.0, 1.0, 1.0 + 3f32.ln(), f32::NAN];
        let (token, p) = choose(&logits, &allowed(&[1, 2, 3, 7]), sampler(0.0), &mut Dice(1)).unwrap();
        assert_eq!(token, 2);
        assert!((p - 0.75).abs() < 1e-6, "{p}");
    }

    #[test]
    fn a_tie_goes_to_the_lower_token() {
        let (token, p) = choose(&[2.0; 8], &allowed(&[5, 3]), sampler(0.0), &mut Dice(1)).unwrap();
        assert_eq!(token, 3);
        assert!((p - 0.5).abs() < 1e-6);
    }

    #[test]
    fn nothing_finite_is_an_error() {
        assert!(choose(&[f32::NAN; 4], &allowed(&[0, 1]), sampler(0.0), &mut Dice(1)).is_err());
        assert!(choose(&[1.0; 4], &allowed(&[]), sampler(0.0), &mut Dice(1)).is_err());
    }

    #[test]
    fn sampling_follows_the_probabilities_and_the_seed() {
        let logits = [0.0, 3f32.ln()];
        let draw = |dice: &mut Dice| choose(&logits, &allowed(&[0, 1]), sampler(1.0), dice).unwrap();
        let mut dice = Dice(7);
        let ones = (0..4000).filter(|_| draw(&mut dice).0 == 1).count();
        // 3000 expected, standard deviation 27.
        assert!((2850..3150).contains(&ones), "{ones}");
        assert_eq!(draw(&mut Dice(3)), draw(&mut Dice(3)));
    }
}
