//! The same directive in other words: a phrasing of training is varied, so that what is learned is what is asked
//! and not how. Nothing here changes what a directive means.

use std::collections::BTreeSet;

use super::dice::Dice;

/// A word is exchanged, and a directive gets a beginning or an end, this often.
const EXCHANGED: f64 = 0.3;
const DRESSED: f64 = 0.25;

/// Words of which any may stand for another, in directives.
const ALIKE: [&[&str]; 17] = [
    &["setpoints", "settings", "set values"],
    &["changes", "adjustments", "moves"],
    &["change", "alter", "adjust"],
    &["don't", "do not", "never"],
    &["colder", "cooler"],
    &["warmer", "hotter"],
    &["everything", "all of it", "the lot"],
    &["energy", "power", "electricity"],
    &["margin", "headroom", "reserve", "room"],
    &["steady", "calm", "stable", "even"],
    &["load", "compute load", "work", "demand"],
    &["big", "large", "heavy"],
    &["prepare", "get ready", "make ready"],
    &["repair", "maintenance", "service"],
    &["test", "trial", "experiment"],
    &["limits", "bounds"],
    &["now", "at present", "at the moment"],
];

const BEGINNINGS: [&str; 12] = [
    "please ",
    "note: ",
    "team, ",
    "shift lead: ",
    "request: ",
    "reminder: ",
    "control room: ",
    "for your information: ",
    "until further notice, ",
    "from tonight's plan: ",
    "customer asks: ",
    "hello, ",
];

const ENDS: [&str; 11] = [
    ", thanks",
    " today",
    " please",
    " as discussed",
    ", facilities",
    ", says the shift lead",
    " for this shift",
    ", as agreed with the owner",
    " if you would",
    ", ticket 4417",
    ", thank you",
];

/// One of the ways that a pattern stands for: `[a|b|]` is one of these, or nothing.
pub(super) fn expanded(pattern: &str, dice: &mut Dice) -> String {
    let mut said = String::new();
    let mut rest = pattern;
    while let Some((before, choice, after)) =
        rest.split_once('[').and_then(|(b, inside)| inside.split_once(']').map(|(c, a)| (b, c, a)))
    {
        let ways: Vec<&str> = choice.split('|').collect();
        said.push_str(before);
        said.push_str(dice.pick(&ways).copied().unwrap_or_default());
        rest = after;
    }
    said.push_str(rest);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The phrasing with some words exchanged, and perhaps a beginning and an end. Places such as `{sp}` stay.
pub(super) fn varied(phrasing: &str, dice: &mut Dice) -> String {
    let words: Vec<String> = phrasing.split(' ').map(|word| exchanged(word, dice)).collect();
    let beginning = if dice.often(DRESSED) { dice.pick(&BEGINNINGS).copied() } else { None };
    let end = if dice.often(DRESSED) { dice.pick(&ENDS).copied() } else { None };
    format!("{}{}{}", beginning.unwrap_or_default(), words.join(" "), end.unwrap_or_default())
}

/// Whether one says what the other does with hardly another word.
pub(super) fn close(one: &str, other: &str) -> bool {
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '{' && c != '}');
        words.filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
    };
    let (one, other) = (words(one), words(other));
    let shared = one.intersection(&other).count();
    4 * shared >= 3 * (one.len() + other.len() - shared)
}

fn exchanged(word: &str, dice: &mut Dice) -> String {
    let bare = word.trim_end_matches([',', ':', '.']);
    let alike = ALIKE.iter().find(|words| words.contains(&bare));
    match alike.and_then(|words| dice.pick(words)) {
        Some(other) if dice.often(EXCHANGED) => format!("{other}{}", &word[bare.len()..]),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_one_of_its_ways() {
        let mut dice = Dice::new(3);
        let said: std::collections::BTreeSet<String> =
            (0..60).map(|_| expanded("[keep|leave|] {sp} as [it is|is]", &mut dice)).collect();
        let all = ["keep {sp} as it is", "keep {sp} as is", "leave {sp} as it is", "leave {sp} as is"];
        assert_eq!(said.len(), 6, "{said:?}");
        assert!(all.iter().all(|way| said.contains(*way)), "{said:?}");
        assert!(said.contains("{sp} as is"), "{said:?}");
    }

    #[test]
    fn close_is_said_with_hardly_another_word() {
        assert!(close("Do not increase cooling!", "do not increase cooling"));
        assert!(close(
            "please do not increase the cooling until {t}",
            "do not increase the cooling until {t}"
        ));
        assert!(!close("do not increase cooling", "do not reduce cooling today"));
        assert!(!close("leave {sp} as it is", "{sp} stays where it is now"));
    }

    #[test]
    fn words_vary_and_places_stay() {
        let mut dice = Dice::new(1);
        let said: Vec<String> =
            (0..200).map(|_| varied("don't change {sp}, a test runs until {t}", &mut dice)).collect();
        assert!(said.iter().all(|s| s.contains("{sp},") && s.contains("until {t}")), "{said:?}");
        let mut kinds = said.clone();
        kinds.sort();
        kinds.dedup();
        assert!(kinds.len() > 50, "{}", kinds.len());
        assert!(said.iter().any(|s| s == "don't change {sp}, a test runs until {t}"));
    }
}
