//! Many ways to say each kind of directive (`phrasings.toml`): those for training, and those held out of it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::orders::Kind;

/// How one kind is said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    train: Vec<String>,
    held_out: Vec<String>,
}

static SAID: LazyLock<BTreeMap<Kind, Said>> =
    LazyLock::new(|| toml::from_str(include_str!("phrasings.toml")).unwrap_or_default());

/// Patterns of a kind for training, or phrasings held out.
pub(super) fn pool(kind: Kind, held_out: bool) -> &'static [String] {
    let said = SAID.get(&kind);
    said.map_or(&[], |s| if held_out { &s.held_out } else { &s.train })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::dice::Dice;
    use super::super::orders::KINDS;
    use super::super::wording;
    use super::*;

    #[test]
    fn every_kind_is_said_in_many_ways_and_none_of_training_is_one_held_out() {
        let held_out: BTreeSet<&String> = KINDS.iter().flat_map(|k| pool(*k, true)).collect();
        let mut dice = Dice::new(5);
        for kind in KINDS {
            assert!(pool(kind, true).len() >= 2, "{kind:?}");
            assert!(pool(kind, false).len() >= 8, "{kind:?}");
            for pattern in pool(kind, false) {
                for _ in 0..100 {
                    let said = wording::expanded(pattern, &mut dice);
                    assert!(!said.contains(['[', ']', '|']) && !said.contains("  "), "{said}");
                    assert!(!held_out.contains(&said), "{said} is held out, and {pattern} says it");
                }
            }
        }
    }
}
