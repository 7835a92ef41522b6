//! Reads plain sentences as words, numbers with units, and times of day. The claim check and operators'
//! directives use it alike.
//!
//! It errs towards refusal: a number in a form it does not know becomes [`Kind::Odd`], never something that
//! could pass for another number or for a word.

mod number;

use std::ops::Range;

pub use number::{Number, Written};

/// A piece of a text, and where in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Token {
    pub kind: Kind,
    pub span: Range<usize>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// Lower case; a name such as `hall_a_inlet` is one word for each of its parts.
    Word(String),
    Number(Number),
    /// A time of day.
    Clock {
        hour: i8,
        minute: i8,
    },
    /// The end of a clause.
    Pause(char),
    /// The end of a sentence.
    Stop,
    /// A comparison sign.
    Sign(&'static str),
    /// Something that states a quantity in a form that cannot be checked.
    Odd,
}

/// Splits a text into tokens.
#[must_use]
pub fn read(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let end = if number::starts(&text[at..], before) {
            let (kind, end) = number::read(text, at);
            tokens.push(Token { kind, span: at..end });
            end
        } else if c.is_alphabetic() || c == '_' {
            word(text, at, &mut tokens)
        } else {
            let (kind, len) = mark(&text[at..], c);
            tokens.extend(kind.map(|kind| Token { kind, span: at..at + len }));
            at + len
        };
        at = end;
    }
    spelled_out(&mut tokens, text);
    tokens
}

/// A run of letters, digits, `_` and inner hyphens; split where its parts are joined. Returns its end.
fn word(text: &str, start: usize, tokens: &mut Vec<Token>) -> usize {
    let mut end = start;
    let mut part = start;
    let mut push = |range: Range<usize>| {
        if let Some(word) = text.get(range.clone()).filter(|w| !w.is_empty()) {
            tokens.push(Token { kind: Kind::Word(word.to_lowercase()), span: range });
        }
    };
    let rest: Vec<(usize, char)> = text[start..].char_indices().collect();
    for (i, &(offset, c)) in rest.iter().enumerate() {
        let next = rest.get(i + 1).map(|(_, n)| *n);
        let joins = c == '_' || c == '-' && next.is_some_and(char::is_alphanumeric);
        let apostrophe = matches!(c, '\'' | '’') && next.is_some_and(char::is_alphabetic);
        if joins {
            push(part..start + offset);
            part = start + offset + c.len_utf8();
        } else if !c.is_alphanumeric() && !apostrophe {
            break;
        }
        end = start + offset + c.len_utf8();
    }
    push(part..end.max(part));
    end
}

fn mark(rest: &str, c: char) -> (Option<Kind>, usize) {
    if rest.starts_with("->") || c == '→' {
        return (Some(Kind::Word("to".to_owned())), if c == '→' { c.len_utf8() } else { 2 });
    }
    let spaced = rest.get(c.len_utf8()..).and_then(|r| r.chars().next()).is_none_or(char::is_whitespace);
    let kind = match c {
        '.' if spaced => Some(Kind::Stop),
        ';' | '!' | '?' | '\n' => Some(Kind::Stop),
        ',' | ':' | '(' | ')' | '–' | '—' => Some(Kind::Pause(c)),
        '-' if spaced => Some(Kind::Pause(c)),
        '<' | '>' if rest.get(1..2) == Some("=") => {
            return (Some(Kind::Sign(if c == '<' { "<=" } else { ">=" })), 2);
        }
        '<' => Some(Kind::Sign("<")),
        '>' => Some(Kind::Sign(">")),
        '≤' => Some(Kind::Sign("<=")),
        '≥' => Some(Kind::Sign(">=")),
        '±' | '^' | '×' => Some(Kind::Odd),
        _ if c.is_numeric() => Some(Kind::Odd),
        _ => None,
    };
    (kind, c.len_utf8())
}

const SMALL: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
];

/// Quantities in words that say how much without saying it in a way that can be checked.
const VAGUE: [&str; 17] = [
    "half", "halved", "halves", "double", "doubled", "doubles", "twice", "triple", "tripled", "quarter",
    "dozen", "hundred", "thousand", "thirteen", "fifteen", "twenty", "thirty",
];

/// Turns "two steps" into a number and marks vague quantities.
fn spelled_out(tokens: &mut Vec<Token>, text: &str) {
    let mut i = 0;
    while i < tokens.len() {
        let Kind::Word(word) = &tokens[i].kind else {
            i += 1;
            continue;
        };
        if VAGUE.contains(&word.as_str()) {
            tokens[i].kind = Kind::Odd;
        } else if let Some(value) = SMALL.iter().position(|s| s == word) {
            let end = tokens[i].span.end;
            if let Some((unit, rate, len)) = number::unit(&text[end..]) {
                let span = tokens[i].span.start..end + len;
                let number = Number { value: value as f64, signed: false, unit: Some(unit), rate };
                tokens[i] = Token { kind: Kind::Number(number), span: span.clone() };
                while tokens.get(i + 1).is_some_and(|t| t.span.start < span.end) {
                    tokens.remove(i + 1);
                }
            }
        }
        i += 1;
    }
}

/// As the beginning of a sentence.
pub(crate) fn capital(text: &str) -> String {
    // A name keeps its spelling.
    let first = text.split(' ').next().unwrap_or_default();
    if first.contains('_') || first.chars().any(char::is_uppercase) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().collect::<String>() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        let one = |t: Token| match t.kind {
            Kind::Word(w) => w,
            Kind::Number(n) => {
                let unit = n.unit.map_or(String::new(), |u| format!("{u:?}"));
                format!(
                    "#{}{}{unit}{}",
                    if n.signed && n.value > 0.0 { "+" } else { "" },
                    n.value,
                    if n.rate { "/min" } else { "" }
                )
            }
            Kind::Clock { hour, minute } => format!("@{hour}:{minute:02}"),
            Kind::Pause(_) => ",".to_owned(),
            Kind::Stop => ".".to_owned(),
            Kind::Sign(s) => s.to_owned(),
            Kind::Odd => "?".to_owned(),
        };
        read(text).into_iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_numbers_units_and_times() {
        let check = |text: &str, expected: &str| assert_eq!(show(text), expected, "{text}");
        check(
            "IT load up 18 % in 10 min, hottest inlet 26.1.",
            "it load up #18Percent in #10Minutes , hottest inlet #26.1 .",
        );
        check("Lower hall_a_inlet by 0.5 K/min", "lower hall a inlet by #0.5Kelvin/min");
        check("wet-bulb -3.5 degC", "wet bulb #-3.5Celsius");
        check("from 18-27 °C", "from #18 #27Celsius");
        check("+0.5K then 10-minute", "#+0.5Kelvin then #10Minutes");
        check("until 14:00, 2 h", "until @14:00 , #2Hours");
        check(".9 K and -.5 K", "#0.9Kelvin and #-0.5Kelvin");
        check("8,5 and 1,250 and 26.1.2", "#8.5 and ? and ?");
        check("1e3 2x 5kk ½ ３ 14:75 12:30:10", "? ? ? ? ? ? ?");
        check("two steps, one of them, half", "#2Steps , one of them , ?");
        check("60 %RH at 0.5 K per minute", "#60Humidity at #0.5Kelvin/min");
        check("inlet <= 27 > 26", "inlet <= #27 > #26");
        check("12 kW. Next", "#12Kilowatt . next");
        check("9.0 -> 8.5 kPa", "#9 to #8.5Kilopascal");
        check("it's 3.", "it's #3 .");
        check("chws_sp 26 C", "chws sp #26Celsius");
    }
}
