//! "No colder" and "no warmer" made of one grammar (`sides.toml`) with its sides exchanged: what a directive
//! forbids is learned where nothing else differs from what the other one forbids.

use std::sync::LazyLock;

use serde::Deserialize;

use super::dice::Dice;
use super::wording;

/// Ways to say each direction, as one part of speech.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    cool: Vec<String>,
    warm: Vec<String>,
}

/// Patterns with places `{no PART}` for the side that is forbidden and `{may PART}` for the other.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sentences {
    both: Vec<String>,
    one: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grammar {
    adjective: Words,
    noun: Words,
    verb: Words,
    gerund: Words,
    sentences: Sentences,
}

static GRAMMAR: LazyLock<Grammar> =
    LazyLock::new(|| toml::from_str(include_str!("sides.toml")).unwrap_or_default());

/// A way to forbid more cooling, or less.
pub(super) fn forbidding(colder: bool, dice: &mut Dice) -> String {
    let grammar = &*GRAMMAR;
    let sentences = if dice.often(0.6) { &grammar.sentences.both } else { &grammar.sentences.one };
    let pattern = dice.pick(sentences).map(String::as_str).unwrap_or_default();
    let mut said = wording::expanded(pattern, dice);
    for (part, words) in [
        ("adjective", &grammar.adjective),
        ("noun", &grammar.noun),
        ("verb", &grammar.verb),
        ("gerund", &grammar.gerund),
    ] {
        for (side, cool) in [("no", colder), ("may", !colder)] {
            let place = format!("{{{side} {part}}}");
            // Each place its own words.
            while said.contains(&place) {
                let way = dice.pick(if cool { &words.cool } else { &words.warm });
                said = said.replacen(&place, way.map(String::as_str).unwrap_or_default(), 1);
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled_and_the_sides_differ() {
        let mut dice = Dice::new(4);
        let said = |colder, dice: &mut Dice| -> std::collections::BTreeSet<String> {
            (0..3000).map(|_| forbidding(colder, dice)).collect()
        };
        let (no_colder, no_warmer) = (said(true, &mut dice), said(false, &mut dice));
        for text in no_colder.iter().chain(&no_warmer) {
            assert!(!text.replace("{t}", "").contains(['{', '}', '[', ']', '|']), "{text}");
        }
        assert!(no_colder.len() > 2500 && no_warmer.len() > 2500, "{} {}", no_colder.len(), no_warmer.len());
        assert_eq!(no_colder.intersection(&no_warmer).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
