//! Confidence is measured, not asked for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::directive::reading::{HEADING, split_heading};
use crate::reason::Completion;
use crate::units::Finite;

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    assessment: Option<&'a RawValue>,
    #[serde(borrow)]
    setpoints: BTreeMap<String, &'a RawValue>,
}

/// The probability with which the model, sampled under its constraint, writes exactly the setpoints it
/// chose: the product over all tokens that make up their numbers. Where a reply says how it read an order, that
/// leaves few of them to choose from, so the tokens that say it count too.
///
/// A token counts when it holds a byte of a number, or the byte right after one: only that byte tells `8`
/// from `8.5`. `None` when the backend reports no tokens, or they do not make up the text.
#[must_use]
pub fn confidence(completion: &Completion) -> Option<Finite> {
    let text = completion.text.as_str();
    let total: usize = completion.tokens.iter().map(|t| usize::from(t.bytes)).sum();
    if completion.tokens.is_empty() || total < text.len() {
        return None;
    }
    let reply: Reply<'_> = serde_json::from_str(text).ok()?;
    let start = text.as_ptr().addr();
    let heading = reply.assessment.map(RawValue::get).and_then(|said| {
        let said = said.get(1..)?;
        let (order, _) = split_heading(said)?;
        Some((said.as_ptr().addr() - start, HEADING.len() + order.len() + 1))
    });
    let counted: Vec<(usize, usize)> = reply
        .setpoints
        .values()
        .map(|raw| raw.get())
        .map(|number| (number.as_ptr().addr() - start, number.len() + 1))
        .chain(heading)
        .collect();
    let mut at = 0;
    let mut mass = 1.0;
    for token in &completion.tokens {
        let end = at + usize::from(token.bytes);
        if counted.iter().any(|(from, len)| at < from + len && *from < end) {
            mass *= f64::from(token.p);
        }
        at = end;
    }
    Finite::new(mass).filter(|m| (0.0..=1.0).contains(&m.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Chosen;

    fn completion(pieces: &[(&str, f32)]) -> Completion {
        Completion {
            text: pieces.iter().map(|(s, _)| *s).collect(),
            tokens: pieces
                .iter()
                .map(|(s, p)| Chosen { id: 0, bytes: u16::try_from(s.len()).unwrap(), p: *p })
                .collect(),
            ..Completion::default()
        }
    }

    #[test]
    fn only_the_tokens_of_the_numbers_count() {
        let pieces = [
            ("{\"assessment\":\"", 1.0),
            ("\\\"setpoints\\\":{", 0.1),
            ("\",\"setpoints\":{\"a\":", 1.0),
            ("8", 0.5),
            (".5", 0.9),
            (",\"b\":1", 0.8),
            ("50", 1.0),
            ("},\"rationale\":\"", 0.5),
            ("8.5", 0.2),
            ("\"}", 1.0),
        ];
        let expected = 0.5 * 0.9 * 0.8 * 1.0 * 0.5;
        let measured = confidence(&completion(&pieces)).unwrap().get();
        assert!((measured - expected).abs() < 1e-6, "{measured}");
    }

    #[test]
    fn how_an_order_was_read_counts() {
        let pieces = [
            ("{\"assessment\":\"", 1.0),
            ("Order: ", 1.0),
            ("leave", 0.6),
            (" all", 0.5),
            ("; calm; so", 0.9),
            (" far\",\"setpoints\":{\"a\":", 0.1),
            ("8}}", 1.0),
        ];
        let measured = confidence(&completion(&pieces)).unwrap().get();
        assert!((measured - 0.6 * 0.5 * 0.9).abs() < 1e-6, "{measured}");
    }

    #[test]
    fn nothing_to_measure_is_none() {
        assert_eq!(confidence(&completion(&[])), None);
        let mut short = completion(&[("{\"setpoints\":{\"a\":8}}", 1.0)]);
        short.tokens[0].bytes = 3;
        assert_eq!(confidence(&short), None);
        assert_eq!(confidence(&completion(&[("not json", 1.0)])), None);
    }
}
